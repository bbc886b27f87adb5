"""Comparing runs measures every derived network on every device, and only what was timed well counts."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from safetensors.torch import save_file

from profiler_agent.device import load_device
from profiler_agent.errors import DeviceNotReady, DeviceThrottled
from search import cli
from search.data.batches import seeded_generator
from search.errors import RunFolderError
from search.files import write_json
from search.plain_network import PlainNetwork
from search.run import start_run
from search.run_settings import RunSettings
from search.ship import compare
from search.ship.compare import _data_of, compare_on_devices
from search.ship.kept_columns import Cell, KeptColumns
from search.steps.timing import ATTEMPTS
from search.train_network import TrainFiles
from tests.search.made_up_session import MadeUpSession
from tests.search.quick_device import QUICK_DEVICE

STRICT = (
    QUICK_DEVICE.replace("canary_limit: 9", "canary_limit: 0.05")
    .replace("session_count: 1", "session_count: 2")
    .replace("max_sessions: 1", "max_sessions: 2")
)


@pytest.fixture
def make_run(tmp_path):
    """A run folder with a trained derived network, on a device file of this text."""

    def make(name: str, device: str, content: str = "3f9a1c07d2"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(device)
        run = start_run(tmp_path / name, RunSettings(device=str(file), data="digits", target=None, preset="smoke"))
        run.write_network(run.space.network((0,) * len(run.space.positions), "derived"))
        files = TrainFiles(folder=run.folder.training("derived"))
        files.folder.mkdir(parents=True)
        model = PlainNetwork(run.read_network("derived"), seeded_generator(0, "test"))
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, files.weights)
        write_json(files.result, {"accuracy": 0.875, "identity": {"data": content}})
        return run.folder.path

    return make


def compared(monkeypatch, folders, **options):
    """The matrix, and what was timed in each session."""
    sessions = []

    def opened(device):
        sessions.append(MadeUpSession(device, **options))
        return nullcontext(sessions[-1])

    monkeypatch.setattr(compare, "open_session", opened)
    return compare_here(folders), [session.timed for session in sessions]


def compare_here(folders):
    return compare_on_devices(folders, [], KeptColumns(folders[0].parent / "both.columns.jsonl"), lambda *_: None)


def test_runs_on_one_device_share_its_column_and_its_session(make_run, monkeypatch):
    matrix, timed = compared(monkeypatch, [make_run("one", STRICT), make_run("two", STRICT)])
    assert timed == [["run0", "run1"]] and matrix.columns == ("quick_cpu",)
    assert matrix.latency_ms == ((2.0,), (2.0,)) and matrix.spread == ((0.0,), (0.0,))
    assert matrix.verdict == (("accepted",), ("accepted",))


def test_runs_on_different_devices_of_one_name_are_refused_before_anything_is_timed(make_run, monkeypatch):
    folders = [make_run("one", STRICT), make_run("two", STRICT.replace("thread_count: 1", "thread_count: 2"))]
    monkeypatch.setattr(compare, "open_session", None)
    with pytest.raises(RunFolderError, match=r"both called 'quick_cpu', and differ in runtime"):
        compare_here(folders)


def test_a_run_has_a_budget_on_the_device_that_it_searched_for_alone(make_run, monkeypatch):
    one = make_run("one", STRICT)
    two = make_run("two", STRICT.replace("quick_cpu", "other_cpu"))
    write_json(one / "search" / "target.json", {"text": "1 ms", "target_ms": 1.0, "reference_ms": None})
    matrix, _ = compared(monkeypatch, [one, two])
    assert matrix.budget_ms == ((1.0, None), (None, None))
    assert str(matrix.outcomes()[0]) == "over its budget"


def test_a_training_on_its_way_is_refused_before_anything_is_timed(make_run, monkeypatch):
    folders = [make_run("one", STRICT), make_run("two", STRICT)]
    (folders[1] / "train" / "derived" / "result.json").unlink()
    monkeypatch.setattr(compare, "open_session", None)
    with pytest.raises(
        RunFolderError, match=r"derived of .*two is not trained to the end.*proxyless train .*two derived"
    ):
        compare_here(folders)


def test_an_accuracy_is_known_by_the_content_of_its_images_and_not_by_what_they_were_called():
    runs = [
        SimpleNamespace(settings=SimpleNamespace(data=data)) for data in ("digits", "else/numbers", "digits", "old")
    ]
    results = [{"identity": {"data": content}} for content in ("3f9a1c07d2", "3f9a1c07d2", "0b5e")] + [{}]
    assert _data_of(runs, results) == ("digits (3f9a1c07)", "digits (3f9a1c07)", "digits (0b5e)", "old")


def test_runs_that_were_never_reported_are_compared_and_what_differs_is_said_first(
    make_run, monkeypatch, capsys, tmp_path
):
    folders = [make_run("one", STRICT), make_run("two", STRICT, "0b5e")]
    assert not (folders[0] / "run.json").exists()
    monkeypatch.setattr(compare, "open_session", lambda device: nullcontext(MadeUpSession(device)))
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *map(str, folders), "--out", str(tmp_path / "both.html")])
    words = " ".join(capsys.readouterr().out.split())
    assert not ended.value.code
    assert words.startswith("These runs are of different data (one: digits, ") and "points of accuracy" not in words
    page = (tmp_path / "both.html").read_text()
    assert "These runs are of different data (one: digits, " in page and 'id="heat-map"' in page


def test_after_one_session_no_spread_is_claimed(make_run, monkeypatch):
    matrix, _ = compared(monkeypatch, [make_run("one", STRICT), make_run("two", STRICT)], session_count=1)
    assert matrix.spread == ((None,), (None,)) and matrix.verdict == (("noisy",), ("noisy",))
    assert "it was timed in one session" in matrix.findings()[0] and "was noisy" in matrix.findings()[0]


def test_a_network_timed_while_its_device_was_throttled_is_timed_again(make_run, monkeypatch):
    matrix, timed = compared(monkeypatch, [make_run("one", STRICT), make_run("two", STRICT)], throttled={"run1": 1})
    assert timed == [["run0", "run1", "run1"]] and matrix.verdict == (("accepted",), ("accepted",))


def test_a_device_that_stays_throttled_gives_no_matrix(make_run, monkeypatch):
    with pytest.raises(DeviceThrottled) as caught:
        compared(monkeypatch, [make_run("one", STRICT), make_run("two", STRICT)], throttled={"run1": ATTEMPTS})
    assert caught.value.exit_code == 3


def test_devices_that_were_measured_before_one_failed_are_not_measured_again(make_run, monkeypatch, capsys, tmp_path):
    one, two = make_run("one", STRICT), make_run("two", STRICT.replace("quick_cpu", "other_cpu"))
    opened = []

    def absent(device):
        opened.append(device.name)
        if device.name == "other_cpu" and opened.count("other_cpu") == 1:
            raise DeviceNotReady("other_cpu is not plugged in.")
        return nullcontext(MadeUpSession(device))

    monkeypatch.setattr(compare, "open_session", absent)
    command = ["compare", str(one), str(two), "--out", str(tmp_path / "both.html")]
    assert exit_code(command) == 3 and opened == ["quick_cpu", "other_cpu"]
    assert "measured before" not in capsys.readouterr().out
    assert not exit_code(command) and opened == ["quick_cpu", "other_cpu", "other_cpu"]
    assert "What was measured before the comparison stopped is taken from" in capsys.readouterr().out
    assert (tmp_path / "both.html").exists() and not (tmp_path / "both.columns.jsonl").exists()
    assert not exit_code(command) and opened[3:] == ["quick_cpu", "other_cpu"], "a whole comparison measures anew"


def exit_code(command):
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    return ended.value.code


def test_a_column_counts_for_the_files_and_the_device_that_it_was_measured_with_alone(tmp_path):
    devices = []
    for name, text in (("one", STRICT), ("two", STRICT.replace("thread_count: 1", "thread_count: 2"))):
        (tmp_path / f"{name}.yaml").write_text(text)
        devices.append(load_device(tmp_path / f"{name}.yaml"))
    device, other = devices
    models = [tmp_path / f"{name}.onnx" for name in "abc"]
    for model in models:
        model.write_text(model.name)
    cells = [Cell(latency_ms=float(index), spread=None, verdict="noisy") for index in range(2)]
    kept = KeptColumns(tmp_path / "both.columns.jsonl")
    kept.keep(device, models[:2], cells)
    kept = KeptColumns(kept.path)
    assert kept.find(device, models[1::-1]) == cells[::-1]
    assert kept.find(other, models[:2]) is None and kept.find(device, models) is None
    models[0].write_text("trained anew")
    assert kept.find(device, models[:2]) is None and kept.find(device, models[1:2]) == cells[1:]
