"""Several processes train one network: whatever their clocks say, killed and started again, they end alike."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from search.files import read_json, read_json_lines
from search.run import NETWORK_NAMES, Run, start_run
from search.run_settings import RunSettings
from search.spaces.small import small_space
from tests.search.two_workers import found_by_two

ROOT = Path(__file__).resolve().parents[2]
TRAINING = """
    import os, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from search import train_network as module
    from search.settings import TrainSettings
    from search.workers import join_workers
    from tests.search.small_search import small_data, tiny_space

    # The clocks of two processes never agree; here they disagree as much as they can.
    module.CHECKPOINT_EVERY_S = float(sys.argv[2 + int(os.environ.get("RANK", "0"))])
    settings = TrainSettings(
        epochs=16, batch_size=36, dropout=0.2, held_out_fraction=0.25, seed=2, ema_decay=0.9, mixup_alpha=0.3
    )
    with join_workers() as workers:
        files = module.TrainFiles(folder=Path(sys.argv[1]))
        network = tiny_space().network((1, 0), "derived")
        module.NetworkTrainer(network, small_data(), settings, files, workers).run()
"""
BEGIN = """
    import dataclasses, json, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from search import train_network as module
    from search.errors import WorkersDiffer
    from search.settings import TrainSettings
    from search.workers import join_workers
    from tests.search.small_search import small_data, tiny_space

    folder, differ = Path(sys.argv[1]), sys.argv[2]
    network, data, exact = tiny_space().network((1, 0), "derived"), small_data(), module.PlainNetwork
    with join_workers() as workers:
        if not workers.is_first and differ == "images":
            data = dataclasses.replace(data, data=dataclasses.replace(data.data, hash="rows-2"))
        if not workers.is_first and differ == "last digits":
            def rounded_otherwise(*arguments):
                model = exact(*arguments)
                with torch.no_grad():
                    for weight in model.parameters():
                        weight.mul_(1 + 1e-6)
                return model
            module.PlainNetwork = rounded_otherwise
        try:
            files = module.TrainFiles(folder=folder)
            trainer = module.NetworkTrainer(network, data, TrainSettings(epochs=1.0), files, workers)
            found = [weight.tolist() for weight in trainer.model.parameters()]
        except WorkersDiffer as error:
            found = str(error)
        (folder / f"found{workers.rank}.json").write_text(json.dumps(found))
"""
NEVER_S = 1e9
WAITS = 15_000  # of 0.02 s each


def start_training(folder: Path, save_every_s: tuple[float, float]) -> subprocess.Popen[bytes]:
    """Two processes that save after so many seconds of their own clocks."""
    folder.mkdir(exist_ok=True)
    script = folder / "one_worker.py"
    script.write_text(textwrap.dedent(TRAINING))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return subprocess.Popen(
        [*launcher, str(script), str(folder), *map(str, save_every_s)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def workers_of(launcher: subprocess.Popen[Any]) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def end(launcher: subprocess.Popen[Any]) -> None:
    """Kill all three; the launcher first, as it would end the others politely."""
    workers = workers_of(launcher)
    launcher.kill()
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    launcher.wait()


def finish_training(folder: Path, save_every_s: tuple[float, float]) -> None:
    process = start_training(folder, save_every_s)
    try:
        assert process.wait(timeout=600) == 0
    except BaseException:
        end(process)
        raise


def wait_for_step(process: subprocess.Popen[Any], folder: Path, step: int) -> None:
    """Return when the training has logged a step from ``step`` on; it must still be at work then."""
    for _ in range(WAITS):
        assert process.poll() is None, "the training ended before it could be killed"
        if any(event["step"] >= step for event in read_json_lines(folder / "events.jsonl")):
            return
        time.sleep(0.02)
    raise AssertionError(f"no step {step} after {WAITS * 0.02:.0f} seconds")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    finish_training(folder, (NEVER_S, NEVER_S))
    return folder


def require_equal(folder: Path, expected: Path) -> None:
    found, wanted = (load_file(one / "weights.safetensors") for one in (folder, expected))
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    results = [{**read_json(one / "result.json"), "seconds": None} for one in (folder, expected)]
    assert results[0] == results[1]
    steps = [[event["step"] for event in read_json_lines(one / "events.jsonl")] for one in (folder, expected)]
    assert steps[0] == steps[1] == sorted(set(steps[0]))


@pytest.mark.slow
def test_processes_with_other_images_are_refused_by_all_and_first_weights_are_the_first_ones(tmp_path):
    first, second = found_by_two(BEGIN, tmp_path, "last digits")
    assert first == second and isinstance(first, list)
    first, second = found_by_two(BEGIN, tmp_path, "images")
    assert first == second and "Worker 1 of 2 has another data than the first one" in first


@pytest.mark.slow
def test_processes_whose_clocks_disagree_train_to_the_same_end(unbroken, tmp_path):
    finish_training(tmp_path / "disagree", (NEVER_S, 0.0))
    require_equal(tmp_path / "disagree", unbroken)


@pytest.mark.slow
def test_processes_killed_with_sigkill_and_started_again_end_like_unbroken_ones(unbroken, tmp_path):
    folder, save_every_s = tmp_path / "killed", (0.05, 0.02)
    launcher = start_training(folder, save_every_s)
    wait_for_step(launcher, folder, 10)
    end(launcher)
    launcher = start_training(folder, save_every_s)
    wait_for_step(launcher, folder, 30)
    os.kill(workers_of(launcher)[-1], signal.SIGKILL)
    assert launcher.wait(timeout=300) != 0, "one worker was killed, and the others went on"
    assert (folder / "checkpoint.pt").exists() and not (folder / "result.json").exists()
    finish_training(folder, save_every_s)
    require_equal(folder, unbroken)


def untrained_run(folder: Path, image_limit: int) -> Run:
    settings = RunSettings(device="here.yaml", data="digits", target=None, preset="smoke", image_limit=image_limit)
    run, space = start_run(folder, settings), small_space((1, 16, 16), 10)
    for index, name in enumerate(NETWORK_NAMES):
        run.write_network(space.network(tuple(index for _ in space.positions), name))
    return run


def start_verb(run: Run, name: str) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return subprocess.Popen(
        [*launcher, "-m", "search", "train", str(run.folder.path), name],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_share_the_training_of_a_runs_networks(tmp_path):
    run = untrained_run(tmp_path, image_limit=400)
    with start_verb(run, "all") as launcher:
        words, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0
    assert [line.split(":")[0] for line in words.splitlines() if "% of the test images" in line] == list(NETWORK_NAMES)
    for name in NETWORK_NAMES:
        steps = [event["step"] for event in read_json_lines(run.folder.training(name) / "events.jsonl")]
        assert steps == sorted(set(steps)), "each process trained the network for itself"
    assert run.seconds()["train"] > 0


@pytest.mark.slow
def test_processes_end_when_what_started_them_was_killed(tmp_path):
    run = untrained_run(tmp_path, image_limit=1400)
    with start_verb(run, "derived") as launcher:
        wait_for_step(launcher, run.folder.training("derived"), 1)
        launcher.kill()
        launcher.communicate(timeout=60)  # their common output ends with the last of them
    assert not run.folder.training("derived").joinpath("result.json").exists()
