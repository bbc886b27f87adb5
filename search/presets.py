"""Presets: how much a run trains and measures, in words that a newcomer can choose between."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.errors import RunFolderError
from search.settings import SearchSettings, TrainSettings


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Passes over the training images for each phase, and how many whole networks are timed.

    ``warmup_passes`` and ``search_passes`` count weight steps; ``train_epochs`` is for each of the three networks.
    Few images make few steps a pass: both phases then take more passes, until the logits get
    ``least_architecture_steps``. From 54 steps on they can go as far as ever (``settings.LOGIT_REACH``). In the same
    way each network gets ``least_train_steps``.
    """

    description: str
    warmup_passes: float
    search_passes: float
    train_epochs: float
    derive_candidates: int
    calibration_networks: int
    held_out_networks: int
    least_architecture_steps: int = 54
    weight_steps_per_architecture_step: int = 4
    least_train_steps: int = 400

    def more_passes(self, steps_per_pass: int) -> float:
        """By how much a search on few images takes more passes than the preset says; 1 on enough of them."""
        least_steps = self.least_architecture_steps * self.weight_steps_per_architecture_step
        return max(1.0, least_steps / (self.search_passes * steps_per_pass))

    def search_settings(self, steps_per_pass: int, seed: int) -> SearchSettings:
        more = self.more_passes(steps_per_pass)
        return SearchSettings(
            warmup_steps=round(more * self.warmup_passes * steps_per_pass),
            search_steps=round(more * self.search_passes * steps_per_pass),
            derive_candidates=self.derive_candidates,
            weight_steps_per_architecture_step=self.weight_steps_per_architecture_step,
            seed=seed,
        )

    def train_settings(self, steps_per_epoch: int, seed: int) -> TrainSettings:
        least_epochs = math.ceil(self.least_train_steps / steps_per_epoch)
        return TrainSettings(epochs=max(self.train_epochs, least_epochs), seed=seed)


PRESETS = {
    "smoke": Preset(
        description="a minute or two; shows that everything works, the network is not meant to be good",
        warmup_passes=2,
        search_passes=2,
        train_epochs=4,
        derive_candidates=8,
        calibration_networks=8,
        held_out_networks=6,
        least_architecture_steps=8,
        least_train_steps=0,
    ),
    "demo": Preset(
        description="minutes on two cores; a real search on 60,000 small images",
        warmup_passes=1.25,
        search_passes=0.9,
        train_epochs=2.75,
        derive_candidates=48,
        calibration_networks=24,
        held_out_networks=16,
    ),
    "standard": Preset(
        description="an hour or so on two cores for 50,000 small images",
        warmup_passes=6,
        search_passes=12,
        train_epochs=15,
        derive_candidates=200,
        calibration_networks=40,
        held_out_networks=20,
    ),
    "thorough": Preset(
        description="a night on two cores; for the network that is shipped",
        warmup_passes=30,
        search_passes=60,
        train_epochs=100,
        derive_candidates=500,
        calibration_networks=60,
        held_out_networks=30,
    ),
}


def find_preset(name: str) -> Preset:
    """The preset called ``name``.

    Raises:
        RunFolderError: there is none.
    """
    if name not in PRESETS:
        described = "".join(f"\n  {key}: {preset.description}" for key, preset in PRESETS.items())
        raise RunFolderError(f"No preset is called {name!r}. Use one of:{described}")
    return PRESETS[name]
