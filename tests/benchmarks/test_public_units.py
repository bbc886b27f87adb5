"""Two phones of one model: damaged lines are said by file and number, and left out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from benchmarks.public_files import Absent
from benchmarks.public_units import PhoneRuns, read_phone_runs, unit_claims
from tests.benchmarks.public_folder import made_up_lines, write_phones

COUNT = 100


def read(folder: Path) -> PhoneRuns:
    phones = read_phone_runs(folder)
    assert isinstance(phones, PhoneRuns)
    return phones


def test_two_units_that_differ_by_a_factor_are_brought_together(tmp_path: Path):
    write_phones(tmp_path, {"new_name_0": made_up_lines(COUNT, 1.0, 1), "new_name_7": made_up_lines(COUNT, 1.3, 2)})
    phones = read(tmp_path)
    assert phones.left_out == ()
    (claim,) = unit_claims(phones)
    assert claim.value is not None
    assert claim.value < 0.2


def test_bad_lines_are_named_and_left_out_and_the_others_keep_their_place(tmp_path: Path):
    lines = made_up_lines(COUNT, 1.3, 2)
    whole = list(lines)
    lines[4] = "garbage"
    lines[9] = ",".join(lines[9].split(",")[:4])
    lines[11] = ""
    lines[13] = lines[13].replace(lines[13].split(",")[2], "nan")
    lines[17] = "-1" + lines[17]
    write_phones(tmp_path, {"model_0": made_up_lines(COUNT, 1.0, 1), "model_1": lines})
    phones = read(tmp_path)
    (said,) = phones.left_out
    assert said.file == "iitm_phones/cpu/model_1.txt"
    assert (said.used, said.of) == (COUNT - 5, COUNT)
    assert "line 5: 'garbage' is no latency" in said.what
    assert "line 10: 4 runs, most lines have 10" in said.what
    found = phones.latency_ms["model_1"]
    assert np.flatnonzero(np.isnan(found)).tolist() == [4, 9, 11, 13, 17]
    assert found[20] == np.median([float(run) for run in whole[20].split(",")[1:]])
    (claim,) = unit_claims(phones)
    assert claim.holds


def test_a_pair_with_too_few_networks_in_common_is_named(tmp_path: Path):
    lines = ["junk" if row >= 12 else line for row, line in enumerate(made_up_lines(COUNT, 1.3, 2))]
    write_phones(tmp_path, {"model_0": made_up_lines(COUNT, 1.0, 1), "model_1": lines})
    (claim,) = unit_claims(read(tmp_path))
    assert claim.value is None
    assert "model_0 and model_1 share 12 networks" in (claim.note or "")


def test_one_file_twice_is_not_two_units(tmp_path: Path):
    write_phones(tmp_path, {"model_0": made_up_lines(COUNT, 1.0), "model_1": made_up_lines(COUNT, 1.0)})
    (claim,) = unit_claims(read(tmp_path))
    assert claim.value is None
    assert "model_0 and model_1 hold the same figures" in (claim.note or "")


def test_units_of_unequal_length_are_compared_as_far_as_both_go_and_that_is_said(tmp_path: Path):
    write_phones(tmp_path, {"model_0": made_up_lines(COUNT, 1.0, 1), "model_1": made_up_lines(COUNT, 1.3, 2)[:90]})
    phones = read(tmp_path)
    (said,) = phones.left_out
    assert (said.file, said.used, said.of) == ("iitm_phones/cpu/model_1.txt", 90, COUNT)
    assert "90 lines where most phones have 100" in said.what
    (claim,) = unit_claims(phones)
    assert claim.holds
    assert "2 ordered pairs" in (claim.note or "")


def test_units_of_which_one_lost_a_line_are_no_pair(tmp_path: Path):
    lines = made_up_lines(COUNT, 1.3, 2)
    del lines[30]
    write_phones(tmp_path, {"model_0": made_up_lines(COUNT, 1.0, 1), "model_1": lines})
    (claim,) = unit_claims(read(tmp_path))
    assert claim.value is None
    assert "do not rank alike" in (claim.note or "")


def test_units_in_another_order_are_no_pair_although_their_files_are_equally_long(tmp_path: Path):
    write_phones(tmp_path, {"model_0": made_up_lines(COUNT, 1.0, 1), "model_1": made_up_lines(COUNT, 1.3, 2)[::-1]})
    phones = read(tmp_path)
    assert phones.left_out == ()
    (claim,) = unit_claims(phones)
    assert claim.value is None
    assert "model_0 and model_1 do not rank alike throughout" in (claim.note or "")


def test_two_models_of_one_stem_and_a_file_in_another_unit_are_no_pairs_and_named_beside_those_that_are(
    tmp_path: Path,
):
    factors = {"Pixel_3": 1.0, "Pixel_4": 0.4, "watch_0": 1.0, "watch_1": 1.2, "watch_2": 1000.0}
    write_phones(
        tmp_path, {name: made_up_lines(COUNT, factor, seed) for seed, (name, factor) in enumerate(factors.items())}
    )
    (claim,) = unit_claims(read(tmp_path))
    note = claim.note or ""
    assert "2 ordered pairs (watch_0 and watch_1)" in note
    assert "Pixel_3 and Pixel_4 are a factor 2.5 apart in median" in note
    assert re.search(r"watch_0 and watch_2 are a factor (1,0|9)\d\d", note)
    assert "in another unit" in note


def test_a_file_with_too_few_runs_on_every_line_is_told_how_many_are_needed(tmp_path: Path):
    short = [",".join(line.split(",")[:2]) for line in made_up_lines(COUNT, 1.0)]
    write_phones(tmp_path, {"model_0": short})
    (said,) = read(tmp_path).left_out
    assert "line 1: 2 runs, 3 or more are needed" in said.what


def test_files_without_any_run_do_not_stop_the_others(tmp_path: Path):
    write_phones(tmp_path, {f"model_{unit}": made_up_lines(COUNT, 1.0 + unit, unit) for unit in range(2)})
    (tmp_path / "iitm_phones" / "cpu" / "model_8.txt").write_text("")
    (tmp_path / "iitm_phones" / "cpu" / "model_9.txt").write_bytes(b"\xff\xfe\x00\n\x80")
    phones = read(tmp_path)
    assert {said.used for said in phones.left_out} == {0}
    (claim,) = unit_claims(phones)
    assert claim.holds


def test_phones_of_different_models_are_no_pair_and_a_folder_without_phones_is_named(tmp_path: Path):
    missing = read_phone_runs(tmp_path)
    assert isinstance(missing, Absent)
    (claim,) = unit_claims(missing)
    assert str(tmp_path / "iitm_phones" / "cpu") in (claim.note or "")
    write_phones(tmp_path, {"one_0": made_up_lines(COUNT, 1.0), "other_0": made_up_lines(COUNT, 1.0)})
    (claim,) = unit_claims(read(tmp_path))
    assert claim.value is None
    assert "no two units" in (claim.note or "")


def test_files_are_found_by_their_ending_in_any_case(tmp_path: Path):
    write_phones(tmp_path, {"model_0": made_up_lines(COUNT, 1.0, 1), "model_1": made_up_lines(COUNT, 1.3, 2)[:90]})
    cpu = tmp_path / "iitm_phones" / "cpu"
    (cpu / "model_1.txt").rename(cpu / "model_1.TXT")
    phones = read(tmp_path)
    assert set(phones.latency_ms) == {"model_0", "model_1"}
    assert phones.left_out[0].file == "iitm_phones/cpu/model_1.TXT"
