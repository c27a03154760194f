"""What every model of the registry promises; a new model is tested by being registered."""

import json

import numpy as np
import pytest

from entropice_core.errors import ConfigError, SchemaError, TrainingError
from entropice_core.models.base import load_module
from entropice_core.registry import MODELS
from entropice_core.training.persist import read_npz, write_npz

NAMES = ("elevation", "thawing_degree_days", "noise", "constant", "absent")
SMALL = {
    "random_forest": {"n_estimators": 12},
    "xgboost": {"n_estimators": 20, "learning_rate": 0.2},
    "knn": {},
    "espa": {"n_clusters": 6, "n_init": 4},
    "autogluon": {"families": ["GBM", "RF"], "n_estimators": 12},
}


def samples(n=240, seed=0):
    """X : (n, 5) with missing values, a constant and an absent feature, and y : (n,)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)) * [300, 200, 1, 0, 1] + [400, 900, 0, 7, 0]
    y = (X[:, 0] / 300 + X[:, 1] / 200 + rng.normal(size=n) > 6).astype(int)
    X[rng.random(n) < 0.1, 0] = np.nan
    X[:, 4] = np.nan
    return X, y


def build(name, seed=0, names=NAMES):
    return load_module(name).build(SMALL.get(name, {}), seed, names)


@pytest.fixture(params=MODELS.names())
def name(request):
    return request.param


@pytest.fixture
def fitted(name):
    return build(name).fit(*samples())


def test_a_model_module_has_a_version(name):
    assert isinstance(load_module(name).VERSION, str)
    assert load_module(name).VERSION


def test_probabilities_are_between_0_and_1_and_sum_to_1(fitted):
    p = fitted.predict_proba(samples(seed=1)[0])
    assert p.shape == (240, 2)
    assert p.dtype == np.float64
    assert p.min() >= 0 and p.max() <= 1
    assert np.allclose(p.sum(axis=1), 1, atol=1e-12, rtol=0)
    assert fitted.classes_.tolist() == [0, 1]


def test_a_model_survives_arrays_and_json_bit_for_bit(name, fitted, tmp_path):
    module = load_module(name)
    arrays, meta = module.to_arrays(fitted)
    write_npz(tmp_path / "arrays.npz", arrays)
    read = module.from_arrays(read_npz(tmp_path / "arrays.npz"), json.loads(json.dumps(meta, allow_nan=False)))
    X = samples(n=500, seed=2)[0]
    assert np.array_equal(read.predict_proba(X), fitted.predict_proba(X))
    assert read.classes_.tolist() == [0, 1]


def test_the_same_seed_gives_the_same_model(name, fitted):
    arrays, meta = load_module(name).to_arrays(fitted)
    again, meta_again = load_module(name).to_arrays(build(name).fit(*samples()))
    assert meta == meta_again
    assert all(np.array_equal(arrays[key], again[key]) for key in arrays)


def test_a_row_is_predicted_the_same_alone_and_among_others(fitted):
    X = samples(n=60, seed=3)[0]
    alone = np.concatenate([fitted.predict_proba(row[None]) for row in X])
    assert np.allclose(alone, fitted.predict_proba(X), atol=1e-12, rtol=0)


def test_no_row_gives_no_probability(fitted):
    assert fitted.predict_proba(np.empty((0, 5))).shape == (0, 2)


def test_missing_values_are_imputed_and_counted_and_useless_features_are_dropped_by_name(fitted):
    report = fitted.report()
    n_missing = int(np.isnan(samples()[0][:, 0]).sum())
    assert report["imputed"] == {"elevation": n_missing, "absent": 240}
    assert report["n_imputed"] == n_missing + 240
    assert report["dropped"] == {
        "constant": "one value in all training rows",
        "absent": "missing in all training rows",
    }
    assert np.isfinite(fitted.predict_proba(np.full((1, 5), np.nan))).all()


def test_skill_is_found_where_there_is_some(name, fitted):
    X, y = samples(n=1000, seed=4)
    p = fitted.predict_proba(X)[:, 1]
    gap = p[y == 1].mean() - p[y == 0].mean()
    if name == "prevalence":
        assert gap == 0
    else:
        assert gap > 0.15


def test_own_scores_have_one_number_a_feature_and_none_for_dropped_ones(name, fitted):
    for score in load_module(name).feature_scores(fitted).values():
        assert score.shape == (5,)
        assert np.isfinite(score).all()
        assert score[3] == score[4] == 0


@pytest.mark.parametrize(
    "name", [name for name in MODELS.names() if name not in ("random_forest", "xgboost", "autogluon")]
)
def test_a_weight_of_zero_is_the_same_as_no_row(name):
    # Trees draw their samples from all rows, also from those without weight: others, as good.
    X, y = samples()
    X[:, :4] = np.nan_to_num(X[:, :4], nan=400.0)  # medians are learned from all rows, whatever their weight
    mirrored = np.concatenate([X, X[::-1]])  # the same medians, means and scales as X
    weight = np.repeat([1.0, 0.0], len(X))
    weighted = build(name).fit(mirrored, np.concatenate([y, 1 - y[::-1]]), weight)
    assert np.allclose(weighted.predict_proba(X), build(name).fit(X, y).predict_proba(X), atol=1e-6, rtol=0)


def test_an_unknown_parameter_is_an_error_that_names_the_nearest(name):
    known = {
        "prevalence": ("n_estimators", "no parameter 'n_estimators'"),
        "logistic_regression": ("max_itr", "did you mean 'max_iter'"),
        "random_forest": ("n_estimator", "did you mean 'n_estimators'"),
        "xgboost": ("learning_rat", "did you mean 'learning_rate'"),
        "knn": ("n_neighbours", "did you mean 'n_neighbors'"),
        "espa": ("n_cluster", "did you mean 'n_clusters'"),
        "autogluon": ("family", "did you mean 'families'"),
    }
    parameter, message = known.get(name, ("no_such_parameter", "no_such_parameter"))
    with pytest.raises(ConfigError, match=message):
        load_module(name).build({parameter: 3}, 0, NAMES)


@pytest.mark.parametrize("y", [np.zeros(240, int), np.ones(240, int)], ids=["zeros", "ones"])
def test_one_class_is_refused_in_a_clear_sentence(name, y):
    with pytest.raises(TrainingError, match="All 240 training rows have the class"):
        build(name).fit(samples()[0], y)


def test_a_class_without_weight_is_refused(name):
    X, y = samples()
    with pytest.raises(TrainingError, match="All rows of class 1 have the weight 0"):
        build(name).fit(X, y, 1.0 - y)


def test_labels_other_than_0_and_1_are_refused(name):
    X, y = samples()
    with pytest.raises(SchemaError, match="expected only 0 and 1"):
        build(name).fit(X, y + 1)


def test_a_wrong_number_of_columns_is_refused_and_the_expected_ones_are_named(fitted):
    with pytest.raises(SchemaError, match=r"expected \(n, 5\), one column for each of elevation, thawing"):
        fitted.predict_proba(np.zeros((3, 4)))


def test_an_infinity_is_refused_and_the_feature_is_named(fitted):
    X = samples()[0]
    X[7, 1] = np.inf
    with pytest.raises(SchemaError, match="Infinite values in thawing_degree_days"):
        fitted.predict_proba(X)


def test_weights_that_are_negative_or_not_one_a_row_are_refused(name):
    X, y = samples()
    for weight in (np.full(240, -1.0), np.ones(239), np.full(240, np.nan)):
        with pytest.raises(SchemaError, match="sample_weight"):
            build(name).fit(X, y, weight)


def test_a_model_that_was_not_fitted_says_so(name):
    with pytest.raises(TrainingError, match="call fit first"):
        build(name).predict_proba(samples()[0])


def test_features_without_any_variation_are_refused_unless_the_model_ignores_them(name):
    X, y = np.full((240, 5), 3.0), samples()[1]
    if name == "prevalence":
        assert build(name).fit(X, y).predict_proba(X)[0, 1] == pytest.approx(y.mean())
        return
    with pytest.raises(TrainingError, match="None of the 5 features has two different values in the 240 training rows"):
        build(name).fit(X, y)
