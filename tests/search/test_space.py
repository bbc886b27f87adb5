"""Spaces: what they hold, what they refuse, and the published networks rebuilt."""

from __future__ import annotations

import json
import random

import pytest
import torch

from latency_model.kernels import macs
from latency_model.ops import IdentitySpec, MBConvSpec, ZeroSpec
from search.architecture import Architecture, read_architecture, write_architecture
from search.errors import SpaceError
from search.networks import layer_labels, mobilenetv2_like, networks_between, scaled_network, spread_choices
from search.plain_network import PlainNetwork
from search.space import Candidate, Position
from search.spaces.imagenet import imagenet_space
from search.spaces.nas_bench_macro import choices_for_key, nas_bench_macro_space
from search.spaces.registry import load_space
from search.spaces.small import small_space

USER_SPACE = """
name: mine
stem: {width: 12, stride: 1}
stages:
  - {width: 16, depth: 2, stride: 2}
  - {width: 32, depth: 1, stride: 2}
kernel_sizes: [3, 5]
expansions: [2, 4]
head_width: 64
"""


def test_the_imagenet_space_has_21_positions_and_the_papers_number_of_networks():
    space = imagenet_space()
    assert len(space.positions) == 21
    assert space.network_count() == 6**6 * 7**15
    assert f"{space.network_count():.2e}" == "2.22e+17"


def test_the_small_space_has_nine_positions():
    space = small_space((1, 28, 28), 10)
    assert space.network_count() == 6**3 * 7**6


def test_the_benchmark_space_has_the_published_networks():
    assert nas_bench_macro_space().network_count() == 6561


def test_benchmark_networks_have_the_published_parameters_and_flops(shared_data):
    published = json.loads((shared_data / "nas_bench_macro" / "nas-bench-macro_cifar10.json").read_text())
    space = nas_bench_macro_space()
    for key in ("00000000", "11111111", "22222222", "02112200", "10201021"):
        network = space.network(choices_for_key(key))
        model = PlainNetwork(network, torch.Generator())
        assert sum(map(macs, network.ops)) == published[key]["flops"]
        assert sum(parameter.numel() for parameter in model.parameters()) == published[key]["params"]


def test_a_sampled_network_chains_from_images_to_classes():
    space = small_space((3, 32, 32), 7)
    network = space.network(space.sample(random.Random(0)))
    assert network.input_shape == (1, 3, 32, 32)
    assert network.output_shape == (1, 7)


def test_zero_beside_a_shortcut_is_an_identity_in_the_network():
    space = small_space((1, 28, 28), 10)
    labels = ["k3 e3", "skip", "skip"] * 3
    network = space.network(space.choices_for(labels))
    assert sum(isinstance(op, IdentitySpec) for op in network.ops) == 6
    assert not any(isinstance(op, ZeroSpec) for op in network.ops)


def test_labels_and_choices_name_each_other():
    space = small_space((1, 28, 28), 10)
    choices = space.sample(random.Random(1))
    assert space.choices_for(space.labels(choices)) == choices


def test_unique_ops_hold_each_op_once_and_nothing_free():
    ops = small_space((1, 28, 28), 10).unique_ops()
    assert len(set(ops)) == len(ops) == 40
    assert not any(isinstance(op, ZeroSpec | IdentitySpec) for op in ops)


def test_zero_without_a_shortcut_is_refused():
    zero = Candidate(label="skip", op=ZeroSpec(in_channels=4, in_height=8, in_width=8))
    with pytest.raises(SpaceError, match="without a shortcut"):
        Position(name="p", stage=1, candidates=(zero,))


def test_candidates_of_different_shapes_are_refused():
    def block(width):
        op = MBConvSpec(in_channels=4, in_height=8, in_width=8, out_channels=width, kernel_size=3, expand_channels=8)
        return Candidate(label=f"w{width}", op=op)

    with pytest.raises(SpaceError, match="w8"):
        Position(name="p", stage=1, candidates=(block(6), block(8)))


def test_a_space_of_the_users_own_is_read_from_a_short_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(USER_SPACE)
    space = load_space(str(path), (3, 32, 32), 5)
    assert [len(position.candidates) for position in space.positions] == [4, 5, 4]
    assert space.network((0, 0, 0)).output_shape == (1, 5)


def test_an_unknown_key_of_a_space_file_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(USER_SPACE.replace("head_width", "head_widht"))
    with pytest.raises(SpaceError, match="head_widht"):
        load_space(str(path), (3, 32, 32), 5)


