"""NNI's search on our space; runs in the peers' environment: ``python -m benchmarks.peers_nni skip-7`` takes turns.

NNI is used as its documentation shows: a ``ModelSpace`` with a ``LayerChoice`` at each position, a Lightning evaluator
with separate training and held-out loaders, the strategy with its defaults. Progress
bar, logger and checkpoints are off. The candidates have our initial values and torch's own convolutions and activations
(``peers_modules``), as a user of NNI writes them; with ``--our-modules`` ours, which are quicker.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import nni
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import Proxyless
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.peers_modules import with_torch_modules
from benchmarks.peers_space import BATCH, peer_data, peer_space
from benchmarks.peers_turns import Turns
from search.allocator import keep_freed_memory
from search.batches import SplitData
from search.data.augment import normalise
from search.modules import batch_statistics_norm, build_module, initialise
from search.space import SearchSpace

LEARNING_RATE, EPOCHS = 0.01, 1000


class PeerNetwork(ModelSpace):  # type: ignore[misc]
    """Our space in NNI's words."""

    def __init__(self, space: SearchSpace, as_written: Callable[[nn.Module], nn.Module] = with_torch_modules) -> None:
        super().__init__()
        self.shortcuts = [position.has_shortcut for position in space.positions]
        groups = [
            [op for _, op in space.stem],
            *([candidate.op for candidate in position.candidates] for position in space.positions),
            [op for _, op in space.head],
        ]
        built = nn.ModuleList(nn.ModuleList(build_module(op, batch_statistics_norm) for op in ops) for ops in groups)
        initialise(built, torch.Generator().manual_seed(0))
        stem, *candidates, head = [[as_written(module) for module in cast(nn.ModuleList, modules)] for modules in built]
        self.stem, self.head = nn.Sequential(*stem), nn.Sequential(*head)
        self.choices = nn.ModuleList(
            LayerChoice(modules, label=position.name)
            for position, modules in zip(space.positions, candidates, strict=True)
        )

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


def loader(data: SplitData, index: Tensor) -> Any:
    images = normalise(data.data.train_images[index], data.mean, data.std)
    return DataLoader(TensorDataset(images, data.data.train_labels[index]), BATCH, shuffle=True, drop_last=True)


def search(strategy: Any, network: PeerNetwork, recipe: Any, data: SplitData, epochs: int, callback: Any) -> None:
    """Run one of NNI's one-shot strategies to its end."""
    evaluator = Lightning(
        recipe,
        Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            logger=False,
            callbacks=[callback],
        ),
        train_dataloaders=loader(data, data.train_index),
        val_dataloaders=loader(data, data.held_out_index),
    )
    network.to(memory_format=recipe.memory_format)
    strategy(RawFormatModelSpace.from_model(network, evaluator), SequentialExecutionEngine())


@contextmanager
def one_quiet_thread() -> Iterator[None]:
    """As all programs run here. NNI warns of every torch class that it does not know."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def peer_search() -> tuple[PeerNetwork, SplitData, torch.memory_format]:
    """The network, the data and the memory format that the command line of a program that takes turns asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("space")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--keep-memory", action="store_true", help="the allocator setting of our searches")
    parser.add_argument("--our-modules", action="store_true", help="the candidates' modules of our searches")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    data = peer_data()
    as_written = _ours if options.our_modules else with_torch_modules
    network = PeerNetwork(peer_space(options.space, data), as_written)
    return network, data, torch.channels_last if options.channels_last else torch.contiguous_format


def _ours(module: nn.Module) -> nn.Module:
    return module


def main() -> None:
    network, data, memory_format = peer_search()
    search(Proxyless(), network, Recipe(LEARNING_RATE, memory_format), data, EPOCHS, TurnTaking())


if __name__ == "__main__":
    with one_quiet_thread():
        main()
