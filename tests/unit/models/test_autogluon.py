"""AutoGluon trains in another interpreter; what it grew comes back as numbers and is read here."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier

from entropice_core.errors import ConfigError, TrainingError
from entropice_core.models import autogluon
from entropice_core.models.autogluon_worker import joined, lightgbm_trees, sklearn_tree
from tests.conftest import AUTOGLUON

NAMES = tuple(f"f{i}" for i in range(8))
needs_autogluon = pytest.mark.skipif(not AUTOGLUON, reason=f"{autogluon.PYTHON} names no interpreter with AutoGluon")


def problem(n=400, n_classes=2, seed=0):
    X, y = make_classification(n, 8, n_informative=5, n_classes=n_classes, flip_y=0.1, random_state=seed)
    X[::9, 1], X[:, 3] = np.nan, 5.0
    return X, y


def booster(n_classes, n_trees=6):
    """Trees of one split as LightGBM dumps them, and their scores by hand."""
    trees = []
    for number in range(n_trees):
        leaves = ({"leaf_value": 0.1 * number + 0.05}, {"leaf_value": -0.2 * number})
        split = {"split_feature": number % 2, "threshold": 0.25 * number, "decision_type": "<="}
        trees.append({"tree_structure": {**split, "left_child": leaves[0], "right_child": leaves[1]}})

    def scores(X):
        of_tree = [np.where(X[:, (5, 2)[i % 2]] <= 0.25 * i, 0.1 * i + 0.05, -0.2 * i) for i in range(n_trees)]
        if n_classes == 2:
            return sum(of_tree)
        return np.column_stack([sum(of_tree[k::n_classes]) for k in range(n_classes)])

    return {"feature_names": ["f5", "f2"], "tree_info": trees}, scores


@pytest.mark.parametrize("n_classes", [2, 3])
def test_boosted_trees_and_forests_are_read_and_weighed_as_by_their_libraries(n_classes):
    X, y = problem(n_classes=n_classes)
    X = np.nan_to_num(X).astype(np.float32)
    columns = np.array([7, 1, 4])  # a member may use some columns, in its own order
    forest = ExtraTreesClassifier(7, random_state=0).fit(X[:, columns], y)
    dump, scores = booster(n_classes)
    members = [lightgbm_trees(dump, n_classes), [sklearn_tree(one.tree_, columns) for one in forest.estimators_]]
    arrays = {
        **joined([tree for member in members for tree in member]),
        "member": np.repeat([0, 1], [len(member) for member in members]),
        "is_sum": np.array([True, False]),
        "weight": np.array([0.3, 0.7]),
    }
    raw = scores(X.astype(np.float64))
    boosted = softmax(raw, axis=1) if n_classes > 2 else np.column_stack([1 - expit(raw), expit(raw)])
    expected = 0.3 * boosted + 0.7 * forest.predict_proba(X[:, columns])
    rule = autogluon._ensemble(arrays, {})
    assert np.allclose(rule.predict_proba(X), expected, rtol=0, atol=1e-12)
    autogluon._check_same(rule, X, expected)
    with pytest.raises(TrainingError, match="answer otherwise than AutoGluon itself"):
        autogluon._check_same(rule, X, expected[:, ::-1])


def test_a_split_that_is_no_comparison_is_not_taken_for_one():
    dump, _ = booster(2)
    dump["tree_info"][0]["tree_structure"]["decision_type"] = "=="
    with pytest.raises(ValueError, match="decides by '=='"):
        lightgbm_trees(dump, 2)


@pytest.mark.parametrize(("named", "message"), [(None, "is not set: python -m venv"), ("/no/python", "is no file")])
def test_without_its_interpreter_a_sentence_says_how_to_make_one(monkeypatch, named, message):
    monkeypatch.delenv(autogluon.PYTHON, raising=False)
    if named:
        monkeypatch.setenv(autogluon.PYTHON, named)
    with pytest.raises(ConfigError, match=message):
        autogluon.build({}, 0, NAMES).fit(*problem())


def test_a_worker_that_fails_is_told_with_its_last_words(monkeypatch):
    import sys

    monkeypatch.setenv(autogluon.PYTHON, sys.executable)  # this interpreter has no AutoGluon
    with pytest.raises(TrainingError, match="did not train: ModuleNotFoundError: No module named 'autogluon'"):
        autogluon.build({}, 0, NAMES).fit(*problem())


@needs_autogluon
@pytest.mark.parametrize("n_classes", [2, 3])
def test_what_autogluon_trained_is_read_here_without_it(monkeypatch, n_classes):
    X, y = problem(600, n_classes)
    params = {"n_estimators": 20}
    fitted = autogluon.build(params, 3, NAMES, n_classes).fit(X[:400], y[:400], np.linspace(0.5, 1.5, 400))
    monkeypatch.delenv(autogluon.PYTHON)
    read = autogluon.from_arrays(*autogluon.to_arrays(fitted))
    p = read.predict_proba(X[400:])
    assert np.array_equal(p, fitted.predict_proba(X[400:]))
    assert (p.argmax(axis=1) == y[400:]).mean() > 0.6  # chance: 0.5, 0.33
    assert set(fitted.rule_.about["members"]) <= {"LightGBM", "RandomForest", "ExtraTrees"}


@needs_autogluon
def test_families_that_were_not_named_are_not_used():
    fitted = autogluon.build({"families": ["XT"], "n_estimators": 10}, 0, NAMES).fit(*problem())
    assert fitted.rule_.about["members"] == ["ExtraTrees"]
    assert fitted.rule_.weight.tolist() == [1.0]


@needs_autogluon
def test_a_class_of_few_rows_is_learned_too():
    X, y = problem(300)
    y[:6] = 2  # AutoGluon leaves out classes of fewer than ten rows by itself
    fitted = autogluon.build({"families": ["RF"], "n_estimators": 10}, 0, NAMES, 3).fit(X, y)
    assert fitted.predict_proba(X)[:6, 2].mean() > 0.2
