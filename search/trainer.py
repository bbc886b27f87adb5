"""The search loop: warm-up, then weight steps and architecture steps in turn; it resumes bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from search.agreement import agreed_targets, begin_alike, require_shares
from search.architecture_step import LatencyTarget, TargetState, take_architecture_step
from search.batches import HASH_LENGTH, SplitData
from search.checkpoint import read_checkpoint, write_checkpoint
from search.data.batches import seeded_generator
from search.device_loop import DeviceAnswer, DeviceLoop, shared_target
from search.errors import TrainingDiverged
from search.files import append_json_line, keep_json_lines_before
from search.identity import Identity, settings_parts, targets_parts, targets_whole
from search.paths import PathSample, fair_paths, sample_paths
from search.settings import SearchSettings
from search.space import SearchSpace
from search.supernet import build_supernet
from search.weight_optimizer import WeightOptimizer
from search.workers import ALONE, Workers

LOG_EVERY_STEPS = 10
CHECKPOINT_EVERY_S = 15.0


@dataclass(frozen=True, kw_only=True)
class SearchFiles:
    """Where a search keeps what it learns."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def probabilities(self) -> Path:
        return self.folder / "probabilities.jsonl"

    @property
    def device_loop(self) -> Path:
        return self.folder / "device_loop.jsonl"


