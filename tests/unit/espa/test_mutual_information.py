"""Mutual information of single features, against scikit-learn and against values known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.feature_selection import mutual_info_classif

from entropice_core.espa.mutual_information import (
    binned_mutual_information,
    ross_mutual_information,
    table_mutual_information,
)


def binned(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return binned_mutual_information(X, y, np.ones(len(X)), int(y.max()) + 1)


def test_the_nearest_neighbour_estimate_agrees_with_scikit_learn_where_nothing_is_tied() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 6)), rng.integers(0, 3, 400)
    X[:, 0] += y
    X[:, 1] *= 1 + y
    expected = mutual_info_classif(X, y, n_neighbors=3, random_state=0)
    found = [ross_mutual_information(X[:, d], y) for d in range(6)]
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_ties_spoil_the_nearest_neighbour_estimate_and_not_the_binned_one() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 3000)
    x = rng.normal(size=3000) + 2.0 * y
    smooth = ross_mutual_information(x, y)
    tied = np.round(x, 1)
    assert abs(ross_mutual_information(tied, y) - smooth) > 0.2
    assert binned(tied[:, None], y)[0] == pytest.approx(smooth, abs=0.03)


def test_a_gaussian_shift_has_the_known_information() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40_000)
    x = rng.normal(size=40_000) + 2.0 * y
    grid = np.linspace(-8, 10, 20_001)
    density = np.exp(-0.5 * (grid[:, None] - np.array([0.0, 2.0])) ** 2) / np.sqrt(2 * np.pi)
    mixture = density.mean(1)
    exact = np.trapezoid((density * np.log(density / mixture[:, None])).mean(1), grid)
    assert ross_mutual_information(x, y) == pytest.approx(exact, abs=0.02)
    assert binned(x[:, None], y)[0] == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_both_estimators_rank_features_alike(load) -> None:
    X, y = load(return_X_y=True)
    reference = mutual_info_classif(X, y, random_state=0)
    assert np.corrcoef(reference, binned(X, y))[0, 1] > 0.95


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_weights_count_like_repeated_rows_and_monotone_maps_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(50, 2)), rng.integers(0, 3, 50)
    weights = rng.integers(1, 4, 50)
    weighted = binned_mutual_information(X, y, weights.astype(float), 3)
    repeated = binned_mutual_information(X.repeat(weights, 0), y.repeat(weights), np.ones(weights.sum()), 3)
    np.testing.assert_allclose(weighted, repeated, atol=1e-12)
    np.testing.assert_allclose(weighted, binned_mutual_information(np.exp(X), y, weights.astype(float), 3), atol=1e-12)
    assert (weighted >= 0).all()


def test_missing_values_are_left_out_and_an_empty_feature_knows_nothing() -> None:
    x = np.arange(60.0)
    y = (x > 30).astype(int)
    holes = np.where(np.arange(60) % 3 == 0, np.nan, x)
    found = binned(np.column_stack([holes, np.full(60, np.nan)]), y)
    assert found[0] > 0.5
    assert found[1] == 0.0


def test_the_table_of_independent_counts_has_no_information() -> None:
    assert table_mutual_information(np.outer([10.0, 30.0], [5.0, 5.0])) == 0.0


def test_tiny_classes_do_not_break_the_nearest_neighbour_estimate() -> None:
    assert ross_mutual_information(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2])) == 0.0
    assert ross_mutual_information(np.ones(8), np.repeat([0, 1], 4)) >= 0.0
