"""Export and verify of a run folder: each is done once for the weights that a network has, and again for others."""

from __future__ import annotations

import shutil
import signal
from contextlib import nullcontext

import numpy as np
import pytest
from rich.console import Console
from safetensors.torch import save_file

from latency_model.measurement_file import read_measurements
from latency_model.network_latency import LatencyEstimate
from profiler_agent.device import load_device
from profiler_agent.errors import DeviceThrottled
from search import cli
from search.data.batches import seeded_generator
from search.errors import RunFolderError
from search.export_formats import SINGLE_PRECISION
from search.files import read_json, write_json
from search.plain_network import PlainNetwork
from search.run import NETWORK_NAMES, start_run
from search.run_settings import RunSettings, parse_target
from search.ship.verify_file import verify_file
from search.steps.export import describe_losses, export, is_exported
from search.steps.timing import ATTEMPTS
from search.steps.verify import exported_file, is_outdated, is_verified, read_verification, verify
from search.train_network import TrainFiles
from tests.search.made_up_session import MadeUpSession
from tests.search.quick_device import QUICK_DEVICE

SEVERE = (
    QUICK_DEVICE.replace("canary_limit: 9", "canary_limit: 0.05")
    .replace("session_count: 1", "session_count: 2")
    .replace("max_sessions: 1", "max_sessions: 2")
)
CONSOLE = Console(quiet=True)


class FlatPredictor:
    """Every network takes 1.9 ms."""

    def predict_network(self, ops):
        return LatencyEstimate(1.9, 1.8, 2.0)

    def op_contribution_ms(self, ops):
        return np.zeros(len(ops))


@pytest.fixture(autouse=True)
def keep_signal_handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def device(tmp_path):
    (tmp_path / "device.yaml").write_text(SEVERE)
    return load_device(tmp_path / "device.yaml")


@pytest.fixture
def run(tmp_path, device, monkeypatch):
    """A run of which only the trained networks are there."""
    settings = RunSettings(
        device=str(tmp_path / "device.yaml"), data="digits", target=parse_target(None, 1.0), preset="smoke"
    )
    run = start_run(tmp_path / "run", settings)
    monkeypatch.setattr("search.steps.export.ALL_FORMATS", SINGLE_PRECISION)
    for name in ("derived", "random"):
        run.write_network(run.space.network((0,) * len(run.space.positions), name))
        train_anew(run, name)
    write_json(run.folder.target, {"target_ms": 1.0, "reference_ms": None})
    run.predictor = FlatPredictor()
    return run


def train_anew(run, name, seed=0):
    files = TrainFiles(folder=run.folder.training(name))
    files.folder.mkdir(parents=True, exist_ok=True)
    model = PlainNetwork(run.read_network(name), seeded_generator(seed, "test"))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, files.weights)
    write_json(files.result, {"accuracy": 0.875})


def test_a_loss_of_nothing_is_said_without_a_minus():
    check = {"accuracy": 0.9, "accuracy_images": 10, "dtype": "int8"}
    for loss in (0.0, 0.0004, -0.0004):
        assert "90.0 % (+0.0 points)" in describe_losses("derived", {"onnx-int8": {**check, "accuracy_loss": loss}})
    assert "(-0.3 points)" in describe_losses("derived", {"onnx-int8": {**check, "accuracy_loss": 0.003}})


def verify_on(run, session, names=("random",)):
    run.open_device = lambda step: nullcontext(session)
    verify(run, CONSOLE, names)


def test_a_network_is_exported_once_and_again_when_it_was_trained_anew(run):
    export(run, CONSOLE, ["random"])
    path = run.folder.exported("random", ".onnx")
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    export(run, CONSOLE, ["random"])
    assert path.stat().st_mtime_ns == written
    train_anew(run, "random", seed=1)
    assert not is_exported(run, "random")
    export(run, CONSOLE, ["random"])
    assert path.read_bytes() != before and is_exported(run, "random")


def test_a_training_on_its_way_is_not_exported(run):
    TrainFiles(folder=run.folder.training("random")).result.unlink()
    with pytest.raises(RunFolderError, match=r"random of .* is not trained to the end.*proxyless train .* random"):
        export(run, CONSOLE, ["derived", "random"])
    assert not run.folder.exports.exists()


def test_what_the_files_are_worth_is_said_also_when_all_were_exported_before(run, capsys):
    export(run, CONSOLE, ["random"])
    assert capsys.readouterr().out == ""
    export(run, Console(), ["random"])
    assert "random: onnx " in capsys.readouterr().out


@pytest.mark.parametrize(
    "lost", ["random.onnx", "random.tflite", "random_network.py", "random_network.safetensors", "random.json"]
)
def test_a_file_that_was_lost_is_written_again(run, lost):
    export(run, CONSOLE, ["random"])
    file = run.folder.exports.parent / lost
    file.unlink()
    assert not is_exported(run, "random")
    export(run, CONSOLE, ["random"])
    assert file.exists() and is_exported(run, "random")


