"""Trains one network: the same recipe for the derived network and for the baselines beside it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latency_model.kernels import macs, parameter_count
from latency_model.network import NetworkSpec, network_to_json
from search.batches import SplitData
from search.checkpoint import read_checkpoint, write_checkpoint
from search.data.batches import seeded_generator
from search.errors import RunFolderError, TrainingDiverged
from search.files import NUMBER, append_json_line, keep_json_lines_before, read_record, write_json
from search.identity import Identity, settings_parts
from search.mixup import mix
from search.plain_network import PlainNetwork
from search.settings import TrainSettings
from search.trainer import CHECKPOINT_EVERY_S, LOG_EVERY_STEPS, cosine
from search.warm_start import fingerprint
from search.weight_average import averaging_copy, follow
from search.weights_file import read_weights, write_weights
from search.workers import ALONE, Workers

TEST_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class TrainFiles:
    """Where a training keeps what it learns."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"


class NetworkTrainer:
    """One training run, resumable bit for bit: every draw depends on the seed and the step alone.

    Args:
        workers: the processes that share this training, each with its part of every batch.
        initial: weights to begin with, such as the supernet's; None begins from scratch.
    Raises:
        WorkersDiffer: a worker has another network, other images, settings or first weights.
    """

    def __init__(
        self,
        network: NetworkSpec,
        data: SplitData,
        settings: TrainSettings,
        files: TrainFiles,
        workers: Workers = ALONE,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.network, self.data, self.settings, self.files, self.workers = network, data, settings, files, workers
        model = PlainNetwork(network, seeded_generator(settings.seed, "network"), settings.dropout)
        self.start = "from scratch" if initial is None else fingerprint(initial)
        if initial is not None:
            model.load_state_dict(initial, strict=False)
        self.model: PlainNetwork = model.to(  # type: ignore[call-overload]
            device=workers.device, memory_format=torch.channels_last
        )
        workers.require_same({**self.identity.whole, "split of the data": data.hash})
        workers.from_first_(list(self.model.parameters()))  # other processors may draw other last digits
        self.average = averaging_copy(self.model) if settings.ema_decay else self.model
        self.optimizer = torch.optim.SGD(
            _parameter_groups(self.model, settings.weight_decay),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=True,
        )
        self.steps_per_epoch = data.train_steps_per_pass(settings.batch_size)
        self.total_steps = max(1, round(settings.epochs * self.steps_per_epoch))
        self.step = 0
        self.seconds_before = 0.0
        self.best_accuracy = -1.0

    @property
    def identity(self) -> Identity:
        return Identity(
            whole={
                "network": repr(network_to_json(self.network)["layers"]),
                "data": self.data.data.hash,
                "settings": repr(dataclasses.astuple(self.settings)),
                "start": self.start,
            },
            parts={"split": self.data.hash, **settings_parts(self.settings)},
        )

    def run(self, on_step: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Train to the end from where the last checkpoint stands, then touch the test part, once.

        Returns:
            The result that is also written: test and held-out accuracy (0 to 1), parameters, multiply-accumulates,
            seconds, passes over the training images.
        """
        self.resume()
        started = last_saved = time.monotonic()
        while self.step < self.total_steps:
            event = self._take_step()
            self.step += 1
            if self.step % self.steps_per_epoch == 0 or self.step == self.total_steps:
                event["held_out_accuracy"] = self._keep_if_best()
            seconds = self.seconds_before + time.monotonic() - started
            if event["held_out_accuracy"] is not None or event["step"] % LOG_EVERY_STEPS == 0:
                self._log({**event, "seconds": round(seconds, 3)})
            if time.monotonic() - last_saved > CHECKPOINT_EVERY_S or self.step == self.total_steps:
                self._save(seconds)
                last_saved = time.monotonic()
            if on_step is not None:
                on_step(self.step, self.total_steps)
        return self._finish(self.seconds_before + time.monotonic() - started)

    def _take_step(self) -> dict[str, Any]:
        settings, step = self.settings, self.step
        warmup_steps = max(1, round(settings.warmup_fraction * self.total_steps))
        rate = cosine(settings.learning_rate, step, self.total_steps) * min(1.0, (step + 1) / warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        batch = self.data.train_batch(step, settings.batch_size)
        images, labels = self.workers.share(batch)
        mixed = mix(images, labels, settings.mixup_alpha, settings.seed, step)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded_generator(settings.seed, "dropout", step, self.workers.rank).initial_seed())
            outputs = self.model(mixed.images)
        loss = mixed.loss(outputs, settings.label_smoothing)
        weight = self.workers.weight_of(len(labels), len(batch[1]))
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        figures = torch.stack([loss.detach(), (outputs.argmax(1) == labels).float().mean()]) * weight
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        self.workers.average_([figures, *gradients])
        self.optimizer.step()
        if settings.ema_decay:
            follow(self.average, self.model, settings.ema_decay, step)
        if not math.isfinite(float(figures[0])):
            raise TrainingDiverged(
                f"The loss of {self.network.name} is {float(figures[0])} at step {step}: its training diverged. Lower "
                f"the learning rate (it was {settings.learning_rate:g}), or change the seed; for one network alone: "
                f"proxyless train NETWORK --data DATA --out OUT --learning-rate RATE."
            )
        return {
            "step": step,
            "total_steps": self.total_steps,
            "epoch": step / self.steps_per_epoch,
            "loss": float(figures[0]),
            "train_accuracy": float(figures[1]),
            "held_out_accuracy": None,
        }

    def _keep_if_best(self) -> float:
        """Judge what would be shipped. Each worker has batch statistics of its own images: the first one's count."""
        self.workers.from_first_(list(self.average.buffers()))
        count = math.ceil(len(self.data.held_out_index) / TEST_BATCH)
        batch_size = len(self.data.held_out_index) // count  # equal batches, so that next to no image is left out
        batches = [self.data.held_out_batch(step, batch_size) for step in range(count)]
        accuracy = accuracy_of(self.average, batches, self.workers.device)
        if accuracy >= self.best_accuracy:
            self.best_accuracy = accuracy
            if self.workers.is_first:
                write_weights(self.files.weights, self.average.state_dict())
        return accuracy

    def _finish(self, seconds: float) -> dict[str, Any]:
        self.workers.wait()
        model = load_trained(self.network, self.files)
        result = {
            "schema": 1,
            "name": self.network.name,
            "accuracy": accuracy_of(model, self.data.test_batches(TEST_BATCH)),
            "held_out_accuracy": self.best_accuracy,
            "parameters": sum(parameter_count(op) for op in self.network.ops),
            "macs": sum(macs(op) for op in self.network.ops),
            "seconds": round(seconds, 2),
            "passes": self.total_steps * min(1.0, self.settings.batch_size / len(self.data.train_index)),
            "identity": dict(self.identity.whole),
        }
        if self.workers.is_first:
            write_json(self.files.result, result)
        return result

    def _log(self, event: dict[str, Any]) -> None:
        if self.workers.is_first:
            append_json_line(self.files.events, event)

    def _save(self, seconds: float) -> None:
        """Write the checkpoint that ``resume`` takes up (the first worker does).

        Nothing may be communicated here: each worker comes here by its own clock. Nothing has to be: weights are equal
        everywhere, and of the batch statistics only the first worker's are ever judged or shipped.
        """
        if not self.workers.is_first:
            return
        state = {
            "step": self.step,
            "seconds": seconds,
            "best_accuracy": self.best_accuracy,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.settings.ema_decay else {},
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(self.files.checkpoint, self.identity, state)

    def resume(self) -> None:
        """Take up the last checkpoint; without one, or where the best weights so far were lost, stay at the start: the
        same draws lead to the same weights.

        Raises:
            CheckpointError: the folder holds the training of another network, data set or settings.
        """
        state = read_checkpoint(self.files.checkpoint, self.identity)
        is_lost = state is not None and state["best_accuracy"] >= 0 and not self.files.weights.exists()
        if state is not None and not is_lost:
            self.step, self.seconds_before = state["step"], state["seconds"]
            self.best_accuracy = state["best_accuracy"]
            self.model.load_state_dict(state["model"])
            if self.settings.ema_decay:
                self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        if self.workers.is_first:
            keep_json_lines_before(self.files.events, self.step)
        self.workers.wait()


def accuracy_of(
    model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], device: torch.device | None = None
) -> float:
    """Share of images whose highest logit is their label, in evaluation mode."""
    model.eval()
    correct = count = 0
    with torch.no_grad():
        for images, labels in batches:
            correct += int((model(images.to(device)).argmax(1) == labels.to(device)).sum())
            count += len(labels)
    return correct / count


def load_trained(network: NetworkSpec, files: TrainFiles) -> PlainNetwork:
    """The network with its best weights, in evaluation mode.

    Raises:
        RunFolderError: it was not trained yet, the file was damaged, or the weights are those of another network.
    """
    weights = read_weights(files.weights)
    model = PlainNetwork(network, seeded_generator(0, "network"))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunFolderError(
            f"{files.weights} holds the weights of another network ({error}). Remove {files.folder} and train the "
            f"network again."
        ) from error
    return model.eval()


def read_result(files: TrainFiles) -> dict[str, Any]:
    """What a finished training came to.

    Raises:
        RunFolderError: it is not finished, or the file was damaged.
    """
    return read_record(files.result, {"accuracy": NUMBER})


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """No decay on batch norm and biases (the paper's retraining recipe)."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
