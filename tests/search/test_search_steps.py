"""What the steps of a search see and change: whose images, how many candidates, which loss, and what stays."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from search import trainer as trainer_module
from search.data.batches import seeded_generator
from search.derive import derive
from search.paths import fixed_paths, sample_full_gates
from search.settings import SearchSettings
from search.trainer import SearchFiles, SearchTrainer
from tests.search.conftest import target_from_macs

SETTINGS = SearchSettings(
    warmup_steps=2,
    search_steps=8,
    batch_size=32,
    architecture_batch_size=32,
    weight_steps_per_architecture_step=2,
    derive_candidates=4,
    fair_share=0.0,
)


def make(space, data, folder, **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    return SearchTrainer(space, data, [target_from_macs(space, 0.06)], settings, SearchFiles(folder=folder))


def test_a_weight_step_of_the_search_runs_one_candidate_per_position_and_only_its_weights_move(space, data, tmp_path):
    trainer, calls = make(space, data, tmp_path), []
    for position, mixed_op in enumerate(trainer.supernet.mixed_ops):
        for index, candidate in enumerate(mixed_op.candidates):
            candidate.register_forward_hook(lambda *_, where=(position, index): calls.append(where))
    before = {name: weight.clone() for name, weight in trainer.supernet.named_parameters()}
    trainer.weight_step(fixed_paths((1, 0)))
    assert calls == [(0, 1), (1, 0)]
    moved = {name for name, weight in trainer.supernet.named_parameters() if not torch.equal(weight, before[name])}
    of_candidates = {tuple(name.split(".")[1:4:2]) for name in moved if name.startswith("mixed_ops")}
    assert of_candidates == {("0", "1"), ("1", "0")}


def test_labels_are_smoothed_in_weight_steps(space, data, tmp_path):
    trainer = make(space, data, tmp_path, label_smoothing=0.3)
    images, labels = data.train_batch(0, 32)
    with torch.no_grad():
        list(trainer.supernet.parameters())[-1].copy_(torch.arange(3.0))  # a fresh network is as unsure of each class
        outputs = trainer.supernet(images, fixed_paths((1, 0)))
    smoothed = functional.cross_entropy(outputs, labels, label_smoothing=0.3)
    assert trainer.weight_step(fixed_paths((1, 0)))[0] == pytest.approx(float(smoothed), rel=1e-5)
    assert float(smoothed) != pytest.approx(float(functional.cross_entropy(outputs, labels)), rel=1e-3)


def test_labels_are_not_smoothed_in_architecture_steps(space, data, tmp_path):
    trainer = make(space, data, tmp_path, label_smoothing=0.3)
    state = trainer.states[0]
    images, labels = data.held_out_batch(0, 32)
    generator = seeded_generator(SETTINGS.seed, "architecture paths", state.target.name, 0)
    drawn = sample_full_gates([p.detach() for p in state.logits.probabilities()], generator).choices
    with torch.no_grad():
        plain = functional.cross_entropy(trainer.supernet(images, fixed_paths(drawn)), labels)
    assert trainer._architecture_step(state, 0)["held_out_loss"] == pytest.approx(float(plain), rel=1e-5)


@pytest.mark.parametrize("estimator", ["full", "two-path", "reinforce"])
def test_architecture_steps_and_judging_leave_the_supernet_to_the_last_bit_as_it_was(space, data, tmp_path, estimator):
    trainer = make(space, data, tmp_path, estimator=estimator)
    before = {name: value.clone() for name, value in trainer.supernet.state_dict().items()}
    trainer._architecture_step(trainer.states[0], 0)
    derive(trainer.supernet, trainer.states[0], data, trainer.settings)
    after = trainer.supernet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert not list(trainer.supernet.buffers())


def test_weights_learn_from_training_images_logits_from_held_out_ones_and_neither_sees_the_test_part(
    space, data, tmp_path, monkeypatch
):
    unaugmented = dataclasses.replace(data, mean=torch.zeros(1), std=torch.ones(1))
    monkeypatch.setattr("search.batches.augment", lambda images, *_: images)
    images = data.data.train_images
    seen = {"weights": set(), "logits": set()}

    def noted(what, batch):
        seen[what] |= {row.tobytes() for row in (batch[0] * 255).round().to(torch.uint8).numpy()}
        return batch

    train, held_out = type(data).train_batch, type(data).held_out_batch
    monkeypatch.setattr(type(data), "train_batch", lambda self, *key: noted("weights", train(self, *key)))
    monkeypatch.setattr(type(data), "held_out_batch", lambda self, *key: noted("logits", held_out(self, *key)))
    trainer = make(space, unaugmented, tmp_path, search_steps=16)
    trainer.run()
    derive(trainer.supernet, trainer.states[0], unaugmented, trainer.settings)
    parts = {
        "weights": {row.tobytes() for row in images[data.train_index].numpy()},
        "logits": {row.tobytes() for row in images[data.held_out_index].numpy()},
    }
    assert not parts["weights"] & parts["logits"]
    for what, part in parts.items():
        assert seen[what] and seen[what] <= part


def test_mean_and_deviation_come_from_the_training_images_alone(data):
    values = data.data.train_images[data.train_index].double() / 255
    assert float(data.mean) == pytest.approx(float(values.mean()), rel=1e-5)
    assert float(data.std) == pytest.approx(float(values.std(unbiased=False)), rel=1e-5)


def test_a_target_that_has_several_steps_in_a_turn_draws_other_paths_in_each(space, data, tmp_path, monkeypatch):
    draws = []
    exact = trainer_module.take_architecture_step

    def noted(supernet, state, batch, settings, step, workers):
        draws.append((state.target.name, step))
        return exact(supernet, state, batch, settings, step, workers)

    monkeypatch.setattr(trainer_module, "take_architecture_step", noted)
    make(space, data, tmp_path, architecture_steps_per_turn=3).run()
    assert len(draws) == 12 and len(set(draws)) == 12


def test_a_logit_moves_only_in_a_step_whose_gradient_it_has_a_part_in(space, data, tmp_path):
    state = make(space, data, tmp_path).states[0]
    alpha = state.logits.positions[1]
    for gradient in ([1.0, -1.0, 0.0], [0.0, -1.0, 1.0], [1.0, 0.0, -1.0]):
        before = alpha.detach().clone()
        for other in state.logits.positions:
            other.grad = torch.zeros_like(other)
        alpha.grad = torch.tensor(gradient, dtype=alpha.dtype)
        state.optimizer.step()
        moved = (alpha.detach() != before).tolist()
        assert moved == [part != 0 for part in gradient]
