"""Step 2, fit: a predictor from the measurements, judged on whole networks that it has not seen."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from latency_model.campaign import identity_of
from latency_model.evaluate import summarize
from latency_model.fit import fit_predictor
from latency_model.network_latency import NetworkLatency, check_predictor_matches, load_network_latency
from search.errors import RunFolderError
from search.run import Run
from search.steps.profile import plan_of, planned_measurements, throttled_only


def fit(run: Run, console: Console, model: str = "auto") -> None:
    """Fit and save the predictor; done already when it is there."""
    if run.folder.predictor.is_dir():
        return
    measured = planned_measurements(run)
    if count := throttled_only(run):
        console.print(f"left out: {count}, timed only while the device was throttled", highlight=False)
    with run.timed("fit"):
        predictor = fit_predictor(measured, model, held_out=plan_of(run).held_out)
        save_predictor(run, predictor)
    console.print(describe_card(predictor), highlight=False)


def adopt_predictor(run: Run, folder: Path) -> None:
    """Use a predictor that was fitted before, when it is of this very device and knows the space.

    Raises:
        PredictorMismatchError: it is of another device, runtime or thread count.
        UnknownOpError: it does not know an op of the space.
        RunFolderError: the run has another one already.
    """
    predictor = load_network_latency(folder)
    if run.folder.predictor.is_dir():
        _require_same(run, predictor, folder)
        return
    with run.timed("fit"), run.open_device("fit") as session:
        check_predictor_matches(predictor, identity_of(session), run.space.unique_ops())
        save_predictor(run, predictor)


def _require_same(run: Run, predictor: NetworkLatency, folder: Path) -> None:
    own = run.predictor
    if (own.provenance, own.constant_ms) != (predictor.provenance, predictor.constant_ms):
        raise RunFolderError(
            f"{run.folder.path} has a predictor already (fitted {own.provenance.fitted_at}), and it is not the one in "
            f"{folder} (fitted {predictor.provenance.fitted_at}). Leave out --predictor to go on with its own, or "
            "begin a new run with another --out."
        )


def save_predictor(run: Run, predictor: NetworkLatency) -> None:
    """Write the folder beside and rename it, so that a killed run leaves no half predictor."""
    beside = run.folder.predictor.with_name("predictor.part")
    predictor.save(beside)
    beside.rename(run.folder.predictor)


def describe_card(predictor: NetworkLatency) -> str:
    """How wrong the predictor was on whole networks, and how noisy the timings that it stands on."""
    card = predictor.report_card
    lines = [summarize("predictor", card["networks"]), f"  ({card['method']}; {card['model']}: {card['model_reason']})"]
    return "\n".join([*lines, f"  {card['noise']}"] if "noise" in card else lines)
