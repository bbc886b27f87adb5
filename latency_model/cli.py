"""The verbs of this room: fit and evaluate here, the others each in a file of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latency_model.cli_campaign import campaign_command
from latency_model.cli_few_shot import recalibrate_command
from latency_model.cli_options import ConfidenceOption, JsonOption, PredictorArgument, PredictorOutOption
from latency_model.cli_predict import predict_command
from latency_model.cli_transfer import transfer_command

if TYPE_CHECKING:
    from latency_model.network_files import NetworkResolver
    from latency_model.network_latency import NetworkLatency


def register(app: typer.Typer, resolve: NetworkResolver | None = None) -> None:
    """Add the verbs to the main command.

    Args:
        resolve: builds the networks that a higher room knows; the verbs find it in their context.
    """
    knows_networks = {"obj": resolve}
    app.command("campaign", context_settings=knows_networks)(campaign_command)
    app.command("fit")(fit_command)
    app.command("evaluate")(evaluate_command)
    app.command("predict", context_settings=knows_networks)(predict_command)
    app.command("recalibrate")(recalibrate_command)
    app.command("transfer", context_settings=knows_networks)(transfer_command)


def fit_command(  # noqa: PLR0913, PLR0917 - one option each
    measurements: Annotated[
        Path,
        typer.Argument(
            help="A measurements file (.jsonl) as `profile` and `campaign` write it; or a latency table: the YAML of "
            "ProxylessNAS and Once-for-All, or our CSV."
        ),
    ],
    out: PredictorOutOption,
    model: Annotated[
        str, typer.Option("--model", help="auto, or an op predictor by name: table, xgboost, ...")
    ] = "auto",
    unit: Annotated[
        str | None, typer.Option("--unit", help="Of a table's latencies, where it does not say: s, ms, us or ns.")
    ] = None,
    networks: Annotated[
        Path | None,
        typer.Option(
            "--networks",
            help="Whole networks measured on a table's device (.jsonl), to calibrate on. Without any, the predictor "
            "is the plain sum of the ops.",
        ),
    ] = None,
    confidence: ConfidenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a latency predictor on a device's measurements and say how wrong it is on networks it did not see.

    Example: proxyless fit runs/first/measurements.jsonl --out predictors/my_phone

    Example: proxyless fit mobile_trim.yaml --unit ms --out predictors/pixel1
    """
    from latency_model.errors import LatencyModelError
    from latency_model.fit import CONFIDENCE, fit_predictor
    from latency_model.measurement_file import read_measurements
    from latency_model.table_fit import fit_table, is_table, parse_unit

    level = CONFIDENCE if confidence is None else confidence
    whole = None if networks is None else read_measurements(networks)
    if is_table(measurements):
        predictor = fit_table(measurements, parse_unit(unit), model, networks=whole, confidence=level)
    elif unit is not None or networks is not None:
        raise LatencyModelError(
            f"--unit and --networks go with a table (.yaml, .csv); {measurements} is read as measurements, which say "
            "their unit and hold their networks."
        )
    else:
        predictor = fit_predictor(read_measurements(measurements), model, confidence=level)
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
    confidence: ConfidenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how wrong a predictor is: its own report card, or its errors on measurements that you name.

    Example: proxyless evaluate predictors/my_phone --on fresh.jsonl --html card.html
    """
    from latency_model.errors import LatencyModelError
    from latency_model.fit import judge_on
    from latency_model.measurement_file import read_measurements
    from latency_model.network_latency import load_network_latency
    from latency_model.other_confidence import with_confidence

    loaded = load_network_latency(predictor)
    if confidence is not None and confidence != loaded.confidence:
        if on is None:
            raise LatencyModelError(
                f"The report card in {predictor} is of intervals of {loaded.confidence:.0%}. To judge others, name "
                f"measured networks with --on, or fit again with --confidence {confidence:g}."
            )
        loaded = with_confidence(loaded, confidence)
    card = loaded.report_card if on is None else judge_on(loaded, read_measurements(on))
    if html is not None:
        from latency_model.report_page import report_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(report_page(card, loaded.provenance, formula_of(loaded)), encoding="utf-8")
    typer.echo(json.dumps(card) if as_json else describe(loaded, card))


def describe(predictor: NetworkLatency, card: dict[str, Any] | None = None) -> str:
    """A report card for people."""
    from latency_model.evaluate import summarize

    card = predictor.report_card if card is None else card
    lines = [
        f"Predictor of {predictor.provenance}",
        f"  {formula_of(predictor)}",
        summarize("  whole networks", card["networks"]) if "networks" in card else "  whole networks: not known",
        f"    ({card['method']})",
    ]
    if "coverage_note" in card:
        lines.append(f"    ({card['coverage_note']})")
    lines += coverage_lines(card.get("networks_by_size", {}))
    if predictor.provenance.fusion_doubt is not None:
        lines.append(f"  {predictor.provenance.fusion_doubt}")
    if "networks_flops_baseline" in card:
        lines.append(summarize("  for comparison, by MACs alone", card["networks_flops_baseline"]))
    if "ops" in card:
        lines += [summarize("  single ops", card["ops"]), f"    ({card['ops_method']})"]
        if "ops_coverage_note" in card:
            lines.append(f"    ({card['ops_coverage_note']})")
        lines += coverage_lines(card["ops_by_kind"] | card["ops_by_size"])
    lines += [f"  {card[about]}" for about in ("drift", "noise") if about in card]
    return "\n".join(lines)


def coverage_lines(groups: dict[str, dict[str, Any]]) -> list[str]:
    """How many of each group the intervals hold, and whether that is as promised where it is no matter of course."""
    from latency_model.evaluate import ErrorFigures

    rows = {name: ErrorFigures(**figures) for name, figures in groups.items()}
    return [
        f"    {name}: intervals hold {row.coverage:.0%}, {row.coverage_verdict or 'by construction'}"
        for name, row in rows.items()
        if row.coverage is not None
    ]


def formula_of(predictor: NetworkLatency) -> str:
    """How the predictor adds up a network."""
    if not predictor.is_calibrated:
        return f"latency = sum of ops ({predictor.op_predictor.kind})"
    growth = predictor.growth
    grown = float(growth.latency_ms(growth.most_ms)) / growth.most_ms - 1 if growth.per_ms else 0.0
    return (
        f"latency = {predictor.sum_factor:.3f} x sum of ops + {predictor.kernel_ms * 1e3:.2f} us x kernels "
        f"{'-' if predictor.sum_constant_ms < 0 else '+'} {abs(predictor.sum_constant_ms) * 1e3:.2f} us, then a shift "
        f"per op ({predictor.op_predictor.kind})"
        + (f", then up to {grown:.0%} more, the larger the network" if growth.per_ms else "")
    )