def test_all_that_is_wrong_in_a_space_file_is_named_at_once_with_the_nearest_keys(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstem: {width: 8}\nstages: [{width: 8, dept: 2}]\nkernel_size: [3]\n")
    with pytest.raises(SpaceError) as refused:
        load_space(str(path), (1, 16, 16), 10)
    words = str(refused.value)
    assert "stages.0.depth is missing" in words and "'stages.0.dept' (did you mean 'depth'?)" in words
    assert "'kernel_size' (did you mean 'kernel_sizes'?)" in words and len(words.splitlines()) == 3
    path.write_text("just words")
    with pytest.raises(SpaceError, match="holds no keys"):
        load_space(str(path), (1, 16, 16), 10)


@pytest.mark.parametrize(
    ("line", "wrong", "words"),
    [
        ("kernel_sizes: [3, 5]", "kernel_sizes: [3, 4]", r"kernel_sizes\.1: .*4 is even.* use 3 or 5"),
        ("kernel_sizes: [3, 5]", "kernel_sizes: [3, 3]", r"kernel_sizes: .*\[3, 3\] names one twice"),
        ("expansions: [2, 4]", "expansions: [4, 4]", r"expansions: .*\[4, 4\] names one twice"),
        ("stride: 1}", "stride: 1, kernel_size: 2}", r"stem\.kernel_size: .*2 is even"),
    ],
)
def test_values_that_make_no_candidates_are_refused_with_their_key(tmp_path, line, wrong, words):
    path = tmp_path / "mine.yaml"
    path.write_text(USER_SPACE.replace(line, wrong))
    with pytest.raises(SpaceError, match=words):
        load_space(str(path), (3, 32, 32), 5)


def test_a_space_file_that_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"name: \xff\xfe\x00")
    with pytest.raises(SpaceError, match=r"mine\.yaml is not YAML"):
        load_space(str(tmp_path / "mine.yaml"), (3, 32, 32), 5)


def test_an_unknown_space_offers_the_nearest_name():
    with pytest.raises(SpaceError, match="Did you mean 'small'"):
        load_space("smal", (1, 28, 28), 10)


def test_images_too_large_for_the_small_space_are_refused_with_the_mend():
    with pytest.raises(SpaceError, match="--image-size"):
        small_space((3, 224, 224), 10)


def test_an_architecture_is_read_back_and_tied_to_its_space(tmp_path):
    space = small_space((1, 28, 28), 10)
    architecture = Architecture.of(space, space.sample(random.Random(2)))
    write_architecture(tmp_path / "a.json", architecture)
    assert read_architecture(tmp_path / "a.json") == architecture
    with pytest.raises(SpaceError, match="belongs to space"):
        architecture.network(small_space((1, 28, 28), 11))


def test_the_reference_is_kernel_3_with_the_largest_expansion_everywhere():
    space = small_space((1, 28, 28), 10)
    assert {label.split(" w")[0] for label in layer_labels(mobilenetv2_like(space))[1:-3]} == {"k3 e6"}


def test_a_space_without_kernel_3_is_compared_with_its_smallest_kernel(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(USER_SPACE.replace("kernel_sizes: [3, 5]", "kernel_sizes: [7, 5]"))
    network = mobilenetv2_like(load_space(str(path), (3, 32, 32), 5))
    assert {op.kernel_size for op in network.ops if isinstance(op, MBConvSpec)} == {5}


def test_a_narrower_network_costs_less_and_keeps_images_and_classes():
    reference = mobilenetv2_like(small_space((1, 28, 28), 10))
    narrow = scaled_network(reference, 0.5, "narrow")
    assert (narrow.input_shape, narrow.output_shape) == (reference.input_shape, reference.output_shape)
    assert 0.2 < sum(map(macs, narrow.ops)) / sum(map(macs, reference.ops)) < 0.35


def test_width_one_changes_nothing():
    reference = mobilenetv2_like(small_space((1, 28, 28), 10))
    assert scaled_network(reference, 1.0, reference.name) == reference


def test_between_two_widths_of_a_network_lie_others_that_cost_more_than_the_one_and_less_than_the_other():
    reference = mobilenetv2_like(small_space((1, 28, 28), 10))
    cost = [
        sum(map(macs, network.ops))
        for network in (
            scaled_network(reference, 0.5, "x"),
            *networks_between(reference, 0.5, 0.7, "x"),
            scaled_network(reference, 0.7, "x"),
        )
    ]
    assert len(cost) > 4 and len(set(cost)) == len(cost)
    assert cost[0] == min(cost) and cost[-1] == max(cost)


def test_spread_networks_reach_further_than_uniform_ones():
    space, rng = small_space((1, 28, 28), 10), random.Random(0)

    def sizes(draw):
        return [sum(map(macs, space.network(draw()).ops)) for _ in range(200)]

    spread, uniform = sizes(lambda: spread_choices(space, rng)), sizes(lambda: space.sample(rng))
    assert min(spread) < min(uniform) and max(spread) > max(uniform)


def test_the_imagenet_space_is_found_at_any_width():
    wide = load_space("imagenet-w1.35", (3, 224, 224), 1000)
    assert wide.name == "imagenet-w1.35"
    assert wide.network_count() == imagenet_space().network_count()
    assert wide.positions[0].candidates[0].op.output_shape[1] == 32


def test_a_width_of_nothing_is_refused():
    with pytest.raises(SpaceError, match="more than 0"):
        load_space("imagenet-w0", (3, 224, 224), 1000)
