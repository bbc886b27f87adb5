"""The paper's CIFAR space: counted, searched one path at a time, and its networks trained, written and exported."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from latency_model.kernels import parameter_count
from latency_model.lowering import random_weights, write_onnx, write_tflite
from latency_model.lowering.torch_emitter import run_torch
from latency_model.network import network_from_json, network_to_json
from latency_model.ops import AddSpec, ConvSpec, OpSpecError
from latency_model.wiring import steps_of
from search.exported_model import open_exported
from search.networks import mobilenetv2_like, scaled_network
from search.paths import PathSample, PositionPaths, fixed_paths, sample_full_gates
from search.plain_network import PlainNetwork, folded_weights
from search.plain_source import ImageFacts, plain_source, plain_state
from search.space import SearchSpace
from search.spaces.cifar_tree import cifar_tree_space
from search.spaces.registry import load_space
from search.supernet import MixedOp, SuperNet, frozen_weights
from search.warm_start import supernet_weights


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return cifar_tree_space((3, 8, 8), 4, blocks=1, filters=80)


@pytest.fixture(scope="module")
def supernet(space: SearchSpace) -> SuperNet:
    return SuperNet(space, torch.Generator().manual_seed(0))


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_papers_space_has_fourteen_edges_of_seven_ops_in_each_of_54_cells():
    space = cifar_tree_space()
    edges, strided = 54 * (2 + 4 + 8), 2 * 2
    assert len(space.positions) == edges
    assert space.network_count() == 7 ** (edges - strided) * 6**strided
    assert space.head[-1][1].in_features == 400


def test_at_the_papers_size_a_network_of_separable_convolutions_has_the_papers_parameters():
    network = mobilenetv2_like(cifar_tree_space())
    assert sum(map(parameter_count, network.ops)) == pytest.approx(5.7e6, rel=0.1)


def test_blocks_and_filters_are_part_of_the_name():
    assert load_space("cifar-tree-b2-f96", (3, 32, 32), 10).network_count() == 7 ** (6 * 14 - 4) * 6**4


def test_a_step_runs_one_candidate_of_every_edge(space: SearchSpace, supernet: SuperNet):
    calls: list[int] = []
    hooks = [
        candidate.register_forward_hook(lambda *_, index=index: calls.append(index))
        for index, mixed_op in enumerate(supernet.mixed_ops)
        for candidate in mixed_op.candidates
    ]
    supernet(images(), fixed_paths(space.sample(random.Random(0)))).sum().backward()
    for hook in hooks:
        hook.remove()
    assert sorted(calls) == list(range(len(space.positions)))


def test_every_edges_gate_gradient_is_that_of_the_sum_over_its_candidates(space: SearchSpace, supernet: SuperNet):
    probabilities = [torch.full((count,), 1 / count) for count in space.candidate_counts]
    sample = sample_full_gates(probabilities, torch.Generator().manual_seed(3))
    with frozen_weights(supernet):
        loss = (supernet(images(), sample) ** 2).sum()
        gates = [paths.gates for paths in sample.positions]
        found = torch.autograd.grad(loss, gates)
    for edge in (0, 1, 13, 20):
        mixed_op, paths = supernet.mixed_ops[edge], sample.positions[edge]
        weights = torch.zeros(len(mixed_op.candidates), requires_grad=True)
        expected = torch.autograd.grad(_all_paths_loss(supernet, sample, mixed_op, weights), weights)[0]
        torch.testing.assert_close(found[edge], expected[list(paths.indices)], rtol=1e-4, atol=1e-5)


def _all_paths_loss(supernet: SuperNet, sample: PathSample, mixed_op: MixedOp, weights: torch.Tensor) -> torch.Tensor:
    """The loss when one edge gives its active candidate plus the weighted sum of all of them."""

    def with_all(_: torch.nn.Module, inputs: tuple[torch.Tensor, PositionPaths], y: torch.Tensor) -> torch.Tensor:
        return y + sum(weight * op(inputs[0]) for weight, op in zip(weights, mixed_op.candidates))

    hook = mixed_op.register_forward_hook(with_all)
    loss = (supernet(images(), fixed_paths(sample.choices)) ** 2).sum()
    hook.remove()
    return loss


def test_a_network_starts_from_its_paths_in_the_supernet_and_computes_the_same(space: SearchSpace, supernet: SuperNet):
    choices = space.sample(random.Random(5))
    model = PlainNetwork(space.network(choices), torch.Generator().manual_seed(9))
    model.load_state_dict(supernet_weights(space, choices, supernet.state_dict()), strict=False)
    torch.testing.assert_close(model.train()(images()), supernet(images(), fixed_paths(choices)))


def test_a_network_trains(space: SearchSpace):
    model = PlainNetwork(space.network(space.sample(random.Random(6))), torch.Generator().manual_seed(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    labels = torch.arange(16) % 4
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(model(images(16)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_its_files_compute_what_torch_does(space: SearchSpace, tmp_path: Path, suffix: str):
    model = PlainNetwork(space.network(space.sample(random.Random(7))), torch.Generator().manual_seed(4)).eval()
    path = tmp_path / f"net{suffix}"
    (write_onnx if suffix == ".onnx" else write_tflite)(model.network, folded_weights(model), path)
    with torch.no_grad():
        expected = model(images()).numpy()
    np.testing.assert_allclose(open_exported(path).logits(images().numpy()), expected, rtol=1e-3, atol=1e-5)


def test_the_plain_file_computes_the_same(space: SearchSpace):
    model = PlainNetwork(space.network(space.sample(random.Random(8)), "tree"), torch.Generator().manual_seed(4)).eval()
    facts = ImageFacts(class_names=("a", "b", "c", "d"), mean=(0.5,) * 3, std=(0.5,) * 3, channels="RGB", resize="")
    written: dict[str, object] = {"__file__": "tree.py", "__name__": "tree"}
    exec(plain_source(model.network, facts), written)
    plain = written["Tree"]()
    plain.load_state_dict(plain_state(model.network, model.state_dict()), strict=False)
    torch.testing.assert_close(plain.eval()(images()), model(images()))


def test_a_wired_network_is_read_back_and_made_wider(space: SearchSpace):
    network = space.network(space.sample(random.Random(1)))
    assert network_from_json(network_to_json(network)) == network
    wide = scaled_network(network, 1.5, "wide")
    weights = random_weights(wide)
    assert run_torch(wide, weights, [images(1)]).shape == (1, 4)


def test_wiring_that_does_not_hold_is_refused():
    with pytest.raises(OpSpecError, match="has not run"):
        steps_of(["a", "b"], (("a", ("b",)),))
    with pytest.raises(OpSpecError, match="Nothing takes what 'a' gives"):
        steps_of(["a", "b"], (("b", ("input",)),))


def test_an_add_in_a_plain_network_needs_both_inputs():
    add = AddSpec(in_channels=2, in_height=4, in_width=4)
    conv = ConvSpec(in_channels=2, in_height=4, in_width=4, out_channels=2, kernel_size=1)
    from latency_model.network import NetworkSpec
    from search.errors import SpaceError

    with pytest.raises(SpaceError, match="takes two inputs"):
        PlainNetwork(NetworkSpec(name="n", layers=(("conv", conv), ("add", add))), torch.Generator())
