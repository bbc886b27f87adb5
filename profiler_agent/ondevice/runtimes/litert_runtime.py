"""TFLite files under LiteRT, or under tflite-runtime where that is what the device has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from profiler_agent.ondevice.runtimes import Runtime, installed_version
from profiler_agent.ondevice.runtimes.inputs import random_array


def open_runtime(options: dict[str, Any]) -> Runtime:
    import numpy

    interpreter_class = _interpreter_class()
    if options["accelerator"] != "cpu":
        raise SystemExit("The python runner has LiteRT on the CPU only; phone GPUs need runner.kind benchmark_model.")
    delegates: set[str] = set()

    def load(path: str, seed: int) -> Callable[[int], Any]:
        interpreter = interpreter_class(model_path=path, num_threads=options["thread_count"])
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(
                detail["index"], random_array(numpy, detail["shape"].tolist(), detail["dtype"], seed)
            )
        delegates.update(_delegates_of(interpreter))
        invoke = interpreter.invoke

        def run_many(count: int) -> None:
            for _ in range(count):
                invoke()

        return run_many

    package = installed_version("litert")
    assert package is not None
    return Runtime(load, lambda: {"version": package[1], "ran_on": sorted(delegates)})


def _interpreter_class() -> Any:
    """Of the package that ``installed_version`` names: when that is broken, no other one steps in for it unseen."""
    module = "ai_edge_litert" if find_spec("ai_edge_litert") is not None else "tflite_runtime"
    return import_module(module + ".interpreter").Interpreter


def _delegates_of(interpreter: Any) -> set[str]:
    """``XNNPACK`` when a delegate took nodes over, and ``built-in kernels`` when some were left. The interpreter
    shows its execution plan through a private method only; without it the answer is ``unknown``."""
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return {"unknown"}
    try:
        return places_of(details(), [detail["index"] for detail in interpreter.get_output_details()])
    except (KeyError, ValueError, RuntimeError):
        return {"unknown"}


def places_of(ops: Sequence[Mapping[str, Any]], outputs: Iterable[int]) -> set[str]:
    """Nodes that a delegate took stay in the list beside the delegate's own, so one counts as run only where what it
    makes is needed on the way to the model's outputs and no delegate makes it."""
    makers = {int(tensor): op for op in ops for tensor in op["outputs"]}
    makers.update({int(tensor): op for op in ops if op["op_name"] == "DELEGATE" for tensor in op["outputs"]})
    places: set[str] = set()
    wanted, seen = [int(tensor) for tensor in outputs], set()
    while wanted:
        tensor = wanted.pop()
        if tensor in seen or tensor not in makers:
            continue
        seen.add(tensor)
        places.add("XNNPACK" if makers[tensor]["op_name"] == "DELEGATE" else "built-in kernels")
        wanted += [int(source) for source in makers[tensor]["inputs"]]
    return places or {"built-in kernels"}
