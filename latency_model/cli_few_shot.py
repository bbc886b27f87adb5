"""The verb recalibrate: another unit of a known model from three whole networks."""

# ruff: noqa: PLC0415 - heavy libraries load when a verb needs them

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from latency_model.cli_options import JsonOption, PredictorArgument, PredictorOutOption


def recalibrate_command(
    predictor: PredictorArgument,
    measurements: Annotated[
        Path, typer.Argument(help="Three or more whole networks of the other unit (`campaign --grain networks`).")
    ],
    out: PredictorOutOption,
    as_json: JsonOption = False,
) -> None:
    """Carry a predictor over to another unit of the same device model, by three whole networks measured on it.

    Example: proxyless recalibrate predictors/my_phone other_phone.jsonl --out predictors/other_phone
    """
    from latency_model.few_shot.transfer import recalibrate
    from latency_model.measurement_file import read_measurements
    from latency_model.network_latency import load_network_latency

    carried = recalibrate(load_network_latency(predictor), read_measurements(measurements))
    carried.save(out)
    method = carried.report_card["method"]
    identity = carried.provenance.identity
    typer.echo(json.dumps({"schema": 1, "method": method}) if as_json else f"{identity}: {method}\nSaved in {out}.")
