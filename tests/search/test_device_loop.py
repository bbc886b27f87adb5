"""A device that is slower than the table says corrects the search while it runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from search.device_loop import DeviceAnswer, DeviceLoop
from search.files import read_json_lines
from search.settings import SearchSettings
from search.trainer import SearchFiles, SearchTrainer
from tests.search.conftest import target_from_macs

SETTINGS = SearchSettings(
    warmup_steps=2,
    search_steps=24,
    batch_size=32,
    architecture_batch_size=32,
    held_out_fraction=0.25,
    seed=3,
    weight_steps_per_architecture_step=2,
)
TRUE_FACTOR, TRUE_FIXED_MS = 1.4, 0.03


class SlowDevice:
    """Every path takes 1.4 times what the table says, and the rest 0.03 ms. It fits one factor to what it has timed."""

    def __init__(self, table):
        self.table = table
        self.timed = {}

    def true_ms(self, choices):
        paths = self.table.network_ms(choices) - self.table.fixed_ms
        return TRUE_FIXED_MS + TRUE_FACTOR * paths

    def ask(self, step, targets, choices):
        self.timed |= {one: self.true_ms(one) for one in choices}
        predicted = [self.table.network_ms(one) for one in self.timed]
        factor = float(np.dot(predicted, list(self.timed.values())) / np.dot(predicted, predicted))
        paths = [factor * ms for ms in self.table.path_latency_ms]
        return [
            DeviceAnswer(self.true_ms(one), target.with_latencies(paths, factor * self.table.fixed_ms))
            for target, one in zip(targets, choices)
        ]


def make(space, data, folder):
    table = target_from_macs(space, 0.06)
    device = SlowDevice(table)
    loop = DeviceLoop(every_steps=3, ask=device.ask)
    return SearchTrainer(space, data, [table], SETTINGS, SearchFiles(folder=folder), device_loop=loop), device


def test_what_the_search_believes_comes_near_to_what_the_device_takes(space, data, tmp_path):
    trainer, device = make(space, data, tmp_path)
    trainer.run()
    visits = list(read_json_lines(trainer.files.device_loop))
    errors = [abs(visit["predicted_ms"] / visit["measured_ms"] - 1) for visit in visits]
    assert len(visits) == 4
    assert errors[0] > 0.1 and errors[-1] < 0.05
    target = trainer.states[0].target
    assert target.target_ms == 0.06
    derived = trainer.states[0].logits.most_probable()
    assert target.network_ms(derived) == pytest.approx(device.true_ms(derived), rel=0.05)


def test_a_correction_keeps_logits_and_multiplier(space, data, tmp_path):
    trainer, _ = make(space, data, tmp_path)
    state = trainer.states[0]
    state.latency_loss.multiplier.fill_(0.7)
    before = [alpha.detach().clone() for alpha in state.logits.positions]
    state.aim_at(dataclasses.replace(state.target, fixed_ms=0.05))
    assert float(state.latency_loss.multiplier) == pytest.approx(0.7)
    assert float(state.latency_loss.fixed_ms) == pytest.approx(0.05)
    assert all(torch.equal(old, new) for old, new in zip(before, state.logits.positions))


def test_a_resumed_search_keeps_what_the_device_taught_it(space, data, tmp_path):
    whole, _ = make(space, data, tmp_path / "whole")
    whole.run()
    part, _ = make(space, data, tmp_path / "parts")
    while part.step < 15:
        part.take_step()
    part.save()
    resumed, device = make(space, data, tmp_path / "parts")
    device.timed = {
        tuple(visit["choices"]): visit["measured_ms"] for visit in read_json_lines(resumed.files.device_loop)
    }
    resumed.resume()
    resumed.run()
    assert resumed.states[0].target.fixed_ms == whole.states[0].target.fixed_ms
    assert all(
        torch.equal(left, right)
        for left, right in zip(whole.states[0].logits.positions, resumed.states[0].logits.positions)
    )
