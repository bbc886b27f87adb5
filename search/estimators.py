"""Three estimators of the task's gradient on the path logits: full gates, two paths, REINFORCE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from search.gate_gradient import (
    leave_one_out_advantages,
    logit_gradient,
    reinforce_logit_gradient,
    two_path_probability,
)
from search.path_logits import PathLogits
from search.paths import PathSample, sample_full_gates, sample_paths, sample_two_paths
from search.supernet import SuperNet, frozen_weights


@dataclass(frozen=True, eq=False)
class TaskGradient:
    """The held-out loss, and per position its gradient on the logits.

    ``updated``: the candidates whose logits this step may change (all of them, or the two that were sampled).
    """

    loss: float
    gradients: tuple[Tensor, ...]
    updated: tuple[Tensor, ...]


def full_gate_gradient(
    supernet: SuperNet, logits: PathLogits, images: Tensor, labels: Tensor, generator: torch.Generator, width: int = 0
) -> TaskGradient:
    """All gates: inactive candidates are recomputed one at a time in backward. Exact for the drawn paths."""
    probabilities = [probability.detach() for probability in logits.probabilities()]
    sample = sample_full_gates(probabilities, generator, width)
    loss, gate_gradients = _gate_gradients(supernet, sample, images, labels)
    gradients = []
    for probability, paths, gate_gradient in zip(probabilities, sample.positions, gate_gradients, strict=True):
        by_candidate = torch.empty_like(gate_gradient)
        by_candidate[list(paths.indices)] = gate_gradient
        gradients.append(logit_gradient(probability, by_candidate))
    return TaskGradient(loss, tuple(gradients), tuple(torch.arange(p.numel()) for p in probabilities))


def two_path_gate_gradient(
    supernet: SuperNet, logits: PathLogits, images: Tensor, labels: Tensor, generator: torch.Generator, width: int = 0
) -> TaskGradient:
    """Two sampled paths per position, softmax over those two; the other logits get no gradient."""
    probabilities = [probability.detach() for probability in logits.probabilities()]
    sample = sample_two_paths(probabilities, generator, width)
    loss, gate_gradients = _gate_gradients(supernet, sample, images, labels)
    gradients, updated = [], []
    for alpha, paths, gate_gradient in zip(logits.positions, sample.positions, gate_gradients, strict=True):
        pair = torch.tensor(paths.indices)
        gradient = torch.zeros_like(alpha)
        gradient[pair] = logit_gradient(two_path_probability(alpha.detach(), pair), gate_gradient)
        gradients.append(gradient)
        updated.append(pair)
    return TaskGradient(loss, tuple(gradients), tuple(updated))


def reinforce_gradient(
    supernet: SuperNet,
    logits: PathLogits,
    reward: Callable[[PathSample, Tensor], float],
    images: Tensor,
    generators: Sequence[torch.Generator],
    width: int = 0,
) -> TaskGradient:
    """One sampled network per generator on one batch; reward minus the mean of the others is the advantage.

    Args:
        reward: of a sample and its (batch, classes) outputs; a higher one is better.
    Returns:
        ``loss`` is the negative mean reward.
    """
    probabilities = [probability.detach() for probability in logits.probabilities()]
    samples = [sample_paths(probabilities, generator, width) for generator in generators]
    with torch.no_grad():
        rewards = [reward(sample, supernet(images, sample)) for sample in samples]
    gradients = [torch.zeros_like(probability) for probability in probabilities]
    for sample, advantage in zip(samples, leave_one_out_advantages(rewards), strict=True):
        for gradient, probability, choice in zip(gradients, probabilities, sample.choices, strict=True):
            gradient.add_(reinforce_logit_gradient(probability, choice, advantage), alpha=1 / len(samples))
    everything = tuple(torch.arange(probability.numel()) for probability in probabilities)
    return TaskGradient(-sum(rewards) / len(rewards), tuple(gradients), everything)


def _gate_gradients(
    supernet: SuperNet, sample: PathSample, images: Tensor, labels: Tensor
) -> tuple[float, tuple[Tensor, ...]]:
    gates = [position.gates for position in sample.positions if position.gates is not None]
    with frozen_weights(supernet):
        loss = functional.cross_entropy(supernet(images, sample), labels)
        return float(loss.detach()), torch.autograd.grad(loss, gates)
