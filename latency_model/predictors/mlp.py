"""A small neural network: the smooth one among the regressors. Fitted by torch, kept and run as arrays."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from latency_model.array_files import read_arrays
from latency_model.features import FloatArray
from latency_model.predictors.corrected import CorrectedPredictor, RegressorClass

_FILE = "mlp.npz"
_WIDTH = 64
_MEMBERS = 3
_STEPS = 300
_LEARNING_RATE = 5e-3
_WEIGHT_DECAY = 1e-2


class Mlp:
    """The mean of a few networks of two hidden layers (SiLU), on standardised features."""

    def __init__(self, arrays: dict[str, FloatArray]) -> None:
        self._arrays = arrays

    @classmethod
    def fit(cls, features: FloatArray, targets: FloatArray, seed: int) -> Mlp:
        import torch  # noqa: PLC0415 - slow to import

        centre, spread = features.mean(axis=0), features.std(axis=0)
        spread = np.where(spread > 1e-9, spread, np.inf)  # a feature that never changes says nothing  # noqa: PLR2004
        level, scale = float(targets.mean()), float(targets.std()) or 1.0
        inputs = torch.from_numpy(np.asarray((features - centre) / spread, dtype=np.float32))
        wanted = torch.from_numpy(((targets - level) / scale).astype(np.float32))
        generator = torch.Generator().manual_seed(seed)
        sizes = (features.shape[1], _WIDTH, _WIDTH, 1)
        weights = [
            torch.randn(_MEMBERS, before, after, generator=generator) / before**0.5 for before, after in pairwise(sizes)
        ]
        biases = [torch.zeros(_MEMBERS, 1, after) for after in sizes[1:]]
        parameters = [*weights, *biases]
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            hidden = inputs.expand(_MEMBERS, -1, -1)
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                hidden = torch.nn.functional.silu(hidden @ weight + bias)
            output = (hidden @ weights[-1] + biases[-1])[..., 0]
            torch.nn.functional.huber_loss(output, wanted.expand_as(output)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        arrays = {f"weight{i}": w.detach().double().numpy() for i, w in enumerate(weights)}
        arrays |= {f"bias{i}": b.detach().double().numpy() for i, b in enumerate(biases)}
        return cls(arrays | {"centre": centre, "spread": spread, "target": np.array([level, scale])})

    def predict(self, features: FloatArray) -> FloatArray:
        hidden = ((features - self._arrays["centre"]) / self._arrays["spread"])[None]
        for layer in range(2):
            before = hidden @ self._arrays[f"weight{layer}"] + self._arrays[f"bias{layer}"]
            hidden = before / (1.0 + np.exp(-before.clip(min=-60.0)))
        output = (hidden @ self._arrays["weight2"] + self._arrays["bias2"])[..., 0].mean(axis=0)
        level, scale = self._arrays["target"]
        return np.asarray(output * scale + level)

    def save(self, folder: Path) -> None:
        with (folder / _FILE).open("wb") as file:
            np.savez(file, **self._arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Mlp:
        return cls(read_arrays(folder / _FILE))


class MlpPredictor(CorrectedPredictor):
    """Neural networks on top of the roofline model."""

    kind: ClassVar[str] = "mlp"
    regressor_class: ClassVar[RegressorClass] = Mlp
    fold_count: ClassVar[int] = 4
