"""Imputation and scaling are learned from training rows, and only from them."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from entropice_core.config import Strict
from entropice_core.errors import ConfigError
from entropice_core.models import base, preprocess
from entropice_core.models.base import check_params, load_module
from entropice_core.models.preprocess import Preprocess

NAMES = ("a", "b", "c")


def gappy(n=200, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.lognormal(size=(n, 3)) * [1, 1e4, 1e-6]
    X[rng.random((n, 3)) < 0.2] = np.nan
    return X


def test_values_equal_those_of_scikit_learn():
    X, other = gappy(), gappy(seed=1)
    imputer, scaler = SimpleImputer(strategy="median"), StandardScaler()
    scaler.fit(imputer.fit_transform(X))
    ours = Preprocess.fit(X, NAMES, standardise=True).transform(other)
    assert np.allclose(ours, scaler.transform(imputer.transform(other)), rtol=1e-12, atol=1e-12)


def test_without_scaling_only_missing_values_change():
    X = gappy()
    prepared = Preprocess.fit(X, NAMES, standardise=False).transform(X)
    assert np.array_equal(prepared[~np.isnan(X)], X[~np.isnan(X)])
    assert not np.isnan(prepared).any()


def test_what_is_predicted_does_not_change_what_was_learned():
    X = gappy()
    prepare = Preprocess.fit(X, NAMES, standardise=True)
    before = prepare.transform(X)
    prepare.transform(gappy(seed=1) * 100)
    assert np.array_equal(prepare.transform(X), before)


def test_the_state_survives_arrays():
    X = gappy()
    prepare = Preprocess.fit(X, NAMES, standardise=True)
    again = Preprocess.from_arrays(*prepare.to_arrays())
    assert np.array_equal(again.transform(X), prepare.transform(X))
    assert again.report() == prepare.report()


def test_scores_of_kept_features_are_spread_over_all():
    X = gappy()
    X[:, 1] = 5.0
    assert Preprocess.fit(X, NAMES, standardise=True).expand([2.0, 3.0]).tolist() == [2.0, 0.0, 3.0]


@given(
    arrays(np.float64, (12, 3), elements=st.one_of(st.just(np.nan), st.floats(-1e300, 1e300))),
    st.booleans(),
)
def test_prepared_features_are_finite_whatever_was_missing(X, standardise):
    with np.errstate(over="ignore", invalid="ignore"):  # sums of 1e300 overflow; the feature is dropped then
        prepare = Preprocess.fit(X, NAMES, standardise=standardise)
        prepared = prepare.transform(X)
    assert prepared.shape == (12, prepare.kept.sum())
    assert np.isfinite(prepared).all()


def test_a_parameter_of_the_wrong_type_or_range_is_named():
    class Params(Strict):
        n_trees: int = 3

    with pytest.raises(ConfigError, match=r"'forest' cannot take these parameters: n_trees: .* \(got 'many'\)"):
        check_params("forest", Params, {"n_trees": "many"})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("logistic_regression", {"C": 0.0}),
        ("logistic_regression", {"class_weight": "unequal"}),
        ("random_forest", {"n_estimators": 0}),
        ("random_forest", {"max_features": 1.5}),
        ("random_forest", {"max_samples": 0.0}),
        ("espa", {"eps_w": 0.0}),
        ("espa", {"n_clusters": 2.5}),
        ("espa", {"class_weight": {"0": 2}}),
        ("espa", {"random_state": 3}),
    ],
)
def test_parameters_out_of_range_are_refused_before_any_fit(name, params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        load_module(name).build(params, 0, NAMES)


def test_an_unknown_model_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match="did you mean 'random_forest'"):
        load_module("randomforest")


@pytest.mark.parametrize("standardise", [False, True])
def test_float32_and_blocks_of_rows_and_columns_change_no_bit(monkeypatch, standardise):
    rng = np.random.default_rng(3)
    X = (rng.lognormal(size=(500, 21)) * 10.0 ** rng.integers(-4, 5, 21)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 4] = 2.5
    names = tuple(f"f{i}" for i in range(21))
    wide = X.astype(np.float64)
    filled = np.where(np.isnan(wide), np.nanmedian(wide, axis=0), wide)[:, np.arange(21) != 4]
    columns = [np.ascontiguousarray(column) for column in filled.T]
    expected = filled
    if standardise:
        expected = np.column_stack([(column - column.mean()) / column.std() for column in columns])
    monkeypatch.setattr(preprocess, "ROWS", 64)
    for rows in (X, wide):
        prepare = Preprocess.fit(rows, names, standardise=standardise)
        prepared = prepare.transform(rows)
        narrow = rows is X and not standardise  # trees compare in float32 anyway
        assert prepared.dtype == (np.float32 if narrow else np.float64)
        assert np.array_equal(prepared, expected.astype(prepared.dtype))


@pytest.mark.parametrize(("standardise", "most"), [(False, 1.4), (True, 2.4)])
def test_preparing_many_rows_holds_little_more_than_its_result(monkeypatch, standardise, most):
    # Of 10^6 rows x 400 features the result is 1.6 GB in float32 and 3.2 GB in float64; copies of it would not fit.
    monkeypatch.setattr(preprocess, "ROWS", 1000)
    monkeypatch.setattr(base, "ROWS", 1000)
    X = np.random.default_rng(0).standard_normal((40_000, 80), dtype=np.float32)
    names = tuple(f"f{i}" for i in range(80))
    tracemalloc.start()
    try:
        Preprocess.fit(X, names, standardise=standardise).transform(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert X.nbytes <= peak < most * X.nbytes
