"""Random forest (Breiman 2001, doi:10.1023/A:1010933404324): trained by scikit-learn, kept as node arrays.

A saved forest is predicted by a walk over its arrays in NumPy, as the only other form scikit-learn offers is a
pickle. The walk adds the trees in the same order and compares in the same precision: the results are the same bits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from sklearn.ensemble import RandomForestClassifier

from entropice_core.config import Strict
from entropice_core.models.base import Arrays, Float64, Int64, Predictor, check_params
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "2"
INDEX_ARRAYS = ("tree_start", "feature", "left", "right")
NODE_ARRAYS = (*INDEX_ARRAYS, "threshold", "p")


class Params(Strict):
    """As in scikit-learn. ``n_jobs`` is the number of threads and never changes a result."""

    n_estimators: int = Field(default=300, ge=1)
    criterion: Literal["gini", "entropy", "log_loss"] = "gini"
    max_depth: Annotated[int, Field(ge=1)] | None = None
    min_samples_leaf: int = Field(default=1, ge=1)
    max_features: Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] | None = "sqrt"
    max_samples: Annotated[float, Field(gt=0, le=1)] | None = None
    class_weight: Literal["balanced", "balanced_subsample"] | None = None
    n_jobs: int = Field(default=1, ge=1)


@dataclass(frozen=True, eq=False)
class NodeRule:
    """A forest as arrays over all nodes of all trees.

    Attributes
    ----------
    tree_start : (n_trees,) int64, index of the root of each tree
    feature : (n_nodes,) int64, column of the prepared features to compare; -1 in a leaf
    threshold : (n_nodes,) float64; a row goes left when its value is not above it
    left, right : (n_nodes,) int64, indices of the children; -1 in a leaf
    p : (n_nodes, n_seen) float64, share of each class among the training rows of the node
    """

    tree_start: Int64
    feature: Int64
    threshold: Float64
    left: Int64
    right: Int64
    p: Float64

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return the mean over the trees : (n, n_seen)."""
        values = prepared.astype(np.float32)  # scikit-learn grows and reads its trees in float32
        total = np.zeros((len(values), self.p.shape[1]))
        for root in self.tree_start:
            total += self.p[self._leaves(values, int(root))]
        return _shares(total / len(self.tree_start))

    def _leaves(self, values: Any, root: int) -> Int64:
        """Return the leaf : (n,) in which each row ends, walking all rows of one tree down by a level at a time."""
        node = np.full(len(values), root, dtype=np.int64)
        rows = np.arange(len(values)) if self.feature[root] >= 0 else np.empty(0, dtype=np.int64)
        while rows.size:
            here = node[rows]
            goes_left = values[rows, self.feature[here]] <= self.threshold[here]
            below = np.where(goes_left, self.left[here], self.right[here])
            node[rows] = below
            rows = rows[self.feature[below] >= 0]
        return node


@dataclass(frozen=True, eq=False)
class ForestRule:
    """A forest as scikit-learn trained it: the same predictions as ``NodeRule``, several times faster."""

    forest: Any

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return (n, n_seen) probabilities."""
        return _shares(self.forest.predict_proba(prepared))


def _shares(p: Float64) -> Float64:
    """Let the first class take what the others leave, so that a row sums to 1 to the last bit."""
    p[:, 0] = np.maximum(1.0 - p[:, 1:].sum(axis=1), 0.0)
    return p


def _learner(params: Params, seed: int) -> Callable[[Float64, Int64, Float64 | None], ForestRule]:
    def learn(prepared: Float64, y: Int64, sample_weight: Float64 | None) -> ForestRule:
        forest = RandomForestClassifier(**params.model_dump(), random_state=seed)
        forest.fit(prepared, y, sample_weight)
        forest.n_jobs = 1  # threads add the trees in any order, which changes the last bits
        return ForestRule(forest)

    return learn


def build(params: Mapping[str, Any], seed: int, feature_names: Sequence[str], n_classes: int = 2) -> PreparedClassifier:
    """Return an unfitted model."""
    checked = check_params("random_forest", Params, params)
    return PreparedClassifier(_learner(checked, seed), feature_names, standardise=False, n_classes=n_classes)


def to_nodes(forest: Any) -> NodeRule:
    """Copy a fitted scikit-learn forest into arrays."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    counts = np.array([tree.node_count for tree in trees], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    shift = np.repeat(start, counts)
    is_leaf = np.concatenate([tree.children_left for tree in trees]) < 0

    def joined(name: str) -> Any:
        return np.concatenate([getattr(tree, name) for tree in trees])

    return NodeRule(
        tree_start=start,
        feature=np.where(is_leaf, -1, joined("feature")).astype(np.int64),
        threshold=joined("threshold").astype(np.float64),
        left=np.where(is_leaf, -1, joined("children_left") + shift).astype(np.int64),
        right=np.where(is_leaf, -1, joined("children_right") + shift).astype(np.int64),
        p=np.concatenate([tree.value[:, 0, :] for tree in trees]).astype(np.float64),
    )


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata; indices as int32, which halves the file."""
    nodes = to_nodes(fitted.rule_.forest)
    arrays: Arrays = {name: getattr(nodes, name) for name in NODE_ARRAYS}
    for name in INDEX_ARRAYS:
        arrays[name] = arrays[name].astype(np.int32)
    return pack(fitted, arrays, {"n_trees": len(nodes.tree_start)})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    state: dict[str, Any] = {name: arrays[name] for name in NODE_ARRAYS}
    for name in INDEX_ARRAYS:  # NumPy gathers fastest with its own index type
        state[name] = state[name].astype(np.int64)
    return unpack(arrays, meta, NodeRule(**state))


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:
    """Return the mean decrease in impurity, which favours features with many values: compare with permutation."""
    return {"impurity_decrease": fitted.preprocess_.expand(fitted.rule_.forest.feature_importances_)}
