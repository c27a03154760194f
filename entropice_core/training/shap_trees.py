"""Shapley values of trees: what each feature added to the prediction of a cell, exactly and without a package.

The game is that of Lundberg et al. (2020, doi:10.1038/s42256-019-0138-9), "path-dependent": where a feature is unknown,
both branches of its splits count by their share of the training rows. A leaf then pays, to the features of its path,

    value x (o_u - z_u) x integral over s in 0..1 of prod over j != u of (z_j (1 - s) + o_j s)

with o = 1 where the row follows all splits of that feature towards the leaf, and z the product of the branch shares of
those splits; the integral is the sum over all coalitions with Shapley's weights, as k! (m-1-k)! / m! is a Beta
integral. It is a polynomial of degree m - 1, which Gauss and Legendre integrate exactly (cf. Yu, Xu, Bifet and Read
2022, "Linear TreeShap"). The package ``shap`` is not used, as it brings a compiler of 100 MB; XGBoost has its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError
from entropice_core.models.preprocess import PreparedClassifier

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree as arrays over its nodes, the root first.

    Attributes
    ----------
    feature : (n_nodes,) int64, column to compare, -1 in a leaf
    threshold : (n_nodes,) float64; a row goes left when its value is not above it
    left, right : (n_nodes,) int64
    cover : (n_nodes,) float64, weight of the training rows that reached a node
    value : (n_nodes, n_outputs) float64; only those of leaves count
    """

    feature: Int64
    threshold: Float64
    left: Int64
    right: Int64
    cover: Float64
    value: Float64


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each feature added.

    Attributes
    ----------
    values : (n, n_features, n_outputs) float64; with ``expected`` they sum to the output
    expected : (n_outputs,) float64, the output where no feature is known
    unit : what an output is: "probability" or "log-odds"
    """

    values: Float64
    expected: Float64
    unit: str

    def strength(self) -> Float64:
        """Mean absolute value of each feature over rows and outputs : (n_features,)."""
        return np.asarray(np.abs(self.values).mean(axis=(0, 2)))


def explains(model: str) -> bool:
    """Say whether a model is made of trees that can be explained."""
    return model in EXPLAINERS


def explain_trees(model: str, fitted: PreparedClassifier, X: npt.ArrayLike) -> Explanation:
    """Explain the predictions of a fitted tree model for X : (n, n_features), NaN = missing.

    The outputs are the class for two classes (class 1), all classes for more.
    """
    if model not in EXPLAINERS:
        raise SchemaError(f"Shapley values are computed for {', '.join(EXPLAINERS)}, not for {model!r}.")
    found = EXPLAINERS[model](fitted.rule_, fitted.preprocess_.transform(X))
    kept = fitted.preprocess_.kept
    values = np.zeros((len(found.values), kept.size, found.values.shape[2]))
    values[:, kept] = found.values
    return Explanation(values, found.expected, found.unit)


def explain_tree(tree: Tree, values: Float64) -> tuple[Float64, Float64]:
    """Return what each feature added : (n, n_features, n_outputs), and the expected output : (n_outputs,)."""
    added = np.zeros((len(values), values.shape[1], tree.value.shape[1]))
    expected = np.zeros(tree.value.shape[1])
    went_left = values[:, np.maximum(tree.feature, 0)] <= tree.threshold
    stack: list[tuple[int, dict[int, float], dict[int, Bool]]] = [(0, {}, {})]
    while stack:
        node, share, follows = stack.pop()
        if tree.feature[node] < 0:
            expected += tree.value[node] * np.prod(list(share.values()) or [1.0])
            if share:
                _pay(added, tree.value[node], share, follows)
            continue
        feature = int(tree.feature[node])
        for child, goes in ((tree.left[node], went_left[:, node]), (tree.right[node], ~went_left[:, node])):
            part = float(tree.cover[child] / tree.cover[node])
            if part > 0:  # no training row went there: it is never expected, and no row of the training would go there
                own = goes & follows[feature] if feature in follows else goes
                stack.append(
                    (int(child), {**share, feature: share.get(feature, 1.0) * part}, {**follows, feature: own})
                )
    return added, expected


def _pay(added: Float64, value: Float64, share: dict[int, float], follows: dict[int, Bool]) -> None:
    """Add what one leaf pays to the features of its path."""
    features = list(share)
    z = np.array([share[f] for f in features])
    o = np.stack([follows[f] for f in features], axis=1)
    patterns, where = np.unique(np.packbits(o, axis=1), axis=0, return_inverse=True)
    o = np.unpackbits(patterns, axis=1, count=len(features)).astype(np.float64)  # rows that follow alike get alike
    at, weight = np.polynomial.legendre.leggauss(len(features) // 2 + 1)
    s, weight = (at + 1) / 2, weight / 2
    factor = z[None, :, None] * (1 - s) + o[:, :, None] * s
    paid = (o - z) * ((factor.prod(axis=1)[:, None, :] / factor) @ weight)
    added[:, features] += paid[where.ravel()][:, :, None] * value


def _forest(rule: Any, prepared: Float64) -> Explanation:
    """Explain a random forest of scikit-learn in units of probability."""
    values = prepared.astype(np.float32).astype(np.float64)  # its trees compare in float32
    trees = [estimator.tree_ for estimator in rule.forest.estimators_]
    found = []
    for tree in trees:
        outputs = tree.value[:, 0, :]
        nodes = Tree(
            feature=np.where(tree.children_left < 0, -1, tree.feature).astype(np.int64),
            threshold=tree.threshold.astype(np.float64),
            left=tree.children_left.astype(np.int64),
            right=tree.children_right.astype(np.int64),
            cover=tree.weighted_n_node_samples.astype(np.float64),
            value=(outputs[:, 1:] if outputs.shape[1] == 2 else outputs).astype(np.float64),
        )
        found.append(explain_tree(nodes, values))
    values_of, expected_of = zip(*found, strict=True)
    return Explanation(sum(values_of) / len(trees), sum(expected_of) / len(trees), "probability")


def _booster(rule: Any, prepared: Float64) -> Explanation:
    """Ask XGBoost for its own Shapley values, in units of log-odds."""
    library = import_module("xgboost")
    found = np.asarray(rule.booster.predict(library.DMatrix(prepared), pred_contribs=True), dtype=np.float64)
    by_output = found[:, None, :] if found.ndim == 2 else found
    return Explanation(by_output[:, :, :-1].swapaxes(1, 2), by_output[:, :, -1].mean(axis=0), "log-odds")


EXPLAINERS: dict[str, Callable[[Any, Float64], Explanation]] = {"random_forest": _forest, "xgboost": _booster}
