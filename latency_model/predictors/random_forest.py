"""A random forest, fitted by scikit-learn, kept as plain arrays: no pickle, no version to match."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latency_model.array_files import read_arrays
from latency_model.features import FloatArray
from latency_model.predictors.conformal import IndexArray
from latency_model.predictors.corrected import CorrectedPredictor, RegressorClass

_FILE = "forest.npz"
# 100 trees take 2.5 times as long and err as much: 8.1 % against 8.3 on phone-GPU convolutions, fitted on 1,000.
_TREE_COUNT = 40
_LEAF = -1
_BLOCK_ROWS = 32_768  # rows that go down a tree together: their features stay in the cache
_FIRST_LEVELS = 4  # no row of a forest worth asking ends above
_NODE_ARRAYS = ("feature", "threshold", "left", "right", "value")


class Forest:
    """Trees laid end to end: node i splits on ``feature[i]`` at ``threshold[i]``; a leaf has feature -1."""

    def __init__(self, roots: npt.NDArray[np.int32], nodes: dict[str, npt.NDArray[Any]]) -> None:
        self._roots = roots
        self._nodes = nodes
        self._is_leaf = nodes["feature"] == _LEAF
        # A leaf is walked on as a node that leads to itself, so rows need not be sorted out at every level.
        own = np.arange(len(self._is_leaf))
        self._feature = np.where(self._is_leaf, 0, nodes["feature"]).astype(np.int64)
        self._next = np.empty(2 * len(own), dtype=np.int64)  # of node i: 2i where the threshold is passed, else 2i + 1
        self._next[0::2] = np.where(self._is_leaf, own, nodes["right"])
        self._next[1::2] = np.where(self._is_leaf, own, nodes["left"])
        self._threshold = _rounded_down(nodes["threshold"])

    @classmethod
    def fit(cls, features: FloatArray, targets: FloatArray, seed: int) -> Forest:
        from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 - slow to import

        model = RandomForestRegressor(_TREE_COUNT, max_features=0.5, random_state=seed, n_jobs=1)
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
        found = np.empty(len(rounded))
        for start in range(0, len(rounded), _BLOCK_ROWS):
            block = rounded[start : start + _BLOCK_ROWS]
            found[start : start + len(block)] = self._mean_of_trees(block)
        return found

    def _mean_of_trees(self, rows: npt.NDArray[np.float32]) -> FloatArray:
        by_feature = np.ascontiguousarray(rows.T).ravel()
        start_of_feature = self._feature * len(rows)
        total = np.zeros(len(rows))
        for root in self._roots.tolist():
            for row, leaf in self._leaves(by_feature, start_of_feature, len(rows), root):
                total[row] += self._nodes["value"].take(leaf)
        return np.asarray(total / len(self._roots))

    def _leaves(
        self, by_feature: npt.NDArray[np.float32], start_of_feature: IndexArray, count: int, root: int
    ) -> list[tuple[IndexArray, IndexArray]]:
        """Rows and the leaves that they fall into, in the order in which they get there."""
        row, node = np.arange(count), np.full(count, root)
        arrived = []
        level = 0
        while len(row):
            goes_left = by_feature.take(row + start_of_feature.take(node)) <= self._threshold.take(node)
            node = self._next.take(2 * node + goes_left)
            level += 1
            if level >= _FIRST_LEVELS and level % 2 == 0:
                is_leaf = self._is_leaf.take(node)
                arrived.append((row[is_leaf], node[is_leaf]))
                row, node = row[~is_leaf], node[~is_leaf]
        return arrived

    def save(self, folder: Path) -> None:
        with (folder / _FILE).open("wb") as file:
            np.savez(file, roots=self._roots, **self._nodes)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Forest:
        arrays = read_arrays(folder / _FILE)
        return cls(arrays["roots"], {name: arrays[name] for name in _NODE_ARRAYS})


def _rounded_down(thresholds: FloatArray) -> npt.NDArray[np.float32]:
    """In the precision of the features; ``x <= threshold`` is true for the same ``x`` as before."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


class RandomForestPredictor(CorrectedPredictor):
    """A random forest on top of the roofline model."""

    kind: ClassVar[str] = "forest"
    regressor_class: ClassVar[RegressorClass] = Forest
