"""What ``proxyless search`` may still choose for a run, until a search that depends on it has begun."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from search.errors import RunFolderError
from search.run import Run
from search.run_settings import change_settings
from search.settings import Estimator
from search.shared_search import share_of
from search.trainer import SearchFiles

DECIDE_THE_SEARCH = ("estimator", "latency_weight_per_ms")
DECIDE_THE_DERIVATION = ("least_budget_share",)


@dataclass(frozen=True, kw_only=True)
class SearchChoices:
    """None leaves what the run says; the rest is described in ``SearchSettings``."""

    estimator: Estimator | None = None
    latency_weight_per_ms: float | None = None
    least_budget_share: float | None = None

    @property
    def given(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def with_search_choices(run: Run, choices: SearchChoices) -> Run:
    """The run with these choices; the search writes them down when it begins.

    Raises:
        RunFolderError: a number means nothing, or the search (or the derivation) has begun with another one.
    """
    for name, value in choices.given.items():
        kept = getattr(run.settings, name)
        if kept != value and name in _decided(run):
            raise RunFolderError(
                f"{run.folder.path} has {name}={kept!r} and is past the step that this decides; it cannot become "
                f"{value!r}. Profile another run folder with the same --measurements, which times nothing again."
            )
    chosen = Run(run.folder.path, replace(run.settings, **choices.given))
    chosen.search_settings(1)  # refuses what means nothing
    return chosen


def keep_search_choices(run: Run) -> None:
    """Write down what the run's search is to use; ``with_search_choices`` has refused what comes too late."""
    change_settings(run.folder.settings, run.settings, (*DECIDE_THE_SEARCH, *DECIDE_THE_DERIVATION))


def _decided(run: Run) -> tuple[str, ...]:
    if run.folder.architecture.exists():
        return (*DECIDE_THE_SEARCH, *DECIDE_THE_DERIVATION)
    share = share_of(run.folder)
    holder = run.folder if share is None else share.search.holder
    return DECIDE_THE_SEARCH if SearchFiles(folder=holder.search).checkpoint.exists() else ()
