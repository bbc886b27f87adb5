"""What the workers of one search must have in common before they begin; a single process agrees with itself."""

from __future__ import annotations

from collections.abc import Sequence

from search.architecture_step import LatencyTarget, TargetState
from search.batches import SplitData
from search.device_loop import shared_target
from search.errors import RunFolderError
from search.settings import SearchSettings
from search.space import SearchSpace
from search.supernet import SuperNet
from search.workers import Workers

LEAST_SHARE = 2
"""Images of a batch that each worker needs: batch norm of a 1x1 map takes its statistics from two values or more."""


def agreed_targets(
    workers: Workers, space: SearchSpace, data: SplitData, settings: SearchSettings, targets: Sequence[LatencyTarget]
) -> list[LatencyTarget]:
    """The first worker's targets, on all workers: predictions of different processors may differ in their last digits.

    Raises:
        WorkersDiffer: a worker has another space, other images, settings or budgets.
    """
    workers.require_same(
        {
            "space": space.hash,
            "data": data.data.hash,
            "split of the data": data.hash,
            "settings": settings.identity,
            "set of targets": repr([(target.name, target.target_ms, target.width) for target in targets]),
        }
    )
    return list(targets) if workers.count == 1 else [shared_target(workers, target) for target in targets]


def begin_alike(workers: Workers, supernet: SuperNet, states: Sequence[TargetState]) -> None:
    """Weights and logits as the first worker drew them: other processors may draw other last digits."""
    logits = [alpha for state in states for alpha in state.logits.positions]
    workers.from_first_([*supernet.parameters(), *logits])


def require_shares(workers: Workers, settings: SearchSettings, data: SplitData) -> None:
    """Raise when a worker's share of a batch would be too small.

    Raises:
        RunFolderError: it would.
    """
    weight = min(settings.batch_size, len(data.train_index))
    architecture = min(settings.architecture_batch_size, len(data.held_out_index))
    most = max(1, min(weight, architecture) // LEAST_SHARE)
    if workers.count > most:
        raise RunFolderError(
            f"{workers.count} workers share batches of {weight} training and {architecture} held-out images; each "
            f"needs {LEAST_SHARE} or more of both for its batch norm. Start {most} or fewer (torchrun "
            f"--nproc-per-node), or search on more images."
        )
