"""What a checkpoint belongs to, value by value: a refused resume names the one that differs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from search.architecture_step import LatencyTarget
from search.batches import HASH_LENGTH
from search.settings import SearchSettings, TrainSettings


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a search or a training is of.

    ``whole``: few texts, which every checkpoint has. ``parts``: the same value by value, and what the texts leave out
    (the split, a target's fixed latency); checkpoints from before they were written have none, and values that came
    later are missing in older ones.
    """

    whole: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=dict)


def settings_parts(settings: SearchSettings | TrainSettings) -> dict[str, str]:
    """Each setting by its name."""
    return {name: repr(value) for name, value in asdict(settings).items()}


def targets_whole(targets: Sequence[LatencyTarget]) -> str:
    return repr([(target.name, target.target_ms, [ms.tolist() for ms in target.path_latency_ms]) for target in targets])


def targets_parts(targets: Sequence[LatencyTarget]) -> dict[str, str]:
    """Which targets, and for each the budget and what networks cost."""
    parts = {"set of targets": ", ".join(target.name for target in targets)}
    for target in targets:
        parts[f"budget on {target.name}"] = f"{target.target_ms!r} ms"
        parts[f"fixed latency on {target.name}"] = f"{target.fixed_ms!r} ms"
        paths = repr([ms.tolist() for ms in target.path_latency_ms])
        parts[f"table of path latencies on {target.name}"] = hashlib.sha256(paths.encode()).hexdigest()[:HASH_LENGTH]
    return parts
