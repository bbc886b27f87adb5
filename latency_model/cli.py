"""The verbs that need only measurements and predictor files: fit, evaluate, predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from latency_model.network import NetworkSpec
    from latency_model.network_latency import NetworkLatency

MeasurementsArgument = Annotated[Path, typer.Argument(help="A measurements file (.jsonl) as `profile` writes it.")]
PredictorArgument = Annotated[Path, typer.Argument(help="A folder as `fit` writes it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the main command."""
    app.command("fit")(fit_command)
    app.command("evaluate")(evaluate_command)
    app.command("predict")(predict_command)


def fit_command(
    measurements: MeasurementsArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder to write the predictor into.")],
    model: Annotated[
        str, typer.Option("--model", help="auto, or an op predictor by name: table, xgboost, ...")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Fit a latency predictor on a device's measurements and say how wrong it is on networks it did not see.

    Example: proxyless fit runs/first/measurements.jsonl --out predictors/my_phone
    """
    from latency_model.fit import fit_predictor
    from latency_model.measurement import read_measurements

    predictor = fit_predictor(read_measurements(measurements), model)
    predictor.save(out)
    typer.echo(json.dumps(predictor.report_card) if as_json else f"{describe(predictor)}\nSaved in {out}.")


def evaluate_command(
    predictor: PredictorArgument,
    on: Annotated[
        Path | None,
        typer.Option("--on", help="Measurements of the same device to judge by, other than those it was fitted on."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with tables and plots here; it needs no network.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how wrong a predictor is: its own report card, or its errors on measurements that you name.

    Example: proxyless evaluate predictors/my_phone --on fresh.jsonl --html card.html
    """
    from latency_model.fit import judge_on
    from latency_model.measurement import read_measurements
    from latency_model.network_latency import load_network_latency

    loaded = load_network_latency(predictor)
    card = loaded.report_card if on is None else judge_on(loaded, read_measurements(on))
    if html is not None:
        from latency_model.report_page import report_page

        html.write_text(report_page(card, loaded.provenance.identity, formula_of(loaded)))
    typer.echo(json.dumps(card) if as_json else describe(loaded, card))


def predict_command(
    predictor: PredictorArgument,
    networks: Annotated[list[Path], typer.Argument(help="Networks: JSON files as a run writes them.")],
    as_json: JsonOption = False,
) -> None:
    """Predict the latency of networks, with the interval that holds nine in ten.

    Example: proxyless predict runs/first/predictor runs/first/networks/derived.json
    """
    from latency_model.network_latency import load_network_latency

    loaded = load_network_latency(predictor)
    rows: list[dict[str, Any]] = []
    for path in networks:
        estimate = loaded.predict_network(read_network(path).ops)
        rows.append({"network": str(path), **vars(estimate)})
        if not as_json:
            typer.echo(f"{estimate}" if len(networks) == 1 else f"{path}: {estimate}")
    if as_json:
        typer.echo(json.dumps({"schema": 1, "confidence": loaded.confidence, "networks": rows}))


def read_network(path: Path) -> NetworkSpec:
    """A network file.

    Raises:
        LatencyModelError: no such file, or no network in it.
    """
    from latency_model.errors import LatencyModelError
    from latency_model.network import network_from_json

    try:
        return network_from_json(json.loads(path.read_text()))
    except OSError as error:
        raise LatencyModelError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LatencyModelError(
            f"{path} is no network ({error}). Give a JSON file such as RUN/networks/derived.json."
        ) from error


def describe(predictor: NetworkLatency, card: dict[str, Any] | None = None) -> str:
    """A report card for people."""
    from latency_model.evaluate import summarize

    card = predictor.report_card if card is None else card
    lines = [
        f"Predictor of {predictor.provenance.identity}",
        f"  {formula_of(predictor)}",
        summarize("  whole networks", card["networks"]),
        f"    ({card['method']})",
    ]
    if "networks_flops_baseline" in card:
        lines.append(summarize("  for comparison, by MACs alone", card["networks_flops_baseline"]))
    if "ops" in card:
        lines += [summarize("  single ops", card["ops"]), f"    ({card['ops_method']})"]
    return "\n".join(lines)


def formula_of(predictor: NetworkLatency) -> str:
    """How the predictor adds up a network."""
    return (
        f"latency = {predictor.sum_factor:.3f} x sum of ops + {predictor.kernel_ms * 1e3:.2f} us x kernels "
        f"+ {predictor.constant_ms * 1e3:.2f} us, then a shift per op ({predictor.op_predictor.kind})"
    )
