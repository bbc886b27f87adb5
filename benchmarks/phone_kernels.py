"""The published phone-GPU measurements: kernels, and the whole networks that they make up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latency_model.features import FloatArray


@dataclass(frozen=True, kw_only=True)
class PhoneNetworks:
    """Networks of which one phone's GPU has both the kernels and a latency.

    Attributes:
        column: of the tables, "pixel4|gpu|float".
        models: (n,) names.
        sums_ms: (n,) sum of the measured kernels; kernel_count: (n,); latency_ms: (n,) of the whole network.
    """

    column: str
    models: tuple[str, ...]
    sums_ms: FloatArray
    kernel_count: FloatArray
    latency_ms: FloatArray

    @property
    def device(self) -> str:
        return self.column.split("|")[0]

    def __len__(self) -> int:
        return len(self.models)


def read_phones(folder: Path) -> tuple[Any, Any] | None:
    """Tables of the kernels and, by model, of whole networks; None where the folder lacks one."""
    import pandas as pd  # noqa: PLC0415 - slow to import

    kernels, networks = (folder / "phone_gpu_kernels" / f"tflite_cnn_{name}.csv" for name in ("ops_gpu", "e2e"))
    if not kernels.is_file() or not networks.is_file():
        return None
    return pd.read_csv(kernels), pd.read_csv(networks).set_index("model")


def gpu_columns(kernels: Any) -> list[str]:
    """The columns that hold kernel latencies, one for each phone."""
    return [name for name in kernels.columns if re.fullmatch(r".+\|gpu\|float", name)]


def phone_networks(kernels: Any, networks: Any) -> Iterator[PhoneNetworks]:
    """Each phone that stands in both tables; the files hold microseconds."""
    for column in gpu_columns(kernels):
        if f"{column}|mean" not in networks.columns:
            continue
        by_model = kernels.groupby("model")[column]
        sums, counts = by_model.sum(), by_model.size()
        truth = networks[f"{column}|mean"].reindex(sums.index)
        known = truth.notna().to_numpy() & (sums > 0).to_numpy()
        sums_ms, kernel_count, latency_ms = (
            np.asarray(values)[known].astype(np.float64) * scale
            for values, scale in ((sums, 1e-3), (counts, 1.0), (truth, 1e-3))
        )
        yield PhoneNetworks(
            column=column,
            models=tuple(map(str, sums.index[known])),
            sums_ms=sums_ms,
            kernel_count=kernel_count,
            latency_ms=latency_ms,
        )
