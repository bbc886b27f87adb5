"""Mixup: each image is blended with another one of its batch, and so is the loss.

Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from search.data.batches import seeded_generator


@dataclass(frozen=True, eq=False)
class Mixed:
    """Blended images, and both labels of each. ``share`` is the first image's."""

    images: Tensor
    labels: Tensor
    other_labels: Tensor
    share: float

    def loss(self, logits: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy with both labels, weighted as the images are."""
        first = functional.cross_entropy(logits, self.labels, label_smoothing=label_smoothing)
        if self.share == 1:
            return first
        other = functional.cross_entropy(logits, self.other_labels, label_smoothing=label_smoothing)
        return self.share * first + (1 - self.share) * other


def mix(images: Tensor, labels: Tensor, alpha: float, seed: int, step: int) -> Mixed:
    """Blend a batch with itself in another order; the draw depends on seed and step alone. ``alpha`` 0 blends nothing.

    Args:
        images: (batch, channels, height, width).
        labels: (batch,), int64.
        alpha: both parameters of the beta distribution that the one share of this batch is drawn from.
    """
    if alpha == 0:
        return Mixed(images, labels, labels, 1.0)
    share = random.Random(f"{seed}/mixup/{step}").betavariate(alpha, alpha)
    order = torch.randperm(len(labels), generator=seeded_generator(seed, "mixup", step)).to(labels.device)
    return Mixed(torch.lerp(images[order], images, share), labels, labels[order], share)
