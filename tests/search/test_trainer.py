"""The search loop: it resumes bit for bit, lands on its target, and refuses what is not its own."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from profiler_agent.errors import ProxylessError
from search.architecture_step import ArchitectureStep
from search.errors import CheckpointError, RunFolderError, TrainingDiverged
from search.files import read_json_lines
from search.settings import SearchSettings
from search.trainer import SearchFiles, SearchTrainer
from tests.search.conftest import target_from_macs

SETTINGS = SearchSettings(
    warmup_steps=6,
    search_steps=18,
    batch_size=32,
    architecture_batch_size=32,
    held_out_fraction=0.25,
    seed=3,
    weight_steps_per_architecture_step=2,
)


def make(space, data, folder, settings=SETTINGS, targets=None):
    targets = targets or [target_from_macs(space, 0.06)]
    return SearchTrainer(space, data, targets, settings, SearchFiles(folder=folder))


def state_of(trainer):
    states = [trainer.supernet.state_dict(), *(state.state_dict() for state in trainer.states)]
    return {f"{index}.{name}": value for index, state in enumerate(states) for name, value in state.items()}


def test_a_search_that_stopped_and_resumed_ends_like_one_that_did_not(space, data, tmp_path):
    whole = make(space, data, tmp_path / "whole")
    whole.run()
    for stop in (4, 11, 24):
        part = make(space, data, tmp_path / "parts")
        part.resume()
        while part.step < stop:
            part.take_step()
        part.save()
    resumed = make(space, data, tmp_path / "parts")
    resumed.resume()
    resumed.run()
    expected, found = state_of(whole), state_of(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("estimator", ["full", "two-path", "reinforce"])
def test_every_estimator_learns_to_tell_the_paths_apart(space, data, tmp_path, estimator):
    settings = dataclasses.replace(SETTINGS, estimator=estimator, search_steps=40)
    trainer = make(space, data, tmp_path, settings)
    start = [p.detach().clone() for p in trainer.states[0].logits.probabilities()]
    trainer.run()
    end = [p.detach() for p in trainer.states[0].logits.probabilities()]
    assert max(float((left - right).abs().max()) for left, right in zip(start, end)) > 0.05
    assert all(torch.isfinite(p).all() for p in end)


def test_a_search_without_an_architecture_step_is_refused(space, data, tmp_path):
    trainer = make(space, data, tmp_path, dataclasses.replace(SETTINGS, search_steps=1))
    with pytest.raises(RunFolderError, match="none would be taken"):
        trainer.run()


def test_a_search_that_diverges_says_so_with_a_mend_and_writes_no_number_that_is_none(space, data, tmp_path):
    trainer = make(space, data, tmp_path, dataclasses.replace(SETTINGS, learning_rate=1e9, largest_gradient_norm=1e9))
    with pytest.raises(ProxylessError, match=r"diverged.* another --seed"):
        trainer.run()
    assert all(event["loss"] < float("inf") for event in read_json_lines(trainer.files.events))


def test_a_held_out_loss_that_is_no_number_is_a_search_that_diverged(space, data, tmp_path, monkeypatch):
    taken = ArchitectureStep(held_out_loss=float("nan"), expected_ms=1.0, derived_ms=1.0)
    monkeypatch.setattr("search.trainer.take_architecture_step", lambda *_: taken)
    with pytest.raises(TrainingDiverged, match="held-out loss of the search is nan at step 7"):
        make(space, data, tmp_path).run()


def test_two_targets_share_the_supernet_and_learn_apart(space, data, tmp_path):
    settings = dataclasses.replace(SETTINGS, search_steps=120)
    targets = [target_from_macs(space, 0.045, "slow"), target_from_macs(space, 0.09, "fast")]
    trainer = make(space, data, tmp_path, settings, targets)
    trainer.run()
    tight, loose = (state.latency_loss.multiplier for state in trainer.states)
    assert tight > loose


def test_the_multiplier_rises_while_the_derived_network_is_too_slow(space, data, tmp_path):
    trainer = make(space, data, tmp_path, targets=[target_from_macs(space, 0.03)])
    trainer.run()
    multipliers = [event["multiplier"] for event in read_json_lines(trainer.files.events) if event["multiplier"]]
    assert multipliers == sorted(multipliers) and multipliers[-1] > 0


def test_a_checkpoint_of_another_target_is_refused(space, data, tmp_path):
    make(space, data, tmp_path).run()
    other = make(space, data, tmp_path, targets=[target_from_macs(space, 0.07)])
    with pytest.raises(CheckpointError, match=r"its budget on device is 0\.06 ms, this one's is 0\.07 ms"):
        other.resume()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda target: dataclasses.replace(target, fixed_ms=5.0),
            "fixed latency on device is 0.02 ms, this one's is 5.0",
        ),
        (lambda target: dataclasses.replace(target, name="phone"), "set of targets is device, this one's is phone"),
        (
            lambda target: target.with_latencies([2 * ms for ms in target.path_latency_ms], target.fixed_ms),
            "table of path latencies on device is",
        ),
    ],
)
def test_a_refused_checkpoint_names_what_differs_of_its_target(space, data, tmp_path, change, words):
    make(space, data, tmp_path).save()
    other = make(space, data, tmp_path, targets=[change(target_from_macs(space, 0.06))])
    with pytest.raises(CheckpointError, match=f"its {words}") as refused:
        other.resume()
    assert len(str(refused.value)) < 400 + len(str(tmp_path))


def test_a_refused_checkpoint_names_the_setting_that_differs(space, data, tmp_path):
    make(space, data, tmp_path).save()
    other = make(space, data, tmp_path, dataclasses.replace(SETTINGS, learning_rate=0.1))
    with pytest.raises(CheckpointError, match=r"its learning_rate is 0\.4, this one's is 0\.1\."):
        other.resume()


def test_a_checkpoint_of_another_split_of_the_same_images_is_refused(space, data, tmp_path):
    make(space, data, tmp_path).save()
    fewer = dataclasses.replace(data, train_index=data.train_index[:100])
    with pytest.raises(CheckpointError, match="its split is"):
        make(space, fewer, tmp_path).resume()


def test_a_refused_checkpoint_names_the_space_or_the_images_before_what_follows_from_them(space, data, tmp_path):
    make(space, data, tmp_path).save()
    skips = dataclasses.replace(space.positions[1], candidates=space.positions[1].candidates[:2])
    smaller = dataclasses.replace(space, positions=(space.positions[0], skips))
    with pytest.raises(
        CheckpointError, match=rf"its space is tiny \({space.hash}\), this one's is tiny \({smaller.hash}\)"
    ):
        make(smaller, data, tmp_path).resume()
    other = dataclasses.replace(data.data, hash="rows-2")
    fewer = dataclasses.replace(data, data=other, train_index=data.train_index[:100])
    with pytest.raises(CheckpointError, match="its data is rows-1, this one's is rows-2"):
        make(space, fewer, tmp_path).resume()


def test_a_checkpoint_from_before_the_parts_were_kept_is_taken_up_and_refused_in_few_words(space, data, tmp_path):
    trainer = make(space, data, tmp_path)
    trainer.save()
    saved = torch.load(trainer.files.checkpoint, weights_only=True)
    del saved["parts"]
    torch.save({**saved, "state": {**saved["state"], "step": 7}}, trainer.files.checkpoint)
    again = make(space, data, tmp_path)
    again.resume()
    assert again.step == 7
    other = make(space, data, tmp_path, dataclasses.replace(SETTINGS, learning_rate=0.1))
    with pytest.raises(CheckpointError, match="it has other settings") as refused:
        other.resume()
    assert len(str(refused.value)) < 400 + len(str(tmp_path))


def test_a_damaged_checkpoint_is_an_error_that_names_the_mend(space, data, tmp_path):
    trainer = make(space, data, tmp_path)
    trainer.run()
    trainer.files.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="Remove it"):
        make(space, data, tmp_path).resume()


@pytest.mark.parametrize("content", [torch.zeros(3), {"weights": torch.zeros(3)}])
def test_tensors_that_are_no_checkpoint_are_an_error_that_names_the_mend(space, data, tmp_path, content):
    trainer = make(space, data, tmp_path)
    torch.save(content, trainer.files.folder / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"checkpoint.pt is no checkpoint .* Remove it"):
        trainer.resume()


SEARCH_IN_A_PROCESS = """
    import sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from search.batches import split_data
    from search.data.load import load_dataset
    from search.settings import SearchSettings
    from search.spaces.small import small_space
    from search import trainer as module
    from search.trainer import SearchFiles, SearchTrainer
    from tests.search.conftest import target_from_macs

    module.CHECKPOINT_EVERY_S = 0.0
    data = split_data(load_dataset("digits", image_size=16, limit=300), held_out_fraction=0.3, seed=0)
    space = small_space(data.data.image_shape, data.data.class_count)
    settings = SearchSettings(warmup_steps=4, search_steps=16, batch_size=16, architecture_batch_size=16,
        weight_steps_per_architecture_step=2, seed=1)
    files = SearchFiles(folder=Path(sys.argv[1]))
    trainer = SearchTrainer(space, data, [target_from_macs(space, 0.8)], settings, files)
    trainer.resume()
    trainer.run()
    print([alpha.tolist() for alpha in trainer.states[0].logits.positions])
"""


def search_process(folder: Path) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SEARCH_IN_A_PROCESS), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


@pytest.mark.slow
def test_a_search_killed_with_sigkill_gives_the_logits_of_an_unbroken_one(tmp_path):
    whole, _ = search_process(tmp_path / "whole").communicate(timeout=300)
    for kills in (1, 2):
        process = search_process(tmp_path / "killed")
        wait_for_steps(tmp_path / "killed" / "events.jsonl", 2 * kills)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    resumed, _ = search_process(tmp_path / "killed").communicate(timeout=300)
    assert resumed == whole and "[[" in whole


def wait_for_steps(events: Path, count: int) -> None:
    for _ in range(1200):
        if len(list(read_json_lines(events))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} events in {events} after a minute")
