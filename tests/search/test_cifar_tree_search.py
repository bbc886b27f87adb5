"""A search over tree cells, from the first step to the derived network."""

from __future__ import annotations

from pathlib import Path

from search.budget import latency_range_ms
from search.derive import derive
from search.settings import SearchSettings
from search.spaces.cifar_tree import cifar_tree_space
from search.trainer import SearchFiles, SearchTrainer
from tests.search.conftest import target_from_macs
from tests.search.small_search import CLASSES, PIXELS, small_data

SETTINGS = SearchSettings(
    warmup_steps=2,
    search_steps=4,
    weight_steps_per_architecture_step=2,
    batch_size=16,
    architecture_batch_size=16,
    held_out_fraction=0.25,
    derive_candidates=3,
    derive_images=60,
)


def test_a_search_over_tree_cells_derives_a_network_on_its_budget(tmp_path: Path):
    space, data = cifar_tree_space((1, PIXELS, PIXELS), CLASSES, blocks=1, filters=64), small_data()
    fastest_ms, slowest_ms = latency_range_ms(*_costs(target_from_macs(space, 1.0)))
    target = target_from_macs(space, fastest_ms + 0.5 * (slowest_ms - fastest_ms))
    trainer = SearchTrainer(space, data, [target], SETTINGS, SearchFiles(folder=tmp_path))
    trainer.run()
    derived = derive(trainer.supernet, trainer.states[0], data, SETTINGS).best
    assert derived.predicted_ms <= target.target_ms
    assert space.network(derived.choices).output_shape == (1, CLASSES)


def _costs(target):
    return target.path_latency_ms, target.fixed_ms
