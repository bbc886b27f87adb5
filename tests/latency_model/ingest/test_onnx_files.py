"""An ONNX file becomes the kernels that it holds, whoever wrote it, or is refused by what our specs lack."""

from __future__ import annotations

import math

import onnx
import pytest
from onnx import TensorProto, helper

from latency_model.errors import LatencyModelError, UnsupportedOpsError
from latency_model.ingest import ingest_network, ingest_onnx
from latency_model.lowering import Int8Options, nominal_ranges, onnx_bytes, random_weights
from latency_model.network import with_dtype
from latency_model.ops import DepthwiseConvSpec


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_an_onnx_file_of_ours_comes_back_as_the_kernels_that_it_was_made_of(dtype, small_mobile_network):
    network = with_dtype(small_mobile_network("hswish", 4), dtype)
    model = onnx_bytes(network, random_weights(network), int8=Int8Options(ranges=nominal_ranges()))
    assert ingest_onnx(model).ops == ingest_network(network).ops


def onnx_model(
    nodes: list[onnx.NodeProto], shape: list[int | str], *weights: onnx.TensorProto, domains: tuple[str, ...] = ("",)
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [untyped("y")],
        list(weights),
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(domain, 17) for domain in domains]
    ).SerializeToString()


def untyped(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, shape, bytes(4 * math.prod(shape)), raw=True)


CONV = helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2], auto_pad="SAME_UPPER", group=8)


def test_an_onnx_file_with_an_open_batch_takes_the_one_that_is_asked_for():
    model = onnx_model([CONV, helper.make_node("Relu", ["c"], ["y"])], ["N", 8, 14, 14], weight("w", 8, 1, 5, 5))
    expected = DepthwiseConvSpec(
        batch=4, in_channels=8, in_height=14, in_width=14, kernel_size=5, stride=2, activation="relu"
    )
    assert ingest_onnx(model, batch=4).ops == (expected,)


def test_batch_norm_and_biases_in_an_onnx_file_fold_into_the_layer_before_them():
    constants = [weight(name, 8) for name in ("scale", "shift", "mean", "variance")]
    nodes = [
        CONV,
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"]),
        helper.make_node("GlobalAveragePool", ["n"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "fc"], ["m"]),
        helper.make_node("Add", ["m", "bias"], ["y"]),
    ]
    model = onnx_model(
        nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), *constants, weight("fc", 8, 5), weight("bias", 5)
    )
    assert [op.kind for op in ingest_onnx(model).ops] == ["depthwise", "pool", "linear"]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(1, 8, 7, 7), (1, 1, 7, 7), (7,), (2, 8, 1, 1)])
def test_a_constant_of_an_onnx_file_that_differs_between_pixels_is_refused(operator, shape):
    nodes = [CONV, helper.make_node(operator, ["c", "p"], ["y"])]
    with pytest.raises(UnsupportedOpsError, match="not one number for each channel"):
        ingest_onnx(onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), weight("p", *shape)))


def test_a_constant_of_an_onnx_file_with_one_number_for_each_channel_folds_into_the_layer_before_it():
    nodes = [CONV, helper.make_node("Add", ["p", "c"], ["s"]), helper.make_node("Mul", ["s", "p"], ["y"])]
    model = onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), weight("p", 8, 1, 1))
    assert [op.kind for op in ingest_onnx(model).ops] == ["depthwise"]


@pytest.mark.parametrize(("is_training", "kinds"), [(False, ["depthwise"]), (True, None)])
def test_dropout_in_an_onnx_file_costs_nothing_in_inference_and_is_refused_in_training(is_training, kinds):
    ratio = helper.make_tensor("ratio", TensorProto.FLOAT, (), [0.5])
    mode = helper.make_tensor("mode", TensorProto.BOOL, (), [is_training])
    nodes = [CONV, helper.make_node("Dropout", ["c", "ratio", "mode"], ["y"])]
    model = onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), ratio, mode)
    if kinds is None:
        with pytest.raises(UnsupportedOpsError, match="training mode"):
            ingest_onnx(model)
    else:
        assert [op.kind for op in ingest_onnx(model).ops] == kinds


def test_a_branch_in_an_onnx_file_is_refused_by_name_with_all_that_it_reads():
    """A condition that hangs on shapes alone would else make a constant of it, and all after it would cost nothing."""
    branches = [
        helper.make_graph([helper.make_node(name, ["c"], [f"{name}.c"])], name, [], [untyped(f"{name}.c")])
        for name in ("Relu", "Identity")
    ]
    branch = helper.make_node("If", ["yes"], ["i"], name="branch", then_branch=branches[0], else_branch=branches[1])
    nodes = [CONV, branch, helper.make_node("Softmax", ["i"], ["y"], name="head")]
    yes = helper.make_tensor("yes", TensorProto.BOOL, (), [True])
    with pytest.raises(UnsupportedOpsError, match=r"branch \(If\): control flow") as caught:
        ingest_onnx(onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3), yes))
    assert "head (Softmax)" in str(caught.value)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Relu", ["u"], ["y"], name="last"),
        helper.make_node("GlobalAveragePool", ["u"], ["y"], name="last"),
        helper.make_node("Add", ["u", "u"], ["y"], name="last"),
        helper.make_node("MatMul", ["u", "fc"], ["y"], name="last"),
        helper.make_node("Conv", ["c", "u"], ["y"], name="last"),
        helper.make_node("Reshape", ["c", "u"], ["y"], name="last"),
    ],
    ids=lambda node: node.op_type,
)
def test_what_reads_a_value_whose_size_nobody_can_tell_is_refused_by_name(node):
    scales = helper.make_node("ReduceMax", ["x"], ["scales"], axes=[0, 1, 2], keepdims=0)
    unknown = helper.make_node("Resize", ["c", "", "scales"], ["u"])
    weights = (weight("w", 8, 1, 3, 3), weight("fc", 8, 5))
    with pytest.raises(UnsupportedOpsError, match=rf"last \({node.op_type}\)"):
        ingest_onnx(onnx_model([CONV, scales, unknown, node], [1, 8, 14, 14], *weights))


