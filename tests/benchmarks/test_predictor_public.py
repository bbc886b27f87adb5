"""The public benchmark runs on any folder, and says of all that it did not measure why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import predictor_public
from benchmarks.claims import Claim, Options, at_most
from benchmarks.predictor_public import measure
from tests.benchmarks.public_folder import made_up_choices, made_up_lines, made_up_ms, write_fbnet, write_phones


def test_of_an_empty_folder_every_row_is_not_measured_and_all_missing_paths_are_named(tmp_path: Path):
    claims = list(measure(Options(quick=True, data=tmp_path)))
    assert all(claim.value is None and not claim.holds for claim in claims)
    notes = " ".join(claim.note or "" for claim in claims)
    for path in (
        "help/fbnet/arch.pt",
        "help/nasbench201/str_arch2idx.pt",
        "phone_gpu_kernels/tflite_cnn_ops_gpu.csv",
        "iitm_phones/cpu",
        "note10_ofa/224_lookup_table.yaml",
        "pixel1_proxylessnas/mobile_trim.yaml",
        "pixel1_proxylessnas/proxyless_mobile.config",
    ):
        assert str(tmp_path / path) in notes


def test_what_was_left_out_of_the_data_comes_first(tmp_path: Path):
    choices = made_up_choices(120)
    labels = made_up_ms(choices, 1)
    write_fbnet(tmp_path, choices.tolist(), {"car": labels, "watch": np.delete(labels, 50), "fridge": labels * 2})
    other_unit = ["junk", *made_up_lines(40, 1.2, seed=1)[1:]]
    write_phones(tmp_path, {"model_0": made_up_lines(40, 1.0), "model_1": other_unit})
    first, second, *others = measure(Options(quick=True, data=tmp_path))
    assert first.claim == "data help/fbnet/latency/watch.pt, labels used"
    assert second.claim == "data iitm_phones/cpu/model_1.txt, lines used"
    measured = [claim.claim for claim in others if claim.value is not None]
    assert any("devices of no published task" in claim for claim in measured)
    assert any("another unit" in claim for claim in measured)


def test_a_section_that_meets_what_nobody_thought_of_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*_: object) -> Iterator[Claim]:
        yield at_most("one figure", 1.0, 2.0, unit="ms")
        raise ValueError("a table of tables")

    monkeypatch.setattr(predictor_public, "drift_claims", broken)
    claims = {claim.claim: claim for claim in measure(Options(quick=True, data=tmp_path))}
    assert claims["one figure"].holds
    assert claims["drift: all that was still to come"].note == "ValueError: a table of tables"
    assert any("another unit" in claim for claim in claims)
    assert "Traceback" in capsys.readouterr().err
