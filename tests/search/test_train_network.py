"""Training one network: it resumes bit for bit, keeps its best weights, and looks at the test part once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from latency_model.lowering import run_torch
from latency_model.network import with_batch
from search.batches import SplitData
from search.data.batches import seeded_generator
from search.errors import CheckpointError, RunFolderError, TrainingDiverged
from search.files import read_json_lines
from search.plain_network import PlainNetwork, folded_weights
from search.settings import TrainSettings
from search.train_network import NetworkTrainer, TrainFiles, accuracy_of, load_trained, read_result

SETTINGS = TrainSettings(epochs=4, batch_size=36, dropout=0.2, held_out_fraction=0.25, seed=2)


@pytest.fixture
def network(space):
    return space.network((1, 0), "derived")


def make(network, data, folder, settings=SETTINGS):
    return NetworkTrainer(network, data, settings, TrainFiles(folder=folder))


def stop_after(trainer, steps):
    """Train on, and fall over after so many steps in all."""

    def fall_over(done, total):
        if done == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run(fall_over)


def comparable(folder):
    result = read_result(TrainFiles(folder=folder))
    return {name: value for name, value in result.items() if name != "seconds"}


@pytest.mark.parametrize("checkpoint_every_s", [0.0, 1e9])
@pytest.mark.parametrize("recipe", [{}, {"ema_decay": 0.9, "mixup_alpha": 0.3}])
def test_a_training_that_stopped_and_resumed_ends_like_one_that_did_not(
    network, data, tmp_path, monkeypatch, checkpoint_every_s, recipe
):
    settings = dataclasses.replace(SETTINGS, **recipe)
    make(network, data, tmp_path / "whole", settings).run()
    monkeypatch.setattr("search.train_network.CHECKPOINT_EVERY_S", checkpoint_every_s)
    for steps in (3, 5, 12):
        stop_after(make(network, data, tmp_path / "parts", settings), steps)
    make(network, data, tmp_path / "parts", settings).run()

    whole, parts = (TrainFiles(folder=tmp_path / name) for name in ("whole", "parts"))
    expected, found = load_file(whole.weights), load_file(parts.weights)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert comparable(whole.folder) == comparable(parts.folder)
    steps = [event["step"] for event in read_json_lines(parts.events)]
    assert steps == sorted(set(steps)) == [event["step"] for event in read_json_lines(whole.events)]


def test_the_test_part_is_touched_once_and_only_at_the_end(network, data, tmp_path, monkeypatch):
    touched = []
    original = SplitData.test_batches

    def watched(self, batch_size):
        touched.append(trainer.step)
        return original(self, batch_size)

    monkeypatch.setattr(SplitData, "test_batches", watched)
    trainer = make(network, data, tmp_path)
    trainer.run()
    assert touched == [trainer.total_steps]


def test_the_weights_kept_are_those_of_the_best_held_out_accuracy(network, data, tmp_path):
    trainer = make(network, data, tmp_path, dataclasses.replace(SETTINGS, epochs=8))
    result = trainer.run()
    seen = [event["held_out_accuracy"] for event in read_json_lines(trainer.files.events)]
    assert result["held_out_accuracy"] == max(accuracy for accuracy in seen if accuracy is not None)
    held_out_count = len(data.held_out_index)
    kept = accuracy_of(load_trained(network, trainer.files), [data.held_out_batch(0, held_out_count)])
    assert kept == pytest.approx(result["held_out_accuracy"])


def test_held_out_images_count_also_where_they_fill_no_second_batch(network, data, tmp_path, monkeypatch):
    judged = []

    def counting(model, batches, device=None):
        judged.append(sum(len(labels) for _, labels in batches))
        return accuracy_of(model, batches, device)

    monkeypatch.setattr("search.train_network.accuracy_of", counting)
    monkeypatch.setattr("search.train_network.TEST_BATCH", 40)
    make(network, data, tmp_path, dataclasses.replace(SETTINGS, epochs=1)).run()
    assert judged[0] == len(data.held_out_index) == 60


def test_a_network_learns_what_can_be_seen(network, data, tmp_path):
    result = make(network, data, tmp_path, dataclasses.replace(SETTINGS, epochs=40)).run()
    assert result["accuracy"] > 0.9


def test_a_training_that_diverges_says_so_and_names_the_rate_to_lower(network, data, tmp_path):
    trainer = make(network, data, tmp_path, dataclasses.replace(SETTINGS, learning_rate=1e30))
    with pytest.raises(TrainingDiverged, match=r"its training diverged\. Lower the learning rate \(it was 1e\+30\)"):
        trainer.run()


def test_a_finished_training_is_not_trained_again(network, data, tmp_path):
    first = make(network, data, tmp_path).run()
    weights = (tmp_path / "weights.safetensors").stat().st_mtime_ns
    again = make(network, data, tmp_path).run()
    assert (tmp_path / "weights.safetensors").stat().st_mtime_ns == weights
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


@pytest.mark.parametrize("steps", [12, None])
def test_a_training_whose_best_weights_were_lost_makes_the_same_again(network, data, tmp_path, monkeypatch, steps):
    make(network, data, tmp_path / "whole").run()
    if steps is None:
        make(network, data, tmp_path / "lost").run()
    else:
        monkeypatch.setattr("search.train_network.CHECKPOINT_EVERY_S", 0.0)
        stop_after(make(network, data, tmp_path / "lost"), steps)
    (tmp_path / "lost" / "weights.safetensors").unlink()
    make(network, data, tmp_path / "lost").run()
    expected, found = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "lost"))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert comparable(tmp_path / "whole") == comparable(tmp_path / "lost")


def test_a_checkpoint_of_other_settings_is_refused_by_name(network, data, tmp_path):
    make(network, data, tmp_path).run()
    other = make(network, data, tmp_path, dataclasses.replace(SETTINGS, learning_rate=0.2))
    with pytest.raises(CheckpointError, match=r"its learning_rate is 0\.1, this one's is 0\.2"):
        other.run()


def test_weights_of_another_network_are_refused(network, space, data, tmp_path):
    make(network, data, tmp_path).run()
    with pytest.raises(RunFolderError, match="another network"):
        load_trained(space.network((0, 0), "derived"), TrainFiles(folder=tmp_path))


def test_untrained_networks_are_an_error_that_names_the_step(network, tmp_path):
    with pytest.raises(RunFolderError, match="proxyless train"):
        load_trained(network, TrainFiles(folder=tmp_path))


def test_no_decay_reaches_batch_norm_and_biases(network, data, tmp_path):
    decayed, spared = make(network, data, tmp_path).optimizer.param_groups
    assert decayed["weight_decay"] > 0 and spared["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in spared["params"])


@pytest.mark.parametrize("choices", [(0, 0), (1, 1), (0, 2)])
def test_folded_weights_compute_what_the_trained_module_computes(space, choices):
    network = space.network(choices, "derived")
    model = PlainNetwork(network, seeded_generator(1, "test"))
    generator = torch.Generator().manual_seed(3)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
            torch.nn.init.normal_(part.weight, 1.0, 0.2, generator=generator)
            torch.nn.init.normal_(part.bias, 0.0, 0.2, generator=generator)
    images = torch.randn(5, *network.input_shape[1:], generator=generator)
    with torch.no_grad():
        expected = model.eval()(images).numpy()
    found = run_torch(with_batch(network, 5), folded_weights(model), images).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
