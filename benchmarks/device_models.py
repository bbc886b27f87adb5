"""Blocks and files that the benchmarks of the agent time, and programs that keep every core busy meanwhile."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from latency_model.model_files import write_model
from latency_model.network import single_op_network
from latency_model.ops import ConvSpec, MBConvSpec
from profiler_agent.session import ModelFile


def block_files(folder: Path, runtime: str, count: int) -> list[ModelFile]:
    """``count`` different inverted bottlenecks of 28-32 pixel networks, as model files of a runtime."""
    shapes = ((16, 28), (24, 14), (32, 14), (48, 7), (64, 7), (96, 4))
    choices = itertools.product((3, 5, 7), (2, 3, 4, 6), (0, 8, 16, 24, 32), shapes)
    files = []
    for kernel_size, expansion, wider, (channels, side) in itertools.islice(choices, count):
        op = MBConvSpec(
            in_channels=channels,
            out_channels=channels + wider,
            expand_channels=channels * expansion,
            kernel_size=kernel_size,
            in_height=side,
            in_width=side,
        )
        name = f"{side}x{channels}-{channels + wider}-k{kernel_size}-e{expansion}"
        files.append(ModelFile(model_id=name, path=write_model(single_op_network(op), runtime, folder / name)))
    return files


def canary_file(folder: Path, runtime: str) -> ModelFile:
    op = ConvSpec(in_channels=16, out_channels=16, in_height=14, in_width=14, kernel_size=3)
    return ModelFile(model_id="canary", path=write_model(single_op_network(op), runtime, folder / "canary"))


@contextmanager
def loaded_cores(seconds_at_most: float) -> Iterator[int]:
    """One busy process for each core; they end by themselves too. Yields how many there are."""
    count = os.cpu_count() or 1
    script = f"import time; end = time.monotonic() + {seconds_at_most}\nwhile time.monotonic() < end: pass"
    busy: Sequence[subprocess.Popen[bytes]] = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(count)]
    time.sleep(1.0)
    try:
        yield count
    finally:
        for process in busy:
            process.kill()
            process.wait()
