"""A new device from a few samples: better than the baselines, robust, honest intervals, still additive."""

import numpy as np
import pytest

from latency_model.errors import TooFewSamplesError
from latency_model.evaluate import spearman
from latency_model.few_shot.baselines import best_source_rescaled, ridge_from_scratch
from latency_model.few_shot.items import Items, bag_of_choices, feature_groups, source_table
from latency_model.few_shot.structured_gp import choose_samples, fit_structured_gp

POSITIONS, CANDIDATES, NETWORKS = 12, 6, 800


@pytest.fixture
def world():
    """Devices whose tables are stage profile x class cost, with a taste of their own."""
    rng = np.random.default_rng(5)
    choices = rng.integers(0, CANDIDATES, (NETWORKS, POSITIONS))
    counts = bag_of_choices(choices)
    class_of = np.tile(np.arange(CANDIDATES), POSITIONS)
    stage_of = np.repeat(np.arange(POSITIONS) // 3, CANDIDATES)
    macs = (1.0 + class_of) * 2.0 ** (-stage_of / 2)

    def table(macs_weight, call_weight):
        stray = 1 + 0.1 * rng.standard_normal(len(class_of))
        return (macs_weight * macs + call_weight * (class_of > 0)) * stray

    sources = np.array([table(1.0, 0.2), table(0.8, 0.6), table(1.2, 0.1)])
    target = table(0.3, 1.5)
    items = Items(class_of=class_of, stage_of=stage_of, costs=np.column_stack([macs, class_of > 0]))
    latency = counts @ target + 3.0
    latency *= 1 + 0.01 * rng.standard_normal(NETWORKS)
    return counts, items, counts @ sources.T + 2.0, latency


def tables_of(counts, source_ms):
    return np.array([source_table(counts, source_ms[:, s]) for s in range(source_ms.shape[1])])


def test_twenty_chosen_samples_beat_both_baselines(world):
    counts, items, source_ms, latency = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    rows = choose_samples(groups, 20, pool_size=500, rng=np.random.default_rng(0))
    rest = np.setdiff1d(np.arange(NETWORKS), rows)
    fit = fit_structured_gp(groups, rows, latency[rows])
    ours = spearman(fit.predict_ms()[rest], latency[rest])
    rescaled = spearman(best_source_rescaled(source_ms, rows, latency[rows])[rest], latency[rest])
    scratch = spearman(ridge_from_scratch(counts, rows, latency[rows])[rest], latency[rest])
    assert ours > 0.95
    assert ours > rescaled
    assert ours > scratch


def test_samples_are_chosen_without_labels_and_without_repeats(world):
    counts, items, source_ms, _ = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    rows = choose_samples(groups, 25, pool_size=300, rng=np.random.default_rng(1))
    assert len(set(rows.tolist())) == 25


def test_one_wild_sample_does_little_harm(world):
    counts, items, source_ms, latency = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    rows = choose_samples(groups, 20, pool_size=500, rng=np.random.default_rng(0))
    wild = latency[rows].copy()
    wild[3] *= 3.0
    fit = fit_structured_gp(groups, rows, wild)
    assert fit.weights[3] == fit.weights.min()
    assert spearman(fit.predict_ms(), latency) > 0.85


@pytest.mark.parametrize("factor", [0.2, 2.0, 5.0])
@pytest.mark.parametrize("sample", [0, 3, 11])
def test_a_sample_that_no_source_explains_has_no_say(world, sample, factor):
    counts, items, source_ms, latency = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    rows = choose_samples(groups, 20, pool_size=500, rng=np.random.default_rng(0))
    wild = latency[rows].copy()
    wild[sample] *= factor
    clean, disturbed = (fit_structured_gp(groups, rows, one).predict_ms() for one in (latency[rows], wild))
    assert spearman(disturbed, latency) > spearman(clean, latency) - 0.03


def test_predictions_are_a_sum_over_items(world):
    counts, items, source_ms, latency = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    fit = fit_structured_gp(groups, np.arange(0, 400, 20), latency[:400:20])
    design = np.column_stack([counts, np.ones(NETWORKS)])
    solution, *_ = np.linalg.lstsq(design, fit.predict_ms(), rcond=None)
    assert np.allclose(design @ solution, fit.predict_ms(), rtol=1e-8)


def test_what_is_known_of_items_adds_up_to_what_is_known_of_networks(world):
    counts, items, source_ms, latency = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    fit = fit_structured_gp(groups, np.arange(0, 400, 20), latency[:400:20])
    rows = np.column_stack([counts, np.ones(NETWORKS)])
    of_mean = np.einsum("ij,jk,ik->i", rows, fit.item_covariance_ms2(counts), rows)
    of_measurement = of_mean + (fit.noise_share * fit.level_ms) ** 2
    assert np.allclose(np.sqrt(of_measurement), fit.standard_deviation_ms(), rtol=1e-6)


def test_left_out_scores_equal_those_of_refitting_without_the_sample(world):
    counts, items, source_ms, latency = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    rows = np.arange(0, 400, 20)
    fit = fit_structured_gp(groups, rows, latency[rows])
    variances = np.exp(2 * fit.log_scales)
    gram = sum(v * g.columns[rows] @ g.columns[rows].T for v, g in zip(variances, fit.groups))
    noise = variances[-1] / fit.weights
    kept = np.arange(1, len(rows))
    inverse = np.linalg.inv(gram[np.ix_(kept, kept)] + np.diag(noise[kept]))
    targets = latency[rows] / fit.level_ms
    error = targets[0] - gram[0, kept] @ inverse @ targets[kept]
    variance = gram[0, 0] - gram[0, kept] @ inverse @ gram[kept, 0] + variances[-1]
    assert fit.left_out_scores()[0] == pytest.approx(abs(error) / np.sqrt(variance), rel=1e-6)


def test_a_space_without_sources_still_has_a_prior(world):
    counts, items, _, latency = world
    groups = feature_groups(counts, items, np.zeros((0, counts.shape[1])))
    fit = fit_structured_gp(groups, np.arange(30), latency[:30])
    assert spearman(fit.predict_ms(), latency) > 0.8


def test_two_samples_are_too_few(world):
    counts, items, source_ms, latency = world
    groups = feature_groups(counts, items, tables_of(counts, source_ms))
    with pytest.raises(TooFewSamplesError, match="better 10 to 20"):
        fit_structured_gp(groups, np.arange(2), latency[:2])


def test_rescaling_needs_a_source():
    with pytest.raises(TooFewSamplesError, match="No source devices"):
        best_source_rescaled(np.zeros((5, 0)), np.arange(3), np.ones(3))
