"""A forest of extremely randomised trees, fitted by scikit-learn, kept as plain arrays: no pickle, no version to match.

Not a random forest, whose thresholds are the best ones: on unseen phone-GPU convolutions, with the same features,
that one was 9-13.5 % off, boosted and extremely randomised trees on log latency 7.7-10.9 %.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latency_model.features import FloatArray
from latency_model.predictors.corrected import CorrectedPredictor, RegressorClass

_FILE = "forest.npz"
_TREE_COUNT = 100
_LEAF = -1
IntArray = npt.NDArray[np.int32]


class Forest:
    """Trees laid end to end: node i splits on ``feature[i]`` at ``threshold[i]``; a leaf has feature -1."""

    def __init__(self, roots: IntArray, nodes: dict[str, npt.NDArray[Any]]) -> None:
        self._roots = roots
        self._nodes = nodes

    @classmethod
    def fit(cls, features: FloatArray, targets: FloatArray, seed: int) -> Forest:
        from sklearn.ensemble import ExtraTreesRegressor  # noqa: PLC0415 - slow to import

        # Random thresholds average out smoother than best ones, which matters with a few hundred ops.
        model = ExtraTreesRegressor(_TREE_COUNT, max_features=0.5, random_state=seed, n_jobs=1)
        model.fit(features.astype(np.float32), targets)
        trees = [estimator.tree_ for estimator in model.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1].astype(np.int32)
        left = [np.where(t.children_left < 0, 0, t.children_left + root) for t, root in zip(trees, roots, strict=True)]
        right = [
            np.where(t.children_right < 0, 0, t.children_right + root) for t, root in zip(trees, roots, strict=True)
        ]
        return cls(
            roots,
            {
                "feature": np.concatenate([np.maximum(t.feature, _LEAF) for t in trees]).astype(np.int32),
                "threshold": np.concatenate([t.threshold for t in trees]),
                "left": np.concatenate(left).astype(np.int32),
                "right": np.concatenate(right).astype(np.int32),
                "value": np.concatenate([t.value[:, 0, 0] for t in trees]),
            },
        )

    def predict(self, features: FloatArray) -> FloatArray:
        rounded = features.astype(np.float32)  # as the thresholds were chosen on
        total = np.zeros(len(features))
        for root in self._roots:
            total += self._nodes["value"][self._leaves(rounded, int(root))]
        return np.asarray(total / len(self._roots))

    def _leaves(self, features: npt.NDArray[np.float32], root: int) -> IntArray:
        """(rows,) the leaf that each row falls into."""
        node = np.full(len(features), root, dtype=np.int32)
        moving = np.arange(len(features))
        while len(moving):
            here = node[moving]
            feature = self._nodes["feature"][here]
            inner = feature != _LEAF
            moving, here, feature = moving[inner], here[inner], feature[inner]
            goes_left = features[moving, feature] <= self._nodes["threshold"][here]
            node[moving] = np.where(goes_left, self._nodes["left"][here], self._nodes["right"][here])
        return node

    def save(self, folder: Path) -> None:
        with (folder / _FILE).open("wb") as file:
            np.savez(file, roots=self._roots, **self._nodes)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Forest:
        with np.load(folder / _FILE, allow_pickle=False) as arrays:
            nodes = {name: arrays[name] for name in ("feature", "threshold", "left", "right", "value")}
            return cls(arrays["roots"], nodes)


class RandomForestPredictor(CorrectedPredictor):
    """A forest of extremely randomised trees (scikit-learn's ExtraTreesRegressor) on top of the roofline model."""

    kind: ClassVar[str] = "forest"
    regressor_class: ClassVar[RegressorClass] = Forest
