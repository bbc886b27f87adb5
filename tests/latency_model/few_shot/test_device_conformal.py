"""Intervals on a new device: each source plays it once, and what that shows sets the width."""

import dataclasses

import numpy as np
import pytest

from latency_model.few_shot.device_conformal import SourceLabels, own_factor, rehearse, rehearsed_factor
from latency_model.few_shot.items import Items, bag_of_choices, feature_groups, source_table
from latency_model.few_shot.structured_gp import choose_samples, fit_structured_gp

POSITIONS, CANDIDATES, NETWORKS = 10, 5, 400


def devices(count, seed):
    """Tables that share a profile, each with a taste of its own, and 1 % of noise."""
    rng = np.random.default_rng(seed)
    counts = bag_of_choices(rng.integers(0, CANDIDATES, (NETWORKS, POSITIONS)))
    class_of = np.tile(np.arange(CANDIDATES), POSITIONS)
    profile = 1.0 + class_of
    tables = profile * np.exp(0.3 * rng.standard_normal((count, len(profile))))
    latency = counts @ tables.T * (1 + 0.01 * rng.standard_normal((NETWORKS, count)))
    return counts, Items(class_of=class_of), latency


def fitted(seed):
    counts, items, latency = devices(9, seed)
    tables = np.array([source_table(counts, ms) for ms in latency.T[:-1]])
    labels = [SourceLabels(np.arange(NETWORKS), ms) for ms in latency.T[:-1]]
    rng = np.random.default_rng(seed)
    groups = feature_groups(counts, items, tables)
    rows = choose_samples(groups, 15, pool_size=NETWORKS, rng=rng)
    scores = rehearse(counts, items, tables, labels, 15, rng)
    return fit_structured_gp(groups, rows, latency[rows, -1]), scores, latency[:, -1], rows


def test_on_average_nine_networks_in_ten_of_a_new_device_lie_in_the_rehearsed_interval():
    held = []
    for seed in range(8):
        fit, scores, truth, rows = fitted(seed)
        rest = np.setdiff1d(np.arange(NETWORKS), rows)
        half = rehearsed_factor(fit, scores, 0.9) * fit.standard_deviation_ms()
        held.append(np.mean((np.abs(fit.predict_ms() - truth) <= half)[rest]))
    assert 0.84 <= np.mean(held) <= 0.97


def test_each_device_counts_alike_however_many_networks_it_has():
    fit, _, _, _ = fitted(0)
    wild = [np.full(1000, 2.0), *(np.full(10, 1.0) for _ in range(9))]
    assert rehearsed_factor(fit, wild, 0.95) == 2.0 * rehearsed_factor(fit, wild, 0.85)


def test_a_device_whose_own_samples_were_predicted_badly_gets_wider_intervals_but_not_by_as_much():
    scores = [np.full(10, 1.0)]
    kind, unkind = (
        dataclasses.replace(
            fitted(0)[0], level_ms=1.0, alpha=np.full(15, error), inverse_gram=np.eye(15), weights=np.ones(15)
        )
        for error in (1.0, 9.0)
    )
    assert own_factor(unkind, 0.9) == pytest.approx(9.0 * own_factor(kind, 0.9))
    assert rehearsed_factor(unkind, scores, 0.9) == pytest.approx(3.0 * rehearsed_factor(kind, scores, 0.9))


def test_without_a_second_source_the_own_errors_set_the_width():
    fit, _, _, _ = fitted(0)
    counts, items, latency = devices(1, 0)
    labels = [SourceLabels(np.arange(NETWORKS), latency[:, 0])]
    table = source_table(counts, latency[:, 0])[None]
    assert rehearse(counts, items, table, labels, 15, np.random.default_rng(0)) == []
    assert rehearsed_factor(fit, [], 0.9) == own_factor(fit, 0.9)


def test_where_sources_have_twins_the_rehearsal_shows_it_and_intervals_are_narrow_and_hold():
    counts, items, latency = devices(6, 1)
    twins = np.concatenate([latency, 2.0 * latency], axis=1)
    half_widths = []
    for known in (latency, twins):
        tables = np.array([source_table(counts, ms) for ms in known.T])
        labels = [SourceLabels(np.arange(NETWORKS), ms) for ms in known.T]
        scores = rehearse(counts, items, tables, labels, 15, np.random.default_rng(0))
        groups = feature_groups(counts, items, tables[1:])
        rows = choose_samples(groups, 15, pool_size=NETWORKS, rng=np.random.default_rng(0))
        fit = fit_structured_gp(groups, rows, latency[rows, 0])
        half = rehearsed_factor(fit, scores, 0.9) * fit.standard_deviation_ms()
        half_widths.append(np.median(half))
        rest = np.setdiff1d(np.arange(NETWORKS), rows)
        assert np.mean((np.abs(fit.predict_ms() - latency[:, 0]) <= half)[rest]) >= 0.85
    assert half_widths[1] < 0.5 * half_widths[0]