def test_a_file_that_is_not_the_one_that_was_checked_is_neither_timed_nor_left_there(run):
    export(run, CONSOLE, ["random"])
    file = run.folder.exported("random", ".onnx")
    checked = file.read_bytes()
    file.write_bytes(checked[: len(checked) // 2])
    with pytest.raises(RunFolderError, match="lost or changed since"):
        verify(run, CONSOLE, ["random"])
    export(run, CONSOLE, ["random"])
    assert file.read_bytes() == checked


def test_what_its_user_changed_in_a_plain_file_stays(run):
    export(run, CONSOLE, ["random"])
    plain = run.folder.exports.parent / "random_network.py"
    plain.write_text("# mine")
    export(run, CONSOLE, ["random"])
    assert plain.read_text() == "# mine"


@pytest.mark.parametrize("unknown", ["trained_sha256", "file_sha256"])
def test_a_run_exported_by_an_earlier_version_is_exported_again(run, unknown):
    export(run, CONSOLE, ["random"])
    known = read_json(run.folder.exports)
    for check in known["random"].values():
        del check[unknown]
    write_json(run.folder.exports, known)
    with pytest.raises(RunFolderError, match="run proxyless export"):
        verify(run, CONSOLE, ["random"])
    export(run, CONSOLE, ["random"])
    assert is_exported(run, "random")


def test_a_file_is_timed_once_and_again_when_it_changed(run, device):
    session = MadeUpSession(device)
    export(run, CONSOLE, ["random"])
    for _ in range(2):
        verify_on(run, session)
    assert session.timed == ["random"]
    train_anew(run, "random", seed=1)
    with pytest.raises(RunFolderError, match="not exported as it is trained now"):
        verify_on(run, session)
    export(run, CONSOLE, ["random"])
    verify_on(run, session)
    assert session.timed == ["random"] * 2 and len(read_measurements(run.measurements)) == 2


def test_a_verification_tells_the_pace_of_the_device_since_its_profile(run, device, monkeypatch):
    export(run, CONSOLE, ["random", "derived"])
    verify_on(run, MadeUpSession(device))
    assert read_verification(run, "random")["pace"] is None  # nothing was profiled
    profiled = read_measurements(run.measurements)
    monkeypatch.setattr("search.steps.verify.profile_if_any", lambda run: profiled)
    session = MadeUpSession(device)
    session.canary_ms = 0.08
    verify_on(run, session, ["derived"])
    assert read_verification(run, "derived")["pace"] == pytest.approx(0.8)


class WanderingSession(MadeUpSession):
    """Each batch is timed at the next of these paces, by its canary."""

    def __init__(self, device, paces, throttled=None):
        super().__init__(device, throttled)
        self.paces = list(paces)

    def time_models(self, models, **options):
        self.canary_ms = 0.1 * self.paces.pop(0)
        return super().time_models(models, **options)


@pytest.mark.parametrize(
    ("paces", "kept"), [((1.01, 9), 1.01), ((1.08, 0.95, 1.0, 9), 1.0), ((1.08, 1.06, 0.9, 1.05), 1.05)]
)
def test_a_verification_is_repeated_until_the_device_is_at_its_profiles_pace(run, device, monkeypatch, paces, kept):
    export(run, CONSOLE, ["random", "derived"])
    verify_on(run, MadeUpSession(device), ["derived"])
    profiled = read_measurements(run.measurements)
    monkeypatch.setattr("search.steps.verify.profile_if_any", lambda run: profiled)
    verify_on(run, WanderingSession(device, paces))
    assert read_verification(run, "random")["pace"] == pytest.approx(kept)
    assert is_verified(run, exported_file(run, "random"))


def test_a_device_that_throttles_while_a_verification_is_repeated_leaves_the_first(run, device, monkeypatch):
    export(run, CONSOLE, ["random", "derived"])
    verify_on(run, MadeUpSession(device), ["derived"])
    profiled = read_measurements(run.measurements)
    monkeypatch.setattr("search.steps.verify.profile_if_any", lambda run: profiled)

    class Throttling(WanderingSession):
        def time_models(self, models, **options):
            self.throttled = {"random": 99 if self.timed else 0}
            return super().time_models(models, **options)

    verify_on(run, Throttling(device, [1.08] * 4))
    assert read_verification(run, "random")["pace"] == pytest.approx(1.08)


def test_a_network_that_was_trained_anew_since_it_was_timed_is_known_as_outdated(run, device):
    assert not is_outdated(run, "random")
    export(run, CONSOLE, ["random"])
    verify_on(run, MadeUpSession(device))
    assert not is_outdated(run, "random")
    train_anew(run, "random", seed=1)
    assert is_outdated(run, "random")
    export(run, CONSOLE, ["random"])
    assert is_outdated(run, "random")
    verify_on(run, MadeUpSession(device))
    assert not is_outdated(run, "random")


def test_a_file_that_an_earlier_version_kept_as_throttled_is_the_one_that_was_timed(run, device):
    export(run, CONSOLE, ["random"])
    verify_on(run, MadeUpSession(device))
    file = run.folder.verification("random")
    write_json(file, read_json(file) | {"verdict": "throttled"})
    assert not is_outdated(run, "random")
    assert not is_verified(run, exported_file(run, "random"))


def test_a_file_timed_while_the_device_was_throttled_is_timed_again_in_the_same_session(run, device):
    export(run, CONSOLE, ["derived", "random"])
    session = MadeUpSession(device, {"random": 1})
    verify_on(run, session, ("derived", "random"))
    assert session.timed.count("random") == session.timed.count("derived") + 1
    assert read_json(run.folder.verification("random"))["verdict"] == "accepted"


def test_a_throttled_timing_is_never_kept_as_a_verification_and_what_was_timed_well_is(run, device):
    export(run, CONSOLE, ["derived", "random"])
    session = MadeUpSession(device, {"derived": ATTEMPTS})
    with pytest.raises(DeviceThrottled, match=r"canary model took 100% longer.*same command again") as caught:
        verify_on(run, session, ("derived", "random"))
    assert caught.value.exit_code == 3
    assert run.folder.verification("random").exists() and not run.folder.verification("derived").exists()
    verify_on(run, session, ("derived", "random"))
    assert session.timed.count("random") == 1 and run.folder.verification("derived").exists()


def test_a_throttled_verification_of_an_earlier_version_is_timed_again(run, device):
    export(run, CONSOLE, ["random"])
    session = MadeUpSession(device)
    verify_on(run, session)
    write_json(
        run.folder.verification("random"), read_json(run.folder.verification("random")) | {"verdict": "throttled"}
    )
    verify_on(run, session)
    assert session.timed == ["random"] * 2


def test_a_single_file_on_a_throttled_device_is_an_error_of_the_device_and_no_missed_budget(run, device, monkeypatch):
    export(run, CONSOLE, ["random"])
    session = MadeUpSession(device, {"random": ATTEMPTS})
    monkeypatch.setattr("search.ship.verify_file.open_session", lambda device: nullcontext(session))
    with pytest.raises(DeviceThrottled):
        verify_file(run.folder.exported("random", ".onnx"), device, target_ms=0.1)
    assert session.timed == ["random"] * ATTEMPTS


def command(capsys, *argv):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    words = capsys.readouterr()
    return int(ended.value.code or 0), words.out, words.err


def verified_run(run, device):
    for name in NETWORK_NAMES:
        run.write_network(run.space.network((0,) * len(run.space.positions), name))
        train_anew(run, name)
    export(run, CONSOLE)
    verify_on(run, MadeUpSession(device), NETWORK_NAMES)
    return str(run.folder.path)


def test_a_derived_network_above_the_budget_ends_the_command_with_4(run, device, capsys):
    code, out, err = command(capsys, "verify", verified_run(run, device))
    assert code == 4 and "derived takes 2 ms on quick_cpu; the budget is 1 ms" in err
    assert "derived: measured 2 ms (accepted, spread 0.0%), predicted 1.90 ms (1.80-2.00), budget 1 ms" in out
    for word in ("Networks for quick_cpu", "Derived", "Random", "Hand-made", "87.5"):
        assert word in out


def test_a_report_while_a_network_is_trained_anew_keeps_the_last_summary_and_says_so(run, device, capsys):
    folder = verified_run(run, device)
    assert command(capsys, "report", folder)[0] == 0
    before = run.folder.summary.read_text()
    shutil.rmtree(run.folder.training("random"))
    code, out, _ = command(capsys, "report", folder)
    assert code == 0 and "report:" in out and run.folder.summary.read_text() == before
    assert "random" in read_json(run.folder.card)["outdated"]


def test_only_the_derived_network_has_to_meet_the_budget(run, device, capsys):
    assert command(capsys, "verify", verified_run(run, device), "random")[0] == 0


@pytest.mark.parametrize("option", ["--device", "--target-ms", "--predictor", "--network", "--measurements"])
def test_an_option_that_is_for_files_is_refused_for_a_run(capsys, tmp_path, option):
    code, _, err = command(capsys, "verify", str(tmp_path), option, "0.5")
    assert code == 2 and f"Leave out {option}: only for a file" in err


def test_a_networks_name_is_refused_for_a_file(capsys, tmp_path):
    code, _, err = command(capsys, "verify", str(tmp_path / "derived.onnx"), "random")
    assert code == 2 and "only for a run folder" in err


def test_a_file_that_no_runtime_executes_is_refused_as_such(capsys, tmp_path, device):
    (tmp_path / "derived.py").write_text("")
    code, _, err = command(capsys, "verify", str(tmp_path / "derived.py"), "--device", str(device.source_file))
    assert code == 2 and "derived.py is neither a run folder nor a model file (.onnx, .pt, .tflite)" in err


@pytest.mark.parametrize("budget", ["nan", "0", "-1", "inf"])
def test_a_budget_that_is_none_is_refused(capsys, tmp_path, device, budget):
    path = str(tmp_path / "derived.onnx")
    code, _, err = command(capsys, "verify", path, "--device", str(device.source_file), "--target-ms", budget)
    assert code == 2 and "--target-ms" in err