def test_an_onnx_file_of_open_image_size_is_refused():
    with pytest.raises(LatencyModelError, match="fixed image size"):
        ingest_onnx(onnx_model([CONV], [1, 8, "H", 14], weight("w", 8, 1, 3, 3)))


def test_onnx_operators_that_cannot_be_expressed_are_named():
    nodes = [helper.make_node("Softmax", ["x"], ["s"], name="head"), helper.make_node("Exp", ["s"], ["y"])]
    with pytest.raises(UnsupportedOpsError, match=r"head \(Softmax\)") as caught:
        ingest_onnx(onnx_model(nodes, [1, 8]))
    assert "Exp:y (Exp)" in str(caught.value)


def test_a_file_that_is_no_onnx_model_or_is_not_there_is_refused(tmp_path):
    with pytest.raises(LatencyModelError, match="no ONNX model"):
        ingest_onnx(b"\xff\xfe not a model")
    with pytest.raises(LatencyModelError, match="Cannot read"):
        ingest_onnx(tmp_path / "absent.onnx")
    with pytest.raises(LatencyModelError, match="holds no graph"):
        ingest_onnx(b"")


@pytest.mark.parametrize("open_batch", [0, -1])
def test_a_batch_of_0_or_minus_1_in_an_onnx_file_is_an_open_one(open_batch):
    model = onnx_model([CONV], [open_batch, 8, 14, 14], weight("w", 8, 1, 3, 3))
    assert [op.batch for op in ingest_onnx(model, batch=3).ops] == [3]


@pytest.mark.parametrize("number", [TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN])
def test_weights_of_a_format_without_a_spec_are_refused_by_name(number):
    size = {TensorProto.DOUBLE: 8, TensorProto.BFLOAT16: 2}.get(number, 1)
    other = helper.make_tensor("w", number, (8, 1, 3, 3), bytes(72 * size), raw=True)
    with pytest.raises(LatencyModelError, match=r"'w' holds .* numbers; op specs have fp32, fp16 and int8"):
        ingest_onnx(onnx_model([CONV], [1, 8, 14, 14], other))


def test_half_weights_that_stand_in_constant_nodes_are_half_weights():
    half = helper.make_tensor("w", TensorProto.FLOAT16, (8, 1, 3, 3), bytes(144), raw=True)
    model = onnx_model([helper.make_node("Constant", [], ["w"], value=half), CONV], [1, 8, 14, 14])
    assert [op.dtype for op in ingest_onnx(model).ops] == ["fp16"]


def test_limits_and_addends_that_stand_in_constant_nodes_as_bare_numbers_are_read():
    numbers = [
        helper.make_node("Constant", [], [name], value_float=value) for name, value in (("low", 0.0), ("high", 6.0))
    ]
    nodes = [*numbers, CONV, helper.make_node("Clip", ["c", "low", "high"], ["y"])]
    (kernel,) = ingest_onnx(onnx_model(nodes, [1, 8, 14, 14], weight("w", 8, 1, 3, 3))).ops
    assert kernel.activation == "relu6"


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (helper.make_node("Gemm", ["f", "fc"], ["y"], transA=1), "its input is transposed"),
        (helper.make_node("Gemm", ["f", "fc", "f"], ["y"]), "it adds an activation"),
    ],
    ids=["transposed", "sum"],
)
def test_a_matrix_product_that_is_no_layer_on_features_is_refused(node, why):
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]), node]
    with pytest.raises(UnsupportedOpsError, match=why):
        ingest_onnx(onnx_model(nodes, [8, 8, 14, 14], weight("fc", 8, 8)))


@pytest.mark.parametrize("name", ["Identity", "Relu"])
def test_an_operator_of_another_domain_is_not_taken_for_the_one_of_that_name(name):
    nodes = [helper.make_node(name, ["x"], ["y"], domain="made.up")]
    with pytest.raises(UnsupportedOpsError, match=f"made.up::{name}"):
        ingest_onnx(onnx_model(nodes, [1, 8, 14, 14], domains=("", "made.up")))


def test_an_onnx_file_that_contradicts_itself_is_refused_with_what_it_contradicts():
    nodes = [helper.make_node("Relu", ["x"], ["y"], domain="made.up")]
    with pytest.raises(LatencyModelError, match=r"contradicts itself.*made\.up"):
        ingest_onnx(onnx_model(nodes, [1, 8, 14, 14]))


def test_padding_that_stands_before_a_convolution_of_an_onnx_file_is_part_of_its_kernel():
    pads = helper.make_tensor("pads", TensorProto.INT64, (8,), [0, 0, 0, 0, 0, 0, 1, 1])
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["y"], strides=[2, 2], group=8),
    ]
    (kernel,) = ingest_onnx(onnx_model(nodes, [1, 8, 14, 14], pads, weight("w", 8, 1, 3, 3))).ops
    assert kernel == DepthwiseConvSpec(in_channels=8, in_height=14, in_width=14, kernel_size=3, stride=2)
