"""Step 5, train: the derived network and its baselines by one recipe, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from profiler_agent.errors import ProxylessError
from search.allocator import keep_freed_memory
from search.errors import RunFolderError, TrainingFailed
from search.files import read_json_lines, read_record
from search.live_curves import live_curves
from search.parent import PARENT, while_parent_lives
from search.progress import Update, progress
from search.report.recipe import SCRATCH, start_of
from search.run import NETWORK_NAMES, Run, open_run
from search.steps.search import finished_trainer
from search.train_network import NetworkTrainer, TrainFiles, read_result
from search.warm_start import supernet_weights
from search.workers import ALONE, Workers, join_workers

POLL_S = 0.5


def train(run: Run, console: Console, names: Sequence[str] = NETWORK_NAMES, *, from_supernet: bool = False) -> None:
    """Train what is not trained yet; several networks in processes of their own, one per core. Under ``torchrun`` its
    processes share each network, one network after the other.

    Args:
        from_supernet: begin with what the supernet learned; for the derived network alone, as the others have none.
    Raises:
        RunFolderError: a network was not derived yet.
        TrainingFailed: a process that trained one ended without having done so.
    """
    if from_supernet and tuple(names) != ("derived",):
        raise RunFolderError("Only the derived network can begin with the supernet's weights; name it: derived.")
    with join_workers() as workers:
        left = _left(run, names, workers)
        if from_supernet and not left:
            _require_supernet_start(run)
        if not left:
            if workers.is_first:
                _print_accuracies(run, names, console)
            return
        for name in left:
            run.read_network(name)  # before a process is started that could not say it as well
        if workers.is_first:
            _warn_of_few_images(run, console)
        with _watched(run, console, workers) as update:
            if len(left) == 1 or workers.count > 1:
                initial = derived_start(run) if from_supernet else None
                _train_in_turn(run, left, update, initial, workers)
            else:
                _train_side_by_side(run, left, update)
        if workers.is_first:
            _print_accuracies(run, names, console)


def _warn_of_few_images(run: Run, console: Console) -> None:
    epochs, usual = run.train_settings.epochs, run.preset.train_epochs
    if epochs > usual:
        console.print(
            f"few images: each network is trained for {epochs:g} epochs instead of the {usual:g} of the preset "
            f"{run.settings.preset}, as it needs {run.preset.least_train_steps} steps.",
            highlight=False,
            soft_wrap=True,
        )


def is_trained(run: Run, name: str) -> bool:
    files = TrainFiles(folder=run.folder.training(name))
    return files.result.exists() and files.weights.exists()


def require_trained(run: Run, name: str) -> None:
    """Raise unless a network's training is finished: on its way it leaves weights that are only its best so far.

    Raises:
        RunFolderError: it is not.
    """
    if not is_trained(run, name):
        raise RunFolderError(
            f"{name} of {run.folder.path} is not trained to the end; train it first, or go on where its training "
            f"stopped: proxyless train {run.folder.path} {name}"
        )


def _left(run: Run, names: Sequence[str], workers: Workers) -> list[str]:
    """What is to be trained, as the first worker sees it: when another one looks, the first may be further."""
    is_left = torch.tensor([not is_trained(run, name) for name in names])
    workers.from_first_([is_left])
    return [name for name, left in zip(names, is_left.tolist(), strict=True) if left]


def _require_supernet_start(run: Run) -> None:
    files = TrainFiles(folder=run.folder.training("derived"))
    if start_of(read_result(files)) == SCRATCH:
        raise RunFolderError(
            f"The derived network is trained already, from scratch. To train it again from the supernet's weights, "
            f"remove {files.folder} first; then export and verify it again."
        )


@contextmanager
def _watched(run: Run, console: Console, workers: Workers) -> Iterator[Update]:
    """Shows progress and counts the time, once for all workers."""
    with ExitStack() as stack:
        if workers.is_first:
            stack.enter_context(run.timed("train"))
            yield stack.enter_context(progress(console, "train"))
        else:
            yield _shown_by_the_first


def _shown_by_the_first(done: int, total: int) -> None:
    """Progress of a worker that is not the first."""


def _train_in_turn(
    run: Run, names: Sequence[str], update: Update, initial: Mapping[str, Tensor] | None, workers: Workers
) -> None:
    for index, name in enumerate(names):

        def on_step(done: int, total: int, before: int = index) -> None:
            update(before * total + done, len(names) * total)

        train_here(run, name, on_step, initial, workers)


def _print_accuracies(run: Run, names: Sequence[str], console: Console) -> None:
    for name in names:
        result = read_result(TrainFiles(folder=run.folder.training(name)))
        console.print(f"{name}: {100 * result['accuracy']:.1f} % of the test images", highlight=False)


def train_here(
    run: Run,
    name: str,
    update: Update | None = None,
    initial: Mapping[str, Tensor] | None = None,
    workers: Workers = ALONE,
) -> None:
    """Train one network of the run in this process, which may be one of several; it resumes bit for bit."""
    settings = run.train_settings
    data = run.split(settings.held_out_fraction)
    files = TrainFiles(folder=run.folder.training(name))
    trainer = NetworkTrainer(run.read_network(name), data, settings, files, workers, initial)
    trainer.resume()
    with ExitStack() as stack:
        on_step = update
        if workers.is_first:
            curves = live_curves(files.events, run.folder.curves(name), "train", trainer.step, update)
            on_step = stack.enter_context(curves)
        trainer.run(while_parent_lives(on_step, workers.count))


def derived_start(run: Run) -> dict[str, Tensor]:
    """What the supernet learned about the derived network.

    Raises:
        RunFolderError: nothing was derived yet.
    """
    derived = read_record(run.folder.derivation, {"derived": dict})["derived"]
    trainer = finished_trainer(run)
    space = run.space.widths[derived["width"]]
    return supernet_weights(space, tuple(derived["choices"]), trainer.supernet.state_dict())


def _train_side_by_side(run: Run, names: Sequence[str], update: Update) -> None:
    """On a CPU, independent one-thread processes beat threads: small networks leave threads waiting. One process more
    than cores keeps all cores at work to the end."""
    waiting, running = list(names), dict[str, subprocess.Popen[bytes]]()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        while waiting or running:
            while waiting and len(running) <= cores:
                name = waiting.pop(0)
                running[name] = _start(run, name)
            time.sleep(POLL_S)
            for name, process in list(running.items()):
                if process.poll() is not None:
                    _require_success(run, name, process)
                    del running[name]
            _report_progress(run, names, update)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def _start(run: Run, name: str) -> subprocess.Popen[bytes]:
    log = _log(run, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "search.steps.train", str(run.folder.path), name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", PARENT: str(os.getpid())}
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )


def _log(run: Run, name: str) -> Path:
    return run.folder.training(name) / "train.log"


def _require_success(run: Run, name: str, process: subprocess.Popen[bytes]) -> None:
    if process.returncode != 0 or not is_trained(run, name):
        log = _log(run, name)
        tail = log.read_text(encoding="utf-8", errors="replace")[-800:]
        raise TrainingFailed(
            f"Training {name!r} ended with {process.returncode}. The end of {log}:\n{tail}", process.returncode
        )


def _report_progress(run: Run, names: Sequence[str], update: Update) -> None:
    share = 0.0
    for name in names:
        files = TrainFiles(folder=run.folder.training(name))
        try:
            events = list(read_json_lines(files.events))
        except json.JSONDecodeError:
            continue
        if is_trained(run, name):
            share += 1.0
        elif events:
            share += (events[-1]["step"] + 1) / events[-1]["total_steps"]
    update(round(1000 * share / len(names)), 1000)


def _main(folder: Path, name: str) -> int:
    """One network in a process of its own: what went wrong in words on standard error, and the exit code."""
    try:
        with join_workers() as workers:
            train_here(open_run(folder), name, workers=workers)
    except ProxylessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2]))
