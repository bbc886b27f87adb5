"""Drift is looked for on whatever devices a folder holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.claims import Options
from benchmarks.public_drift import drift_claims


def test_a_phone_of_any_name_that_drifts_is_reported_and_a_steady_one_is_among_the_others(tmp_path: Path):
    rng = np.random.default_rng(0)
    choices = rng.integers(0, 9, (400, 22))
    clean = 20 + rng.random((22, 9))[np.arange(22), choices].sum(axis=1)
    steady = clean * np.exp(rng.normal(0, 0.01, 400))
    drifting = steady * np.exp(0.2 * np.sin(np.arange(400) / 30))
    folder = tmp_path / "help" / "fbnet"
    (folder / "latency").mkdir(parents=True)
    torch.save(choices.tolist(), folder / "arch.pt")
    torch.save(steady.tolist(), folder / "latency" / "calm_phone.pt")
    torch.save(drifting.tolist(), folder / "latency" / "warm_phone.pt")
    found, others = drift_claims(Options(data=tmp_path))
    assert "warm_phone" in found.claim
    assert found.holds
    assert "calm_phone" in (others.note or "")
    assert others.holds
