"""The supernet that keeps every path in memory: the baseline that path-level binarization is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from search.modules import Zero
from search.supernet import SuperNet


class AllPathsNetwork(nn.Module):
    """Runs every candidate of every position and weighs the outputs by the path probabilities (as DARTS does)."""

    def __init__(self, supernet: SuperNet) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, images: Tensor, probabilities: Sequence[Tensor]) -> Tensor:
        x = self.supernet.stem(images)
        for mixed_op, probability in zip(self.supernet.mixed_ops, probabilities, strict=True):
            y = sum(
                share * candidate(x)
                for share, candidate in zip(probability, mixed_op.candidates, strict=True)
                if not isinstance(candidate, Zero)
            )
            x = y + x if mixed_op.has_shortcut else y
        return cast(Tensor, self.supernet.head(x))


def all_paths_step(
    network: AllPathsNetwork, logits: Sequence[Tensor], optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    """One architecture step with all paths in memory; the weights are frozen."""
    probabilities = [torch.softmax(alpha, 0).float() for alpha in logits]
    loss = functional.cross_entropy(network(images, probabilities), labels)
    for alpha, gradient in zip(logits, torch.autograd.grad(loss, list(logits)), strict=True):
        alpha.grad = gradient
    optimizer.step()