class SearchTrainer:
    """Trains one supernet and, for each target, its own logits and multiplier.

    Every draw depends on the seed and the step alone, so the state that a checkpoint holds is weights, logits,
    multipliers, both kinds of optimisers and the step.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a search is made of
        self,
        space: SearchSpace,
        data: SplitData,
        targets: Sequence[LatencyTarget],
        settings: SearchSettings,
        files: SearchFiles,
        workers: Workers = ALONE,
        device_loop: DeviceLoop | None = None,
    ) -> None:
        targets = agreed_targets(workers, space, data, settings, targets)
        self.space, self.data, self.settings, self.files = space, data, settings, files
        self.workers, self.device_loop = workers, device_loop
        self.supernet = build_supernet(space, seeded_generator(settings.seed, "supernet"), workers.device)
        self.first_targets = tuple(targets)
        self.states = [TargetState(space, target, settings, len(targets)) for target in targets]
        begin_alike(workers, self.supernet, self.states)
        self.optimizer = WeightOptimizer(self.supernet, settings)
        self.step = 0
        self.seconds = 0.0

    @property
    def identity(self) -> Identity:
        """What a checkpoint must share with a search that wants to go on from it."""
        return Identity(
            whole={
                "space": self.space.hash,
                "data": self.data.data.hash,
                "settings": self.settings.identity,
                "targets": targets_whole(self.first_targets),
            },
            parts={
                # Before what follows from them: the first that differs is named.
                "space": f"{self.space.name} ({self.space.hash})",
                "data": self.data.data.hash[:HASH_LENGTH],
                "split": self.data.hash,
                **settings_parts(self.settings.before_deriving()),
                **targets_parts(self.first_targets),
            },
        )

    @property
    def is_finished(self) -> bool:
        return self.step >= self.settings.total_steps

    def load(self) -> None:
        """Take up the state of the last checkpoint, to read from it; without one, stay at the start.

        Raises:
            CheckpointError: the folder holds the search of another space, data set, target or settings.
        """
        state = read_checkpoint(self.files.checkpoint, self.identity)
        if state is not None:
            self.step, self.seconds = state["step"], state["seconds"]
            self.supernet.load_state_dict(state["supernet"])
            self.optimizer.load_state_dict(state["optimizer"])
            for target, saved in zip(self.states, state["targets"], strict=True):
                target.aim_at(target.target.with_latencies([ms.numpy() for ms in saved["paths"]], saved["fixed_ms"]))
                target.load_state_dict(saved["module"])
                target.optimizer.load_state_dict(saved["optimizer"])

    def resume(self) -> None:
        """Take up the state of the last checkpoint, to go on from it: what was logged after it is dropped."""
        self.load()
        if self.workers.is_first:
            keep_json_lines_before(self.files.events, self.step)
            keep_json_lines_before(self.files.probabilities, self.step)
            keep_json_lines_before(self.files.device_loop, self.step)
        self.workers.wait()

    def run(self, on_step: Callable[[int, int], None] | None = None) -> None:
        """Search from where it stands (``resume`` first) to the end.

        Args:
            on_step: called with steps done and steps in all.
        Raises:
            RunFolderError: too few steps for the logits to learn from, or too many workers for the images.
        """
        self.settings.require_an_architecture_step()
        require_shares(self.workers, self.settings, self.data)
        last_saved = time.monotonic()
        while not self.is_finished:
            self.take_step()
            if time.monotonic() - last_saved > CHECKPOINT_EVERY_S or self.is_finished:
                self.save()
                last_saved = time.monotonic()
            if on_step is not None:
                on_step(self.step, self.settings.total_steps)

    def take_step(self) -> None:
        """One weight step and, when they are due, architecture steps for targets in turn; logged."""
        started = time.monotonic()
        events = self._weight_and_architecture_steps()
        self.step += 1
        self.seconds += time.monotonic() - started
        if self.workers.is_first:
            for event in events:
                append_json_line(self.files.events, {**event, "seconds": round(self.seconds, 3)})

    def _weight_and_architecture_steps(self) -> list[dict[str, Any]]:
        settings, step = self.settings, self.step
        is_warmup = step < settings.warmup_steps
        loss, accuracy = self.weight_step(self._weight_paths(step, is_warmup))
        event: dict[str, Any] = {"step": step, "phase": "warmup" if is_warmup else "search"}
        event |= {"epoch": step / self.data.train_steps_per_pass(settings.batch_size)}
        event |= {"loss": loss, "accuracy": accuracy, "target": None, "held_out_loss": None, "expected_ms": None}
        event |= {"derived_ms": None, "multiplier": None, "entropy": None}
        self._require_finite("loss", loss)
        due = not is_warmup and (step - settings.warmup_steps + 1) % settings.weight_steps_per_architecture_step == 0
        if due:
            turn = (step - settings.warmup_steps) // settings.weight_steps_per_architecture_step
            first = turn * settings.architecture_steps_per_turn
            return [event | self._taken_turn(first + k) for k in range(settings.architecture_steps_per_turn)]
        return [event] if step % LOG_EVERY_STEPS == 0 else []

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"The {what} of the search is {value} at step {self.step}: it diverged, and would do so again from its "
                f"checkpoint. Start a new run with another --seed, or from Python with a learning_rate below "
                f"{self.settings.learning_rate:g}."
            )

    def _taken_turn(self, turn: int) -> dict[str, Any]:
        """An architecture step for the target whose turn it is, a visit to the device when one is due, and the time
        that each took."""
        started = time.monotonic()
        taken = self._architecture_step(self.states[turn % len(self.states)], turn)
        taken["architecture_seconds"] = round(time.monotonic() - started, 6)
        if self.device_loop is not None and (turn + 1) % self.device_loop.every_steps == 0:
            started = time.monotonic()
            self._ask_device(self.device_loop)
            taken["device_seconds"] = round(time.monotonic() - started, 6)
        return taken

    def _weight_paths(self, step: int, is_warmup: bool) -> PathSample:
        generator = seeded_generator(self.settings.seed, "weight paths", step)
        if is_warmup or float(torch.rand((), generator=generator)) < self.settings.fair_share:
            return fair_paths(self.space.candidate_counts, self.settings.seed, step, len(self.space.widths))
        state = self.states[step % len(self.states)]
        probabilities = [probability.detach() for probability in state.logits.probabilities()]
        return sample_paths(probabilities, generator, state.target.width)

    def weight_step(self, paths: PathSample) -> tuple[float, float]:
        """Train the weights of these paths on this step's batch; returns loss and accuracy on it."""
        settings = self.settings
        batch = self.data.train_batch(self.step, settings.batch_size)
        images, labels = self.workers.share(batch)
        outputs: Tensor = self.supernet(images, paths)
        loss = functional.cross_entropy(outputs, labels, label_smoothing=settings.label_smoothing)
        weight = self.workers.weight_of(len(labels), len(batch[1]))
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        figures = torch.stack([loss.detach(), (outputs.argmax(1) == labels).float().mean()]) * weight
        # The paths are the same everywhere, so are the weights that have a gradient: those alone are sent.
        self.workers.average_([figures, *self.optimizer.gradients(paths)])
        self.optimizer.step(paths, self._learning_rate())
        return float(figures[0]), float(figures[1])

    def _learning_rate(self) -> float:
        settings = self.settings
        rise = max(1, round(settings.learning_rate_warmup_fraction * settings.total_steps))
        return cosine(settings.learning_rate, self.step, settings.total_steps) * min(1.0, (self.step + 1) / rise)

    def _architecture_step(self, state: TargetState, turn: int) -> dict[str, Any]:
        batch = self.data.held_out_batch(turn, self.settings.architecture_batch_size)
        again = turn % self.settings.architecture_steps_per_turn // len(self.states)
        draw = self.step + again * self.settings.total_steps  # a target that has two steps in a turn draws anew
        taken = take_architecture_step(self.supernet, state, batch, self.settings, draw, self.workers)
        self._require_finite("held-out loss", taken.held_out_loss)
        self._require_finite("expected latency", taken.expected_ms)
        if self.workers.is_first:
            probabilities = [
                [round(float(p), 5) for p in position.detach()] for position in state.logits.probabilities()
            ]
            append_json_line(
                self.files.probabilities,
                {"step": self.step, "target": state.target.name, "probabilities": probabilities},
            )
        return {
            "target": state.target.name,
            "held_out_loss": taken.held_out_loss,
            "expected_ms": taken.expected_ms,
            "derived_ms": taken.derived_ms,
            "multiplier": float(state.latency_loss.multiplier),
            "entropy": state.logits.entropy(),
        }

    def _ask_device(self, loop: DeviceLoop) -> None:
        """Time what would be derived now, take over the corrected latencies, and log predicted against measured."""
        choices = [state.logits.most_probable() for state in self.states]
        answers: Sequence[DeviceAnswer | None] = [None] * len(choices)
        if self.workers.is_first:
            answers = loop.ask(self.step, [state.target for state in self.states], choices)
        for state, answer, chosen in zip(self.states, answers, choices, strict=True):
            target = shared_target(self.workers, state.target if answer is None else answer.target)
            if answer is not None:
                append_json_line(
                    self.files.device_loop,
                    {
                        "step": self.step,
                        "target": state.target.name,
                        "width": state.target.width,
                        "choices": chosen,
                        "predicted_ms": state.target.network_ms(chosen),
                        "measured_ms": answer.measured_ms,
                        "corrected_ms": target.network_ms(chosen),
                    },
                )
            state.aim_at(target)

    def save(self) -> None:
        """Write the checkpoint that ``resume`` takes up (the first worker does)."""
        if not self.workers.is_first:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "targets": [
                {
                    "module": target.state_dict(),
                    "optimizer": target.optimizer.state_dict(),
                    "paths": [torch.tensor(ms) for ms in target.target.path_latency_ms],
                    "fixed_ms": target.target.fixed_ms,
                }
                for target in self.states
            ],
        }
        write_checkpoint(self.files.checkpoint, self.identity, state)


def cosine(peak: float, step: int, total_steps: int) -> float:
    """Learning rate that falls from ``peak`` at step 0 to 0 at ``total_steps`` along half a cosine."""
    return 0.5 * peak * (1 + math.cos(math.pi * step / total_steps))
