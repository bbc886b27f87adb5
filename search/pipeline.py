"""The push button: every step in order, each skipped when it is done."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from search.run import Run
from search.run_lock import alone_in


def run_all(run: Run, console: Console, predictor: Path | None = None, *, with_device: bool = False) -> None:
    """Profile (or take ``predictor``), fit, search, derive, train, export, verify, report.

    Raises:
        ProxylessError: what a step raised; the run can be resumed from there.
        BudgetMissed: everything was done, but the exported network is above the budget.
    """
    with alone_in(run.folder.path):
        _run_all(run, console, predictor, with_device=with_device)


def _run_all(run: Run, console: Console, predictor: Path | None, *, with_device: bool) -> None:
    # Each step loads its libraries when it begins: a wrong path or budget is told before torch is imported.
    from search.steps.fit import adopt_predictor, fit  # noqa: PLC0415
    from search.steps.profile import profile  # noqa: PLC0415

    if predictor is None:
        # A profile may have left ops for want of time or of a cool device: once it is fitted, they are not timed.
        if not run.folder.predictor.is_dir():
            profile(run, console)
        fit(run, console)
    else:
        adopt_predictor(run, predictor)

    from search.steps.derive import derive_networks  # noqa: PLC0415
    from search.steps.export import export  # noqa: PLC0415
    from search.steps.report import report  # noqa: PLC0415
    from search.steps.search import search  # noqa: PLC0415
    from search.steps.train import train  # noqa: PLC0415
    from search.steps.verify import require_budget, verify  # noqa: PLC0415

    search(run, console, with_device=with_device)
    derive_networks(run, console)
    train(run, console)
    export(run, console)
    verify(run, console)
    report(run, console)
    require_budget(run)
