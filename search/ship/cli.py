"""The verbs that come after a network is known: train, export, verify, baseline, compare."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search.cli_options import (
    DropoutOption,
    EmaDecayOption,
    ImageSizeOption,
    LimitOption,
    MixupAlphaOption,
    NameOption,
    RunArgument,
    SeedOption,
    TargetMsOption,
)

if TYPE_CHECKING:
    from search.run import Run

MODEL_FILES = {".onnx", ".tflite", ".pt"}
RECIPE_OPTIONS = ("epochs", "batch_size", "learning_rate", "dropout", "ema_decay", "mixup_alpha")
NETWORK_OPTIONS = ("data", "out", *RECIPE_OPTIONS, "image_size", "limit", "seed")


def register(app: typer.Typer) -> None:
    """Add the verbs to the main command."""
    app.command("train")(train_command)
    app.command("export")(export_command)
    app.command("verify")(verify_command)
    app.command("baseline")(baseline_command)
    app.command("compare")(compare_command)


def train_command(  # noqa: PLR0913, PLR0917 - one option each
    context: typer.Context,
    run_or_network: Annotated[
        str, typer.Argument(help="A run folder, a network file (.json), or a name of the zoo such as proxyless-mobile.")
    ],
    name: NameOption = "all",
    data: Annotated[str | None, typer.Option("--data", help="For a network: the images to train it on.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="For a network: the folder; named again, resumed.")] = None,
    from_supernet: Annotated[
        bool, typer.Option("--from-supernet", help="For a run: begin with what the supernet learned; derived only.")
    ] = False,
    epochs: Annotated[float, typer.Option("--epochs", help="For a network: passes over the images.")] = 30.0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="For a network: images per step.")] = 128,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="For a network: the highest rate.")] = 0.1,
    dropout: DropoutOption = 0.0,
    ema_decay: EmaDecayOption = 0.0,
    mixup_alpha: MixupAlphaOption = 0.0,
    image_size: ImageSizeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
) -> None:
    """Train a run's networks by one recipe, or any network on any images; resumes bit for bit. A run's recipe was
    chosen when it began (proxyless run or profile), so its networks take none here.

    Example: proxyless train runs/first derived

    Example: torchrun --nproc_per_node 2 -m search train proxyless-mobile --data photos --out trained/mobile
    """
    from search.run import RunFolder, open_run

    if RunFolder(Path(run_or_network)).settings.exists():
        _refuse_given(_typed(context, NETWORK_OPTIONS), "a network that is no run's; a run got its own when it began")
        from search.steps.train import train

        train(open_run(Path(run_or_network)), Console(), _names(name), from_supernet=from_supernet)
        return
    from search.errors import RunFolderError
    from search.settings import TrainSettings
    from search.ship.train_any import ImageChoice, train_any

    if data is None or out is None:
        raise RunFolderError(f"{run_or_network} is no run folder; a network that is no run's needs --data and --out.")
    _refuse_given(_typed(context, ("name", "from_supernet")), f"a run folder; {run_or_network} is a network")
    settings = TrainSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        dropout=dropout,
        ema_decay=ema_decay,
        mixup_alpha=mixup_alpha,
        seed=seed,
    )
    images = ImageChoice(data=data, image_size=image_size, limit=limit)
    result = train_any(run_or_network, images, out, settings, Console())
    if int(os.environ.get("RANK", "0")) == 0:
        typer.echo(f"{result['name']}: {100 * result['accuracy']:.1f} % of the test images; in {out}")


def export_command(run_folder: RunArgument, name: NameOption = "all") -> None:
    """Write ONNX and TFLite files and check each against torch; the derived network also as 16 and 8 bits, and as one
    PyTorch file that needs torch alone.

    Example: proxyless export runs/first derived
    """
    from search.run import open_run
    from search.steps.export import export

    export(open_run(run_folder), Console(), _names(name))


def verify_command(  # noqa: PLR0913, PLR0917 - one option each
    run_or_file: Annotated[Path, typer.Argument(help="A run folder, or an exported file: .onnx, .tflite or .pt.")],
    name: NameOption = "all",
    device: Annotated[Path | None, typer.Option("--device", help="For a file: the device file to time it on.")] = None,
    target_ms: TargetMsOption = None,
    predictor: Annotated[Path | None, typer.Option("--predictor", help="For a file: what to predict it by.")] = None,
    network: Annotated[
        Path | None, typer.Option("--network", help="For a file: the network that it must hold.")
    ] = None,
    measurements: Annotated[
        Path | None, typer.Option("--measurements", help="For a file: a measurements file that the timing joins.")
    ] = None,
) -> None:
    """Time the exported files on the device; ends with 4 when the derived network misses the budget.

    Example: proxyless verify runs/first

    Example: proxyless verify runs/first/export/derived-int8.onnx --device device_configs/local_cpu_onnxruntime.yaml
    """
    if run_or_file.suffix in MODEL_FILES:
        _refuse_given({"a network's name": None if name == "all" else name}, f"a run folder; {run_or_file} is a file")
        _verify_file(run_or_file, device, target_ms, (predictor, network, measurements))
        return
    _refuse_other_files(run_or_file)
    given = {"--device": device, "--target-ms": target_ms, "--predictor": predictor}
    given |= {"--network": network, "--measurements": measurements}
    _refuse_given(given, f"a file such as {run_or_file}/export/derived.onnx; a run was given its own when it began")
    from search.run import NETWORK_NAMES, open_run
    from search.steps.verify import require_budget, verify

    run = open_run(run_or_file)
    names = _names(name)
    verify(run, Console(), names)
    for verified in names:
        typer.echo(_describe_verification(run, verified))
    if names == NETWORK_NAMES:
        from search.report.terminal import summary_table
        from search.steps.report import network_figures

        Console().print(summary_table(network_figures(run)))
    if "derived" in names:
        require_budget(run)


def baseline_command(
    run_folder: RunArgument,
    count: Annotated[int, typer.Option("--count", min=0, help="How many random networks beside the run's own.")] = 3,
    handmade: Annotated[
        int,
        typer.Option(
            "--handmade", min=0, help="How many hand-made networks beside the run's own: of other blocks, small first."
        ),
    ] = 0,
) -> None:
    """Add random networks of the budget's latency, and networks made by hand and scaled to it: one kernel and expansion
    throughout. All are trained by the same recipe; the report shows them with the rest.

    Example: proxyless baseline runs/first --count 5 --handmade 2
    """
    from search.run import open_run
    from search.ship.baseline import add_baselines

    run = open_run(run_folder)
    names = add_baselines(run, Console(), count, handmade)
    typer.echo(f"added: {', '.join(names) or 'nothing'}")


def compare_command(
    run_folders: Annotated[list[Path], typer.Argument(help="Run folders with a trained derived network, two or more.")],
    out: Annotated[Path, typer.Option("--out", help="The page to write; the numbers go beside it as .json.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", help="One more device to measure on, such as device_configs/local_cpu_litert.yaml@int8."
        ),
    ] = None,
    measure: Annotated[bool, typer.Option(help="Measure every network on every device.")] = True,
) -> None:
    """Runs side by side, and every derived network measured on every device: does each win on its own? Stopped and
    given again, it measures the devices that are left.

    Example: proxyless compare runs/cpu runs/phone --out specialisation.html
    """
    from search.files import write_json
    from search.progress import progress
    from search.report import notes_on, write_comparison
    from search.ship.compare import compare_on_devices, numbers_beside, parse_column, write_missing_cards
    from search.ship.kept_columns import KeptColumns

    numbers = numbers_beside(out)
    write_missing_cards(run_folders)
    for note in notes_on(run_folders):
        typer.echo(note)
    if not measure:
        typer.echo(f"comparison: {write_comparison(run_folders, out)}")
        return

    columns = [parse_column(text) for text in device or []]
    kept = KeptColumns(out.with_suffix(".columns.jsonl"))
    if kept.path.exists():
        typer.echo(
            f"What was measured before the comparison stopped is taken from {kept.path}; remove it to measure anew."
        )
    with progress(Console(), "compare") as update:
        matrix = compare_on_devices(run_folders, columns, kept, update)
    write_json(numbers, matrix.to_json())
    for finding in matrix.findings():
        typer.echo(finding)
    typer.echo(f"comparison: {write_comparison(run_folders, out, matrix.to_json())}")
    kept.forget()


def _typed(context: typer.Context, names: Sequence[str]) -> dict[str, object]:
    """Those of the options that stand on the command line, even with their default values."""
    sources = {name: context.get_parameter_source(name) for name in names}
    typed = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    return {"a network's name" if name == "name" else f"--{name.replace('_', '-')}": True for name in typed}


def _refuse_given(options: Mapping[str, object], belongs_to: str) -> None:
    """Options that would change nothing are a misunderstanding, which is better told than left alone."""
    from search.errors import RunFolderError

    if given := [option for option, value in options.items() if value is not None]:
        raise RunFolderError(f"Leave out {', '.join(given)}: only for {belongs_to}.")


def _refuse_other_files(path: Path) -> None:
    from search.errors import RunFolderError

    if path.is_file():
        kinds = ", ".join(sorted(MODEL_FILES))
        raise RunFolderError(f"{path} is neither a run folder nor a model file ({kinds}): nothing in it can be timed.")


def _verify_file(
    path: Path, device: Path | None, target_ms: float | None, known: tuple[Path | None, Path | None, Path | None]
) -> None:
    from profiler_agent.device import load_device
    from search.errors import RunFolderError
    from search.progress import progress
    from search.run_settings import parse_target
    from search.ship.verify_file import KnownNetwork, known_network, verify_file

    if device is None:
        raise RunFolderError(f"Name the device that {path.name} is to be timed on: --device device_configs/NAME.yaml.")
    if target_ms is not None:
        parse_target(None, target_ms)  # refuses what is no budget
    predictor, network, measurements = known
    held = None
    if any(known):
        held = KnownNetwork(network=known_network(path, network), predictor=predictor, measurements=measurements)
    with progress(Console(), "verify") as update:
        verified = verify_file(path, load_device(device), target_ms=target_ms, known=held, update=update)
    typer.echo(str(verified))
    verified.require_budget()


def _names(name: str) -> tuple[str, ...]:
    from search.errors import RunFolderError
    from search.report.run_folder import is_added_baseline
    from search.run import NETWORK_NAMES

    if name == "all":
        return NETWORK_NAMES
    if name not in NETWORK_NAMES and not is_added_baseline(name):
        raise RunFolderError(f"No network is called {name!r}; use {', '.join(NETWORK_NAMES)}, or all.")
    return (name,)


def _describe_verification(run: Run, name: str) -> str:
    from latency_model.network_latency import LatencyEstimate
    from search.steps.verify import read_verification

    record = read_verification(run, name)
    predicted = "not predicted"
    if record["predicted_ms"] is not None:
        predicted = f"predicted {LatencyEstimate(record['predicted_ms'], *record['predicted_interval_ms'])}"
    return (
        f"{name}: measured {record['measured_ms']:.4g} ms ({record['verdict']}, spread {record['spread']:.1%}), "
        f"{predicted}, budget {record['target_ms']:.4g} ms{_describe_pace(record.get('pace'))}"
    )


def _describe_pace(pace: float | None) -> str:
    from search.report.pace import LEAST_CHANGE

    if pace is None or abs(pace - 1) <= LEAST_CHANGE:
        return ""
    return f"; the device ran {abs(pace - 1):.1%} {'slower' if pace > 1 else 'faster'} than when it was profiled"
