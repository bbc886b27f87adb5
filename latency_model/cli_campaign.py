"""The verb campaign: measure what any set of networks is made of."""

# ruff: noqa: PLC0415 - heavy libraries load when a verb needs them

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latency_model.cli_options import InputShapeOption

if TYPE_CHECKING:
    from profiler_agent.session import Session


def campaign_command(  # noqa: PLR0913, PLR0917 - one option each
    context: typer.Context,
    device_file: Annotated[Path, typer.Argument(help="A device file: device_configs/local_cpu_litert.yaml.")],
    networks: Annotated[
        list[str],
        typer.Argument(
            help="Networks: JSON files, .onnx or .pt2 files, package.module:callable, names of the zoo such as "
            "mobilenetv2, or a measurements file (.jsonl) for the whole networks in it."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The measurements file; named again, what is in it is not measured again.")
    ],
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.01,
            help="Time budget, with what the file holds already. What does not fit is chosen from; without it, all.",
        ),
    ] = None,
    grain: Annotated[
        str,
        typer.Option(
            "--grain",
            help="blocks: ops as a space offers them. kernels: as the runtime runs them, for unseen "
            "networks. networks: whole ones only, for `recalibrate`.",
        ),
    ] = "blocks",
    network_count: Annotated[
        int,
        typer.Option(
            "--networks",
            min=1,
            help="Whole networks to calibrate on: the given ones, and pieces of them when those "
            "are fewer. With --grain networks: how many of the given ones, those that tell the most.",
        ),
    ] = 12,
    input_shape: InputShapeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many items and how long; do nothing.")] = False,
) -> None:
    """Time on a device what networks are made of, and whole networks to calibrate on.

    All of it, or what tells the most within --minutes. Stopped, the same command goes on. `fit` makes a
    predictor of the file.

    Example: proxyless campaign device_configs/local_cpu_onnxruntime.yaml model.onnx --grain kernels
    --out kernels.jsonl --minutes 10
    """
    from rich.console import Console

    from latency_model.campaign_targets import GRAINS, campaign_targets, plan_targets, run_targets
    from latency_model.errors import LatencyModelError
    from latency_model.network_files import parse_shape, read_networks
    from latency_model.progress import progress
    from profiler_agent.device import load_device
    from profiler_agent.session import open_session

    chosen_grain = next((name for name in GRAINS if name == grain), None)
    if chosen_grain is None:
        raise LatencyModelError(f"Unknown grain {grain!r}; use one of {', '.join(GRAINS)}.")
    device = load_device(device_file)
    found = read_networks(networks, None if input_shape is None else parse_shape(input_shape), context.obj)
    targets = campaign_targets(found, chosen_grain, device.runtime.name, network_count)
    plan, fits = plan_targets(targets, device, out, minutes)
    typer.echo(f"campaign: {plan}")
    if not fits:
        typer.echo(
            f"  {len(targets.ops)} ops and {len(targets.networks)} networks do not fit into {minutes:g} minutes: first "
            "what stands for the rest, then what is least sure"
        )
        if plan.is_finished:
            typer.echo(f"  {out} holds what {minutes:g} minutes allow; for more, raise --minutes or leave it out")
    for name in targets.unchained:
        typer.echo(f"  {name} is no chain of ops and is not timed whole; pieces of it are")
    if dry_run:
        return
    if not plan.is_finished:
        with open_session(device) as session, progress(Console(), "campaign") as update:
            if chosen_grain == "kernels" and (doubt := doubt_about_kernels(session)):
                typer.echo(doubt, err=True)
            run_targets(session, targets, out, minutes=minutes, on_progress=update)
    typer.echo(f"measurements: {out}")


def doubt_about_kernels(session: Session) -> str | None:
    """Why the kernels that a network is broken into may not be those that this device runs."""
    from latency_model.fusion import rules_doubt

    facts = session.facts
    named = [facts.details.get(name) for name in ("system", "machine")]
    return rules_doubt(
        facts.runtime_name,
        version=facts.runtime_version,
        accelerator=session.device.runtime.accelerator,
        system=" ".join(map(str, named)) if all(named) else None,
    )
