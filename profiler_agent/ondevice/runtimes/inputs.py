"""Random inputs for a model's signature. Unknown sizes become 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def random_array(numpy: Any, shape: Sequence[Any], dtype: Any, seed: int) -> Any:
    """Standard normal values for floating types, the whole range for 8-bit integers, 0 and 1 for the others."""
    sizes = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
    generator = numpy.random.default_rng(seed)
    kind = numpy.dtype(dtype)
    if kind.kind == "f":
        return generator.standard_normal(sizes).astype(kind)
    if kind.kind in "iu" and kind.itemsize == 1:
        limits = numpy.iinfo(kind)
        return generator.integers(limits.min, limits.max, sizes, dtype=kind, endpoint=True)
    return generator.integers(0, 2, sizes).astype(kind)
