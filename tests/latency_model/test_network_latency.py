"""Whole networks: calibrated sums, intervals, files, and refusals."""

import dataclasses
import json

import numpy as np
import pytest

from latency_model.correction import SHARED_TERMS
from latency_model.errors import (
    LatencyModelError,
    PredictorMismatchError,
    SchemaError,
    TooFewSamplesError,
    UnknownOpError,
)
from latency_model.features import op_columns, op_costs
from latency_model.fit import fit_network_latency, fit_predictor, git_commit
from latency_model.measurement import MeasurementSet
from latency_model.network_latency import check_predictor_matches, format_ms, load_network_latency
from latency_model.ops import MBConvSpec, ZeroSpec


@pytest.fixture
def profiled(device, make_networks, make_space_ops):
    """Ops of a space and 30 of its networks, as measured on the made-up device; and 60 others, held out."""
    networks = make_networks(90)
    measured = device.measure([*make_space_ops(networks), *networks[:30]])
    return measured, networks[30:]


def test_networks_that_were_not_seen_are_predicted_within_two_percent(device, profiled):
    measured, others = profiled
    predictor = fit_predictor(measured)
    error = [abs(predictor.predict_network(n.ops).latency_ms / device.network_ms(n) - 1) for n in others]
    assert np.mean(error) < 0.01
    assert np.max(error) < 0.03


def test_whole_networks_halve_the_error_of_the_affine_sum(device, profiled):
    measured, others = profiled
    few = MeasurementSet(measured.op_measurements() + measured.network_measurements()[:5])

    def mape(predictor):
        return np.mean([abs(predictor.predict_network(n.ops).latency_ms / device.network_ms(n) - 1) for n in others])

    assert mape(fit_predictor(measured)) < 0.5 * mape(fit_predictor(few))


def test_the_intervals_hold_about_nine_in_ten_networks(device, profiled):
    measured, others = profiled
    predictor = fit_predictor(measured)
    estimates = [predictor.predict_network(network.ops) for network in others]
    held = [
        estimate.low_ms <= device.network_ms(network) <= estimate.high_ms
        for estimate, network in zip(estimates, others, strict=True)
    ]
    assert np.mean(held) >= 0.85
    assert np.mean([(e.high_ms - e.low_ms) / 2 / e.latency_ms for e in estimates]) < 0.05


def test_a_network_is_the_sum_of_its_ops_and_a_constant(profiled):
    measured, others = profiled
    predictor = fit_predictor(measured)
    for network in others[:5]:
        total = predictor.op_contribution_ms(network.ops).sum() + predictor.constant_ms
        assert predictor.predict_network(network.ops).latency_ms == pytest.approx(total, rel=1e-12)


def test_a_skipped_block_contributes_nothing(profiled):
    predictor = fit_predictor(profiled[0])
    skipped = ZeroSpec(in_channels=24, in_height=7, in_width=7)
    assert predictor.op_contribution_ms([skipped]).tolist() == [0.0]


def test_a_table_refuses_an_op_of_another_space(profiled):
    predictor = fit_predictor(profiled[0], "table")
    foreign = MBConvSpec(in_channels=999, in_height=7, in_width=7, out_channels=24, expand_channels=999, kernel_size=3)
    with pytest.raises(UnknownOpError, match="in_channels=999"):
        predictor.predict_network([foreign])


def test_a_saved_predictor_says_the_same_and_keeps_its_provenance(profiled, tmp_path):
    measured, others = profiled
    predictor = fit_predictor(measured)
    predictor.save(tmp_path / "predictor")
    restored = load_network_latency(tmp_path / "predictor")
    for network in others[:5]:
        assert restored.predict_network(network.ops) == predictor.predict_network(network.ops)
    assert restored.provenance == predictor.provenance
    assert restored.report_card == predictor.report_card
    assert not list((tmp_path / "predictor").rglob("*.pkl"))


def test_the_file_of_a_saved_predictor_says_its_schema_its_unit_and_where_it_comes_from(profiled, tmp_path):
    fit_predictor(profiled[0], "table").save(tmp_path)
    saved = json.loads((tmp_path / "network_latency.json").read_text())
    assert (saved["schema"], saved["units"]) == (5, {"latency": "ms"})
    provenance, identity = saved["provenance"], saved["provenance"]["identity"]
    assert (identity["fingerprint"], identity["runtime"], identity["runtime_version"]) == ("f00d", "onnxruntime", "1.0")
    assert provenance["plan"] == dataclasses.asdict(profiled[0].measurements[0].plan)
    assert provenance["git_commit"] == git_commit()
    assert json.loads((tmp_path / "op_predictor" / "predictor.json").read_text())["units"] == {"latency": "ms"}


def test_a_saved_network_predictor_of_a_later_version_is_refused(profiled, tmp_path):
    fit_predictor(profiled[0], "table").save(tmp_path)
    file = tmp_path / "network_latency.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 9}))
    with pytest.raises(SchemaError, match="schema 9; this version reads schema 1 and 2 and 3 and 4 and 5"):
        load_network_latency(tmp_path)


