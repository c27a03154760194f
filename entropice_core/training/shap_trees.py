"""Shapley values of trees: what each feature added to the prediction of a cell, exactly and without a package.

The game is that of Lundberg et al. (2020, doi:10.1038/s42256-019-0138-9), "path-dependent": where a feature is unknown,
both branches of its splits count by their share of the training rows. A leaf then pays, to the features of its path,

    value x (o_u - z_u) x integral over s in 0..1 of prod over j != u of (z_j (1 - s) + o_j s)

with o = 1 where the row follows all splits of that feature towards the leaf, and z the product of the branch shares of
those splits; the integral is the sum over all coalitions with Shapley's weights, as k! (m-1-k)! / m! is a Beta
integral. It is a polynomial of degree m - 1, which Gauss and Legendre integrate exactly (cf. Yu, Xu, Bifet and Read
2022, "Linear TreeShap"). The package ``shap`` is not needed; XGBoost has its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError
from entropice_core.features.kernels import compiled
from entropice_core.models.forest import NodeRule
from entropice_core.models.preprocess import PreparedClassifier

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


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
    kinds = {"feature": np.int64, "threshold": np.float64, "left": np.int64, "right": np.int64, "cover": np.float64}
    arrays = [np.ascontiguousarray(getattr(tree, name), dtype=kind) for name, kind in kinds.items()]
    arrays.append(np.ascontiguousarray(tree.value, dtype=np.float64))  # one type: compiled once
    most = min(_depth(tree), values.shape[1])
    _walk(*arrays, np.ascontiguousarray(values), *_quadrature(most), added, expected)
    return added, expected


def _depth(tree: Tree) -> int:
    """Number of splits of the longest path."""
    depth, level = 0, np.array([0])
    while (level := level[tree.feature[level] >= 0]).size:
        level, depth = np.r_[tree.left[level], tree.right[level]], depth + 1
    return depth


def _quadrature(most: int) -> tuple[Float64, Float64]:
    """Nodes and weights on 0..1 : (most + 1, most // 2 + 1), row m exact for a path of m features."""
    nodes, weights = np.zeros((2, most + 1, most // 2 + 1))
    for m in range(most + 1):
        at, weight = np.polynomial.legendre.leggauss(m // 2 + 1)
        nodes[m, : at.size], weights[m, : at.size] = (at + 1) / 2, weight / 2
    return nodes, weights


def _walk_tree(
    feature: Any, threshold: Any, left: Any, right: Any, cover: Any, value: Any, X: Any, nodes: Any, weights: Any,
    added: Any, expected: Any,
) -> None:  # fmt: skip
    """Visit every leaf with its path: features, the interval each must lie in, and the share of rows that go there."""
    most = nodes.shape[0] - 1
    n_open = feature.size + 1
    at, n_path = np.zeros(n_open, np.int64), np.zeros(n_open, np.int64)
    path = np.zeros((n_open, most + 1), np.int64)
    low, high, z = np.zeros((n_open, most + 1)), np.zeros((n_open, most + 1)), np.zeros((n_open, most + 1))
    factor, o = np.zeros(most + 1), np.zeros(most + 1)
    top = 1
    while top > 0:
        top -= 1
        node, m = at[top], n_path[top]
        if feature[node] < 0:
            share = 1.0
            for j in range(m):
                share *= z[top, j]
            for k in range(value.shape[1]):
                expected[k] += share * value[node, k]
            if m > 0:
                _pay(value[node], path[top], low[top], high[top], z[top], m, X, nodes[m], weights[m], factor, o, added)
            continue
        j = 0
        while j < m and path[top, j] != feature[node]:
            j += 1
        if j == m:
            path[top, j], low[top, j], high[top, j], z[top, j] = feature[node], -np.inf, np.inf, 1.0
            m += 1
        path[top + 1], low[top + 1], high[top + 1], z[top + 1] = path[top], low[top], high[top], z[top]
        n_path[top], n_path[top + 1], at[top], at[top + 1] = m, m, left[node], right[node]
        high[top, j], low[top + 1, j] = min(high[top, j], threshold[node]), max(low[top + 1, j], threshold[node])
        z[top, j] *= cover[left[node]] / cover[node]
        z[top + 1, j] *= cover[right[node]] / cover[node]
        top += 2


def _pay_leaf(
    value: Any, path: Any, low: Any, high: Any, z: Any, m: int, X: Any, nodes: Any, weights: Any, factor: Any, o: Any,
    added: Any,
) -> None:  # fmt: skip
    """Add what one leaf pays to the features of its path, for every row."""
    for row in range(X.shape[0]):
        for j in range(m):
            x = X[row, path[j]]
            o[j] = 1.0 if low[j] < x <= high[j] else 0.0
        for q in range(m // 2 + 1):
            product = weights[q]
            for j in range(m):
                factor[j] = z[j] * (1.0 - nodes[q]) + o[j] * nodes[q]
                product *= factor[j]
            for j in range(m):
                if factor[j] > 0.0:  # 0: no training row went there and this row does not either
                    paid = product / factor[j] * (o[j] - z[j])
                    for k in range(value.size):
                        added[row, path[j], k] += paid * value[k]


_pay: Callable[..., None] = compiled(_pay_leaf)
_walk: Callable[..., None] = compiled(_walk_tree)


def _forest(rule: Any, prepared: Float64) -> Explanation:
    """Explain a random forest in units of probability."""
    values = prepared.astype(np.float32).astype(np.float64)  # its trees compare in float32
    nodes: NodeRule = rule.nodes
    if nodes.cover is None:
        raise SchemaError("A stored forest does not know how many rows each node had: explain it after training.")
    outputs, found = nodes.p[:, 1:] if nodes.p.shape[1] == 2 else nodes.p, []
    for start, end in zip(nodes.tree_start.tolist(), nodes.tree_ends().tolist(), strict=True):
        part = slice(start, end)
        tree = Tree(
            feature=nodes.feature[part],
            threshold=nodes.threshold[part],
            left=nodes.left[part] - start,
            right=nodes.right[part] - start,
            cover=nodes.cover[part],
            value=outputs[part],
        )
        found.append(explain_tree(tree, values))
    values_of, expected_of = zip(*found, strict=True)
    return Explanation(sum(values_of) / len(found), sum(expected_of) / len(found), "probability")


def _booster(rule: Any, prepared: Float64) -> Explanation:
    """Ask XGBoost for its own Shapley values, in units of log-odds."""
    library = import_module("xgboost")
    found = np.asarray(rule.booster.predict(library.DMatrix(prepared), pred_contribs=True), dtype=np.float64)
    by_output = found[:, None, :] if found.ndim == 2 else found
    return Explanation(by_output[:, :, :-1].swapaxes(1, 2), by_output[:, :, -1].mean(axis=0), "log-odds")


EXPLAINERS: dict[str, Callable[[Any, Float64], Explanation]] = {"random_forest": _forest, "xgboost": _booster}
