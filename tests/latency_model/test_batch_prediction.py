"""Many ops at once: each is looked at once, and the forest walks down its trees as scikit-learn does."""

from __future__ import annotations

import numpy as np
import pytest

from latency_model.errors import UnknownOpError
from latency_model.op_timings import pooled_timings
from latency_model.ops import ConvSpec, IdentitySpec, LinearSpec
from latency_model.predictors import MeasuredFirstPredictor, RooflinePredictor, TablePredictor
from latency_model.predictors.distinct import distinct_ops
from latency_model.predictors.random_forest import Forest

OPS = [ConvSpec(in_channels=i, in_height=7, in_width=7, out_channels=8, kernel_size=1) for i in range(8, 72)]


@pytest.fixture(scope="module")
def timings():
    return pooled_timings((op, 0.1 + index / 100, 0.01) for index, op in enumerate(OPS))


def test_distinct_ops_are_the_objects_in_the_order_in_which_they_first_occur():
    a, b, c = OPS[:3]
    distinct, which = distinct_ops([c, a, c, b, a])
    assert [op is expected for op, expected in zip(distinct, [c, a, b], strict=True)] == [True] * 3
    assert which.tolist() == [0, 1, 0, 2, 1]
    assert distinct_ops([])[0] == []


def test_repeated_measured_unmeasured_and_free_ops_keep_their_places(timings):
    table = TablePredictor.fit(timings.subset(range(0, 64, 2)))
    predictor = MeasuredFirstPredictor(table, RooflinePredictor.fit(timings))
    free = IdentitySpec(in_channels=8, in_height=7, in_width=7)
    ops = [OPS[3], OPS[2], free, OPS[2], OPS[3], OPS[4]]
    together = predictor.predict_ms(ops)
    alone = [predictor.predict_ms([op]) for op in ops]
    for name in ("mean_ms", "low_ms", "high_ms"):
        assert getattr(together, name).tolist() == [float(getattr(each, name)[0]) for each in alone]
    assert predictor.predict_ms([]).mean_ms.tolist() == []


def test_the_first_unknown_op_is_named_and_the_others_counted_once(timings):
    others = [LinearSpec(in_features=width, out_features=3) for width in (9, 5)]
    with pytest.raises(UnknownOpError, match=r"in_features=9.* and 1 more"):
        TablePredictor.fit(timings).predict_ms([others[0], OPS[0], others[1], others[0]])


def test_the_forest_gives_what_scikit_learns_own_does():
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    features, asked = rng.normal(size=(300, 6)), rng.normal(size=(70_000, 6))
    asked[:300] = features  # on the thresholds' own side
    targets = features[:, 0] ** 2 + rng.normal(size=300)
    reference = RandomForestRegressor(40, max_features=0.5, random_state=3).fit(features.astype(np.float32), targets)
    np.testing.assert_allclose(Forest.fit(features, targets, 3).predict(asked), reference.predict(asked), rtol=1e-12)


def test_a_forest_of_single_leaves_gives_their_value(tmp_path):
    forest = Forest.fit(np.zeros((5, 2)), np.full(5, 0.25), 0)
    assert forest.predict(np.ones((3, 2))).tolist() == [0.25] * 3
    forest.save(tmp_path)
    assert Forest.load(tmp_path).predict(np.ones((2, 2))).tolist() == [0.25] * 2
