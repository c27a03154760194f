"""A forest as arrays over its nodes: what is kept of one, whoever grew it, and the walk that reads it in NumPy.

Forests come from scikit-learn, or from cuML as a Treelite model (``as_treelite``), which is the documented way out of
its memory on the GPU. Treelite is only read here, node by node; a stored forest needs neither of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.errors import SchemaError
from entropice_core.models.base import Float64, Int64, Matrix

INDEX_ARRAYS = ("tree_start", "feature", "left", "right")
NODE_ARRAYS = (*INDEX_ARRAYS, "threshold", "p")
AT_MOST = 3
"""Treelite's number for the comparison <=, by which a row goes left."""


@dataclass(frozen=True, eq=False)
class NodeRule:
    """A forest as arrays over all nodes of all trees.

    Attributes
    ----------
    tree_start : (n_trees,) int64, index of the root of each tree
    feature : (n_nodes,) int64, column of the prepared features to compare; -1 in a leaf
    threshold : (n_nodes,) float64; a row goes left when its value is not above it
    left, right : (n_nodes,) int64, indices of the children; -1 in a leaf
    p : (n_nodes, n_seen) float64, share of each class among the training rows of a leaf
    cover : (n_nodes,) float64, weight of the training rows of a node; known after training only, and not kept
    """

    tree_start: Int64
    feature: Int64
    threshold: Float64
    left: Int64
    right: Int64
    p: Float64
    cover: Float64 | None = None

    def predict_proba(self, prepared: Matrix) -> Float64:
        """Return the mean over the trees : (n, n_seen)."""
        values = prepared.astype(np.float32, copy=False)  # forests are grown and read in float32
        total = np.zeros((len(values), self.p.shape[1]))
        for root in self.tree_start:
            total += self.reached(values, int(root))
        return shares(total / len(self.tree_start))

    def reached(self, values: NDArray[np.float32], root: int) -> Float64:
        """Return what the leaf holds in which each row ends : (n, n_seen); all rows walk down a level at a time."""
        node = np.full(len(values), root, dtype=np.int64)
        rows = np.arange(len(values)) if self.feature[root] >= 0 else np.empty(0, dtype=np.int64)
        while rows.size:
            here = node[rows]
            goes_left = values[rows, self.feature[here]] <= self.threshold[here]
            below = np.where(goes_left, self.left[here], self.right[here])
            node[rows] = below
            rows = rows[self.feature[below] >= 0]
        return self.p[node]

    def tree_ends(self) -> Int64:
        """Index after the last node of each tree : (n_trees,)."""
        return np.append(self.tree_start[1:], len(self.feature)).astype(np.int64)


def shares(p: Float64) -> Float64:
    """Let the first class take what the others leave, so that a row sums to 1 to the last bit."""
    p[:, 0] = np.maximum(1.0 - p[:, 1:].sum(axis=1), 0.0)
    return p


def from_sklearn(forest: Any) -> NodeRule:
    """Copy a fitted forest of scikit-learn into arrays."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    return joined(
        [
            {
                "feature": tree.feature,
                "threshold": tree.threshold,
                "left": tree.children_left,
                "right": tree.children_right,
                "p": tree.value[:, 0, :],
                "cover": tree.weighted_n_node_samples,
            }
            for tree in trees
        ]
    )


def from_treelite(model: Any) -> NodeRule:
    """Copy a forest of classes that Treelite holds into arrays.

    Raises
    ------
    SchemaError
        When the trees are no mean of shares of classes, or split by anything but value <= threshold.
    """
    header = model.get_header_accessor()
    n_classes = int(header.get_field("num_class")[0])
    shape = header.get_field("leaf_vector_shape").tolist()
    if not header.get_field("average_tree_output")[0] or shape != [1, n_classes] or n_classes < 2:
        raise SchemaError(
            f"The forest that came back has {n_classes} classes and leaves of the shape {shape}; expected the mean of "
            "trees whose leaves hold the share of each class: train it with device = 'cpu'."
        )
    return joined([_of_treelite(model.get_tree_accessor(i), n_classes) for i in range(model.num_tree)])


def _of_treelite(tree: Any, n_classes: int) -> dict[str, NDArray[Any]]:
    left, begin = tree.get_field("cleft"), tree.get_field("leaf_vector_begin").astype(np.int64)
    is_leaf = left < 0
    others = np.unique(tree.get_field("cmp")[~is_leaf])
    if tree.get_field("has_categorical_split")[0] or (others != AT_MOST).any():
        raise SchemaError(
            f"A tree that came back compares by the operators {others.tolist()} of Treelite; expected {AT_MOST} (<=) "
            "only: train the forest with device = 'cpu'."
        )
    p = np.zeros((left.size, n_classes))
    p[is_leaf] = tree.get_field("leaf_vector")[begin[is_leaf, None] + np.arange(n_classes)]
    if (np.abs(p[is_leaf].sum(axis=1) - 1.0) > 1e-5).any():
        raise SchemaError("Leaves of the forest that came back do not hold shares that sum to 1.")
    known = tree.get_field("sum_hess_present").all()  # weights of rows; cuML counts the rows of a node instead
    return {
        "feature": tree.get_field("split_index"),
        "threshold": tree.get_field("threshold"),
        "left": left,
        "right": tree.get_field("cright"),
        "p": p,
        "cover": tree.get_field("sum_hess" if known else "data_count"),
    }


def joined(trees: list[dict[str, NDArray[Any]]]) -> NodeRule:
    """Set trees one after the other: their children, numbered within a tree, are then numbered within all nodes."""
    counts = np.array([len(tree["feature"]) for tree in trees], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    shift = np.repeat(start, counts)
    all_of = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    is_leaf = all_of["left"] < 0
    return NodeRule(
        tree_start=start,
        feature=np.where(is_leaf, -1, all_of["feature"]).astype(np.int64),
        threshold=all_of["threshold"].astype(np.float64),
        left=np.where(is_leaf, -1, all_of["left"] + shift).astype(np.int64),
        right=np.where(is_leaf, -1, all_of["right"] + shift).astype(np.int64),
        p=all_of["p"].astype(np.float64),
        cover=all_of["cover"].astype(np.float64),
    )
