"""Model files: names, refusals, and writing whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from latency_model.errors import LoweringError, ModelFileError
from latency_model.lowering import (
    network_weight_shapes,
    onnx_bytes,
    random_weights,
    read_metadata,
    run_torch,
    tflite_bytes,
    write_onnx,
    write_tflite,
)
from latency_model.network import NetworkSpec, single_op_network
from latency_model.ops import ConvSpec, IdentitySpec, LinearSpec, MBConvSpec, ZeroSpec

SHAPE = {"in_channels": 4, "in_height": 6, "in_width": 6}
CONV = ConvSpec(out_channels=5, kernel_size=3, activation="relu6", **SHAPE)
NETWORK = NetworkSpec(name="net", layers=(("skipped", IdentitySpec(**SHAPE)), ("stem", CONV)))
BOTH_FORMS = pytest.mark.parametrize("to_bytes", [onnx_bytes, tflite_bytes])


def test_weights_of_a_block_are_named_by_layer_and_kernel():
    block = MBConvSpec(out_channels=4, expand_channels=8, kernel_size=3, squeeze_channels=2, has_residual=True, **SHAPE)
    assert network_weight_shapes(NetworkSpec(name="n", layers=(("b1", block),))) == {
        "b1.expand.weight": (8, 4, 1, 1),
        "b1.expand.bias": (8,),
        "b1.depthwise.weight": (8, 1, 3, 3),
        "b1.depthwise.bias": (8,),
        "b1.squeeze.reduce.weight": (2, 8, 1, 1),
        "b1.squeeze.reduce.bias": (2,),
        "b1.squeeze.expand.weight": (8, 2, 1, 1),
        "b1.squeeze.expand.bias": (8,),
        "b1.project.weight": (4, 8, 1, 1),
        "b1.project.bias": (4,),
    }


def test_equal_seeds_give_equal_weights_and_other_seeds_give_others():
    first, again, other = (random_weights(NETWORK, seed)["stem.weight"] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@BOTH_FORMS
def test_the_same_network_and_weights_give_the_same_bytes(to_bytes):
    weights = random_weights(NETWORK)
    assert to_bytes(NETWORK, weights) == to_bytes(NETWORK, weights)


def test_an_onnx_file_has_the_agreed_names_is_valid_and_holds_no_identity():
    model = onnx.load_from_string(onnx_bytes(NETWORK, random_weights(NETWORK)))
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["output"]
    assert [node.op_type for node in model.graph.node] == ["Conv", "Clip"]
    assert [tensor.name for tensor in model.graph.initializer][:2] == ["stem.weight", "stem.bias"]


def test_a_tflite_file_has_the_agreed_names_and_layout():
    interpreter = Interpreter(model_content=tflite_bytes(NETWORK, random_weights(NETWORK)))
    runner = interpreter.get_signature_runner("serving_default")
    assert [(name, tuple(d["shape"])) for name, d in runner.get_input_details().items()] == [("input", (1, 6, 6, 4))]
    assert [(name, tuple(d["shape"])) for name, d in runner.get_output_details().items()] == [("output", (1, 6, 6, 5))]


@pytest.mark.parametrize(("write", "suffix"), [(write_onnx, ".onnx"), (write_tflite, ".tflite")])
def test_labels_and_preprocessing_travel_in_the_file(write, suffix, tmp_path: Path):
    path = tmp_path / f"net{suffix}"
    metadata = {"labels": '["cat", "dög"]', "mean": "[0.5]"}
    write(NETWORK, random_weights(NETWORK), path, metadata=metadata)
    assert read_metadata(path) == metadata
    write(NETWORK, random_weights(NETWORK), path)
    assert read_metadata(path) == {}


@pytest.mark.parametrize("name", ["net.onnx", "net.tflite", "net.pt"])
def test_metadata_of_a_file_that_is_no_model_is_refused(name, tmp_path: Path):
    (tmp_path / name).write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff")
    with pytest.raises(LoweringError, match=name):
        read_metadata(tmp_path / name)


@BOTH_FORMS
@pytest.mark.parametrize("op", [IdentitySpec(**SHAPE), ZeroSpec(**SHAPE)])
def test_a_network_in_which_nothing_runs_is_refused(to_bytes, op):
    with pytest.raises(LoweringError, match="nothing to write"):
        to_bytes(single_op_network(op), {})


@BOTH_FORMS
def test_a_zero_op_on_the_main_path_is_refused_and_the_identity_named_as_the_mend(to_bytes):
    network = NetworkSpec(name="n", layers=(("stem", CONV), ("zero", ZeroSpec(**SHAPE | {"in_channels": 5}))))
    with pytest.raises(LoweringError, match=r"'zero'.*IdentitySpec"):
        to_bytes(network, random_weights(network))


@BOTH_FORMS
def test_weights_that_are_missing_or_of_another_shape_are_named(to_bytes):
    weights = random_weights(NETWORK)
    with pytest.raises(LoweringError, match=r"stem\.bias.*shape \(5,\)"):
        to_bytes(NETWORK, {"stem.weight": weights["stem.weight"]})
    with pytest.raises(LoweringError, match=r"stem\.bias.*\(4,\).*needs \(5,\)"):
        to_bytes(NETWORK, weights | {"stem.bias": np.zeros(4, np.float32)})


@BOTH_FORMS
def test_weights_of_another_type_or_that_are_not_finite_are_refused(to_bytes):
    weights = random_weights(NETWORK)
    with pytest.raises(LoweringError, match=r"stem\.bias.*float64.*astype"):
        to_bytes(NETWORK, weights | {"stem.bias": np.zeros(5)})
    with pytest.raises(LoweringError, match=r"stem\.bias.*NaN"):
        to_bytes(NETWORK, weights | {"stem.bias": np.full(5, np.nan, np.float32)})


@BOTH_FORMS
def test_layers_of_several_dtypes_are_refused(to_bytes):
    half = LinearSpec(in_features=7, out_features=3, dtype="fp16")
    network = NetworkSpec(name="n", layers=(("a", LinearSpec(in_features=4, out_features=7)), ("b", half)))
    with pytest.raises(LoweringError, match="fp16, fp32"):
        to_bytes(network, random_weights(network))


@BOTH_FORMS
@pytest.mark.parametrize("name", ["input", "output.layer", "stem.depthwise"])
def test_layer_names_that_collide_with_other_names_are_refused(to_bytes, name):
    last = ConvSpec(out_channels=4, kernel_size=1, **SHAPE | {"in_channels": 5})
    network = NetworkSpec(name="n", layers=(("stem", CONV), (name, last)))
    with pytest.raises(LoweringError, match=name):
        to_bytes(network, random_weights(network))


def test_torch_refuses_inputs_of_another_shape_and_names_the_one_that_is_missing():
    with pytest.raises(LoweringError, match=r"'input' has shape \(2, 4, 6, 6\)"):
        run_torch(NETWORK, random_weights(NETWORK), torch.zeros(2, 4, 6, 6))


@pytest.mark.parametrize(("write", "to_bytes"), [(write_onnx, onnx_bytes), (write_tflite, tflite_bytes)])
def test_a_file_is_written_beside_and_renamed(write, to_bytes, tmp_path: Path):
    path = tmp_path / "net.model"
    path.write_bytes(b"old")
    weights = random_weights(NETWORK)
    write(NETWORK, weights, path)
    assert path.read_bytes() == to_bytes(NETWORK, weights)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_a_full_disk_is_a_clear_error_and_leaves_the_old_file(write, tmp_path: Path, monkeypatch):
    def half_written(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "net.model"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(ModelFileError, match=r"No space left for .*Free space"):
        write(NETWORK, random_weights(NETWORK), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_a_folder_that_is_not_there_is_a_clear_error(write, tmp_path: Path):
    with pytest.raises(ModelFileError, match=r"Could not write .*Check that .* exists"):
        write(NETWORK, random_weights(NETWORK), tmp_path / "absent" / "net.model")
