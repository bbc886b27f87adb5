"""From gate gradients to logit gradients: the mathematics of path-level binarization, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor


def logit_gradient(path_probability: Tensor, gate_gradient: Tensor) -> Tensor:
    """dL/dalpha under the straight-through estimate of a binary gate.

    dL/dalpha_i ~= sum_j dL/dg_j * p_j * (delta_ij - p_i) = p_i * (dL/dg_i - sum_j dL/dg_j * p_j)

    Args:
        path_probability: (paths,), softmax of the logits.
        gate_gradient: (paths,), dL/dg_j = sum(dL/dy * o_j(x)).
    Returns:
        (paths,); it sums to 0.
    Raises:
        ValueError: the two shapes differ.
    Source: Cai, Zhu and Han, ProxylessNAS, ICLR 2019, equation 4.
    """
    if path_probability.shape != gate_gradient.shape:
        raise ValueError(f"{path_probability.shape=} but {gate_gradient.shape=}; one gate per path.")
    return path_probability * (gate_gradient - (gate_gradient * path_probability).sum())


def two_path_probability(logits: Tensor, pair: Tensor) -> Tensor:
    """The softmax over two sampled paths alone. ``pair``: (2,) indices; returns (2,)."""
    return torch.softmax(logits[pair], dim=0)


def rescaled_pair(old_pair: Tensor, new_pair: Tensor) -> Tensor:
    """The two updated logits, shifted so that the probabilities of all other paths stay as they were.

    offset = log(sum(exp(new)) / sum(exp(old))) is subtracted from both: their joint mass is unchanged.

    Args:
        old_pair: (2,), the two logits before the update.
        new_pair: (2,), after it.
    Source: Cai, Zhu and Han, ProxylessNAS, ICLR 2019, section 3.2.
    """
    return new_pair - (torch.logsumexp(new_pair, 0) - torch.logsumexp(old_pair, 0))


def reinforce_logit_gradient(path_probability: Tensor, sampled: int, advantage: float) -> Tensor:
    """The gradient of ``-advantage * log p(sampled)`` with respect to the logits: descent raises a good path.

    Source: Williams, 1992; grad log softmax_k = delta_ik - p_i.
    """
    gradient = advantage * path_probability
    gradient[sampled] -= advantage
    return gradient


def leave_one_out_advantages(rewards: list[float]) -> list[float]:
    """Each reward minus the mean of the others: an unbiased baseline that needs no history.

    Raises:
        ValueError: fewer than two rewards.
    """
    if len(rewards) < 2:  # noqa: PLR2004
        raise ValueError(f"{len(rewards)} rewards; a leave-one-out baseline needs at least 2 samples per step.")
    total = sum(rewards)
    return [reward - (total - reward) / (len(rewards) - 1) for reward in rewards]
