"""`proxyless device`: what is attached, whether it works, and leaving nothing behind. Only this file prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from profiler_agent.check import CheckReport
    from profiler_agent.device import Device

device_app = typer.Typer(
    no_args_is_help=True,
    help="See, check and clean the devices that networks are timed on.\n\n"
    "Example: proxyless device check device_configs/local_cpu_onnxruntime.yaml",
)
_DeviceFile = Annotated[Path, typer.Argument(help="A device file, such as device_configs/local_cpu_litert.yaml.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]

_OpsModel = Annotated[
    Path | None,
    typer.Option("--ops", help="Instead, show what each op of this .tflite file takes (runner benchmark_model only)."),
]
_Force = Annotated[bool, typer.Option("--force", help="Also while another host times models there; its run ends.")]


@device_app.command("list")
def list_devices(as_json: _AsJson = False) -> None:
    """Show this machine and what adb sees, each with its state and, where it is not ready, the mend."""
    from profiler_agent.attached import attached_devices

    devices = attached_devices()
    if as_json:
        typer.echo(json.dumps({"schema": 1, "devices": [vars(device) for device in devices]}))
        return
    for device in devices:
        typer.echo(f"{device.address:<28} {device.kind:<6} {device.state}")
        if device.mend:
            typer.echo(f"    {device.mend}")


@device_app.command("check")
def check(device_file: _DeviceFile, as_json: _AsJson = False, ops: _OpsModel = None) -> None:
    """Run the whole chain on one tiny model: link, agent, runtime, noise, and a verdict. Takes under 20 seconds.

    A device that is hot, busy, full or held by another is shown with what it tells of itself and with the finding; the
    exit code is then 3.

    Example: proxyless device check device_configs/local_cpu_litert.yaml
    """
    from profiler_agent.check import check_device, check_to_json
    from profiler_agent.device import load_device
    from profiler_agent.errors import DeviceNotReady

    device = load_device(device_file)
    if ops is not None:
        _show_ops(device, ops, as_json=as_json)
        return
    report = check_device(device, on_wait=lambda words: typer.echo(f"Waiting a few seconds: {words}", err=True))
    typer.echo(json.dumps(check_to_json(report)) if as_json else _describe(report))
    if report.finding is not None:
        raise typer.Exit(code=DeviceNotReady.exit_code)


@device_app.command("clean")
def clean(device_file: _DeviceFile, force: _Force = False) -> None:
    """Remove everything of ours from the device, also what a lost host left; its agent is stopped first.

    Refused (exit code 3) while another host times models there.

    Example: proxyless device clean device_configs/android_adb.yaml
    """
    from profiler_agent.cleaning import clean_device
    from profiler_agent.device import load_device

    device = load_device(device_file)
    typer.echo(f"{device.name}: removed {clean_device(device, even_if_held=force)}.")


def _show_ops(device: Device, model: Path, *, as_json: bool) -> None:
    from profiler_agent.session import open_session

    with open_session(device, on_wait=lambda words: typer.echo(f"Waiting: {words}", err=True)) as session:
        ops = session.profile_ops(model)
    if as_json:
        typer.echo(json.dumps({"schema": 1, "device_name": device.name, "ops": [vars(op) for op in ops]}))
        return
    for op in ops:
        typer.echo(f"{op.average_ms:>9.3f} ms {op.share:>7.1%}  {op.kind:<36} {op.name}")
    typer.echo("Being watched slows the model: compare these figures with each other, not with latencies.")


def _describe(report: CheckReport) -> str:
    place = f" on {report.ran_on}" if report.ran_on else ""
    lines = [
        f"device    {report.device_name}  fingerprint {report.fingerprint}",
        *(f"          {name}: {value}" for name, value in _known(report.details).items()),
        f"runtime   {report.runtime_name} {report.runtime_version}{place}, {report.thread_count} thread(s)",
        *(f"latency   {name}: {value * 1000:.1f} us" for name, value in report.latency_ms.items()),
    ]
    if (stability := report.stability) is not None:
        lines.append(
            f"noise     spread between sessions {stability.spread:.1%}, canary drift {stability.canary_drift:.1%}, "
            f"preempted rounds {_percent(stability.preempted_share)}"
        )
    lines += [f"state     {name}: {value}" for name, value in _known(report.state).items()]
    if stability is None:
        lines.append(f"finding   not timed after {report.seconds:.1f} s: {report.finding}")
    else:
        lines.append(f"verdict   {stability.verdict} after {report.seconds:.1f} s")
        lines += [f"          {stability.reason}"] if stability.reason else []
    return "\n".join(lines)


def _known(facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, [])}


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"
