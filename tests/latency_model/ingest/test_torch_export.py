"""torch's own ONNX exporter as a second opinion on our writer and on our reader."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from latency_model.ingest import ingest_network, ingest_onnx
from latency_model.lowering import onnx_bytes, random_weights
from latency_model.lowering.torch_emitter import run_torch
from latency_model.network import NetworkSpec
from latency_model.ops import ConvSpec, LinearSpec, MBConvSpec, PoolSpec

pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")

SIDE = {"in_height": 8, "in_width": 8}
BLOCK = {"kernel_size": 5, "squeeze_channels": 4, "activation": "hswish"}
NETWORK = NetworkSpec(
    name="small",
    layers=(
        ("stem", ConvSpec(in_channels=3, in_height=16, in_width=16, out_channels=8, kernel_size=3, stride=2)),
        ("b0", MBConvSpec(in_channels=8, out_channels=8, expand_channels=24, has_residual=True, **SIDE, **BLOCK)),
        ("pool", PoolSpec(in_channels=8, pool="global_average", **SIDE)),
        ("classifier", LinearSpec(in_features=8, out_features=5)),
    ),
)


class AsModule(nn.Module):
    """Our torch form of a network, as a module that torch can export."""

    def __init__(self, network: NetworkSpec) -> None:
        super().__init__()
        self.network = network
        self.weights = random_weights(network)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return run_torch(self.network, self.weights, [x])


@pytest.fixture(scope="module")
def exported() -> bytes:
    inputs = (torch.zeros(NETWORK.input_shape),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns about torch
        program = torch.onnx.export(AsModule(NETWORK).eval(), inputs, dynamo=True, verbose=False)
    content = io.BytesIO()
    program.save(content)
    return content.getvalue()


@pytest.mark.slow
def test_our_onnx_file_gives_what_torch_s_own_export_gives(exported):
    import onnxruntime

    x = np.random.default_rng(0).standard_normal(NETWORK.input_shape, dtype=np.float32)
    outputs = []
    for model in (exported, onnx_bytes(NETWORK, random_weights(NETWORK))):
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {session.get_inputs()[0].name: x})[0])
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-5 * np.abs(outputs[0]).max())


@pytest.mark.slow
def test_torch_s_own_export_is_read_as_the_same_kernels(exported):
    assert ingest_onnx(exported).ops == ingest_network(NETWORK).ops
