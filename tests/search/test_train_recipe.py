"""What a training may add to its recipe: averaged weights, blended images, a warm start, several processes, curves."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional

from latency_model.network import network_to_json
from search.data.batches import seeded_generator
from search.errors import RunFolderError, SpaceError
from search.files import append_json_line, read_json_lines, write_json
from search.live_curves import live_curves
from search.mixup import mix
from search.paths import fixed_paths
from search.plain_network import PlainNetwork
from search.settings import TrainSettings
from search.ship.train_any import ImageChoice, require_fit, train_any
from search.supernet import SuperNet
from search.train_network import NetworkTrainer, TrainFiles
from search.warm_start import supernet_weights
from search.weight_average import averaging_copy, follow

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = TrainSettings(epochs=4, batch_size=36, held_out_fraction=0.25, seed=2)


@pytest.fixture
def network(space):
    return space.network((1, 0), "derived")


def test_the_average_forgets_its_start_and_settles_where_the_weights_stay():
    model = torch.nn.Linear(3, 2)
    average = averaging_copy(model)
    with torch.no_grad():
        model.weight.fill_(5.0)
    for step in range(60):
        follow(average, model, decay=0.9, step=step)
    torch.testing.assert_close(average.weight, model.weight, atol=1e-2, rtol=0)
    assert not average.weight.requires_grad


def test_the_average_follows_by_one_minus_the_decay():
    model = torch.nn.Linear(1, 1)
    average = averaging_copy(model)
    before = average.weight.clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    follow(average, model, decay=0.5, step=1000)
    torch.testing.assert_close(average.weight, before + 0.5)


def test_the_averaged_weights_are_what_is_judged_and_shipped(network, data, tmp_path):
    settings = dataclasses.replace(SETTINGS, ema_decay=0.8)
    trainer = NetworkTrainer(network, data, settings, TrainFiles(folder=tmp_path))
    trainer.run()
    shipped = load_file(trainer.files.weights)
    name = "layers.stem.conv.weight"
    assert torch.equal(shipped[name], trainer.average.state_dict()[name])
    assert not torch.equal(shipped[name], trainer.model.state_dict()[name])


def test_no_mixup_leaves_images_and_loss_as_they_are(images_and_labels):
    images, labels = images_and_labels
    mixed = mix(images, labels, 0.0, seed=1, step=2)
    logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(1))
    assert mixed.images is images
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.equal(mixed.loss(logits, 0.1), expected)


def test_mixup_blends_images_and_loss_by_one_share(images_and_labels):
    images, labels = images_and_labels
    mixed = mix(images, labels, 0.4, seed=1, step=2)
    assert 0 < mixed.share < 1
    order = [
        int((mixed.images[i] - mixed.share * images[i]).sub((1 - mixed.share) * images).abs().sum((1, 2, 3)).argmin())
        for i in range(len(images))
    ]
    assert sorted(order) == list(range(len(images)))
    assert torch.equal(mixed.other_labels, labels[order])
    sure = functional.one_hot(labels, 3).float() * 50
    wrong_share = float((mixed.other_labels != labels).float().mean())
    assert float(mixed.loss(sure, 0.0)) == pytest.approx(50 * (1 - mixed.share) * wrong_share, rel=1e-4)


def test_mixup_depends_on_seed_and_step_alone(images_and_labels):
    first, again, other = (mix(*images_and_labels, 0.4, seed=1, step=step) for step in (2, 2, 3))
    assert torch.equal(first.images, again.images) and first.share == again.share != other.share


@pytest.mark.parametrize("choices", [(0, 1), (1, 0), (1, 2)])
def test_a_warm_start_computes_what_the_supernet_computes_on_that_path(space, images_and_labels, choices):
    supernet = SuperNet(space, seeded_generator(5, "supernet"))
    initial = supernet_weights(space, choices, supernet.state_dict())
    model = PlainNetwork(space.network(choices), seeded_generator(6, "network"))
    missing, unexpected = model.load_state_dict(initial, strict=False)
    assert not unexpected and all(".bn.running" in name or "num_batches" in name for name in missing)
    images, _ = images_and_labels
    with torch.no_grad():
        torch.testing.assert_close(model.train()(images), supernet(images, fixed_paths(choices)))


def test_a_warm_start_and_a_start_from_scratch_do_not_share_a_checkpoint(space, network, data, tmp_path):
    supernet = SuperNet(space, seeded_generator(5, "supernet"))
    initial = supernet_weights(space, (1, 0), supernet.state_dict())
    NetworkTrainer(network, data, SETTINGS, TrainFiles(folder=tmp_path), initial=initial).run()
    with pytest.raises(ValueError, match="start"):
        NetworkTrainer(network, data, SETTINGS, TrainFiles(folder=tmp_path)).run()


def test_curves_hold_the_logged_numbers_and_go_on_after_a_stop(tmp_path):
    events, folder = tmp_path / "events.jsonl", tmp_path / "tensorboard"
    for first in (0, 40):
        with live_curves(events, folder, "train", first, None) as on_step:
            for step in range(first, first + 40):
                append_json_line(events, {"step": step, "loss": step / 2, "phase": "search", "multiplier": None})
                on_step(step + 1, 80)
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    assert read.Tags()["scalars"] == ["train/loss"]
    assert [(event.step, event.value) for event in read.Scalars("train/loss")] == [(s, s / 2) for s in range(80)]


def test_a_network_for_other_images_or_classes_is_refused(network):
    require_fit(network, (1, 8, 8), 3)
    with pytest.raises(RunFolderError, match="images of 1 x 8 x 8; the data holds 3 x 8 x 8"):
        require_fit(network, (3, 8, 8), 3)
    with pytest.raises(RunFolderError, match="the data has 10 classes"):
        require_fit(network, (1, 8, 8), 10)


def test_a_name_that_is_neither_a_file_nor_in_the_zoo_is_refused(tmp_path):
    from rich.console import Console

    with pytest.raises(SpaceError, match="Did you mean 'proxyless-mobile'"):
        train_any("proxyles-mobile", ImageChoice(data="digits", limit=60), tmp_path, SETTINGS, Console())


@pytest.mark.slow
def test_two_processes_train_one_network_and_write_one_result(tmp_path):
    from search.spaces.small import small_space

    space = small_space((1, 16, 16), 10)
    network = space.network(tuple(0 for _ in space.positions), "tiny")
    write_json(tmp_path / "tiny.json", network_to_json(network))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "search"]
    command += ["train", str(tmp_path / "tiny.json"), "--data", "digits", "--limit", "400", "--image-size", "16"]
    command += ["--epochs", "10", "--batch-size", "64", "--out", str(tmp_path / "out"), "--ema-decay", "0.8"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("% of the test images") == 1
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    events = list(read_json_lines(tmp_path / "out" / "events.jsonl"))
    assert len({event["step"] for event in events}) == len(events)
    assert result["accuracy"] > 0.3 and events[-1]["held_out_accuracy"] is not None
