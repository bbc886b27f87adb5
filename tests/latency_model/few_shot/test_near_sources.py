"""A new device that is nearly one of many sources: that source is heard above the others."""

import numpy as np
import pytest

from latency_model.evaluate import spearman
from latency_model.few_shot.baselines import best_source_rescaled
from latency_model.few_shot.items import Items, bag_of_choices, feature_groups, source_table
from latency_model.few_shot.near_sources import source_weights, with_near_sources
from latency_model.few_shot.structured_gp import choose_samples, fit_structured_gp

POSITIONS, CANDIDATES, NETWORKS, SOURCES = 12, 6, 500, 30


def many_unlike_sources(seed):
    """(networks, items) counts, the items, (networks, sources) latency: every source has a taste of its own."""
    rng = np.random.default_rng(seed)
    counts = bag_of_choices(rng.integers(0, CANDIDATES, (NETWORKS, POSITIONS)))
    class_of = np.tile(np.arange(CANDIDATES), POSITIONS)
    tables = np.exp(0.5 * rng.standard_normal((SOURCES, len(class_of))))
    return counts, Items(class_of=class_of), counts @ tables.T


def groups_of(counts, items, source_ms):
    return feature_groups(counts, items, np.array([source_table(counts, ms) for ms in source_ms.T]))


@pytest.mark.parametrize("seed", range(4))
def test_a_near_twin_among_many_unlike_sources_is_predicted_better_than_by_rescaling_it(seed):
    counts, items, source_ms = many_unlike_sources(seed)
    rng = np.random.default_rng(100 + seed)
    of_item = np.linalg.lstsq(counts, source_ms[:, 7], rcond=None)[0]  # every op of the twin costs 5 % more or less
    truth = 3.0 * (counts @ (of_item * np.exp(0.05 * rng.standard_normal(len(of_item)))))
    truth *= 1 + 0.003 * rng.standard_normal(NETWORKS)
    groups = groups_of(counts, items, source_ms)
    rows = choose_samples(groups, 20, pool_size=NETWORKS, rng=np.random.default_rng(seed))
    rest = np.setdiff1d(np.arange(NETWORKS), rows)
    ours = fit_structured_gp(groups, rows, truth[rows]).predict_ms()
    rescaled = best_source_rescaled(source_ms, rows, truth[rows])
    assert np.mean(np.abs(ours / truth - 1)[rest]) <= np.mean(np.abs(rescaled / truth - 1)[rest])
    assert spearman(ours[rest], truth[rest]) >= spearman(rescaled[rest], truth[rest])


def test_a_source_counts_the_same_in_milliseconds_and_in_hours():
    _, _, source_ms = many_unlike_sources(0)
    latency_ms = source_ms[:20, 3] * (1 + 0.02 * np.sin(np.arange(20)))
    units = np.geomspace(1e-6, 1e6, SOURCES)
    assert source_weights(source_ms[:20] * units, latency_ms) == pytest.approx(
        source_weights(source_ms[:20], latency_ms)
    )
    assert source_weights(source_ms[:20], 1e3 * latency_ms) == pytest.approx(source_weights(source_ms[:20], latency_ms))


def test_a_source_without_any_error_takes_all_the_weight():
    _, _, source_ms = many_unlike_sources(0)
    weights = source_weights(source_ms[:20], 2.0 * source_ms[:20, 3])
    assert weights == pytest.approx(np.eye(SOURCES)[3])


def test_sources_that_are_all_unlike_the_device_by_as_much_count_alike():
    high_and_low = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [2.0, 1.0]])
    assert source_weights(high_and_low, np.full(4, 5.0)) == pytest.approx([np.sqrt(0.5)] * 2)


def test_the_nearer_a_source_the_more_it_counts():
    latency_ms = np.linspace(1.0, 2.0, 10)
    shape = np.cos(np.arange(10))
    sources = np.column_stack([latency_ms * np.exp(stray * shape) for stray in (0.3, 0.1, 0.2)])
    weights = source_weights(sources, latency_ms)
    assert weights[1] > weights[2] > weights[0] > 0
    assert np.linalg.norm(weights) == pytest.approx(1.0)


def test_a_source_whose_table_falls_below_zero_is_unlike_and_not_an_error():
    latency_ms = np.linspace(1.0, 2.0, 10)
    weights = source_weights(np.column_stack([1.1 * latency_ms + 0.01, latency_ms - 1.5]), latency_ms)
    assert weights == pytest.approx([1.0, 0.0])


def test_without_sources_nothing_is_added():
    counts, items, _ = many_unlike_sources(0)
    groups = feature_groups(counts, items, np.zeros((0, counts.shape[1])))
    assert with_near_sources(groups, np.arange(5), np.ones(5)) == tuple(groups)
