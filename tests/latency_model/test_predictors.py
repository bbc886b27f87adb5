"""Op predictors: what they know, what they refuse, intervals, files."""

import dataclasses
import time

import numpy as np
import pytest

from latency_model.errors import MeasurementError, SchemaError, TooFewSamplesError, UnknownOpError
from latency_model.kernels import macs
from latency_model.op_timings import OpTimings, check_units, pooled_timings
from latency_model.ops import ConvSpec, DepthwiseConvSpec, IdentitySpec, ZeroSpec
from latency_model.predictors import (
    MeasuredFirstPredictor,
    MlpPredictor,
    RandomForestPredictor,
    RooflinePredictor,
    TablePredictor,
    XGBoostPredictor,
    load_predictor,
    save_predictor,
)
from latency_model.predictors.auto import fit_auto

CONV_3X3 = ConvSpec(in_channels=8, in_height=8, in_width=8, out_channels=8, kernel_size=3)
CONV_5X5 = ConvSpec(in_channels=8, in_height=8, in_width=8, out_channels=8, kernel_size=5)
FREE = [kind(in_channels=8, in_height=8, in_width=8) for kind in (IdentitySpec, ZeroSpec)]


REGRESSORS = [RooflinePredictor, RandomForestPredictor, XGBoostPredictor, MlpPredictor]
EVERY_KIND = [TablePredictor, *REGRESSORS]


def convs(count: int, seed: int = 0) -> list[ConvSpec]:
    rng = np.random.default_rng(seed)
    found: dict[ConvSpec, None] = {}
    while len(found) < count:
        side = int(rng.choice([7, 14, 28]))
        found[
            ConvSpec(
                in_channels=int(rng.integers(4, 200)),
                out_channels=int(rng.integers(4, 200)),
                in_height=side,
                in_width=side,
                kernel_size=int(rng.choice([1, 3, 5])),
            )
        ] = None
    return list(found)


def timings_of(device, ops, noise=0.0):
    rng = np.random.default_rng(1)
    latency = np.array([device.op_ms(op) for op in ops]) * np.exp(noise * rng.standard_normal(len(ops)))
    return OpTimings(ops=tuple(ops), latency_ms=latency, relative_error=np.full(len(ops), 0.01))


def test_the_table_gives_back_what_was_measured_with_its_spread(device):
    table = TablePredictor.fit(timings_of(device, [CONV_3X3, CONV_5X5]))
    predicted = table.predict_ms([CONV_5X5, CONV_3X3, CONV_5X5])
    assert predicted.mean_ms.tolist() == [device.op_ms(op) for op in (CONV_5X5, CONV_3X3, CONV_5X5)]
    assert np.all((predicted.low_ms < predicted.mean_ms) & (predicted.mean_ms < predicted.high_ms))


def test_an_unmeasured_op_is_an_error_not_zero_and_names_the_nearest(device):
    table = TablePredictor.fit(timings_of(device, [CONV_3X3, *convs(5)]))
    with pytest.raises(UnknownOpError, match=r"kernel_size=5.*nearest that is known.*kernel_size=3") as raised:
        table.predict_ms([CONV_5X5])
    assert raised.value.unknown == (CONV_5X5,)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_identity_and_zero_are_free_and_nothing_else_is(device, kind):
    predictor = kind.fit(timings_of(device, [CONV_3X3, *convs(20)]))
    predicted = predictor.predict_ms([*FREE, CONV_3X3])
    assert predicted.mean_ms[:2].tolist() == [0.0, 0.0]
    assert predicted.mean_ms[2] > 0


@pytest.mark.parametrize("kind", REGRESSORS)
def test_regressors_predict_ops_that_they_did_not_see(device, kind):
    ops = convs(250)
    predictor = kind.fit(timings_of(device, ops[:150]))
    predicted = predictor.predict_ms(ops[150:])
    truth = np.array([device.op_ms(op) for op in ops[150:]])
    assert np.mean(np.abs(predicted.mean_ms / truth - 1)) < 0.04


