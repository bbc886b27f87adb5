"""A space of several widths: the width is searched too, on the first channels of one set of weights."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from search.architecture import Architecture
from search.derive import derive, derive_among_widths
from search.errors import SpaceError, TargetError
from search.estimators import full_gate_gradient
from search.path_logits import PathLogits
from search.paths import fixed_paths
from search.plain_network import PlainNetwork
from search.settings import SearchSettings
from search.space import SearchSpace
from search.spaces.ends import classifier_head, stem_conv
from search.spaces.imagenet import imagenet_space
from search.spaces.mbconv_positions import MBConvMenu, Stage, mbconv_positions
from search.spaces.registry import load_space
from search.supernet import SuperNet
from search.trainer import SearchFiles, SearchTrainer
from search.warm_start import supernet_weights
from tests.search.conftest import target_from_macs
from tests.search.small_search import CLASSES, PIXELS

MENU = MBConvMenu(kernel_sizes=(3,), expansions=(2, 3))


def one_width(width: int) -> SearchSpace:
    stem = stem_conv((1, PIXELS, PIXELS), width=width, stride=2, activation="relu6")
    stages = [Stage(width=2 * width, depth=2, stride=2)]
    positions, last, size = mbconv_positions(
        stages, in_channels=width, size=(stem.out_height, stem.out_width), menu=MENU
    )
    head = classifier_head(last, size, width=4 * width, class_count=CLASSES, activation="relu6")
    return SearchSpace(name=f"w{width}", stem=(("stem", stem),), positions=positions, head=head)


@pytest.fixture
def space() -> SearchSpace:
    return dataclasses.replace(one_width(12), narrower=(one_width(4), one_width(8)))


def supernet_of(space: SearchSpace) -> SuperNet:
    return SuperNet(space, torch.Generator().manual_seed(1))


def test_the_papers_space_counts_its_networks_once_for_each_width():
    space = load_space("imagenet-widths", (3, 224, 224), 1000)
    assert space.network_count() == 3 * imagenet_space().network_count()
    assert [width.hash for width in space.widths[:1]] == [imagenet_space().hash]
    assert [width.name for width in space.widths] == ["imagenet", "imagenet-w1.12", "imagenet-w1.35"]
    assert load_space("imagenet-w1.35,1", (3, 224, 224), 1000).widths[0].name == "imagenet"


def test_a_width_given_twice_and_a_space_of_other_positions_are_refused(space):
    with pytest.raises(SpaceError, match="once"):
        load_space("imagenet-w1,1", (3, 224, 224), 1000)
    with pytest.raises(SpaceError, match="the same positions, shortcuts and labels"):
        dataclasses.replace(space, narrower=(imagenet_space(),))


def test_every_width_runs_on_the_weights_of_the_widest_and_owns_none(space):
    supernet = supernet_of(space)
    alone = sum(weight.numel() for weight in supernet_of(space.widths[-1]).parameters())
    assert sum(weight.numel() for weight in supernet.parameters()) == alone


@pytest.mark.parametrize("width", [0, 1, 2])
def test_a_width_computes_what_its_own_network_with_the_first_channels_does(space, width, images_and_labels):
    images, _ = images_and_labels
    supernet = supernet_of(space)
    choices = (1, 0)
    network = PlainNetwork(space.widths[width].network(choices), torch.Generator())
    network.load_state_dict(supernet_weights(space.widths[width], choices, supernet.state_dict()), strict=False)
    network.train()
    torch.testing.assert_close(supernet(images, fixed_paths(choices, width)), network(images))


def test_a_narrow_weight_step_moves_the_first_channels_only(space, images_and_labels):
    images, labels = images_and_labels
    supernet = supernet_of(space)
    torch.nn.functional.cross_entropy(supernet(images, fixed_paths((0, 0), 0)), labels).backward()
    gradient = supernet.stem[0].conv.weight.grad
    assert gradient[:4].abs().sum() > 0
    assert torch.count_nonzero(gradient[4:]) == 0


def test_gate_gradients_of_a_narrow_width_are_those_of_the_same_space_alone(space, images_and_labels):
    images, labels = images_and_labels
    supernet, narrow = supernet_of(space), space.widths[0]
    alone = SuperNet(narrow, torch.Generator().manual_seed(2))
    first = supernet.state_dict()
    alone.load_state_dict(
        {name: first[name][tuple(slice(0, n) for n in own.shape)] for name, own in alone.state_dict().items()}
    )
    logits = PathLogits(narrow.candidate_counts, torch.Generator().manual_seed(3))

    def gradients(net: SuperNet, width: int) -> tuple[torch.Tensor, ...]:
        return full_gate_gradient(net, logits, images, labels, torch.Generator().manual_seed(4), width).gradients

    for shared, own in zip(gradients(supernet, 0), gradients(alone, 0), strict=True):
        torch.testing.assert_close(shared, own)


def test_a_search_over_widths_derives_the_best_network_of_any_width_under_the_budget(space, data, tmp_path):
    budget_ms = 0.3 * target_from_macs(space.widths[-1], 1.0).network_ms((1, 1)) + 0.05
    targets = [
        dataclasses.replace(target_from_macs(one, budget_ms, one.name), width=width)
        for width, one in enumerate(space.widths)
    ]
    settings = SearchSettings(
        warmup_steps=6, search_steps=12, batch_size=16, architecture_batch_size=32, derive_candidates=4,
        derive_images=64, weight_steps_per_architecture_step=2,
    )  # fmt: skip
    trainer = SearchTrainer(space, data, targets, settings, SearchFiles(folder=tmp_path))
    trainer.run()
    fitting = [
        state
        for state in trainer.states
        if min(state.target.network_ms((a, b)) for a in (0, 1) for b in (0, 1, 2)) <= budget_ms
    ]
    derivations = [derive(trainer.supernet, state, data, settings) for state in fitting]
    best = derive_among_widths(derivations)
    assert len(derivations) > 1
    assert best.best.ranked_loss == min(one.best.ranked_loss for one in derivations)
    assert best.best.predicted_ms <= budget_ms
    width = space.widths[best.best.width]
    network = Architecture.of(width, best.best.choices).network(space)
    assert network == width.network(best.best.choices)


def test_without_a_network_under_the_budget_nothing_is_derived_and_the_mend_is_told():
    with pytest.raises(TargetError, match="Allow a larger budget, or choose a space of smaller networks"):
        derive_among_widths([])


def test_calibration_networks_of_all_widths_are_timed(space):
    from search.steps.profile import profile_plan

    plan = profile_plan(space, 6, 3, seed=0)
    widths = {network.ops[0].out_channels for network in plan.calibration}
    assert widths == {4, 8, 12}
    assert {op.ops[0] for op in plan.ops} == set(space.unique_ops())
