"""Whole-network labels: what cannot be used is said by file, and the rest keeps its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.public_data import PublicSpace, read_help_space
from benchmarks.public_files import Absent
from tests.benchmarks.public_folder import made_up_choices, made_up_ms, write_fbnet

COUNT = 300
CHOICES = made_up_choices(COUNT)
LABELS = made_up_ms(CHOICES, seed=1)


def read_fbnet(folder: Path) -> PublicSpace:
    space = read_help_space(folder, "fbnet")
    assert isinstance(space, PublicSpace)
    return space


def test_a_folder_that_can_be_read_in_full_leaves_nothing_out(tmp_path: Path):
    write_fbnet(tmp_path, CHOICES.tolist(), {"phone": LABELS})
    space = read_fbnet(tmp_path)
    assert space.left_out == ()
    np.testing.assert_allclose(space.latency_ms["phone"], LABELS)


def test_a_short_file_whose_labels_follow_the_networks_is_used_as_far_as_it_goes_and_said(tmp_path: Path):
    write_fbnet(tmp_path, CHOICES.tolist(), {"phone": LABELS[:250]})
    space = read_fbnet(tmp_path)
    (said,) = space.left_out
    assert said.file == "help/fbnet/latency/phone.pt"
    assert (said.used, said.of) == (250, COUNT)
    assert "250 labels for 300 networks" in said.what
    assert "are used" in said.what
    assert np.isnan(space.latency_ms["phone"][250:]).all()


def test_a_file_that_is_too_long_is_used_for_the_networks_there_are(tmp_path: Path):
    write_fbnet(tmp_path, CHOICES.tolist(), {"phone": [*LABELS.tolist(), 1.0, 2.0]})
    space = read_fbnet(tmp_path)
    np.testing.assert_allclose(space.latency_ms["phone"], LABELS)
    assert "302 labels for 300 networks" in space.left_out[0].what


def test_a_file_that_lost_a_label_in_the_middle_is_left_out_and_said(tmp_path: Path):
    write_fbnet(tmp_path, CHOICES.tolist(), {"phone": np.delete(LABELS, 100), "other": LABELS})
    space = read_fbnet(tmp_path)
    assert list(space.latency_ms) == ["other"]
    claim = space.left_out[0].claim()
    assert "help/fbnet/latency/phone.pt" in claim.claim
    assert not claim.holds
    assert "299 labels for 300 networks" in (claim.note or "")
    assert "left out" in (claim.note or "")


def test_a_file_of_the_right_length_in_another_order_is_left_out_and_said(tmp_path: Path):
    choices = made_up_choices(450)
    labels = made_up_ms(choices, seed=1)
    shuffled = np.random.default_rng(0).permutation(labels)
    shifted = np.concatenate([labels[:200], np.roll(labels[200:], 1)])
    write_fbnet(tmp_path, choices.tolist(), {"good": labels, "shuffled": shuffled, "shifted": shifted})
    space = read_fbnet(tmp_path)
    assert list(space.latency_ms) == ["good"]
    assert {said.file.rsplit("/")[-1] for said in space.left_out} == {"shuffled.pt", "shifted.pt"}
    assert all("not seen to follow the order of the networks" in said.what for said in space.left_out)
    assert not any("450 labels for 450" in said.what for said in space.left_out)


def test_few_labels_in_any_order_are_refused_only_where_they_could_be_told_apart(tmp_path: Path):
    noisy = made_up_ms(CHOICES, seed=1, noise=0.15)
    write_fbnet(tmp_path, CHOICES.tolist(), {"noisy": noisy, "backwards": LABELS[::-1]})
    assert list(read_fbnet(tmp_path).latency_ms) == ["noisy"]
    few = tmp_path / "few"
    write_fbnet(few, CHOICES[:90].tolist(), {"phone": LABELS[:90]})
    (said,) = read_fbnet(few).left_out
    assert "90 labels are too few to see whether they follow the order" in said.what
    assert said.claim().holds


def test_entries_that_are_no_latencies_are_left_out_by_number(tmp_path: Path):
    labels = [*LABELS.tolist()]
    labels[3], labels[5], labels[8], labels[13] = "junk", float("nan"), -1.0, None
    write_fbnet(tmp_path, CHOICES.tolist(), {"phone": labels})
    space = read_fbnet(tmp_path)
    assert np.flatnonzero(np.isnan(space.latency_ms["phone"])).tolist() == [3, 5, 8, 13]
    assert "entry 3 is 'junk'" in space.left_out[0].what


def test_entries_in_another_unit_are_left_out_by_number(tmp_path: Path):
    labels = LABELS.copy()
    labels[[4, 9]] *= 1000
    write_fbnet(tmp_path, CHOICES.tolist(), {"phone": labels, "in microseconds throughout": LABELS * 1000})
    space = read_fbnet(tmp_path)
    assert np.flatnonzero(np.isnan(space.latency_ms["phone"])).tolist() == [4, 9]
    (said,) = space.left_out
    assert "entry 4 is" in said.what
    assert "times the median" in said.what


def test_files_that_are_no_list_of_labels_do_not_stop_the_others(tmp_path: Path):
    write_fbnet(
        tmp_path,
        CHOICES.tolist(),
        {"good": LABELS, "dead": np.full(COUNT, 2.0), "mapping": {"a": 1}, "text": "abc", "few": [1.0, 2.0]},
    )
    latencies = tmp_path / "help" / "fbnet" / "latency"
    (latencies / "bytes.pt").write_bytes(b"this is no pickle")
    (latencies / "half.pt").write_bytes((latencies / "good.pt").read_bytes()[:400])
    space = read_fbnet(tmp_path)
    assert list(space.latency_ms) == ["good"]
    assert set(space.refused) == {"dead", "mapping", "text", "few", "bytes", "half"}
    assert all(said.used == 0 for said in space.left_out)


def test_a_line_that_is_no_network_is_left_out_and_all_others_keep_their_labels(tmp_path: Path):
    networks = CHOICES.tolist()
    networks[10], networks[20], networks[30] = networks[10][:-1], [12] * 22, "junk"
    write_fbnet(tmp_path, networks, {"phone": LABELS})
    space = read_fbnet(tmp_path)
    np.testing.assert_allclose(space.latency_ms["phone"], np.delete(LABELS, [10, 20, 30]))
    assert space.left_out[0].file == "help/fbnet/arch.pt"
    assert "network 10" in space.left_out[0].what


def test_candidates_that_no_network_uses_still_have_their_columns(tmp_path: Path):
    choices = np.minimum(CHOICES, 4)
    write_fbnet(tmp_path, choices.tolist(), {"phone": made_up_ms(choices, seed=1)})
    assert read_fbnet(tmp_path).counts.shape == (COUNT, 22 * 9)


def test_networks_that_are_a_part_of_nasbench201_have_the_labels_of_their_places(tmp_path: Path):
    ops = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 5, (200, 6))
    names = [
        f"|{ops[a]}~0|+|{ops[b]}~0|{ops[c]}~1|+|{ops[d]}~0|{ops[e]}~1|{ops[f]}~2|"
        for a, b, c, d, e, f in picks.tolist()
    ]
    place_of = {name: place for place, name in enumerate(names)}
    listed = {name: place for name, place in place_of.items() if place % 2 or place == 0}
    latencies = tmp_path / "help" / "nasbench201" / "latency"
    latencies.mkdir(parents=True)
    torch.save({**listed, "junk": 2}, latencies.parent / "str_arch2idx.pt")
    labels = (10.0 + picks @ np.arange(1, 7) + np.arange(200) / 1000).tolist()
    torch.save(labels, latencies / "phone.pt")
    space = read_help_space(tmp_path, "nasbench201")
    assert isinstance(space, PublicSpace)
    assert space.latency_ms["phone"].tolist() == [labels[place] for place in sorted(listed.values())]
    assert "'junk' at 2" in space.left_out[0].what


def test_a_space_that_is_not_there_is_named_by_path(tmp_path: Path):
    space = read_help_space(tmp_path, "fbnet")
    assert isinstance(space, Absent)
    assert str(tmp_path / "help" / "fbnet" / "arch.pt") in space.why


def test_a_list_of_networks_that_cannot_be_read_is_named_by_path(tmp_path: Path):
    write_fbnet(tmp_path, [[1, 2], [3]], {"phone": LABELS})
    space = read_help_space(tmp_path, "fbnet")
    assert isinstance(space, Absent)
    assert str(tmp_path / "help" / "fbnet" / "arch.pt") in space.why
