"""RunSettings: what one run was asked for, written into its folder and held against it when it resumes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from search.errors import RunFolderError, TargetError
from search.files import read_json, write_json
from search.settings import Estimator, SearchSettings
from search.started_elsewhere import is_same_place

SCHEMA = 1
_MILLISECONDS = re.compile(r"(?P<ms>\d+(\.\d+)?)\s*ms")
_RELATIVE = re.compile(r"(?P<factor>\d+(\.\d+)?)\s*[x*]\s*(?P<reference>[A-Za-z][\w-]*)")
REFERENCES = ("mobilenetv2",)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A budget in milliseconds, or as a fraction of a reference network's measured latency."""

    milliseconds: float | None = None
    factor: float | None = None
    reference: str | None = None

    @property
    def text(self) -> str:
        return f"{self.milliseconds:g} ms" if self.milliseconds is not None else f"{self.factor:g}x{self.reference}"

    def resolve_ms(self, reference_ms: float) -> float:
        """The budget in milliseconds, given the reference's measured latency."""
        if self.milliseconds is not None:
            return self.milliseconds
        assert self.factor is not None
        return self.factor * reference_ms


def parse_target(text: str | None, target_ms: float | None) -> Target:
    """``--target 0.6xmobilenetv2`` or ``--target-ms 0.8``, exactly one of the two.

    Raises:
        TargetError: both, neither, not positive, or an unknown reference.
    """
    if (text is None) == (target_ms is None):
        raise TargetError("Give the budget as --target 0.6xmobilenetv2 or as --target-ms 0.8, one of the two.")
    if target_ms is not None:
        if not 0 < target_ms < float("inf"):
            raise TargetError(f"--target-ms {target_ms:g}: a budget is more than 0 milliseconds.")
        return Target(milliseconds=target_ms)
    match = _RELATIVE.fullmatch((text or "").strip())
    if match is None:
        raise TargetError(
            f"--target {text!r} is not a fraction of a reference, such as 0.6xmobilenetv2; milliseconds are given with "
            "--target-ms."
        )
    if match["reference"] not in REFERENCES:
        raise TargetError(f"--target: no reference is called {match['reference']!r}; use {', '.join(REFERENCES)}.")
    if float(match["factor"]) <= 0:
        raise TargetError(f"--target {text!r}: the fraction must be more than 0.")
    return Target(factor=float(match["factor"]), reference=match["reference"])


