"""What a search that several runs share costs, beside as many separate searches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from search.files import read_json_lines
from search.trainer import SearchTrainer


@dataclass(frozen=True, kw_only=True)
class SharedCost:
    """Weight steps serve all runs; architecture steps are for one of them, as many as its own search would take.

    Passes are images drawn over the training images, held-out part included; ``architecture_passes`` are each run's.
    Seconds are measured, visits to a device apart; those of separate searches are of the same steps, each run with
    weight steps of its own.
    """

    runs: int
    image_count: int
    weight_passes: float
    architecture_passes: float
    weight_s: float
    architecture_s: float

    @property
    def passes(self) -> float:
        return self.weight_passes + self.runs * self.architecture_passes

    @property
    def separate_passes(self) -> float:
        return self.runs * (self.weight_passes + self.architecture_passes)

    @property
    def seconds(self) -> float:
        return self.weight_s + self.architecture_s

    @property
    def separate_seconds(self) -> float:
        return self.runs * self.weight_s + self.architecture_s

    def to_json(self) -> dict[str, Any]:
        totals = ("passes", "separate_passes", "seconds", "separate_seconds")
        return {"schema": 1, **asdict(self), **{name: getattr(self, name) for name in totals}}

    def describe_passes(self) -> str:
        return (
            f"one search for {self.runs} runs: {self.weight_passes:.3g} passes over the {self.image_count:,} training "
            f"images for the weights, and {self.architecture_passes:.3g} for each run's logits; {self.passes:.3g} in "
            f"all, where separate searches make {self.separate_passes:.3g}"
        )

    def describe_seconds(self) -> str:
        return (
            f"the shared search took {self.seconds:.3g} s ({self.weight_s:.3g} s of it weight steps); at the same "
            f"speed {self.runs} separate searches take {self.separate_seconds:.3g} s"
        )


def shared_cost(trainer: SearchTrainer, run_count: int) -> SharedCost:
    """Of the whole search by its settings, and of the time it has taken so far."""
    settings, data = trainer.settings, trainer.data
    train_count, held_out_count = len(data.train_index), len(data.held_out_index)
    image_count = train_count + held_out_count
    turns = settings.search_steps // settings.weight_steps_per_architecture_step
    events = list(read_json_lines(trainer.files.events))
    architecture_s = sum(event["architecture_seconds"] for event in events if "architecture_seconds" in event)
    device_s = sum(event["device_seconds"] for event in events if "device_seconds" in event)
    return SharedCost(
        runs=run_count,
        image_count=image_count,
        weight_passes=settings.total_steps * min(settings.batch_size, train_count) / image_count,
        architecture_passes=turns * min(settings.architecture_batch_size, held_out_count) / image_count,
        weight_s=round(trainer.seconds - architecture_s - device_s, 3),
        architecture_s=round(architecture_s, 3),
    )