class TilingDevice:
    """Works in blocks of 16 channels, so that latency is no smooth function of width."""

    def op_ms(self, op):
        blocks = -(-op.in_channels // 16) * -(-op.out_channels // 16)
        return 0.005 + blocks * op.in_height**2 * op.kernel_size**2 * 2e-5


def test_trees_correct_what_a_linear_model_cannot_see():
    ops = convs(400)
    timings = timings_of(TilingDevice(), ops)
    mape = {}
    for kind in (RooflinePredictor, XGBoostPredictor):
        predicted = kind.fit(timings.subset(range(300))).predict_ms(ops[300:]).mean_ms
        mape[kind] = np.mean(np.abs(predicted / timings.latency_ms[300:] - 1))
    assert mape[XGBoostPredictor] < 0.06 < 0.7 * mape[RooflinePredictor]


def test_auto_takes_measured_ops_from_the_table_and_says_why_it_chose_the_regressor(tmp_path):
    ops = convs(120)
    predictor, reason = fit_auto(timings_of(TilingDevice(), ops).subset(range(90)))
    assert isinstance(predictor, MeasuredFirstPredictor)
    assert predictor.unmeasured(ops) == ops[90:]
    predicted = predictor.predict_ms(ops)
    truth = np.array([TilingDevice().op_ms(op) for op in ops])
    assert np.allclose(predicted.mean_ms[:90], truth[:90])
    assert predicted.relative_half_width[90:].min() > predicted.relative_half_width[:90].max()
    assert "the best of" in reason
    assert "nested" in reason
    save_predictor(predictor, tmp_path)
    assert np.array_equal(load_predictor(tmp_path).predict_ms(ops).high_ms, predicted.high_ms)


def test_auto_takes_the_roofline_for_others_when_ops_are_few_and_the_table_alone_when_very_few(device):
    predictor, reason = fit_auto(timings_of(device, convs(12)))
    assert isinstance(predictor, MeasuredFirstPredictor)
    assert predictor.regressor.kind == "roofline"
    assert "too few" in reason
    predictor, reason = fit_auto(timings_of(device, convs(4)))
    assert isinstance(predictor, TablePredictor)
    assert "too few" in reason


def test_intervals_of_trees_hold_about_what_they_promise_on_new_ops(device):
    ops = convs(600, seed=4)
    timings = timings_of(device, ops, noise=0.05)
    predictor = XGBoostPredictor.fit(timings.subset(range(300)))
    predicted = predictor.predict_ms(ops[300:])
    held = (predicted.low_ms <= timings.latency_ms[300:]) & (timings.latency_ms[300:] <= predicted.high_ms)
    assert 0.84 <= held.mean() <= 0.97


def test_a_kind_of_op_that_was_never_measured_is_unknown_to_trees(device):
    predictor = XGBoostPredictor.fit(timings_of(device, convs(20)))
    with pytest.raises(UnknownOpError, match="no op of kind 'depthwise'"):
        predictor.predict_ms([DepthwiseConvSpec(in_channels=8, in_height=8, in_width=8, kernel_size=3)])


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_a_dtype_that_was_never_measured_is_unknown_to_regressors(device, kind, dtype):
    predictor = kind.fit(timings_of(device, convs(20)))
    with pytest.raises(UnknownOpError, match=f"no op of kind 'conv' was measured in {dtype}"):
        predictor.predict_ms([dataclasses.replace(CONV_3X3, dtype=dtype)])


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_saved_predictor_says_the_same(device, kind, tmp_path):
    ops = convs(30)
    predictor = kind.fit(timings_of(device, ops))
    save_predictor(predictor, tmp_path / "predictor")
    before, after = predictor.predict_ms(ops), load_predictor(tmp_path / "predictor").predict_ms(ops)
    assert np.array_equal(before.mean_ms, after.mean_ms)
    assert np.array_equal(before.high_ms, after.high_ms)


def test_a_saved_predictor_of_a_later_version_is_refused(device, tmp_path):
    save_predictor(TablePredictor.fit(timings_of(device, convs(3))), tmp_path)
    file = tmp_path / "predictor.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 7'))
    with pytest.raises(SchemaError, match="schema 7; this version reads schema 1"):
        load_predictor(tmp_path)


@pytest.mark.parametrize("kind", [XGBoostPredictor, RandomForestPredictor, MlpPredictor])
def test_a_saved_regressor_with_a_torn_file_is_refused_with_the_mend(device, kind, tmp_path):
    save_predictor(kind.fit(timings_of(device, convs(30))), tmp_path)
    (arrays,) = (path for path in tmp_path.iterdir() if path.name != "predictor.json")
    arrays.write_bytes(arrays.read_bytes()[:100])
    with pytest.raises(SchemaError, match=r"damaged or incomplete .* fit the predictor again"):
        load_predictor(tmp_path)


def test_trees_ask_for_enough_ops(device):
    with pytest.raises(TooFewSamplesError, match="3 measured ops; the xgboost model needs 10"):
        XGBoostPredictor.fit(timings_of(device, convs(3)))


@pytest.mark.parametrize("latency", [float("nan"), -1.0, 0.0])
def test_a_latency_that_is_no_positive_number_is_refused(latency):
    with pytest.raises(MeasurementError, match="no positive numbers"):
        OpTimings(ops=(CONV_3X3,), latency_ms=np.array([latency]), relative_error=np.zeros(1))


def test_a_latency_for_a_free_op_is_refused():
    with pytest.raises(MeasurementError, match="costs nothing by definition"):
        OpTimings(ops=(FREE[1],), latency_ms=np.ones(1), relative_error=np.zeros(1))


def test_repeats_of_an_op_become_their_median_and_their_range_its_error():
    pooled = pooled_timings([(CONV_3X3, 1.0, 0.01), (CONV_3X3, 1.2, 0.01), (CONV_3X3, 1.1, 0.01)])
    assert pooled.latency_ms.tolist() == [1.1]
    assert pooled.relative_error[0] == pytest.approx(0.1 / 1.1)


@pytest.mark.parametrize(("factor", "suspect"), [(1e6, "microseconds or nanoseconds"), (1e-6, "seconds")])
def test_latencies_in_another_unit_are_suspected(device, factor, suspect):
    ops = convs(20)
    with pytest.raises(MeasurementError, match=suspect):
        check_units(ops, timings_of(device, ops).latency_ms * factor)


def test_a_server_that_runs_hundreds_of_images_at_once_is_not_suspected():
    single = ConvSpec(in_channels=256, in_height=28, in_width=28, out_channels=256, kernel_size=3)
    batch = dataclasses.replace(single, batch=256)
    at_1e14_macs_per_s = np.array([macs(batch) / 1e11])
    check_units([batch], at_1e14_macs_per_s)
    with pytest.raises(MeasurementError, match="Are these seconds"):
        check_units([single], at_1e14_macs_per_s / 256)


def test_latencies_in_milliseconds_are_not_suspected(device):
    ops = convs(20)
    check_units(ops, timings_of(device, ops).latency_ms)


def test_a_hundred_thousand_ops_by_trees_take_about_a_second_at_most(device):
    predictor = XGBoostPredictor.fit(timings_of(device, convs(100)))
    many = convs(5000, seed=2) * 20
    predictor.predict_ms(many[:10])
    start = time.perf_counter()
    predictor.predict_ms(many)
    assert time.perf_counter() - start < 3.0  # benchmarks/predictor_local.py holds it to 1 s


def test_a_million_tabled_ops_take_about_a_second_at_most(device):
    ops = convs(200)
    table = TablePredictor.fit(timings_of(device, ops))
    many = ops * 5000
    start = time.perf_counter()
    table.predict_ms(many)
    assert time.perf_counter() - start < 2.0  # 0.15 s on a quiet core