def parse_sharer(text: str) -> tuple[Path, Target | None]:
    """``--with runs/phone``, or with a budget of its own: ``--with runs/phone=0.8ms``, ``=0.6xmobilenetv2``.

    Raises:
        TargetError: what follows the last "=" is no budget.
    """
    folder, equals, budget = text.rpartition("=")
    if not equals or Path(text).is_dir():
        return Path(text), None
    match = _MILLISECONDS.fullmatch(budget.strip())
    try:
        target = parse_target(budget, None) if match is None else parse_target(None, float(match["ms"]))
    except TargetError as error:
        raise TargetError(f"--with {text}: after the = stands a budget, such as 0.8ms or 0.6xmobilenetv2.") from error
    return Path(folder), target


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that decides a run, apart from the device's own clock. ``target`` may be set after the profile.

    ``dropout``, ``ema_decay`` and ``mixup_alpha`` are of the one recipe by which every network of the run is trained
    (``TrainSettings``); runs from before there were these have none of them. ``estimator``, ``latency_weight_per_ms``
    and ``least_budget_share`` are of the search (``SearchSettings``). ``minutes`` limits the profile.
    """

    device: str
    data: str
    target: Target | None
    space: str = "small"
    preset: str = "standard"
    image_size: int | None = None
    image_limit: int | None = None
    measurements: str | None = None
    seed: int = 0
    dropout: float = 0.0
    ema_decay: float = 0.0
    mixup_alpha: float = 0.0
    estimator: Estimator = SearchSettings.estimator
    latency_weight_per_ms: float | None = SearchSettings.latency_weight_per_ms
    least_budget_share: float = SearchSettings.least_budget_share
    minutes: float | None = None


def _now() -> datetime:
    return datetime.now(timezone.utc)


def keep_settings(
    path: Path, settings: RunSettings, now: Callable[[], datetime] = _now, *, is_target_kept: bool = True
) -> None:
    """Write the settings of a new run, and when it started; for one that is there, check that they are the same (a
    target may be added, and the minutes of a limited profile raised).

    Args:
        is_target_kept: whether the search began with the target, or it was found in reach; before that another one may
            take its place.

    Raises:
        RunFolderError: the folder belongs to a run with other settings; what differs is named.
    """
    if not path.exists():
        _write_settings(path, settings, now().isoformat(timespec="seconds"))
        return
    changed = resumed_settings(path, settings, is_target_kept=is_target_kept)
    if changed != read_settings(path):
        _write_settings(path, changed, read_started(path))


def resumed_settings(path: Path, settings: RunSettings, *, is_target_kept: bool) -> RunSettings:
    """What an existing run has when it goes on with ``settings``; nothing is written.

    Raises:
        RunFolderError: as ``keep_settings``.
    """
    kept = changed = read_settings(path)
    if settings.target is not None and (kept.target is None or not is_target_kept):
        changed = replace(changed, target=settings.target)
    if kept.minutes is not None and settings.minutes is not None and settings.minutes > kept.minutes:
        changed = replace(changed, minutes=settings.minutes)
    require_same(path.parent, changed, settings)
    return changed


def change_settings(path: Path, settings: RunSettings, names: Sequence[str]) -> None:
    """Replace the named settings of an existing run."""
    kept = read_settings(path)
    changed = replace(kept, **{name: getattr(settings, name) for name in names})
    if changed != kept:
        _write_settings(path, changed, read_started(path))


def _write_settings(path: Path, settings: RunSettings, started: str | None) -> None:
    write_json(path, {"schema": SCHEMA, "started": started, **asdict(settings)})


def read_started(path: Path) -> str | None:
    """When the run of this settings file was begun; None for one that was begun before this was written down."""
    started: str | None = read_json(path).get("started")
    return started


_PATHS = ("device", "data", "measurements")


def require_same(folder: Path, kept: RunSettings, settings: RunSettings) -> None:
    """Raise when a run was asked for with other settings.

    Raises:
        RunFolderError: it was; what differs is named.
    """
    for field in fields(RunSettings):
        found, asked = getattr(kept, field.name), getattr(settings, field.name)
        if found != asked and not (field.name in _PATHS and is_same_place(found, asked)):
            raise RunFolderError(
                f"{folder} is a run with {_option(field.name, found)}, not {_option(field.name, asked)}. Give another "
                f"--out for a new run, or the same settings to resume this one."
            )


def _option(name: str, value: Any) -> str:
    """A setting as it is given on the command line."""
    if isinstance(value, Target):
        return f"the budget {value.text}"
    option = "--" + {"image_limit": "limit"}.get(name, name).replace("_", "-")
    if value is None:
        return "no budget" if name == "target" else f"no {option}"
    return f"{option} {value}"


def read_settings(path: Path) -> RunSettings:
    """The settings of an existing run.

    Raises:
        RunFolderError: no run folder, or one of another version.
    """
    if not path.exists():
        raise RunFolderError(f"{path.parent} is no run folder (it has no {path.name}); start one with proxyless run.")
    data: dict[str, Any] = read_json(path)
    if data.pop("schema", None) != SCHEMA:
        raise RunFolderError(f"{path} is of another version of proxyless; start a new run.")
    data.pop("started", None)
    if unknown := sorted(set(data) - {field.name for field in fields(RunSettings)}):
        raise RunFolderError(
            f"{path} was written by another version of proxyless (unknown here: {', '.join(unknown)}). Go on with that "
            f"version, or start a new run."
        )
    try:
        target = None if data["target"] is None else Target(**data["target"])
        return RunSettings(**{**data, "target": target})
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged ({error}); start a new run.") from error
