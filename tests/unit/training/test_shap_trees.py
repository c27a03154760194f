"""Shapley values of trees equal the definition, sum to the prediction, and agree with those of XGBoost."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from entropice_core.errors import SchemaError
from entropice_core.models.base import load_module
from entropice_core.training.shap_trees import Tree, explain_tree, explain_trees, explains

NAMES = ("a", "b", "c", "d")


def rows(n=160, seed=0, n_classes=2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    score = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n)
    return X, np.digitize(score, np.quantile(score, np.arange(1, n_classes) / n_classes))


def expectation(tree, x, known, node=0):
    """What the tree is expected to say when only some features are known, by walking it."""
    if tree.feature[node] < 0:
        return tree.value[node]
    left, right = tree.left[node], tree.right[node]
    if tree.feature[node] in known:
        return expectation(tree, x, known, left if x[tree.feature[node]] <= tree.threshold[node] else right)
    both = [expectation(tree, x, known, child) * tree.cover[child] for child in (left, right)]
    return sum(both) / tree.cover[node]


def by_definition(tree, x, n_features):
    found = []
    for u in range(n_features):
        others = [f for f in range(n_features) if f != u]
        total = 0.0
        for size in range(n_features):
            weight = factorial(size) * factorial(n_features - size - 1) / factorial(n_features)
            for chosen in combinations(others, size):
                total = total + weight * (expectation(tree, x, {*chosen, u}) - expectation(tree, x, set(chosen)))
        found.append(total)
    return np.array(found)


def test_values_equal_the_definition_also_where_a_feature_splits_twice():
    X, y = rows()
    fitted = load_module("random_forest").build({"n_estimators": 1, "min_samples_leaf": 8}, 3, NAMES).fit(X, y)
    grown = fitted.rule_.forest.estimators_[0].tree_
    assert max(np.bincount(grown.feature[grown.feature >= 0])) > 1
    tree = Tree(
        np.where(grown.children_left < 0, -1, grown.feature), grown.threshold, grown.children_left,
        grown.children_right, grown.weighted_n_node_samples, grown.value[:, 0, 1:],
    )  # fmt: skip
    values = X[:12].astype(np.float32).astype(float)
    added, expected = explain_tree(tree, values)
    np.testing.assert_allclose(expected, expectation(tree, values[0], set()), atol=1e-12)
    for x, mine in zip(values, added, strict=True):
        np.testing.assert_allclose(mine, by_definition(tree, x, 4), atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_values_of_a_forest_sum_to_its_probability(n_classes):
    X, y = rows(n_classes=n_classes)
    X[:, 3] = 1.0  # dropped by the model
    module = load_module("random_forest")
    fitted = module.build({"n_estimators": 15, "min_samples_leaf": 3}, 0, NAMES, n_classes).fit(X, y)
    found = explain_trees("random_forest", fitted, X[:30])
    p = fitted.predict_proba(X[:30])
    np.testing.assert_allclose(found.values.sum(axis=1) + found.expected, p[:, 1:] if n_classes == 2 else p, atol=1e-9)
    assert not found.values[:, 3].any()
    assert found.strength().argmax() in (0, 1, 2)


def test_values_equal_those_of_xgboost_on_its_own_trees():
    pytest.importorskip("xgboost")
    X, y = rows()
    params = {"n_estimators": 4, "max_depth": 3, "subsample": 1.0, "colsample_bytree": 1.0}
    fitted = load_module("xgboost").build(params, 0, NAMES).fit(X, y)
    theirs = explain_trees("xgboost", fitted, X[:20])
    total = np.zeros((20, 4, 1))
    for _, nodes in fitted.rule_.booster.trees_to_dataframe().groupby("Tree"):
        position = {name: i for i, name in enumerate(nodes["ID"])}
        is_leaf = (nodes["Feature"] == "Leaf").to_numpy()
        feature = [-1 if leaf else int(name[1:]) for name, leaf in zip(nodes["Feature"], is_leaf, strict=True)]
        split = nodes["Split"].to_numpy(float)
        tree = Tree(
            np.array(feature), np.nextafter(split.astype(np.float32), np.float32(-np.inf)).astype(float),
            np.array([position.get(child, -1) for child in nodes["Yes"]]),
            np.array([position.get(child, -1) for child in nodes["No"]]),
            nodes["Cover"].to_numpy(float), nodes["Gain"].to_numpy(float)[:, None],
        )  # fmt: skip
        total += explain_tree(tree, X[:20].astype(np.float32).astype(float))[0]
    np.testing.assert_allclose(total, theirs.values, atol=2e-5)
    assert theirs.unit == "log-odds"


def test_only_trees_are_explained():
    assert explains("random_forest") and not explains("espa")
    with pytest.raises(SchemaError, match="not for 'espa'"):
        explain_trees("espa", None, None)
