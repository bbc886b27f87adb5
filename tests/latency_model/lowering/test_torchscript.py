"""TorchScript files compute what the reference computes, and carry their signature."""

import json

import pytest
import torch

from latency_model.errors import LoweringError
from latency_model.lowering import random_weights, run_torch
from latency_model.lowering.torchscript import write_torchscript
from latency_model.network import NetworkSpec, single_op_network, with_dtype
from latency_model.ops import AddSpec, MBConvSpec, PoolSpec

BLOCK = MBConvSpec(
    in_channels=8, in_height=8, in_width=8, out_channels=8, kernel_size=5, expand_channels=24, has_residual=True
)
POOL = PoolSpec(in_channels=8, in_height=8, in_width=8, pool="global_average")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_file_gives_the_references_numbers(tmp_path):
    network = NetworkSpec(name="small", layers=(("block", BLOCK), ("pool", POOL)))
    weights = random_weights(network)
    write_torchscript(network, weights, tmp_path / "small.pt")
    extra = {"signature.json": ""}
    loaded = torch.jit.load(str(tmp_path / "small.pt"), _extra_files=extra)
    images = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded(images), run_torch(network, weights, images))
    assert json.loads(extra["signature.json"]) == [{"shape": [1, 8, 8, 8], "dtype": "float32"}]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_add_of_two_layers_is_written_as_the_wiring_says(tmp_path):
    add = AddSpec(in_channels=8, in_height=8, in_width=8)
    network = NetworkSpec(
        name="wired",
        layers=(("a", BLOCK), ("b", BLOCK), ("sum", add)),
        wiring=(("b", ("input",)), ("sum", ("a", "b"))),
    )
    weights = random_weights(network)
    write_torchscript(network, weights, tmp_path / "wired.pt")
    images = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    loaded = torch.jit.load(str(tmp_path / "wired.pt"))
    torch.testing.assert_close(loaded(images), run_torch(network, weights, images))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_add_that_stands_alone_has_a_second_input_as_in_the_other_forms(tmp_path):
    network = single_op_network(AddSpec(in_channels=2, in_height=4, in_width=4))
    write_torchscript(network, random_weights(network), tmp_path / "add.pt")
    extra = {"signature.json": ""}
    loaded = torch.jit.load(str(tmp_path / "add.pt"), _extra_files=extra)
    assert [item["shape"] for item in json.loads(extra["signature.json"])] == [[1, 2, 4, 4]] * 2
    x, y = torch.randn(2, 1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded(x, y), x + y)


def test_other_numbers_than_fp32_are_refused(tmp_path):
    network = with_dtype(single_op_network(BLOCK), "int8")
    with pytest.raises(LoweringError, match="TorchScript"):
        write_torchscript(network, random_weights(network), tmp_path / "refused.pt")
    assert not list(tmp_path.iterdir())
