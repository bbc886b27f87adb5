"""What the command says and returns when it is used wrongly, stopped, or out of room."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from typer.models import OptionInfo

from search import cli
from search.cli_options import SpaceOption
from search.errors import RunFolderError
from search.files import write_json
from search.run import open_run, start_run
from search.run_settings import RunSettings, Target, keep_settings
from search.spaces.registry import SPACES

ROOT = Path(__file__).resolve().parents[2]
DEVICE = str(ROOT / "device_configs" / "local_cpu_onnxruntime.yaml")


def run(capsys, *argv: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    return int(ended.value.code or 0), capsys.readouterr().err


def run_verb(capsys, tmp_path, *flags: str, **options: str) -> tuple[int, str]:
    given = {"device": DEVICE, "data": "digits", "target": "0.6xmobilenetv2", "out": str(tmp_path / "run"), **options}
    return run(capsys, "run", *flags, *(word for name, value in given.items() for word in (f"--{name}", value)))


def test_an_unknown_device_key_is_refused_with_the_nearest_spelling(capsys, tmp_path):
    file = tmp_path / "device.yaml"
    file.write_text(Path(DEVICE).read_text().replace("thread_count:", "thread_cuont:"))
    code, words = run_verb(capsys, tmp_path, device=str(file))
    assert code == 2
    assert "thread_cuont" in words and "thread_count" in words


def test_an_empty_data_folder_is_refused_before_anything_is_written(capsys, tmp_path):
    (tmp_path / "images").mkdir()
    code, words = run_verb(capsys, tmp_path, data=str(tmp_path / "images"))
    assert code == 2 and "images" in words
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("target", ["60%", "0xmobilenetv2", "0.6xresnet", ""])
def test_a_target_that_means_nothing_is_refused(capsys, tmp_path, target):
    code, words = run_verb(capsys, tmp_path, target=target)
    assert code == 2 and "--target" in words


def test_an_unknown_preset_is_refused_with_those_there_are(capsys, tmp_path):
    code, words = run_verb(capsys, tmp_path, preset="fast")
    assert code == 2 and "smoke" in words and "thorough" in words


def test_a_folder_that_is_no_run_is_told_apart(capsys, tmp_path):
    code, words = run(capsys, "report", str(tmp_path))
    assert code == 2 and "no run folder" in words


def test_a_run_of_a_newer_version_is_not_called_damaged(capsys, tmp_path):
    write_json(tmp_path / "settings.json", {"schema": 1, "device": "local", "from_the_future": 3})
    code, words = run(capsys, "report", str(tmp_path))
    assert code == 2 and "another version" in words and "from_the_future" in words and "damaged" not in words


def test_a_run_resumed_with_other_settings_is_refused_by_name(capsys, tmp_path):
    settings = {
        "schema": 1,
        "device": DEVICE,
        "data": "digits",
        "target": {"milliseconds": None, "factor": 0.6, "reference": "mobilenetv2"},
        "space": "small",
        "preset": "standard",
        "image_size": None,
        "image_limit": None,
        "measurements": None,
        "seed": 7,
    }
    write_json(tmp_path / "run" / "settings.json", settings)
    code, words = run_verb(capsys, tmp_path)
    assert code == 2 and "--seed 7" in words
    code, words = run_verb(capsys, tmp_path, "--dry-run")
    assert code == 2 and "--seed 7" in words
    code, words = run_verb(capsys, tmp_path, seed="7", data="elsewhere/photos")
    assert code == 2 and "is a run with --data digits" in words


def test_a_device_loop_on_a_predictor_from_elsewhere_is_refused_before_anything_is_written(capsys, tmp_path):
    target = {"target_ms": "1", "predictor": str(tmp_path / "fitted")}
    given = {"device": DEVICE, "data": "digits", "out": str(tmp_path / "run"), **target}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    code, said = run(capsys, "run", "--device-in-the-loop", *words)
    assert code == 2 and "measurements are not in" in said and "--measurements" in said
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_the_users_to_mend_and_no_traceback(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, words = run_verb(capsys, tmp_path, out=str(tmp_path / "file"))
    assert code == 2 and "file" in words and "Name another place" in words
    code, words = run_verb(capsys, tmp_path, out=str(tmp_path / "file" / "run"))
    assert code == 2 and "Name another place" in words


def test_a_run_whose_device_file_or_data_lie_in_another_folder_says_where_to_give_the_command(
    capsys, tmp_path, monkeypatch
):
    for name, given in (("device", {"device": "configs/mine.yaml"}), ("data", {"data": "photos"})):
        settings = RunSettings(**{"device": DEVICE, "data": "digits", "target": Target(milliseconds=0.05), **given})
        keep_settings(tmp_path / name / "settings.json", settings)
        monkeypatch.chdir(tmp_path)
        code, words = run(capsys, "search", name)
        assert code == 2 and f"--{name} {given[name]}" in words and "where the run was started" in words


def test_a_full_disk_is_told_in_words_and_is_not_the_users_fault(capsys, tmp_path, monkeypatch):
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/first/settings.json.part")

    monkeypatch.setattr("search.run.keep_settings", no_room)
    code, words = run_verb(capsys, tmp_path)
    assert code == 1 and "disk is full" in words and "settings.json" in words


def test_help_names_every_step():
    done = subprocess.run(
        [sys.executable, "-m", "search", "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    for verb in ("run", "profile", "fit", "predict", "search", "derive", "train", "export", "verify", "report"):
        assert f" {verb} " in done.stdout


def test_help_of_the_space_names_every_space():
    (option,) = (one for one in get_args(SpaceOption) if isinstance(one, OptionInfo))
    assert all(name in option.help for name in SPACES)


def test_help_shows_how_several_devices_share_a_search():
    done = subprocess.run(
        [sys.executable, "-m", "search", "search", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert "proxyless search runs/cpu --target 0.6xmobilenetv2 --with runs/phone --with runs/board=0.8ms" in done.stdout


def test_a_run_that_is_to_share_a_search_needs_a_run_folder_and_a_budget(capsys, tmp_path):
    settings = {"schema": 1, "device": DEVICE, "data": "digits", "target": None, "space": "small", "preset": "smoke"}
    settings |= {"image_size": None, "image_limit": 60, "measurements": None, "seed": 0}
    for name, target in (("a", {"milliseconds": 0.8, "factor": None, "reference": None}), ("b", None)):
        write_json(tmp_path / name / "settings.json", settings | {"target": target})
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    for others, words in [
        ([str(tmp_path / "none")], "is no run folder"),
        ([b], "has no budget yet"),
        ([f"{b}=soon"], "after the = stands a budget"),
        ([f"{b}=0.9ms", f"{b}=0.9ms"], "named twice"),
        ([f"{b}=0.9ms"], "predictor is not there; run proxyless fit"),
    ]:
        code, said = run(capsys, "search", a, *(word for other in others for word in ("--with", other)))
        assert code == 2 and words in said


def test_help_needs_no_heavy_library():
    program = (
        "import sys, search.cli; print(sorted({'torch', 'pandas', 'sklearn', 'xgboost', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ctrl_c_ends_with_a_word_that_nothing_is_lost(tmp_path):
    command = ["run", "--device", DEVICE, "--data", "digits", "--target", "0.6xmobilenetv2", "--preset", "smoke"]
    process = subprocess.Popen(
        [sys.executable, "-m", "search", *command, "--out", str(tmp_path / "run")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if (tmp_path / "run" / "settings.json").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Nothing that was kept is lost" in words and "Traceback" not in words


@pytest.mark.parametrize("measured", ["--measure", "--no-measure"])
def test_a_page_that_would_be_written_over_its_numbers_is_refused(capsys, tmp_path, measured):
    code, words = run(capsys, "compare", "a", "b", "--out", str(tmp_path / "both.json"), measured)
    said = " ".join(words.split())
    assert code == 2 and "the numbers go there, beside the page" in said and "both.html" in said


@pytest.mark.parametrize("verb", ["run", "profile", "derive", "export", "verify", "baseline", "campaign", "device"])
def test_a_verb_that_does_not_share_its_work_is_refused_under_torchrun(capsys, monkeypatch, verb):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, words = run(capsys, verb)
    assert code == 2 and "only search and train work" in words
    assert "torchrun ... -m search search RUN" in words and "proxyless run with the options" in words


@pytest.mark.parametrize("verb", ["search", "train"])
def test_verbs_that_share_their_work_run_under_torchrun(capsys, monkeypatch, tmp_path, verb):
    monkeypatch.setenv("WORLD_SIZE", "2")
    _, words = run(capsys, verb, str(tmp_path / "missing"))
    assert "torchrun" not in words and "missing" in words


def test_a_budget_that_no_search_began_with_gives_way_to_another_one(tmp_path):
    settings = RunSettings(device="d.yaml", data="digits", target=Target(factor=5.0, reference="mobilenetv2"))
    lower = dataclasses.replace(settings, target=Target(factor=0.7, reference="mobilenetv2"))
    start_run(tmp_path, settings)
    assert start_run(tmp_path, lower).target == lower.target == open_run(tmp_path).target
    write_json(open_run(tmp_path).folder.target, {"target_ms": 0.1})
    with pytest.raises(RunFolderError, match=r"is a run with the budget 0\.7xmobilenetv2"):
        start_run(tmp_path, settings)


def test_a_share_of_a_network_that_nobody_timed_is_refused_beside_a_predictor(capsys, tmp_path):
    code, words = run_verb(capsys, tmp_path, predictor=str(tmp_path))
    assert code == 2 and "Give --target-ms, or with --measurements" in " ".join(words.split())
    assert not (tmp_path / "run").exists()


def test_names_are_said_as_they_are_written(capsys, tmp_path):
    code, words = run_verb(capsys, tmp_path, device=str(tmp_path / ":fire:[red].yaml"))
    assert code == 2 and ":fire:[red].yaml" in words.replace("\n", "")
