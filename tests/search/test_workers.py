"""Two processes share one search: the replicas stay equal, and what they find is what one process finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from search.workers import ALONE, Workers, join_workers

ROOT = Path(__file__).resolve().parents[2]
SEARCH = """
    import json, os, signal, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from search.derive import Judging, derive
    from search.settings import SearchSettings
    from search.trainer import SearchFiles, SearchTrainer
    from search.workers import join_workers
    from tests.search.conftest import target_from_macs
    from tests.search.small_search import small_data, tiny_space

    folder = Path(sys.argv[1])
    stop = int(sys.argv[2])
    killed_at = int(sys.argv[3])
    is_first_attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    settings = SearchSettings(
        warmup_steps=3, search_steps=9, batch_size=32, architecture_batch_size=32, held_out_fraction=0.25, seed=3,
        weight_steps_per_architecture_step=2,
        derive_candidates=3,
    )
    space = tiny_space()
    with join_workers() as workers:
        files = SearchFiles(folder=folder)
        trainer = SearchTrainer(space, small_data(), [target_from_macs(space, 0.06)], settings, files, workers)
        trainer.resume()
        begun_at = trainer.step
        while trainer.step < stop:
            if trainer.step == killed_at and workers.rank == 1 and is_first_attempt:
                os.kill(os.getpid(), signal.SIGKILL)
            trainer.take_step()
            if killed_at >= 0:
                trainer.save()
        trainer.save()
        derived = derive(trainer.supernet, trainer.states[0], trainer.data, settings, Judging(workers=workers)).best
        found = {
            "logits": [alpha.tolist() for alpha in trainer.states[0].logits.positions],
            "weights": sum(float(p.detach().double().abs().sum()) for p in trainer.supernet.parameters()),
            "choices": derived.choices,
            "loss": derived.held_out_loss,
        }
        (folder / f"found{workers.rank}.json").write_text(json.dumps(found))
        (folder / f"begun_at{workers.rank}").write_text(str(begun_at))
"""


ONE_STEP = """
    import os, sys
    from pathlib import Path
    import torch
    from search.workers import join_workers

    with join_workers() as workers:
        weight = torch.nn.Parameter(torch.ones(3))
        weight.sum().backward()
        workers.average_([weight.grad])
        torch.optim.Adam([weight]).step()
    threads = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
    Path(sys.argv[1], f"threads{workers.rank}").write_text("".join(threads))
"""
NEVER = -1
SEPARATE_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def run_search(folder: Path, processes: int, stop: int = 12) -> list[dict]:
    command = worker_command(folder, processes, stop, NEVER, "--standalone")
    subprocess.run(command, check=True, timeout=300, env=environment())
    return found_in(folder, processes)


def worker_command(folder: Path, processes: int, stop: int, killed_at: int, *options: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    script = folder / "one_worker.py"
    script.write_text(textwrap.dedent(SEARCH))
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *options]
    return [sys.executable, *(launcher if processes > 1 else []), str(script), str(folder), str(stop), str(killed_at)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def found_in(folder: Path, processes: int) -> list[dict]:
    return [json.loads((folder / f"found{rank}.json").read_text()) for rank in range(processes)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run_search(tmp_path_factory.mktemp("two"), 2)


@pytest.mark.slow
def test_two_workers_hold_the_same_weights_and_logits_and_derive_the_same_network(two):
    assert two[0] == two[1]


@pytest.mark.slow
def test_workers_that_were_started_again_resume_to_the_same_end(two, tmp_path):
    run_search(tmp_path / "parts", 2, stop=7)
    assert run_search(tmp_path / "parts", 2) == two


@pytest.mark.slow
def test_workers_that_torchrun_restarts_after_one_was_killed_end_like_unbroken_ones(two, tmp_path):
    folder = tmp_path / "restarted"
    command = worker_command(folder, 2, 12, 7, "--standalone", "--max-restarts", "1")
    subprocess.run(command, check=True, timeout=120, env=environment(**SEPARATE_STORE), stderr=subprocess.DEVNULL)
    assert all(int((folder / f"begun_at{rank}").read_text()) in {6, 7} for rank in range(2))
    assert found_in(folder, 2) == two


@pytest.mark.slow
def test_restarts_in_which_workers_would_hang_are_refused_with_the_mend(tmp_path):
    command = worker_command(tmp_path, 2, 12, NEVER, "--standalone", "--max-restarts", "1")
    done = subprocess.run(command, check=False, timeout=120, env=environment(), capture_output=True, text=True)
    assert done.returncode != 0 and "Put TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun" in done.stderr
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.slow
def test_the_first_worker_alone_writes_events(two, tmp_path):
    folder = tmp_path / "again"
    run_search(folder, 2)
    steps = [json.loads(line)["step"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and len(steps) > 3


@pytest.mark.parametrize(
    "variables",
    [
        {"TORCHELASTIC_MAX_RESTARTS": "0", "TORCHELASTIC_USE_AGENT_STORE": "True"},
        {"TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_USE_AGENT_STORE": "False"},
    ],
)
def test_workers_that_cannot_hang_after_a_restart_are_not_refused(monkeypatch, variables):
    for name, value in {"WORLD_SIZE": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="RANK expected"), join_workers():
        pass


def test_each_worker_takes_its_share_and_all_shares_make_the_batch():
    batch = torch.arange(7.0).reshape(7, 1, 1, 1), torch.arange(7)
    shares = [Workers(rank, 3).share(batch)[1] for rank in range(3)]
    assert sorted(torch.cat(shares).tolist()) == list(range(7))


def test_the_mean_over_weighted_shares_is_the_mean_over_the_batch():
    values = torch.tensor([1.0, 2.0, 5.0, 9.0, 4.0])
    shares = [(Workers(rank, 2), values[rank::2]) for rank in range(2)]
    means = [float(share.mean()) * workers.weight_of(len(share), len(values)) for workers, share in shares]
    assert sum(means) / 2 == pytest.approx(float(values.mean()))


def test_alone_nothing_is_averaged():
    tensor = torch.tensor([1.0, 2.0])
    ALONE.average_([tensor])
    assert tensor.tolist() == [1.0, 2.0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells the names of threads")
def test_no_thread_of_the_group_is_left_that_could_abort_a_worker_as_it_ends(tmp_path):
    (script := tmp_path / "one_step.py").write_text(textwrap.dedent(ONE_STEP))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    subprocess.run([*launcher, str(script), str(tmp_path)], check=True, timeout=120, env=environment())
    threads = "".join((tmp_path / f"threads{rank}").read_text() for rank in range(2))
    assert threads and "gloo" not in threads, threads
