"""Block tables of any device: damaged blocks said by line, published files named when they are missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.claims import Claim, Options
from benchmarks.public_tables import table_claims
from benchmarks.public_yaml import read_table
from latency_model.errors import LatencyModelError

QUICK = Options(quick=True)
STEM = "Conv-input:48x48x3-output:24x24x24"


def block(width: int, expand: int, kernel: int) -> str:
    return f"expanded_conv-input:24x24x{width}-output:24x24x{width}-expand:{expand}-kernel:{kernel}-stride:1-idskip:0"


def table_text(keys: list[str]) -> str:
    return "".join(
        f"{key}:\n  count: 100\n  mean: {2 + len(key) / 50 + row / 9}\n  var: 0.01\n" for row, key in enumerate(keys)
    )


KEYS = [STEM, *(block(width, expand, kernel) for width in (16, 24, 32) for expand in (3, 6) for kernel in (3, 5))]


def write(folder: Path, text: str) -> Path:
    path = folder / "new_phone" / "blocks.yaml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def judged(folder: Path) -> dict[str, Claim]:
    return {claim.claim: claim for claim in table_claims(folder, QUICK)}


def test_a_table_of_an_unknown_device_is_judged_and_the_published_ones_are_named_as_missing(tmp_path: Path):
    write(tmp_path, table_text(KEYS))
    claims = judged(tmp_path)
    assert claims["new_phone/blocks.yaml, leave-one-out MAPE"].value is not None
    missing = claims["pixel1_proxylessnas/mobile_trim.yaml, leave-one-out MAPE"]
    assert missing.value is None
    assert str(tmp_path / "pixel1_proxylessnas" / "mobile_trim.yaml") in (missing.note or "")
    assert str(tmp_path / "pixel1_proxylessnas") in (claims["proxyless_mobile.config priced by its table"].note or "")


def test_damaged_blocks_are_left_out_by_line(tmp_path: Path):
    lines = table_text(KEYS).splitlines()
    lines[6] = "  mean: abc"  # of the block at line 5
    lines[12] = ": : junk ["  # the key at line 13
    lines[17] = "  count: 0"  # of the block at line 17
    table, wrong = read_table(write(tmp_path, "\n".join(lines)))
    assert len(table) == len(KEYS) - 3
    assert [said.split(":")[0] for said in wrong] == ["line 5", "line 13", "line 17"]
    claim = judged(tmp_path)["data new_phone/blocks.yaml, blocks used"]
    assert not claim.holds
    assert "10 of 13: line 5" in (claim.note or "")


def test_a_block_that_swallowed_the_one_below_it_is_left_out(tmp_path: Path):
    lines = table_text(KEYS).splitlines()
    del lines[8]  # the key of the third block
    table, wrong = read_table(write(tmp_path, "\n".join(lines)))
    assert len(table) == len(KEYS) - 2
    assert "line 5: two blocks" in wrong[0]


def test_a_file_that_is_no_table_is_said_and_is_no_crash(tmp_path: Path):
    path = write(tmp_path, "\x00\x01 nothing\n")
    with pytest.raises(LatencyModelError):
        read_table(path)
    assert judged(tmp_path)["new_phone/blocks.yaml, leave-one-out MAPE"].value is None


def test_a_table_that_is_too_small_to_judge_is_said(tmp_path: Path):
    write(tmp_path, table_text(KEYS[:4]))
    claim = judged(tmp_path)["new_phone/blocks.yaml, leave-one-out MAPE"]
    assert claim.value is None
    assert "10 are needed" in (claim.note or "")


def network_of(blocks: tuple[tuple[int, int], ...]) -> dict[str, object]:
    """(kernel, expansion) of each block."""
    conv = {"kernel_size": 3, "act_func": "relu6"}
    inverted = {"name": "MBInvertedConvLayer", "in_channels": 24, "out_channels": 24, "stride": 1}
    chosen = [{**inverted, "kernel_size": kernel, "expand_ratio": expand} for kernel, expand in blocks]
    return {
        "first_conv": {**conv, "in_channels": 3, "out_channels": 24, "stride": 2},
        "blocks": [{"mobile_inverted_conv": each, "shortcut": None} for each in chosen],
        "feature_mix_layer": {**conv, "in_channels": 24, "out_channels": 64, "kernel_size": 1, "stride": 1},
        "classifier": {"in_features": 64, "out_features": 10},
    }


def test_a_network_without_a_published_latency_is_held_to_its_own_table(tmp_path: Path):
    path = write(tmp_path, table_text(KEYS))
    (path.parent / "searched.config").write_text(json.dumps(network_of(((3, 3), (5, 6)))))
    (path.parent / "broken.config").write_text("{}")
    claims = judged(tmp_path)
    broken = claims["broken.config priced by its table"]
    assert broken.value is None
    assert "broken.config is no ProxylessNAS network" in (broken.note or "")
    (own,) = (claim for name, claim in claims.items() if name.startswith("searched.config"))
    assert own.aim == "within 8%"
    assert "2 of 4 blocks" in (own.note or "")
    assert "no published figure" in (own.note or "")
    assert "left out: 1 pool, 1 linear" in (own.note or "")


def test_a_block_that_stands_twice_is_left_out_the_second_time_and_said(tmp_path: Path):
    table, wrong = read_table(write(tmp_path, table_text([*KEYS, STEM])))
    assert len(table) == len(KEYS)
    assert len(wrong) == 1
    assert f"{STEM} stands twice; the first is used" in wrong[0]


def test_a_table_is_found_by_either_ending_of_yaml_files(tmp_path: Path):
    write(tmp_path, table_text(KEYS)).rename(tmp_path / "new_phone" / "blocks.yml")
    assert judged(tmp_path)["new_phone/blocks.yml, leave-one-out MAPE"].value is not None


@pytest.mark.parametrize("stems", [[STEM.replace("48x48", "96x96").replace("24x24x", "48x48x"), STEM], []])
def test_a_network_is_read_at_the_resolution_at_which_most_of_its_blocks_stand_in_the_table(
    tmp_path: Path, stems: list[str]
):
    path = write(tmp_path, table_text([*stems, *KEYS[1:], *(block(40, expand, 7) for expand in (3, 6))]))
    (path.parent / "searched.config").write_text(json.dumps(network_of(((3, 3), (5, 6), (3, 6)))))
    (own,) = (claim for name, claim in judged(tmp_path).items() if name.startswith("searched.config"))
    assert "read at 48 pixels" in (own.note or "")
    assert "3 of " in (own.note or "")


def test_another_table_in_the_place_of_the_published_one_is_not_held_to_the_published_price(tmp_path: Path):
    place = tmp_path / "pixel1_proxylessnas"
    place.mkdir()
    (place / "mobile_trim.yaml").write_text(table_text(KEYS))
    (place / "proxyless_mobile.config").write_text(json.dumps(network_of(((3, 3), (5, 6)))))
    (own,) = (claim for name, claim in judged(tmp_path).items() if name.startswith("proxyless_mobile.config"))
    assert own.aim == "within 8%"


def test_tables_are_found_in_any_folder_and_by_their_ending_in_any_case(tmp_path: Path):
    path = write(tmp_path, table_text(KEYS))
    deep = path.parent / "of" / "today"
    deep.mkdir(parents=True)
    path.rename(deep / "blocks.YAML")
    assert judged(tmp_path)["new_phone/of/today/blocks.YAML, leave-one-out MAPE"].value is not None


def test_what_is_wrong_with_a_table_is_told_with_the_path_of_its_own_file(tmp_path: Path):
    lines = table_text(KEYS).replace("mean: ", "mean: 1000000").splitlines()
    lines[6] = "  mean: abc"
    path = write(tmp_path, "\n".join(lines))
    with pytest.raises(LatencyModelError, match=re.escape(str(path))):
        read_table(path)
