"""Two budgets of this machine and a made-up device in one search, as a user runs it: killed, resumed, and derived."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from latency_model.fit import fit_predictor
from search.checkpoint import read_checkpoint
from search.run import open_run
from search.run_settings import RunSettings, keep_settings
from search.steps.profile import plan_of
from search.steps.search import make_trainer
from tests.latency_model.conftest import AnalyticDevice
from tests.search.as_a_user import SAVING_EVERY_STEP, done, run, start
from tests.search.budget_in_reach import budget_ms
from tests.search.quick_device import QUICK_DEVICE

COMMON = {"data": "digits", "limit": 600, "preset": "smoke"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Run folders a and b of this machine, by the same measurements, and c of a device that a formula times."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "here.yaml").write_text(QUICK_DEVICE)
    (folder / "made_up.yaml").write_text(QUICK_DEVICE.replace("quick_cpu", "made_up"))
    measurements = folder / "here.jsonl"
    for name in "ab":
        words = [word for option, value in COMMON.items() for word in (f"--{option}", value)]
        words += ["--device", folder / "here.yaml", "--measurements", measurements, "--out", folder / name]
        done("profile", *words)
    done("fit", measurements, "--out", folder / "a" / "predictor")
    shutil.copytree(folder / "a" / "predictor", folder / "b" / "predictor")
    settings = RunSettings(
        device=str(folder / "made_up.yaml"), data="digits", target=None, preset="smoke", image_limit=600
    )
    keep_settings(folder / "c" / "settings.json", settings)
    plan = plan_of(open_run(folder / "c"))
    measured = AnalyticDevice().measure(plan.networks)
    fit_predictor(measured, "table", held_out=plan.held_out).save(folder / "c" / "predictor")
    return folder


def search_words(root: Path) -> list[object]:
    budgets = [f"{root / name}={budget_ms(root / name, share)}ms" for name, share in (("b", 0.75), ("c", 0.5))]
    own = ["--target-ms", budget_ms(root / "a", 0.4)]
    return ["search", root / "a", *own, *(word for budget in budgets for word in ("--with", budget))]


def kill_after_a_checkpoint(root: Path) -> None:
    process = start(*search_words(root), program=SAVING_EVERY_STEP)
    events = root / "a" / "search" / "events.jsonl"
    for _ in range(2400):
        if events.exists() and '"phase": "search"' in events.read_text():
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_shared_search_that_was_killed_ends_like_an_unbroken_one_and_each_run_derives_its_own_network(
    prepared, tmp_path
):
    killed, unbroken = (shutil.copytree(prepared, tmp_path / name) for name in ("killed", "unbroken"))
    kill_after_a_checkpoint(killed)
    code, _, err = run("search", killed / "a", "--with", killed / "c")
    assert code == 2 and "begun with other runs" in err
    said = done(*search_words(killed))
    assert "one search for 3 runs" in said and "3 separate searches take" in said
    done(*search_words(unbroken))
    states = [
        read_checkpoint(trainer.files.checkpoint, trainer.identity)
        for trainer in (make_trainer(open_run(root / "b")) for root in (killed, unbroken))
    ]
    assert states[0]["step"] == states[1]["step"] > 0
    for left, right in zip(states[0]["targets"], states[1]["targets"], strict=True):
        assert all(value.equal(right["module"][name]) for name, value in left["module"].items())

    networks = {}
    for name in "ab":
        done("derive", killed / name)
        folder = open_run(killed / name).folder
        target_ms = json.loads(folder.target.read_text())["target_ms"]
        derivation = json.loads(folder.derivation.read_text())
        assert derivation["measured_ms"]["derived"] <= target_ms
        networks[name] = folder.architecture.read_text()
    assert networks["a"] != networks["b"]
    done("report", killed / "b")
    assert (killed / "b" / "report.html").exists()
    card = json.loads((killed / "b" / "run.json").read_text())["shared_search"]
    assert card["targets"] == {"small": f"quick_cpu at {budget_ms(killed / 'b', 0.75)} ms"}
    assert card["cost"]["runs"] == 3
