"""How paths are drawn."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from search.paths import fair_paths, sample_full_gates, sample_paths, sample_two_paths


def test_fair_paths_run_every_candidate_once_in_as_many_steps():
    samples = [fair_paths((3, 3), seed=1, step=step).choices for step in range(6)]
    for position in range(2):
        assert sorted(choice[position] for choice in samples[:3]) == [0, 1, 2]
        assert sorted(choice[position] for choice in samples[3:]) == [0, 1, 2]


def test_a_step_draws_the_same_paths_whatever_was_drawn_before():
    assert fair_paths((5, 7), 3, 41).choices == fair_paths((5, 7), 3, 41).choices


def test_paths_are_drawn_as_often_as_they_are_probable():
    generator = torch.Generator().manual_seed(0)
    probability = torch.tensor([0.7, 0.2, 0.1])
    counts = Counter(sample_paths([probability], generator).choices[0] for _ in range(3000))
    for index, share in enumerate(probability.tolist()):
        assert counts[index] / 3000 == pytest.approx(share, abs=0.03)


def test_full_gates_name_every_candidate_once_with_the_active_one_open():
    paths = sample_full_gates([torch.full((4,), 0.25)], torch.Generator().manual_seed(1)).positions[0]
    assert sorted(paths.indices) == [0, 1, 2, 3]
    assert paths.gates.tolist() == [1, 0, 0, 0]


def test_two_paths_are_two_different_candidates():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        paths = sample_two_paths([torch.tensor([0.9, 0.05, 0.05])], generator).positions[0]
        assert len(set(paths.indices)) == 2


def test_a_position_with_one_candidate_has_no_inactive_path():
    paths = sample_two_paths([torch.ones(1)], torch.Generator()).positions[0]
    assert paths.indices == (0,)
