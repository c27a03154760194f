"""Each model computes what its method says, by comparison with an independent implementation."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from entropice_core.errors import TrainingError
from entropice_core.espa.estimator import ESPAClassifier
from entropice_core.models import espa, logistic_regression, prevalence, random_forest
from entropice_core.models.forest import from_sklearn

NAMES = tuple(f"f{i}" for i in range(8))


def problem(n=400, seed=0):
    return make_classification(n, 8, n_informative=4, weights=[0.8], flip_y=0.1, random_state=seed)


@pytest.mark.parametrize("params", [{}, {"max_depth": 2}, {"criterion": "entropy", "class_weight": "balanced"}])
def test_a_walk_over_the_node_arrays_equals_scikit_learn(params):
    X, y = problem()
    forest = RandomForestClassifier(30, random_state=3, **params).fit(X, y)
    other = np.concatenate([X, problem(seed=1)[0]])
    walked = from_sklearn(forest).predict_proba(other)
    assert np.array_equal(walked[:, 1], forest.predict_proba(other)[:, 1])


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_mean_over_the_trees_is_that_of_scikit_learn_to_the_last_bit(n_classes, n_jobs):
    X, y = make_classification(600, 8, n_informative=6, n_classes=n_classes, random_state=2)
    forest = RandomForestClassifier(37, random_state=3, n_jobs=n_jobs).fit(X, y)
    forest.n_jobs = 1
    found = random_forest.ForestRule(forest).predict_proba(X)
    assert np.array_equal(found[:, 1:], forest.predict_proba(X)[:, 1:])
    assert np.allclose(found.sum(axis=1), 1.0, rtol=0, atol=1e-15)


def test_the_walk_decides_like_scikit_learn_at_the_thresholds_themselves():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, (300, 3)) / 3.0, rng.integers(0, 2, 300)
    forest = RandomForestClassifier(20, random_state=0).fit(X, y)
    nodes = from_sklearn(forest)
    edges = nodes.threshold[nodes.feature >= 0]
    values = np.concatenate([edges, np.nextafter(edges, 9), np.nextafter(edges, -9), np.float32(edges)])
    rows = rng.choice(values, (2000, 3))
    assert np.array_equal(nodes.predict_proba(rows)[:, 1], forest.predict_proba(rows)[:, 1])


def test_a_tree_that_is_a_single_leaf_is_walked():
    X, y = problem()
    forest = RandomForestClassifier(3, min_samples_leaf=400, random_state=0).fit(X, y)
    nodes = from_sklearn(forest)
    assert nodes.feature.tolist() == [-1, -1, -1]
    assert np.array_equal(nodes.predict_proba(X)[:, 1], forest.predict_proba(X)[:, 1])


def test_threads_do_not_change_a_forest():
    X, y = problem()
    one, two = (
        random_forest.build({"n_estimators": 20, "n_jobs": jobs}, 5, NAMES).fit(X, y).predict_proba(X)
        for jobs in (1, 2)
    )
    assert np.array_equal(one, two)


def test_another_seed_gives_another_forest():
    X, y = problem()
    one, two = (random_forest.build({"n_estimators": 5}, seed, NAMES).fit(X, y).predict_proba(X) for seed in (1, 2))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_logistic_regression_equals_scikit_learn_on_standardised_features(class_weight):
    X, y = problem()
    ours = logistic_regression.build({"C": 0.1, "class_weight": class_weight}, 0, NAMES).fit(X, y)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    theirs = LogisticRegression(C=0.1, class_weight=class_weight, tol=1e-10, max_iter=1000).fit(z, y)
    assert np.allclose(ours.predict_proba(X), theirs.predict_proba(z), atol=1e-6, rtol=0)


def test_logistic_regression_does_not_depend_on_the_units_of_features():
    X, y = problem()
    scale = np.logspace(-6, 6, 8)
    one = logistic_regression.build({}, 0, NAMES).fit(X, y).predict_proba(X)
    two = logistic_regression.build({}, 0, NAMES).fit(X * scale + 3 * scale, y).predict_proba(X * scale + 3 * scale)
    assert np.allclose(one, two, atol=1e-9, rtol=0)


def test_logistic_regression_that_does_not_converge_is_an_error_that_says_what_to_do():
    X, y = problem()
    with pytest.raises(TrainingError, match="did not converge in 1 steps on 400 rows and 8 features: lower C or raise"):
        logistic_regression.build({"C": 1e4, "max_iter": 1}, 0, NAMES).fit(X, y)


def test_the_prevalence_is_the_weighted_share_of_positives():
    X, y = problem()
    weight = 1.0 + y
    fitted = prevalence.build({}, 0, NAMES).fit(X, y, weight)
    assert fitted.predict_proba(X[:2])[:, 1].tolist() == [np.average(y, weights=weight)] * 2


def test_espa_as_a_model_is_espa_on_standardised_features():
    X, y = problem()
    ours = espa.build({"n_clusters": 8, "n_init": 4}, 7, NAMES).fit(X, y)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    theirs = ESPAClassifier(8, n_init=4, n_moves=0, random_state=7).fit(z, y)
    assert np.allclose(ours.predict_proba(X), theirs.predict_proba(z), atol=1e-12, rtol=0)
    assert np.allclose(espa.feature_scores(ours)["feature_weight"], theirs.feature_weights_)


def test_espa_in_float32_is_read_in_float32():
    X, y = problem()
    fitted = espa.build({"n_clusters": 6, "n_init": 2, "dtype": "float32"}, 0, NAMES).fit(X, y)
    read = espa.from_arrays(*espa.to_arrays(fitted))
    assert np.array_equal(read.predict_proba(X), fitted.predict_proba(X))


def test_a_process_without_filters_of_warnings_gets_no_warning_for_each_tree():
    # A study of many forests once wrote 8,000 of them into its log.
    X, y = problem()
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        random_forest.build({"n_estimators": 3, "n_jobs": 2}, 0, NAMES).fit(X, y).predict_proba(X)
    assert [str(one.message) for one in told if "parallel" in str(one.message)] == []
