"""Logits and gates stay on the CPU while the supernet may be on a GPU. There is none where these tests run: the meta
device, which computes shapes alone, stands for the second device."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from search.path_logits import PathLogits
from search.paths import PathSample, sample_full_gates, sample_two_paths
from search.supernet import SuperNet, frozen_weights


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
