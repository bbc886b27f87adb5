"""Architecture steps of NNI's DARTS, all paths in memory: ``python -m benchmarks.peers_nni_darts plain-6`` takes turns.

Runs in the peers' environment. NNI takes an architecture and a weight step on each pair of batches; the latter is left
out here: its loss is a constant that passes through no path.
"""

from __future__ import annotations

import nni
from nni.nas.strategy import DARTS
from torch import Tensor

from benchmarks.peers_nni import (
    EPOCHS,
    LEARNING_RATE,
    Recipe,
    TurnTaking,
    one_quiet_thread,
    peer_search,
    search,
)


@nni.trace
class ArchitectureRecipe(Recipe):  # type: ignore[misc]
    """NNI numbers its steps: even ones are on held-out data and for the architecture."""

    def training_step(self, batch: tuple[Tensor, Tensor], step: int) -> Tensor:
        if step % 2 == 0:
            return super().training_step(batch, step)
        return 0 * next(self.model.stem.parameters()).sum()


def main() -> None:
    network, data, memory_format = peer_search()
    search(DARTS(), network, ArchitectureRecipe(LEARNING_RATE, memory_format), data, EPOCHS, TurnTaking())


if __name__ == "__main__":
    with one_quiet_thread():
        main()
