"""Predictors carried over to another device: from a few networks, and to another unit of a known model."""

import dataclasses

import pytest

from latency_model.errors import MeasurementError, PredictorMismatchError, TooFewSamplesError
from latency_model.few_shot.transfer import recalibrate
from latency_model.fit import fit_predictor
from latency_model.measurement import MeasurementSet


@pytest.fixture
def networks(make_networks):
    return make_networks(120)


@pytest.fixture
def source(device, networks, make_space_ops):
    return fit_predictor(device.measure([*make_space_ops(networks), *networks[:20]]))


def test_another_unit_of_a_model_is_a_factor_away(device, networks, source):
    slower = device.measure(networks[30:33])
    scaled = MeasurementSet(
        tuple(
            dataclasses.replace(m, report=dataclasses.replace(m.report, latency_ms=1.3 * m.latency_ms))
            for m in slower.measurements
        )
    )
    carried = recalibrate(source, scaled)
    ratio = [
        carried.predict_network(n.ops).latency_ms / source.predict_network(n.ops).latency_ms for n in networks[40:50]
    ]
    assert ratio == pytest.approx([ratio[0]] * 10, rel=1e-9)
    assert ratio[0] == pytest.approx(1.3, rel=0.03)
    wider = [
        (e.high_ms - e.low_ms) / e.latency_ms for e in (p.predict_network(networks[40].ops) for p in (source, carried))
    ]
    assert wider[1] >= wider[0]
    card = carried.report_card
    assert "leave-one-out over 3 networks" in card["method"]
    assert card["networks"]["count"] == 3
    assert card["networks"] != source.report_card["networks"] == card["source"]["networks"]
    assert not {"ops", "op_points", "worst_ops"} & set(card)
    assert carried.provenance.op_count == 0


@pytest.mark.parametrize(
    "other",
    [
        {"runtime": "litert"},
        {"runtime_version": "9"},
        {"thread_count": 4},
        {"accelerator": "gpu"},
        {"core_mask": "f0"},
    ],
)
def test_a_predictor_is_not_carried_over_to_other_settings(device, networks, source, other):
    foreign = dataclasses.replace(device, identity=dataclasses.replace(device.identity, fingerprint="beef", **other))
    with pytest.raises(PredictorMismatchError, match=next(iter(other)).replace("_", " ")):
        recalibrate(source, foreign.measure(networks[30:33]))


def test_one_network_is_too_few_to_carry_a_predictor_over(device, networks, source):
    with pytest.raises(TooFewSamplesError, match="measure 3 or more"):
        recalibrate(source, device.measure(networks[:1]))


def test_a_unit_that_takes_a_thousand_times_as_long_was_measured_in_another_unit_of_measure(device, networks, source):
    foreign = dataclasses.replace(device, identity=dataclasses.replace(device.identity, fingerprint="beef"))
    measured = foreign.measure(networks[30:33])
    in_microseconds = tuple(
        dataclasses.replace(one, report=dataclasses.replace(one.report, latency_ms=1000 * one.report.latency_ms))
        for one in measured.measurements
    )
    with pytest.raises(MeasurementError, match="times what the predictor says"):
        recalibrate(source, MeasurementSet(in_microseconds))
