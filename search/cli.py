"""The ``proxyless`` command: one verb per task. Only the command lines print; libraries load when a verb needs them."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from latency_model.cli import register as register_latency_verbs
from profiler_agent.cli import device_app
from profiler_agent.errors import ProxylessError
from search.threads import prepare_threads

if TYPE_CHECKING:
    from search.run import Run

EXIT_OUR_FAULT, EXIT_INTERRUPTED = 1, 130
app = typer.Typer(
    name="proxyless",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Name a device, a labelled image folder and a latency budget; get the most accurate network that meets it "
    "on that device, exported and re-measured.\n\n"
    "Example: proxyless run --device device_configs/local_cpu_onnxruntime.yaml --data fashion-mnist "
    "--target 0.6xmobilenetv2 --out runs/first",
)

RunArgument = Annotated[Path, typer.Argument(help="The run folder that --out named, such as runs/first.")]
DeviceOption = Annotated[Path, typer.Option("--device", help="A device file: device_configs/local_cpu_litert.yaml.")]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        help="A folder of images (one folder per class), of IDX files, an .npz file, 'fashion-mnist', 'digits' "
        "(needs nothing), or module:function.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="The run folder; named again, the run is resumed.")]
TargetOption = Annotated[
    str | None,
    typer.Option("--target", help="The budget as a fraction of a reference's measured latency: 0.6xmobilenetv2."),
]
TargetMsOption = Annotated[float | None, typer.Option("--target-ms", help="The budget in milliseconds: 0.8.")]
SpaceOption = Annotated[
    str, typer.Option("--space", help="small (16 to 64 pixels), imagenet, nas-bench-macro, or a .yaml file of yours.")
]
PresetOption = Annotated[str, typer.Option("--preset", help="How long to train: smoke, demo, standard, thorough.")]
MeasurementsOption = Annotated[
    Path | None,
    typer.Option("--measurements", help="A measurements file to use and add to; by default the run's own."),
]
ImageSizeOption = Annotated[int | None, typer.Option("--image-size", help="Resize images to this many pixels a side.")]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Use at most this many training images.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides every draw; the same seed repeats the run.")]
NameOption = Annotated[str, typer.Argument(help="Which network: derived, random, handmade, or all.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how much there is to do.")]


@app.command("run")
def run_command(  # noqa: PLR0913, PLR0917 - one option each
    device: DeviceOption,
    data: DataOption,
    out: OutOption,
    target: TargetOption = None,
    target_ms: TargetMsOption = None,
    space: SpaceOption = "small",
    preset: PresetOption = "standard",
    measurements: MeasurementsOption = None,
    predictor: Annotated[
        Path | None, typer.Option("--predictor", help="A fitted predictor of this device; skips profile and fit.")
    ] = None,
    image_size: ImageSizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
) -> None:
    """The push button: profile, fit, search, derive, train, export, verify, report. Stopped, it resumes.

    Example: proxyless run --device device_configs/local_cpu_onnxruntime.yaml --data fashion-mnist
    --target 0.6xmobilenetv2 --out runs/first
    """
    from search.run import Run, start_run
    from search.run_settings import RunSettings, parse_target

    settings = RunSettings(
        device=str(device),
        data=data,
        target=parse_target(target, target_ms),
        space=space,
        preset=preset,
        image_size=image_size,
        image_limit=limit,
        measurements=None if measurements is None else str(measurements),
        seed=seed,
    )
    _check_inputs(Run(out, settings))
    if dry_run:
        from search.steps.profile import remaining

        typer.echo(f"profile: {remaining(Run(out, settings))}")
        return
    from search.pipeline import run_all

    run_all(start_run(out, settings), Console(), predictor)


@app.command("profile")
def profile_command(  # noqa: PLR0913, PLR0917 - one option each
    device: DeviceOption,
    data: DataOption,
    out: OutOption,
    space: SpaceOption = "small",
    preset: PresetOption = "standard",
    measurements: MeasurementsOption = None,
    image_size: ImageSizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
) -> None:
    """Time every op of a space, and some whole networks, on a device. Starts a run folder for the verbs that follow.

    Example: proxyless profile --device device_configs/local_cpu_litert.yaml --data digits --out runs/second
    """
    from search.run import Run, start_run
    from search.run_settings import RunSettings
    from search.steps.profile import profile, remaining

    settings = RunSettings(
        device=str(device),
        data=data,
        target=None,
        space=space,
        preset=preset,
        image_size=image_size,
        image_limit=limit,
        measurements=None if measurements is None else str(measurements),
        seed=seed,
    )
    run = Run(out, settings)
    _check_inputs(run)
    if dry_run:
        typer.echo(f"profile: {remaining(run)}")
        return
    run = start_run(out, settings)
    profile(run, Console())
    typer.echo(f"measurements: {run.measurements}")


register_latency_verbs(app)


@app.command("search")
def search_command(run_folder: RunArgument, target: TargetOption = None, target_ms: TargetMsOption = None) -> None:
    """Search against a budget; resumes where a killed search stopped.

    Example: proxyless search runs/first --target 0.6xmobilenetv2
    """
    from search.run import open_run, with_target
    from search.run_settings import parse_target
    from search.steps.search import search

    run = open_run(run_folder)
    if run.settings.target is None or target is not None or target_ms is not None:
        run = with_target(run, parse_target(target, target_ms))
    search(run, Console())


@app.command("derive")
def derive_command(run_folder: RunArgument) -> None:
    """Derive the network from the search, and the baselines of the same measured latency.

    Example: proxyless derive runs/first
    """
    from search.run import open_run
    from search.steps.derive import derive_networks

    derive_networks(open_run(run_folder), Console())


@app.command("train")
def train_command(run_folder: RunArgument, name: NameOption = "all") -> None:
    """Train the derived network and its baselines from scratch by one recipe; resumes bit for bit.

    Example: proxyless train runs/first derived
    """
    from search.run import open_run
    from search.steps.train import train

    train(open_run(run_folder), Console(), _names(name))


@app.command("export")
def export_command(run_folder: RunArgument, name: NameOption = "all") -> None:
    """Write ONNX and TFLite files and check each against torch.

    Example: proxyless export runs/first derived
    """
    from search.run import open_run
    from search.steps.export import export

    export(open_run(run_folder), Console(), _names(name))


@app.command("verify")
def verify_command(  # noqa: PLR0913, PLR0917 - one option each
    run_or_file: Annotated[Path, typer.Argument(help="A run folder, or an exported .onnx or .tflite file.")],
    name: NameOption = "all",
    device: Annotated[Path | None, typer.Option("--device", help="For a file: the device file to time it on.")] = None,
    target_ms: TargetMsOption = None,
    predictor: Annotated[Path | None, typer.Option("--predictor", help="For a file: what to predict it by.")] = None,
    network: Annotated[
        Path | None, typer.Option("--network", help="For a file: its network; by default the .json beside it.")
    ] = None,
    measurements: Annotated[
        Path | None, typer.Option("--measurements", help="For a file: a measurements file that the timing joins.")
    ] = None,
) -> None:
    """Time the exported files on the device; ends with 4 when the derived network misses the budget.

    Example: proxyless verify runs/first

    Example: proxyless verify runs/first/export/derived-int8.onnx --device device_configs/local_cpu_onnxruntime.yaml
    """
    if run_or_file.suffix in {".onnx", ".tflite"}:
        _verify_file(run_or_file, device, target_ms, (predictor, network, measurements))
        return
    from search.run import open_run
    from search.steps.verify import require_budget, verify

    run = open_run(run_or_file)
    names = _names(name)
    verify(run, Console(), names)
    for verified in names:
        typer.echo(_describe_verification(run, verified))
    if "derived" in names:
        require_budget(run)


def _verify_file(
    path: Path, device: Path | None, target_ms: float | None, known: tuple[Path | None, Path | None, Path | None]
) -> None:
    from profiler_agent.device import load_device
    from search.errors import RunFolderError
    from search.progress import progress
    from search.verify_file import KnownNetwork, network_beside, verify_file

    if device is None:
        raise RunFolderError(f"Name the device that {path.name} is to be timed on: --device device_configs/NAME.yaml.")
    predictor, network, measurements = known
    held = None
    if any(known):
        held = KnownNetwork(network=network_beside(path, network), predictor=predictor, measurements=measurements)
    with progress(Console(), "verify") as update:
        verified = verify_file(path, load_device(device), target_ms=target_ms, known=held, update=update)
    typer.echo(str(verified))
    verified.require_budget()


@app.command("report")
def report_command(run_folder: RunArgument) -> None:
    """Write one self-contained page about a run, finished or not.

    Example: proxyless report runs/first
    """
    from search.run import open_run
    from search.steps.report import report

    report(open_run(run_folder), Console())


app.add_typer(device_app, name="device")


class Interrupted(BaseException):
    """Ctrl-C or a polite kill. Not a KeyboardInterrupt: typer would turn that into its own "Aborted!"."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and end the process; an error of ours becomes its words and its exit code."""
    prepare_threads()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app(args=None if argv is None else list(argv))
    except ProxylessError as error:
        _fail(str(error), error.exit_code)
    except Interrupted:
        _fail("Stopped. Nothing is lost: the same command goes on from here.", EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail(
            f"The disk is full ({error.filename or Path.cwd()}). What was written before is whole; free some space and "
            f"run the same command again.",
            EXIT_OUR_FAULT,
        )


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
    raise Interrupted


def _fail(message: str, exit_code: int) -> NoReturn:
    sys.stdout.flush()
    Console(stderr=True, soft_wrap=True).print(message, style="bold red", highlight=False, markup=False)
    sys.exit(exit_code)


def _names(name: str) -> tuple[str, ...]:
    from search.errors import RunFolderError
    from search.run import NETWORK_NAMES

    if name == "all":
        return NETWORK_NAMES
    if name not in NETWORK_NAMES:
        raise RunFolderError(f"No network is called {name!r}; use {', '.join(NETWORK_NAMES)}, or all.")
    return (name,)


def _check_inputs(run: Run) -> None:
    """Refuse a wrong device file, preset, data folder or space before anything is written."""
    _ = (run.device, run.preset, run.data, run.space)


def _describe_verification(run: Run, name: str) -> str:
    from search.files import read_json

    record = read_json(run.folder.verification(name))
    predicted = "not predicted" if record["predicted_ms"] is None else f"predicted {record['predicted_ms']:.4g} ms"
    return (
        f"{name}: measured {record['measured_ms']:.4g} ms ({record['verdict']}, spread {record['spread']:.1%}), "
        f"{predicted}, budget {record['target_ms']:.4g} ms"
    )
