"""ONNX files under onnxruntime, on the CPU or through CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from profiler_agent.ondevice.runtimes import Runtime
from profiler_agent.ondevice.runtimes.inputs import random_array

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_runtime(options: dict[str, Any]) -> Runtime:
    import numpy
    import onnxruntime

    wanted = _PROVIDERS[options["accelerator"]]
    if wanted not in onnxruntime.get_available_providers():
        raise SystemExit(
            "onnxruntime "
            + onnxruntime.__version__
            + " has no "
            + wanted
            + "; it offers "
            + ", ".join(onnxruntime.get_available_providers())
        )
    onnxruntime.set_default_logger_severity(3)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options["thread_count"]
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A waiting thread that spins takes the core that the next burst needs.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if options["accelerator"] != "cpu":
        # The list of providers shows the wanted one also where it took no node; with this, a node left to the CPU is an
        # error as the model is loaded.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    ran = set()

    def load(path: str, seed: int) -> Callable[[int], Any]:
        session = onnxruntime.InferenceSession(path, settings, providers=[wanted])
        if session.get_providers()[0] != wanted:
            raise SystemExit(path + " ran on " + session.get_providers()[0] + ", not on " + wanted)
        ran.add(session.get_providers()[0])
        device = "cuda" if options["accelerator"] == "cuda" else "cpu"
        binding = session.io_binding()
        for node in session.get_inputs():
            array = random_array(numpy, node.shape, _DTYPES[node.type], seed)
            binding.bind_ortvalue_input(node.name, onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0))
        for node in session.get_outputs():
            binding.bind_output(node.name, device)
        run = session.run_with_iobinding
        synchronize = binding.synchronize_outputs if device == "cuda" else None

        def run_many(count: int) -> None:
            for _ in range(count):
                run(binding)
            if synchronize is not None:
                synchronize()

        return run_many

    return Runtime(load, lambda: {"version": onnxruntime.__version__, "ran_on": sorted(ran)})
