"""Any network in: an ONNX file or a torch module as a list of fused kernels in our specs."""

from latency_model.ingest.blocks import with_blocks
from latency_model.ingest.networks import (
    IngestedNetwork,
    NamedKernel,
    UnsupportedOp,
    ingest_exported_program,
    ingest_module,
    ingest_network,
    ingest_onnx,
)

__all__ = [
    "IngestedNetwork",
    "NamedKernel",
    "UnsupportedOp",
    "ingest_exported_program",
    "ingest_module",
    "ingest_network",
    "ingest_onnx",
    "with_blocks",
]
