"""Drift is looked for on whatever devices a folder holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from benchmarks.claims import Claim
from benchmarks.public_data import read_help_space
from benchmarks.public_drift import drift_claims
from tests.benchmarks.public_folder import made_up_choices, made_up_ms, write_fbnet

COUNT = 2000
CHOICES = made_up_choices(COUNT)
STEADY = made_up_ms(CHOICES, seed=1)
SLOW_WAVE = np.sin(np.arange(COUNT) / 30)


def claims_of(folder: Path, **latency_ms: np.ndarray) -> dict[str, Claim]:
    write_fbnet(folder, CHOICES.tolist(), latency_ms)
    return {claim.claim: claim for claim in drift_claims(read_help_space(folder, "fbnet"))}


def test_a_phone_of_any_name_that_drifts_is_to_be_halved_and_a_steady_one_not_to_be_hurt(tmp_path: Path):
    claims = claims_of(tmp_path, calm_phone=STEADY, warm_phone=STEADY * np.exp(0.2 * SLOW_WAVE))
    found = claims["drift warm_phone, MAPE after over before"]
    assert (found.aim, found.holds) == ("<= 0.5", True)
    others = claims["drift, every other device, worst MAPE after over before"]
    assert others.holds
    assert "calm_phone" in (others.note or "")


def test_drift_on_a_device_that_errs_little_is_not_asked_to_be_halved(tmp_path: Path):
    exact = made_up_ms(CHOICES, seed=1, noise=0.002)
    claims = claims_of(tmp_path, nearly_exact=exact * np.exp(0.01 * SLOW_WAVE))
    assert "drift nearly_exact, MAPE after over before" not in claims
    others = claims["drift, every other device, worst MAPE after over before"]
    assert others.holds
    assert "nearly_exact (" in (others.note or "")


def test_the_four_phones_of_the_issue_are_judged_where_they_drift_and_named_by_path_where_they_are_not(tmp_path: Path):
    claims = claims_of(tmp_path, pixel2=STEADY * np.exp(0.2 * SLOW_WAVE))
    assert (
        claims["drift pixel2, MAPE after over before"].aim,
        claims["drift pixel2, MAPE after over before"].holds,
    ) == (
        "<= 0.5",
        True,
    )
    missing = claims["drift samsung_s7, MAPE after over before"]
    assert missing.value is None
    assert str(tmp_path / "help" / "fbnet" / "latency" / "samsung_s7.pt") in (missing.note or "")


def test_a_phone_of_the_issue_that_does_not_drift_is_a_fact_and_must_not_be_hurt(tmp_path: Path):
    claims = claims_of(tmp_path, pixel2=STEADY)
    told = claims["drift pixel2, MAPE after over before"]
    assert (told.value, told.holds) == (1.0, None)
    assert "the test finds no drift" in (told.note or "")
    assert "worst pixel2 of 1" in (claims["drift, every other device, worst MAPE after over before"].note or "")


def test_drift_that_noise_does_not_let_halve_is_a_fact_with_the_noise(tmp_path: Path):
    noisy = made_up_ms(CHOICES, seed=1, noise=0.035)
    claims = claims_of(tmp_path, warm_phone=noisy * np.exp(0.05 * SLOW_WAVE))
    told = claims["drift warm_phone, MAPE after over before"]
    assert told.holds is None
    assert told.value is not None
    assert told.value < 1.0
    assert re.search(r"the noise alone is (2\.[6-9]|3\.[0-2])%", told.note or "")


def test_drift_with_too_few_networks_for_the_table_is_a_fact(tmp_path: Path):
    few = slice(0, 600)
    write_fbnet(tmp_path, CHOICES[few].tolist(), {"pixel2": (STEADY * np.exp(0.2 * SLOW_WAVE))[few]})
    told = {claim.claim: claim for claim in drift_claims(read_help_space(tmp_path, "fbnet"))}
    claim = told["drift pixel2, MAPE after over before"]
    assert claim.holds is None
    assert "3.0 networks for each column of the table, fewer than 10" in (claim.note or "")


def test_without_labels_the_path_that_is_missing_is_said(tmp_path: Path):
    (claim,) = drift_claims(read_help_space(tmp_path, "fbnet"))
    assert claim.value is None
    assert str(tmp_path / "help" / "fbnet" / "arch.pt") in (claim.note or "")
