"""NNI's one-shot strategies on our space; runs in the peers' environment: ``python -m benchmarks.peers_nni turns ...``.

NNI is used as its documentation shows: a ``ModelSpace`` with a ``LayerChoice`` at each position, a Lightning evaluator
with separate training and held-out loaders, the strategy with its defaults where no option says otherwise. Progress
bar, logger and checkpoints are off. The candidates are our modules, with our initial values.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from typing import Any, cast

import nni
import pytorch_lightning as pl
import torch
from nni.mutable import MutableExpression
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from nni.nas.profiler import ExpressionProfiler
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import DARTS, Proxyless
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.peers_space import BATCH, peer_data, peer_space
from benchmarks.peers_turns import Turns, say
from benchmarks.search_setting import analytic_target
from search.allocator import keep_freed_memory
from search.architecture_step import LatencyTarget
from search.batches import SplitData
from search.data.augment import normalise
from search.modules import Zero, batch_statistics_norm, build_module, initialise
from search.space import SearchSpace

EXPORTS = 8
STRATEGIES = {"proxyless": Proxyless, "darts": DARTS}


class PeerNetwork(ModelSpace):  # type: ignore[misc]
    """Our space in NNI's words."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.shortcuts = [position.has_shortcut for position in space.positions]
        self.stem = nn.Sequential(*(build_module(op, batch_statistics_norm) for _, op in space.stem))
        self.choices = nn.ModuleList(
            LayerChoice([build_module(c.op, batch_statistics_norm) for c in position.candidates], label=position.name)
            for position in space.positions
        )
        self.head = nn.Sequential(*(build_module(op, batch_statistics_norm) for _, op in space.head))
        initialise(self, torch.Generator().manual_seed(0))

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for choice, has_shortcut in zip(self.choices, self.shortcuts, strict=True):
            x = choice(x) + x if has_shortcut else choice(x)
        return cast(Tensor, self.head(x))


