"""The ``proxyless`` command: one verb per task. Only the command lines print; libraries load when a verb needs them."""

from __future__ import annotations

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
from search.allocator import keep_freed_memory
from search.cli_options import (
    DataOption,
    DeviceLoopOption,
    DeviceOption,
    DropoutOption,
    DryRunOption,
    EmaDecayOption,
    EstimatorOption,
    ImageSizeOption,
    LatencyWeightOption,
    LeastBudgetShareOption,
    LimitOption,
    MeasurementsOption,
    MinutesOption,
    MixupAlphaOption,
    OutOption,
    PresetOption,
    RunArgument,
    SeedOption,
    SpaceOption,
    TargetMsOption,
    TargetOption,
    WithOption,
)
from search.named_network import resolve_network
from search.os_faults import described
from search.ship.cli import register as register_ship_verbs
from search.threads import prepare_threads
from search.verbs_of_workers import require_shared_work

if TYPE_CHECKING:
    from search.run import Run

EXIT_INTERRUPTED = 130
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


@app.callback()
def before_each_verb(context: typer.Context) -> None:
    require_shared_work(context.invoked_subcommand)


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
    dropout: DropoutOption = 0.0,
    ema_decay: EmaDecayOption = 0.0,
    mixup_alpha: MixupAlphaOption = 0.0,
    estimator: EstimatorOption = None,
    latency_weight_per_ms: LatencyWeightOption = None,
    least_budget_share: LeastBudgetShareOption = None,
    minutes: MinutesOption = None,
    device_in_the_loop: DeviceLoopOption = False,
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
        minutes=minutes,
        seed=seed,
        dropout=dropout,
        ema_decay=ema_decay,
        mixup_alpha=mixup_alpha,
        estimator=RunSettings.estimator if estimator is None else estimator,
        latency_weight_per_ms=latency_weight_per_ms,
        least_budget_share=RunSettings.least_budget_share if least_budget_share is None else least_budget_share,
    )
    _check_inputs(Run(out, settings))
    _require_reference(Run(out, settings), predictor)
    if predictor is not None and device_in_the_loop:
        from search.steps.device_loop import require_own_profile

        require_own_profile(Run(out, settings))
    if dry_run:
        from search.steps.profile import describe_remaining

        typer.echo(f"profile: {describe_remaining(Run(out, settings))}")
        return
    from search.pipeline import run_all

    run = start_run(out, settings)
    typer.echo(f"data: {run.data}")
    run_all(run, Console(), predictor, with_device=device_in_the_loop)


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
    dropout: DropoutOption = 0.0,
    ema_decay: EmaDecayOption = 0.0,
    mixup_alpha: MixupAlphaOption = 0.0,
    minutes: MinutesOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Time every op of a space, and some whole networks, on a device. Starts a run folder for the verbs that follow.

    With --minutes, what tells the most in that time. Stopped, the same command goes on.

    Example: proxyless profile --device device_configs/local_cpu_litert.yaml --data digits --out runs/second

    Example: proxyless profile --device device_configs/local_cpu_litert.yaml --data digits --out runs/quick --minutes 2
    """
    from search.run import Run, start_run
    from search.run_settings import RunSettings
    from search.steps.profile import describe_remaining, profile

    settings = RunSettings(
        device=str(device),
        data=data,
        target=None,
        space=space,
        preset=preset,
        image_size=image_size,
        image_limit=limit,
        measurements=None if measurements is None else str(measurements),
        minutes=minutes,
        seed=seed,
        dropout=dropout,
        ema_decay=ema_decay,
        mixup_alpha=mixup_alpha,
    )
    run = Run(out, settings)
    _check_inputs(run)
    if dry_run:
        typer.echo(f"profile: {describe_remaining(run)}")
        return
    run = start_run(out, settings)
    typer.echo(f"data: {run.data}")
    profile(run, Console())
    typer.echo(f"measurements: {run.measurements}")


register_latency_verbs(app, resolve_network)


@app.command("search")
def search_command(  # noqa: PLR0913, PLR0917 - one option each
    run_folder: RunArgument,
    target: TargetOption = None,
    target_ms: TargetMsOption = None,
    sharers: WithOption = None,
    estimator: EstimatorOption = None,
    latency_weight_per_ms: LatencyWeightOption = None,
    least_budget_share: LeastBudgetShareOption = None,
    device_in_the_loop: DeviceLoopOption = False,
) -> None:
    """Search against a budget; resumes where a killed search stopped. Several processes or machines share one search
    under torchrun, which must see the same run folder.

    Example: proxyless search runs/first --target 0.6xmobilenetv2

    Example: torchrun --nproc-per-node 2 -m search search runs/first

    Several devices or budgets share one search with --with; derive, train, export, verify and report then go on in each
    of the run folders. --target is also for those that have no budget yet.

    Example: proxyless search runs/cpu --target 0.6xmobilenetv2 --with runs/phone --with runs/board=0.8ms
    """
    from search.run import open_run, with_target
    from search.run_settings import parse_target
    from search.search_choices import SearchChoices, with_search_choices
    from search.steps.search import search
    from search.steps.share import open_sharer

    choices = SearchChoices(
        estimator=estimator, latency_weight_per_ms=latency_weight_per_ms, least_budget_share=least_budget_share
    )
    run = open_run(run_folder)
    is_given = target is not None or target_ms is not None
    if run.settings.target is None or is_given:
        run = with_target(run, parse_target(target, target_ms))
    others = [open_sharer(text, run.target if is_given else None) for text in sharers or []]
    run, *others = (with_search_choices(one, choices) for one in (run, *others))
    search(run, Console(), others=others, with_device=device_in_the_loop)


@app.command("derive")
def derive_command(run_folder: RunArgument) -> None:
    """Derive the network from the search, and the baselines of the same measured latency.

    Example: proxyless derive runs/first
    """
    from search.run import open_run
    from search.steps.derive import derive_networks

    derive_networks(open_run(run_folder), Console())


register_ship_verbs(app)


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
    keep_freed_memory()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app(args=None if argv is None else list(argv))
    except ProxylessError as error:
        _fail(str(error), error.exit_code)
    except Interrupted:
        _fail("Stopped. Nothing that was kept is lost: the same command goes on from here.", EXIT_INTERRUPTED)
    except OSError as error:
        fault = described(error)
        if fault is None:
            raise
        _fail(*fault)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
    raise Interrupted


def _fail(message: str, exit_code: int) -> NoReturn:
    sys.stdout.flush()
    Console(stderr=True, soft_wrap=True, emoji=False).print(message, style="bold red", highlight=False, markup=False)
    sys.exit(exit_code)


def _require_reference(run: Run, predictor: Path | None) -> None:
    """Refuse a budget that is a share of a network which nobody timed, when no profile will."""
    from search.errors import TargetError

    if predictor is not None and run.target.reference is not None and not run.measurements.exists():
        raise TargetError(
            f"--target {run.target.text} is a share of what {run.target.reference} takes on the device, and a "
            "predictor alone does not say what was measured. Give --target-ms, or with --measurements the file of the "
            "profile that it was fitted on."
        )


def _check_inputs(run: Run) -> None:
    """Refuse the folder of another run, a wrong device file, preset, recipe, search, data folder or space before
    anything is written."""
    from search.run import require_startable

    require_startable(run)
    _ = (run.device, run.preset, run.train_settings, run.search_settings(1), run.data, run.space)