def test_a_predictor_saved_before_weights_had_a_price_says_what_it_said(profiled, tmp_path):
    measured, others = profiled
    predictor = fit_predictor(measured, "table")
    column = SHARED_TERMS.index("weights") - len(SHARED_TERMS)
    kept = np.delete(np.arange(len(predictor.correction.posterior.mean)), column)
    predictor.save(tmp_path)
    with np.load(tmp_path / "network_latency.npz") as saved:
        arrays = dict(saved)
    arrays["mean"], arrays["covariance"] = arrays["mean"][kept], arrays["covariance"][np.ix_(kept, kept)]
    arrays["shared_scale"] = np.delete(arrays["shared_scale"], column)
    np.savez(tmp_path / "network_latency.npz", **arrays)
    file = tmp_path / "network_latency.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 2}))
    restored = load_network_latency(tmp_path)
    assert restored.provenance.identity.burst_warmup_runs == 1  # as it was then
    weights_ms = predictor.correction.shared_scale[column] * predictor.correction.posterior.mean[column]
    for network in others[:5]:
        unpaid = weights_ms * op_costs(op_columns(network.ops)).weight_bytes.sum()
        expected = predictor.predict_network(network.ops).latency_ms - unpaid
        assert restored.predict_network(network.ops).latency_ms == pytest.approx(expected)


@pytest.mark.parametrize("file", ["network_latency.npz", "network_latency.json", "op_predictor/predictor.json"])
@pytest.mark.parametrize("content", [b"", b"abc", b"\xff\xfe", b'{"schema": 1}', None])
def test_a_damaged_or_incomplete_predictor_is_refused_with_the_mend(file, content, profiled, tmp_path):
    fit_predictor(profiled[0], "table").save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(
        SchemaError, match=r"fit the predictor again|with `proxyless fit`|make the predictor again|this version knows"
    ):
        load_network_latency(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("fingerprint", "beef", "another device"),
        ("runtime", "litert", "another runtime"),
        ("runtime_version", "2.0", "another runtime version"),
        ("thread_count", 4, "another thread count"),
    ],
)
def test_a_foreign_or_stale_predictor_is_refused_with_the_mend(profiled, field, value, what):
    predictor = fit_predictor(profiled[0])
    identity = dataclasses.replace(profiled[0].identity, **{field: value})
    with pytest.raises(PredictorMismatchError, match=rf"{what} .*proxyless fit"):
        check_predictor_matches(predictor, identity)


def test_a_predictor_of_this_device_is_accepted_under_another_file_name(profiled):
    identity = dataclasses.replace(profiled[0].identity, device_name="same device, renamed")
    check_predictor_matches(fit_predictor(profiled[0]), identity)


def test_held_out_networks_judge_a_fit_that_did_not_see_them_and_then_join(device, profiled):
    measured, others = profiled
    both = MeasurementSet(measured.measurements + device.measure(others).measurements)
    judged = fit_predictor(both, held_out=others)
    blind = fit_predictor(measured)
    assert judged.report_card["networks"]["count"] == len(others)
    assert judged.report_card["method"].startswith("60 held-out networks, predicted by a fit on 30 others")
    assert judged.report_card["network_points"]["predicted_ms"] == [
        blind.predict_network(m.paid_ops).latency_ms for m in both.network_measurements()[30:]
    ]
    assert judged.provenance.network_count == 90
    assert judged.predict_network(others[0].ops) == fit_predictor(both).predict_network(others[0].ops)


def test_the_report_card_beats_the_flops_baseline(profiled):
    card = fit_predictor(profiled[0]).report_card
    assert card["networks"]["mape"] < 0.3 * card["networks_flops_baseline"]["mape"]
    assert card["networks"]["spearman"] > 0.99
    assert card["method"].startswith("cross-validation over 30")


def test_trees_stand_in_for_a_table(device, profiled):
    measured, others = profiled
    predictor = fit_predictor(measured, "xgboost")
    error = [abs(predictor.predict_network(n.ops).latency_ms / device.network_ms(n) - 1) for n in others]
    assert np.mean(error) < 0.03


def test_calibration_asks_for_whole_networks(profiled):
    ops_only = MeasurementSet(profiled[0].op_measurements())
    with pytest.raises(TooFewSamplesError, match=r"0 whole networks.*measure some whole networks"):
        fit_predictor(ops_only)


def test_an_op_predictor_of_ones_own_can_be_calibrated(profiled):
    measured, others = profiled
    fitted = fit_predictor(measured)
    own = fit_network_latency(fitted.op_predictor, measured.network_measurements())
    assert own.predict_network(others[0].ops) == fitted.predict_network(others[0].ops)


def test_an_unknown_model_is_refused_with_those_that_exist(profiled):
    with pytest.raises(LatencyModelError, match="use one of auto, table"):
        fit_predictor(profiled[0], "transformer")


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.0, "1234")]
)
def test_milliseconds_are_shown_with_three_digits(value, text):
    assert format_ms(value) == text


def test_a_network_with_an_op_that_a_table_lacks_is_named_with_the_model_that_speaks_of_it(
    device, make_networks, make_space_ops
):
    networks = make_networks(12)
    measured = device.measure([*make_space_ops(networks[:10])[:-1], *networks]).measurements
    with pytest.raises(UnknownOpError, match=r"The network 'random\S+' holds it.*--model auto"):
        fit_predictor(MeasurementSet(measured), "table")


def test_a_network_to_hold_out_that_was_not_measured_is_named(device, make_networks, make_space_ops):
    networks = make_networks(20)
    measured = device.measure([*make_space_ops(networks), *networks[:19]])
    with pytest.raises(LatencyModelError, match=f"1 of 2 networks to hold out were not measured: {networks[19].name}"):
        fit_predictor(measured, held_out=[networks[0], networks[19]])