@nni.trace
class Recipe(LightningModule):  # type: ignore[misc]
    """The weights' optimiser and loss of our search."""

    def __init__(self, learning_rate: float, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.learning_rate, self.memory_format = learning_rate, memory_format

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        outputs = self.model(images.contiguous(memory_format=self.memory_format))
        return functional.cross_entropy(outputs, labels, label_smoothing=0.1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.model.parameters(), lr=self.learning_rate, momentum=0.9, nesterov=True, weight_decay=4e-5
        )


class TurnTaking(pl.Callback):  # type: ignore[misc]
    """Times one weight and one architecture step, without the loading of their batches."""

    def __init__(self) -> None:
        self.turns: Turns | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        if self.turns is None:
            self.turns = Turns()
        self.turns.begin()

    def on_train_batch_end(self, *_: Any) -> None:
        assert self.turns is not None
        self.turns.end()


class TableProfiler(ExpressionProfiler):  # type: ignore[misc]
    """The additive latency table as NNI's profilers have it: a sum of cases over the choices."""

    def __init__(self, network: PeerNetwork, target: LatencyTarget) -> None:
        self.expression = target.fixed_ms + sum(
            MutableExpression.switch_case(
                choice.choice, {value: float(ms) for value, ms in zip(choice.choice.values, costs, strict=True)}
            )
            for choice, costs in zip(network.choices, target.path_latency_ms, strict=True)
        )


def loader(data: SplitData, index: Tensor, batch_size: int) -> Any:
    images = normalise(data.data.train_images[index], data.mean, data.std)
    return DataLoader(TensorDataset(images, data.data.train_labels[index]), batch_size, shuffle=True, drop_last=True)


def run(
    options: argparse.Namespace, strategy: Any, callbacks: list[pl.Callback], data: SplitData, network: Any
) -> None:
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    evaluator = Lightning(
        Recipe(options.learning_rate, memory_format),
        Trainer(
            accelerator="cpu",
            max_epochs=options.epochs,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            logger=False,
            callbacks=callbacks,
        ),
        train_dataloaders=loader(data, data.train_index, options.batch),
        val_dataloaders=loader(data, data.held_out_index, options.batch),
    )
    network.to(memory_format=memory_format)
    strategy(RawFormatModelSpace.from_model(network, evaluator), SequentialExecutionEngine())


def take_turns(options: argparse.Namespace) -> None:
    data = peer_data("noise")
    network = PeerNetwork(peer_space(options.space, data))
    run(options, STRATEGIES[options.strategy](), [TurnTaking()], data, network)


class ForwardCounter(pl.Callback):  # type: ignore[misc]
    """Counts runs of candidates (Zero left out) in each step."""

    def __init__(self, network: PeerNetwork) -> None:
        self.by_step: list[int] = []
        self.position_count = len(network.choices)
        for choice in network.choices:
            for candidate in choice.candidates.values():
                if not isinstance(candidate, Zero):
                    candidate.register_forward_hook(self.count)

    def count(self, *_: Any) -> None:
        self.by_step[-1] += 1

    def on_train_batch_start(self, *_: Any) -> None:
        self.by_step.append(0)

    def on_train_epoch_end(self, trainer: pl.Trainer, _: Any) -> None:
        per_position = self.by_step[-1] / self.position_count
        say({"warm_up" if trainer.current_epoch == 0 else "search": per_position})


def count_forwards(options: argparse.Namespace) -> None:
    """Mean runs of candidates per position in a step of NNI's warm-up (weights only), and in one of the search."""
    data = few_batches(peer_data("noise"), options.batch)
    network = PeerNetwork(peer_space(options.space, data))
    run(options, Proxyless(warmup_epochs=1), [ForwardCounter(network)], data, network)


def few_batches(data: SplitData, batch_size: int) -> SplitData:
    return dataclasses.replace(
        data, train_index=data.train_index[:batch_size], held_out_index=data.held_out_index[:batch_size]
    )


def land(options: argparse.Namespace) -> None:
    """One search toward a target; says where its exports and its most probable network land, as latency over target."""
    torch.manual_seed(0)
    data = peer_data("digits")
    space = peer_space(options.space, data)
    target = analytic_target(space, options.target_ms)
    network = PeerNetwork(space)
    if options.repaired:
        # As shipped the probabilities reach the penalty as plain numbers, and no gradient can come back.
        DifferentiableMixedLayer.export_probs = probabilities_with_gradient
    strategy = Proxyless(
        arc_learning_rate=options.logit_rate,
        warmup_epochs=options.warmup_epochs,
        penalty={
            "profiler": TableProfiler(network, target),
            "baseline": options.target_ms,
            "scale": options.scale,
            "nonlinear": "absolute",
        },
    )
    run(options, strategy, [], data, network)
    module = strategy.oneshot_module
    module.set_model(strategy.supernet)
    layers = [m for m in module.supernet_modules() if isinstance(m, DifferentiableMixedLayer)]
    most_probable = tuple(int(layer._arch_alpha.argmax()) for layer in layers)
    exports = [tuple(int(choice) for choice in module.export().values()) for _ in range(EXPORTS)]
    penalty = module.penalty.profile(module.export_probs())
    say(
        {
            "argmax": target.network_ms(most_probable) / options.target_ms,
            "exports": [target.network_ms(choices) / options.target_ms for choices in exports],
            "unlike_argmax": sum(choices != most_probable for choices in exports),
            "distinct": len(set(exports)),
            "expected": float(penalty) / options.target_ms,
            "has_gradient": isinstance(penalty, Tensor) and penalty.requires_grad,
        }
    )


def probabilities_with_gradient(layer: Any, memo: dict[str, Any]) -> dict[str, Any]:
    """What NNI's ``export_probs`` gives, still attached to the logits."""
    if layer.label in memo:
        return {}
    return {layer.label: dict(zip(layer.names, layer._softmax(layer._arch_alpha), strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("turns", "count", "land"))
    parser.add_argument("--strategy", choices=tuple(STRATEGIES), default="proxyless")
    parser.add_argument("--space", required=True)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--keep-memory", action="store_true", help="the allocator setting of our searches")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--warmup-epochs", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--logit-rate", type=float, default=3e-4)
    parser.add_argument("--target-ms", type=float)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repaired", action="store_true", help="let the penalty's gradient reach the logits")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    torch.set_num_threads(1)
    {"turns": take_turns, "count": count_forwards, "land": land}[options.mode](options)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NNI warns of every torch class that it does not know
        main()
