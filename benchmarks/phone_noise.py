"""How far one phone's own timings are apart: the same kernels, timed as parts of one network and of others."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from benchmarks.public_kernel_data import PhoneGpus
from latency_model.features import FloatArray

_LEAST_NETWORKS = 3  # that hold a kernel: of two, neither is the one that strays
_LEAST_KERNELS = 6  # that a network shares with others, before its level says something


def network_levels(gpus: PhoneGpus, device: str) -> FloatArray:
    """(networks,) log of how much longer the kernels of one network took than the same kernels of the others.

    Of each kernel configuration that three networks or more hold, its time over the median of all; per network the mean
    of these logarithms, weighted by time. A phone that kept one pace would have zeros. Networks that share fewer than
    six kernels with others are left out.
    """
    times: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for model, operation, feature, latency_ms in zip(
        gpus.models, gpus.operations, gpus.features, gpus.devices[device].kernel_ms, strict=True
    ):
        if np.isfinite(latency_ms):
            times[operation, feature].append((model, float(latency_ms)))
    strays: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for timed in times.values():
        if len({model for model, _ in timed}) >= _LEAST_NETWORKS:
            middle = float(np.median([latency_ms for _, latency_ms in timed]))
            for model, latency_ms in timed:
                strays[model].append((float(np.log(latency_ms / middle)), latency_ms))
    shared = [np.array(of_network) for of_network in strays.values() if len(of_network) >= _LEAST_KERNELS]
    return np.array([np.average(each[:, 0], weights=each[:, 1]) for each in shared])
