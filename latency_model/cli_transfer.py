"""The verb transfer: a new device from 10-20 whole networks, with measurements of other devices."""

# ruff: noqa: PLC0415 - heavy libraries load when a verb needs them

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latency_model.cli_options import JsonOption

if TYPE_CHECKING:
    from latency_model.few_shot.transfer import Pool
    from latency_model.measurement import MeasurementSet
    from latency_model.network import NetworkSpec
    from latency_model.network_files import NetworkResolver
    from latency_model.network_latency import NetworkLatency

USUAL_COUNT = 15


def transfer_command(  # noqa: PLR0913, PLR0917 - one option each
    context: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(help="Whole networks of the new device (.jsonl). Not there yet: says which to measure."),
    ],
    sources: Annotated[
        list[Path], typer.Argument(help="Measurements files of other devices: ops alone and whole networks.")
    ],
    networks: Annotated[
        list[str] | None,
        typer.Option("--network", help="One more network of the space (JSON file), to choose from; may be repeated."),
    ] = None,
    choose: Annotated[
        int | None,
        typer.Option("--choose", min=4, help="Say which N networks to measure on the new device, and stop."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="Folder to write the chosen networks into, for `campaign`.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write the predictor into, as `fit` does.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict a new device from 10-20 of its networks and what other devices taught.

    Prints the leave-one-out error beside two baselines. Saved op costs are those nearest to the sources', none below
    5 % of them.

    Example: proxyless transfer new.jsonl phone_a.jsonl phone_b.jsonl --choose 15 --write to_measure

    Example: proxyless transfer new.jsonl phone_a.jsonl phone_b.jsonl --out predictors/new
    """
    from latency_model.few_shot.transfer import choose_networks_to_measure
    from latency_model.measurement_file import read_measurements
    from latency_model.source_pool import pool_of
    from latency_model.transferred import transferred_predictor

    measured = None if choose is not None or not target.is_file() else read_measurements(target)
    known = [read_measurements(path) for path in sources]
    predictors = [_fit_source(path, measurements) for path, measurements in zip(sources, known, strict=True)]
    extra = _read_specs(networks or [], context.obj)
    if measured is None:
        found = pool_of(known, predictors, extra, None)
        rows = choose_networks_to_measure(found.pool, choose or USUAL_COUNT)
        _say_what_to_measure([found.specs[row] for row in rows], target, write, as_json=as_json)
        return
    found = pool_of(known, predictors, extra, measured)
    carried = transferred_predictor(found.pool, predictors, found.labels, measured)
    if out is not None:
        carried.save(out)
    if as_json:
        typer.echo(json.dumps(carried.report_card))
        return
    typer.echo(_describe(carried, found.pool))
    for name in found.left_out:
        typer.echo(f"  left out: {name} holds ops of kinds that a source does not know")
    typer.echo("Not saved: name a folder with --out." if out is None else f"Saved in {out}.")


def _fit_source(path: Path, measurements: MeasurementSet) -> NetworkLatency:
    from latency_model.errors import LatencyModelError
    from latency_model.fit import fit_predictor

    try:
        return fit_predictor(measurements)
    except LatencyModelError as error:
        raise LatencyModelError(f"{path} cannot be a source device: {error}") from error


def _read_specs(sources: Sequence[str], resolve: NetworkResolver | None) -> list[NetworkSpec]:
    from latency_model.network_files import read_network_spec

    known = [None if resolve is None else resolve(source, None) for source in sources]
    return [
        read_network_spec(Path(source)) if spec is None else spec for source, spec in zip(sources, known, strict=True)
    ]


def _say_what_to_measure(chosen: Sequence[NetworkSpec], target: Path, write: Path | None, *, as_json: bool) -> None:
    from latency_model.network import network_to_json

    files = [] if write is None else [write / f"network{index:02d}.json" for index in range(len(chosen))]
    for file, network in zip(files, chosen, strict=False):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(network_to_json(network)))
    if as_json:
        rows = [network_to_json(network) for network in chosen]
        typer.echo(json.dumps({"schema": 1, "networks": rows, "files": list(map(str, files))}))
        return
    typer.echo(f"Measure these {len(chosen)} networks on the new device, the most telling first:")
    for network in chosen:
        typer.echo(f"  {network.name}")
    folder = "FOLDER" if write is None else str(write)
    written = "With --write FOLDER they are written as files; then" if write is None else f"Written to {write}. Next"
    typer.echo(
        f"{written}: proxyless campaign DEVICE.yaml {folder}/*.json --grain networks --networks {len(chosen)} "
        f"--out {target}"
    )


def _describe(predictor: NetworkLatency, pool: Pool) -> str:
    from latency_model.evaluate import summarize

    card = predictor.report_card
    lines = [
        f"Predictor of {predictor.provenance.identity}, from {len(card['sources'])} other devices",
        summarize("  whole networks", card["networks"]),
        f"    ({card['method']})",
    ]
    lines += [summarize(f"  for comparison, {name}", figures) for name, figures in card["baselines"].items()]
    lines.append(f"  speaks of {len(pool.ops)} ops, those of {len(pool.networks)} networks")
    return "\n".join(lines)
