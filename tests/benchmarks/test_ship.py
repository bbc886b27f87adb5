"""What is shipped: each file beside a prediction of its own runtime and numbers, or the reason why there is none."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import ship
from latency_model.network_latency import LatencyEstimate
from search.errors import RunFolderError

EXPORTS = {
    f"{key}{suffix}": {"path": f"export/derived{suffix}.{key}", "dtype": dtype}
    for key in ("onnx", "tflite")
    for suffix, dtype in (("", "fp32"), ("-int8", "int8"))
}
RUN = SimpleNamespace(folder=SimpleNamespace(path=Path("run")))


@pytest.fixture
def claims(monkeypatch):
    """The claims of files that take 1 ms each, predicted 4 % above by every predictor that there is."""

    def claimed(*, quick, predictor=Path("predictor"), known=lambda path, named: None):
        def verified(path, device, *, known):
            estimate = None if known.predictor is None else LatencyEstimate(1.04, 1.0, 1.1)
            return SimpleNamespace(report=SimpleNamespace(latency_ms=1.0, verdict="accepted"), predicted=estimate)

        monkeypatch.setattr(ship, "verify_file", verified)
        monkeypatch.setattr(ship, "known_network", known)
        monkeypatch.setattr(ship, "fitted_predictor", lambda run, device, dtype: predictor)
        return {claim.claim: claim for claim in ship.latency_claims(RUN, EXPORTS, quick=quick)}

    return claimed


def gap(name):
    return f"{name} of the derived network, measured against predicted"


def test_every_file_that_the_run_does_not_predict_itself_is_held_against_a_predictor_of_its_own(claims):
    found = claims(quick=False)
    for name in ("tflite", "tflite-int8", "onnx-int8"):
        assert found[gap(name)].holds and found[gap(name)].value == pytest.approx(1 - 1 / 1.04)
    assert gap("onnx") not in found
    assert len([claim for claim in found if "int8 over" in claim]) == 2


def test_a_predictor_that_would_take_too_long_is_a_row_that_says_so(claims):
    claim = claims(quick=False, predictor=None)[gap("tflite")]
    assert claim.value is None and "longer than 2 minutes" in claim.note


def test_a_quick_run_fits_no_predictor_of_smaller_numbers_and_says_so(claims):
    found = claims(quick=True)
    assert found[gap("tflite")].holds
    assert found[gap("tflite-int8")].note == found[gap("onnx-int8")].note == "left out by --quick"


def test_a_file_that_could_not_be_timed_takes_no_other_row_with_it(claims):
    def known(path, named):
        if path.name == "derived-int8.tflite":
            raise RunFolderError("no such file")

    found = claims(quick=False, known=known)
    assert found["tflite-int8 of the derived network, measured latency"].note == "no such file"
    assert found[gap("tflite")].holds and found[gap("onnx-int8")].holds
    assert len([claim for claim in found if "int8 over" in claim]) == 1
