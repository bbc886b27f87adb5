"""Logits and gates stay on the CPU while the supernet may be on a GPU. There is none where these tests run: the meta
device, which computes shapes alone, stands for the second device."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from search.errors import TooFewGpus
from search.path_logits import PathLogits
from search.paths import PathSample, sample_full_gates, sample_two_paths
from search.supernet import SuperNet, frozen_weights
from search.workers import ALONE, Workers, join_workers


@pytest.mark.parametrize("draw", [sample_full_gates, sample_two_paths])
def test_gate_gradients_arrive_on_the_gates_device_whatever_the_supernets_is(space, images_and_labels, draw):
    supernet = SuperNet(space, torch.Generator().manual_seed(0))
    logits = PathLogits(space.candidate_counts, torch.Generator().manual_seed(0))
    drawn = draw([p.detach() for p in logits.probabilities()], torch.Generator().manual_seed(0))
    # The gates are elsewhere, and not the supernet: what is on the meta device cannot be moved away from it.
    elsewhere = [paths.gates.detach().to("meta").requires_grad_() for paths in drawn.positions]
    moved = PathSample(
        tuple(dataclasses.replace(paths, gates=gates) for paths, gates in zip(drawn.positions, elsewhere))
    )
    with frozen_weights(supernet):
        gradients = torch.autograd.grad(supernet(images_and_labels[0], moved).sum(), elsewhere)
    assert [gradient.device.type for gradient in gradients] == ["meta"] * len(elsewhere)
    assert [gradient.dtype for gradient in gradients] == [torch.float64] * len(elsewhere)


def test_a_supernet_on_another_device_runs_its_paths_there(space):
    supernet = SuperNet(space, torch.Generator().manual_seed(0)).to("meta")
    logits = PathLogits(space.candidate_counts, torch.Generator().manual_seed(0))
    drawn = sample_full_gates([p.detach() for p in logits.probabilities()], torch.Generator().manual_seed(0))
    assert supernet(torch.empty(4, *space.input_shape[1:], device="meta"), drawn).device.type == "meta"


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_a_search_without_torchrun_uses_the_first_gpu():
    with join_workers() as workers:
        assert workers == Workers(rank=0, count=1, device=torch.device("cuda", 0))


def test_without_a_gpu_it_uses_the_cpu(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with join_workers() as workers:
        assert workers == ALONE


@pytest.mark.usefixtures("two_gpus")
def test_more_workers_than_gpus_are_refused_with_the_mend(monkeypatch):
    for name, value in {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TooFewGpus, match="--nproc-per-node 2"), join_workers():
        pass
