"""Held-out loss and accuracy of networks of one supernet, each on the same images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional

from search.batches import SplitData
from search.paths import PathSample
from search.space import Choices
from search.supernet import SuperNet
from search.workers import ALONE, Workers

BATCH_SIZE = 500
KEPT_BYTES = 512 * 2**20

_Begin: TypeAlias = tuple[int, int, Choices]
"""Which batch, which width, and the choices of the first positions."""


def judging_batches(data: SplitData, image_count: int) -> list[tuple[Tensor, Tensor]]:
    """Held-out images in large shuffled batches: each network is judged on the same ones."""
    batch_size = min(BATCH_SIZE, len(data.held_out_index))
    count = max(1, min(image_count, len(data.held_out_index)) // batch_size)
    return [data.held_out_batch(step, batch_size) for step in range(count)]


class HeldOutJudge:
    """Judges networks with shared weights; each worker runs its share of the batches.

    Batch norm uses each batch's own statistics, which recalibrates it for exactly the network that runs. So networks
    that begin alike put out the same there, and the next one goes on from what an earlier one left, as far as
    ``kept_bytes`` hold it. The scores are the same with and without.
    """

    def __init__(
        self,
        supernet: SuperNet,
        batches: Sequence[tuple[Tensor, Tensor]],
        workers: Workers = ALONE,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.supernet, self.batches, self.workers, self.kept_bytes = supernet, batches, workers, kept_bytes
        self._kept: OrderedDict[_Begin, Tensor] = OrderedDict()
        self._bytes = 0

    def score(self, paths: PathSample) -> tuple[float, float]:
        """(cross-entropy, accuracy) of one network."""
        sums = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for index in range(self.workers.rank, len(self.batches), self.workers.count):
                labels = self.batches[index][1]
                outputs = self._outputs(index, paths).cpu()
                sums[0] += functional.cross_entropy(outputs, labels, reduction="sum")
                sums[1] += (outputs.argmax(1) == labels).sum()
        self.workers.average_([sums])
        loss, accuracy = (sums * self.workers.count / sum(len(labels) for _, labels in self.batches)).tolist()
        return loss, accuracy

    def _outputs(self, index: int, paths: PathSample) -> Tensor:
        images = self.batches[index][0]
        chain = self.supernet.chain(paths.width)
        if chain is None:
            return cast(Tensor, self.supernet(images.to(self.workers.device), paths))
        begins = [(index, paths.width, paths.choices[:length]) for length in range(len(paths.choices) + 1)]
        known = next((length for length in reversed(range(len(begins))) if begins[length] in self._kept), None)
        if known is None:
            known, x = 0, chain.stem(images.to(self.workers.device))
            self._keep(begins[0], x)
        else:
            x = self._kept[begins[known]]
            self._kept.move_to_end(begins[known])
        for position in range(known, len(paths.choices)):
            x = chain.mixed_ops[position](x, paths.positions[position])
            if position + 1 < len(paths.choices):  # no other network begins with a whole one
                self._keep(begins[position + 1], x)
        return cast(Tensor, chain.head(x))

    def _keep(self, begin: _Begin, x: Tensor) -> None:
        """Keep what a begin puts out; what was used longest ago goes when there is too much."""
        self._kept[begin] = x
        self._bytes += x.nbytes
        while self._bytes > self.kept_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
