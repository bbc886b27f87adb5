"""The verb predict: networks of ours, ONNX files and torch modules."""

# ruff: noqa: PLC0415 - heavy libraries load when a verb needs them

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latency_model.cli_options import ConfidenceOption, InputShapeOption, JsonOption, PredictorArgument

if TYPE_CHECKING:
    from latency_model.pricing import Price

NetworksArgument = Annotated[
    list[str],
    typer.Argument(
        help="Networks: JSON files as a run writes them, .onnx or .pt2 files, published .config files, "
        "package.module:callable, or a name of the zoo such as mobilenetv2."
    ),
]


def predict_command(
    context: typer.Context,
    predictor: PredictorArgument,
    networks: NetworksArgument,
    input_shape: InputShapeOption = None,
    confidence: ConfidenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the latency of networks, with the interval that holds nine in ten, or --confidence.

    A foreign network is read as the kernels that the predictor's runtime would run; what cannot be expressed is an
    error that names it.

    Example: proxyless predict runs/first/predictor runs/first/networks/derived.json

    Example: proxyless predict predictors/my_phone model.onnx

    Example: proxyless predict predictors/my_phone proxyless-mobile mobilenetv2

    Example: proxyless predict predictors/my_phone torchvision.models:resnet18 --input-shape 1,3,224,224
    """
    from latency_model.network_files import parse_shape, read_network
    from latency_model.network_latency import load_network_latency
    from latency_model.other_confidence import with_confidence
    from latency_model.pricing import price_network

    loaded = load_network_latency(predictor)
    if confidence is not None:
        loaded = with_confidence(loaded, confidence)
    shape = None if input_shape is None else parse_shape(input_shape)
    rows: list[dict[str, Any]] = []
    by_kernels = False
    for source in networks:
        price = price_network(loaded, read_network(source, shape, context.obj))
        by_kernels |= price.grain == "kernels"
        rows.append({"network": source} | row_of(price))
        if not as_json:
            typer.echo(f"{price.estimate}" if len(networks) == 1 else f"{source}: {price.estimate}")
            for note in notes_on(price):
                typer.echo(f"  {note}")
    doubt = loaded.provenance.fusion_doubt if by_kernels else None
    if not as_json and doubt is not None:
        typer.echo(f"  {doubt}")
    if not as_json and not loaded.is_calibrated:
        typer.echo(
            f"  a sum of {loaded.provenance}. No whole network of the device calibrated it: the interval is an "
            "assumption, not a measurement."
        )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "schema": 1,
                    "confidence": loaded.confidence,
                    "is_calibrated": loaded.is_calibrated,
                    "fusion_doubt": doubt,
                    "networks": rows,
                }
            )
        )


def row_of(price: Price) -> dict[str, Any]:
    """For programs."""
    return vars(price.estimate) | {
        "grain": price.grain,
        "op_count": price.op_count,
        "unmeasured_ops": [op.key for op in price.unmeasured],
        "out_of_reach_ops": [op.key for op in price.out_of_reach],
        "left_out_ops": [op.key for op in price.left_out],
    }


def notes_on(price: Price) -> list[str]:
    """What a person should know before believing the figure; nothing where every op was measured."""
    notes = []
    if price.left_out:
        notes.append(
            f"without {', '.join(op.key for op in price.left_out)}: the table holds no op of the kind, and the network "
            "costs more by that"
        )
    if price.unmeasured:
        notes.append(
            f"{price.op_count} {price.grain}; {len(price.unmeasured)} distinct ones were never measured and come from "
            f"a regressor: interval +-{price.half_width_share:.1%}"
        )
    if price.out_of_reach:
        notes.append(
            f"{len(price.out_of_reach)} of these are unlike anything measured (far larger or smaller, or of an "
            f"activation, pool or grouping that was not), such as {price.out_of_reach[0].key}: the interval promises "
            "nothing for them. Measure them with `proxyless campaign`."
        )
    return notes
