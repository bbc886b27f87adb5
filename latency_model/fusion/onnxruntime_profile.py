"""The kernels that onnxruntime runs for an ONNX model, from its own profile."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

# Changes of layout at the borders of a small model; they vanish inside a network.
_LAYOUT_KERNELS = {"ReorderInput", "ReorderOutput", "Transpose"}


def profile_kernels(model: Path) -> list[str]:
    """onnxruntime's names of the kernels, in the order in which they ran, on one CPU thread."""
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415 - needs onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.log_severity_level = 3
    dtypes = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
    with TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        inputs = {value.name: np.zeros(value.shape, dtypes[value.type]) for value in session.get_inputs()}
        session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    return kernels_in_profile(events)


def kernels_in_profile(events: list[dict[str, object]]) -> list[str]:
    """The kernel names among a profile's events."""
    kernels = []
    for event in events:
        details = event.get("args")
        if event.get("cat") == "Node" and isinstance(details, dict) and str(event["name"]).endswith("_kernel_time"):
            kernels.append(str(details["op_name"]))
    return [kernel for kernel in kernels if kernel not in _LAYOUT_KERNELS]
