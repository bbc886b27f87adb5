"""PathLogits: the architecture parameters of one (device, target), one logit vector per position."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search.space import Choices

INITIAL_SPREAD = 1e-3


class PathLogits(nn.Module):
    """alpha ~ N(0, 1e-3) for each position; softmax(alpha) are its path probabilities.

    In double precision: two paths are rescaled so that all other probabilities stay as they were, to the last digit.
    """

    def __init__(self, candidate_counts: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.positions = nn.ParameterList(
            nn.Parameter(INITIAL_SPREAD * torch.randn(count, generator=generator, dtype=torch.float64))
            for count in candidate_counts
        )

    def probabilities(self) -> tuple[Tensor, ...]:
        """One (candidates,) vector per position, with the gradient attached."""
        return tuple(torch.softmax(logits, dim=0) for logits in self.positions)

    def most_probable(self) -> Choices:
        """The argmax of each position: path-level pruning."""
        return tuple(int(logits.argmax()) for logits in self.positions)

    def entropy(self) -> float:
        """Mean over the positions of each distribution's entropy as a fraction of its maximum (0 to 1)."""
        fractions = []
        for probability in (p.detach() for p in self.probabilities()):
            if probability.numel() > 1:
                entropy = -(probability * probability.clamp_min(1e-12).log()).sum()
                fractions.append(float(entropy) / math.log(probability.numel()))
        return sum(fractions) / len(fractions) if fractions else 0.0
