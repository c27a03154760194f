"""Importances find the features that matter, on rows that the model did not see."""

import json

import numpy as np
import pytest

from entropice_core.errors import SchemaError
from entropice_core.training.importance import measure_importances, own_scores
from entropice_core.training.metrics import log_loss
from entropice_core.training.nested_cv import nested_cv
from entropice_core.training.problem import child_seed

SOURCES = ["climate", "terrain", "climate", "ripples"]


def run(world, model="logistic_regression", params=None, n_repeats=3, **changes):
    problem = world.problem(model, params, **changes)
    cv = nested_cv(problem, world.folds(), world.inner(), 0)
    return problem, cv, measure_importances(problem, cv, SOURCES, n_repeats, seed=0)


def test_features_that_matter_come_first_and_noise_has_none(world):
    _, _, found = run(world)
    by_name = {row["name"]: row["log_loss_increase"] for row in found.features.to_dict()}
    assert [row["name"] for row in found.features.to_dict()][:2] == ["warmth", "slope"]
    assert by_name["slope"] > 0.03
    assert abs(by_name["noise"]) < 0.01


def test_sources_are_shuffled_as_a_whole(world):
    # A copy of a feature makes each of the two look dispensable; their source is not.
    X = world.X.copy()
    X[:, 2] = X[:, 0]
    _, _, found = run(world, "random_forest", {"n_estimators": 20, "min_samples_leaf": 10}, X=X)
    by_feature = {row["name"]: row["log_loss_increase"] for row in found.features.to_dict()}
    by_source = {row["name"]: row["log_loss_increase"] for row in found.sources.to_dict()}
    assert by_source["climate"] > by_feature["warmth"] + by_feature["noise"]
    assert list(found.sources.names) == ["climate", "terrain", "ripples"]


def test_an_importance_is_the_increase_of_the_log_loss_of_calibrated_test_predictions(world):
    problem, cv, found = run(world)
    assert found.features.increase.shape == (4, 3, 4)
    fold, X = cv.folds[1], problem.X[cv.folds[1].test].copy()
    X[:, 1] = np.random.default_rng(5).permutation(X[:, 1])
    p = fold.calibrator(fold.fitted.predict_proba(X)[:, 1])
    increase = np.mean(-np.log(np.where(fold.y == 1, p, 1 - p))) - fold.calibrated["log_loss"]
    assert found.features.increase[1, :, 1].mean() == pytest.approx(increase, abs=0.02)


def test_a_seed_gives_the_same_importances_and_the_spread_is_reported(world):
    problem, cv, found = run(world)
    again = measure_importances(problem, cv, SOURCES, 3, seed=0)
    assert np.array_equal(found.features.increase, again.features.increase)
    other = measure_importances(problem, cv, SOURCES, 3, seed=1)
    assert not np.array_equal(found.features.increase, other.features.increase)
    first = found.features.to_dict()[0]
    assert first["sd_over_folds"] == pytest.approx(np.std(first["by_fold"], ddof=1))
    assert first["sd_over_repeats"] > 0


def test_what_the_models_say_themselves_is_collected_from_every_fold(world):
    problem, cv, found = run(world, "espa", {"n_clusters": 6, "n_init": 2}, n_repeats=0)
    own = own_scores(problem, cv)
    assert set(own) == {"feature_weight", "explained_variance", "importance"}
    assert own["feature_weight"].shape == (4, 4)
    assert np.allclose(own["feature_weight"].sum(axis=1), 1)
    assert found.features.to_dict() == found.sources.to_dict() == []
    report = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["name"] for row in report["own"]["feature_weight"]] == ["warmth", "slope", "noise", "ripple"]


def test_a_model_that_ignores_features_has_no_importances_and_says_nothing(world):
    _, _, found = run(world, "prevalence", n_repeats=2)
    assert not found.features.increase.any()
    assert dict(found.own) == {}


def test_every_feature_needs_a_source(world):
    problem = world.problem()
    cv = nested_cv(problem, world.folds()[:1], world.inner(), 0)
    with pytest.raises(SchemaError, match="2 sources for 4 features"):
        measure_importances(problem, cv, ["a", "b"], 1, 0)


def test_importances_count_rows_by_their_weight(world):
    weight = np.where(world.years == 2018, 1.8, 0.2)
    problem = world.problem(weight=weight)
    cv = nested_cv(problem, world.folds()[:2], world.inner(), 0)
    found = measure_importances(problem, cv, ["s"] * 4, 1, 0)
    for i, fold in enumerate(cv.folds):
        rng = np.random.default_rng(child_seed(0, "importance", fold.name, "slope"))
        X = problem.X[fold.test]
        shuffled = X.copy()
        shuffled[:, 1] = X[rng.permutation(len(X)), 1]
        p = fold.predict(shuffled)
        expected = log_loss(fold.y, p[:, 1], fold.weight) - log_loss(fold.y, fold.proba[:, 1], fold.weight)
        assert found.features.increase[i, 0, 1] == pytest.approx(expected, abs=1e-12)
        assert not np.isclose(expected, log_loss(fold.y, p[:, 1]) - log_loss(fold.y, fold.proba[:, 1]), atol=1e-4)
