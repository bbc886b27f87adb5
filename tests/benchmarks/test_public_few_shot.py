"""New devices from a few samples, with whatever devices a folder holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.claims import Claim, Options
from benchmarks.public_data import PublicSpace, read_help_space
from benchmarks.public_few_shot import few_shot
from benchmarks.public_files import Absent
from benchmarks.public_splits import fresh_splits, unnamed_devices
from benchmarks.public_tasks import published_tasks
from tests.benchmarks.public_folder import made_up_choices, made_up_ms, write_fbnet

CHOICES = made_up_choices(200)
QUICK = Options(quick=True)


def spaces_of(folder: Path, *devices: str) -> dict[str, PublicSpace | Absent]:
    write_fbnet(folder, CHOICES.tolist(), {device: made_up_ms(CHOICES, seed) for seed, device in enumerate(devices)})
    return {name: read_help_space(folder, name) for name in ("nasbench201", "fbnet")}


def by_task(spaces: dict[str, PublicSpace | Absent]) -> dict[str, Claim]:
    claims = list(published_tasks(spaces, QUICK))
    return {claim.claim.split(",")[0].removeprefix("few-shot ").split(" ")[0]: claim for claim in claims}


def test_a_task_is_run_with_those_of_its_devices_that_are_there(tmp_path: Path):
    claims = by_task(spaces_of(tmp_path, "2080ti_1", "silver_4114", "samsung_a50"))
    task = claims["F1"]
    assert task.claim == "few-shot F1 with 2 of 5 sources and 1 of 5 targets, mean Spearman, 20 samples"
    assert task.value is not None
    assert "essential_ph_1" in (task.note or "")
    assert "best source rescaled" in (task.note or "")


def test_a_task_without_a_source_or_a_target_names_the_files_that_are_missing(tmp_path: Path):
    claims = by_task(spaces_of(tmp_path, "2080ti_1", "silver_4114", "samsung_a50"))
    assert claims["F2"].value is None
    assert "no source device" in (claims["F2"].note or "")
    assert f"{tmp_path}/help/fbnet/latency/{{essential_ph_1,gold_6226," in (claims["F2"].note or "")
    assert claims["FD"].value is None
    assert "no target device" in (claims["FD"].note or "")
    assert str(tmp_path / "help" / "nasbench201" / "str_arch2idx.pt") in (claims["ND"].note or "")


def test_the_mean_of_the_tasks_says_how_many_there_were(tmp_path: Path):
    *_, mean = published_tasks(spaces_of(tmp_path, "2080ti_1", "silver_4114", "samsung_a50"), QUICK)
    assert mean.claim == "few-shot, mean of 1 of the seven tasks, 1 of them with fewer devices"
    assert "of all seven with all their devices" in (mean.note or "")


def test_a_folder_of_unknown_devices_still_gives_few_shot_rows(tmp_path: Path):
    spaces = spaces_of(tmp_path, "watch", "car", "fridge")
    rank, error = unnamed_devices(spaces, QUICK)
    assert rank.claim == "few-shot fbnet, 3 devices of no published task, mean Spearman, 20 samples"
    assert rank.value is not None
    assert rank.value > 0.8
    assert all(f"{device} 0." in (rank.note or "") for device in ("watch", "car", "fridge"))
    assert error.value is not None
    splits = [claim for claim in fresh_splits(spaces, QUICK) if claim.value is not None]
    assert splits[0].claim == "fresh leave-one-out fbnet, mean Spearman"


def test_a_device_that_a_task_names_is_not_among_the_unnamed(tmp_path: Path):
    claims = list(unnamed_devices(spaces_of(tmp_path, "2080ti_1", "watch"), QUICK))
    assert "1 device of no published task" in claims[0].claim
    assert "2080ti_1 0." not in (claims[0].note or "")


def test_a_device_alone_has_nothing_to_learn_from_and_that_is_said(tmp_path: Path):
    spaces = spaces_of(tmp_path, "watch")
    (claim,) = unnamed_devices(spaces, QUICK)
    assert claim.value is None
    assert "watch is the only device" in (claim.note or "")
    assert all(claim.value is None for claim in fresh_splits(spaces, QUICK))


def test_a_device_that_has_labels_of_few_networks_is_sampled_among_those(tmp_path: Path):
    sparse = made_up_ms(CHOICES, 3)
    sparse[np.arange(len(sparse)) % 3 > 0] = np.nan
    write_fbnet(tmp_path, CHOICES.tolist(), {"a": made_up_ms(CHOICES, 1), "b": made_up_ms(CHOICES, 2), "c": sparse})
    space = read_help_space(tmp_path, "fbnet")
    assert isinstance(space, PublicSpace)
    result = few_shot(space, ["a", "b"], ["c"], seed=0)["c"]
    assert result.spearman > 0.8
