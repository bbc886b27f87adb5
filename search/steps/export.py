"""Step 6, export: the files a network is shipped as, each run in its runtime and held against torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from latency_model.lowering.torchscript import write_torchscript
from latency_model.network import network_to_json
from profiler_agent.bundle import file_sha256
from search.batches import SplitData
from search.export_formats import (
    ALL_FORMATS,
    SINGLE_PRECISION,
    ExportFormat,
    calibrated,
    check_file,
    reference_of,
    write_format,
)
from search.file_metadata import image_facts, preprocessing
from search.files import read_record, write_json, write_text
from search.plain_network import PlainNetwork, folded_weights
from search.plain_source import file_stem, plain_source, plain_state
from search.progress import progress
from search.run import NETWORK_NAMES, Run
from search.steps.train import require_trained
from search.train_network import TrainFiles, load_trained
from search.weights_file import write_weights


def formats_of(name: str) -> tuple[ExportFormat, ...]:
    """The derived network is shipped in every format; the baselines are only timed, in single precision."""
    return ALL_FORMATS if name == "derived" else SINGLE_PRECISION


def export(run: Run, console: Console, names: Sequence[str] = NETWORK_NAMES) -> None:
    """Export what is not exported yet, or was trained anew since; then say what each file's accuracy is.

    Raises:
        ExportError: a file's logits differ from torch's by more than its numbers can explain.
        RunFolderError: a network is not trained yet, or not to the end.
    """
    left = [name for name in names if not is_exported(run, name)]
    for name in left:
        require_trained(run, name)
    if left:
        _export(run, left, console)
    known = _known_exports(run)
    for name in names:
        console.print(describe_losses(name, known[name]), highlight=False, soft_wrap=True)


def _export(run: Run, left: Sequence[str], console: Console) -> None:
    known = _known_exports(run)
    data = run.split(run.train_settings.held_out_fraction)
    with run.timed("export"), progress(console, "export") as update:
        for done, name in enumerate(left):
            update(done, len(left))
            model = load_trained(run.read_network(name), TrainFiles(folder=run.folder.training(name)))
            checks = export_network(model, data, run.folder.exports.parent, formats_of(name), run.settings.seed)
            trained = trained_sha256(run, name)
            known[name] = {key: {**check, "trained_sha256": trained} for key, check in checks.items()}
            if run.device.runtime.name == "torch":
                write_torchscript(model.network, folded_weights(model), run.folder.exported(name, ".pt"))
            write_json(run.folder.exports, known)
        update(len(left), len(left))


def is_exported(run: Run, name: str) -> bool:
    """Whether all files of a network are there, hold the weights that it has now, and are those that were checked. The
    plain PyTorch file is its user's to edit: it only has to be there."""
    if not TrainFiles(folder=run.folder.training(name)).weights.exists():
        return False
    known, trained = _known_exports(run).get(name, {}), trained_sha256(run, name)
    beside = [*plain_files(run.folder.exports.parent, name)]
    if run.device.runtime.name == "torch":
        beside.append(run.folder.exported(name, ".pt"))
    return all(file.is_file() for file in beside) and all(
        _is_as_checked(run.folder.exported(name, form.file_suffix), known.get(form.key, {}), trained)
        for form in formats_of(name)
    )


def _is_as_checked(file: Path, check: Mapping[str, Any], trained: str) -> bool:
    if check.get("trained_sha256") != trained or not file.is_file():
        return False
    return check.get("file_sha256") == file_sha256(file)


def trained_sha256(run: Run, name: str) -> str:
    """Tells whether a file was made of the layers and weights that the network has now."""
    weights = file_sha256(TrainFiles(folder=run.folder.training(name)).weights)
    return hashlib.sha256(f"{weights} {network_to_json(run.read_network(name))}".encode()).hexdigest()


def _known_exports(run: Run) -> dict[str, Any]:
    return read_record(run.folder.exports, {}) if run.folder.exports.exists() else {}


def export_network(
    model: PlainNetwork, data: SplitData, folder: Path, formats: Sequence[ExportFormat], seed: int
) -> dict[str, Any]:
    """Write and check the files of one trained network, and the network itself as plain PyTorch.

    Returns:
        For each format, by its key: error, accuracy, accuracy lost against torch, bytes, path inside the run, hash.
    """
    network, name = model.network, model.network.name
    weights, reference = folded_weights(model), reference_of(model, data)
    int8 = calibrated(network, weights, data, seed) if any(form.dtype == "int8" for form in formats) else None
    checks = {}
    for form in formats:
        path = folder / f"{name}{form.file_suffix}"
        write_format(form, network, weights, path, int8=int8, metadata=preprocessing(data))
        check = check_file(path, form.dtype, reference)
        checks[form.key] = {"path": f"{folder.name}/{path.name}", **check, "file_sha256": file_sha256(path)}
    write_plain_network(model, data, folder)
    return checks


def plain_files(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """The plain network's source, weights and layers."""
    stem = file_stem(name)
    return folder / f"{stem}.py", folder / f"{stem}.safetensors", folder / f"{name}.json"


def write_plain_network(model: PlainNetwork, data: SplitData, folder: Path) -> None:
    """One Python file that needs torch alone, its weights beside it, and the layers as NAME.json."""
    network = model.network
    source, weights, layers = plain_files(folder, network.name)
    write_weights(weights, plain_state(network, model.state_dict()))
    write_text(source, plain_source(network, image_facts(data)))
    write_json(layers, network_to_json(network))
    if source.stem != network.name:  # earlier versions wrote random.py, for which no file beside it could import torch
        for suffix in (".py", ".safetensors"):
            (folder / f"{network.name}{suffix}").unlink(missing_ok=True)


def describe_losses(name: str, checks: dict[str, Any]) -> str:
    """What smaller numbers cost: "derived: onnx 96.1 %, onnx-int8 95.7 % (-0.4 points), ..."."""
    parts = []
    for key, check in checks.items():
        points = round(-100 * check["accuracy_loss"], 1) + 0.0  # never -0.0
        lost = f" ({points:+.1f} points)" if check["dtype"] == "int8" else ""
        parts.append(f"{key} {100 * check['accuracy']:.1f} %{lost}")
    return f"{name}: {', '.join(parts)} of {next(iter(checks.values()))['accuracy_images']} test images"
