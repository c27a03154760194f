"""Starts: which rows become centroids, and which features weigh first."""

import numpy as np
import pytest

from entropice_core.espa.seeds import INITS, canonical_rows, pick_seeds, starting_weights


def rows(n: int = 200, d: int = 3, n_classes: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    return canonical_rows(rng.normal(size=(n, d)), rng.integers(0, n_classes, n), np.ones(n), n_classes)


def draws(k: int, r: int) -> np.ndarray:
    return np.random.default_rng(1).random((k, r))


@pytest.mark.parametrize("init", INITS)
def test_the_first_seeds_serve_every_smaller_number_of_clusters(init) -> None:
    all_draws = draws(12, 5)
    large = pick_seeds(rows(), np.ones((5, 3)), 12, all_draws, init)
    small = pick_seeds(rows(), np.ones((5, 3)), 4, all_draws[:4], init)
    np.testing.assert_array_equal(large[:, :4], small)


@pytest.mark.parametrize("init", INITS)
def test_no_row_is_picked_twice_and_exhausted_rows_say_so(init) -> None:
    few = canonical_rows(np.array([[0.0], [0.0], [1.0], [1.0], [7.0]]), np.zeros(5, dtype=int), np.ones(5), 1)
    picked = pick_seeds(few, np.ones((4, 1)), 5, draws(5, 4), init)
    for restart in picked:
        values = few.x[restart[restart >= 0], 0]
        assert sorted(values) == [0.0, 1.0, 7.0]
        assert (restart[3:] == -1).all()


def test_balanced_seeds_give_every_class_one_however_rare() -> None:
    rng = np.random.default_rng(0)
    codes = np.array([0] * 995 + [1] * 5)
    rare = canonical_rows(rng.normal(size=(1000, 4)), codes, np.ones(1000), 2)
    balanced = pick_seeds(rare, np.ones((20, 4)), 4, draws(4, 20), "balanced")
    plain = pick_seeds(rare, np.ones((20, 4)), 4, draws(4, 20), "k-means++")
    assert (rare.codes[balanced] == 1).any(axis=1).all()
    assert not (rare.codes[plain] == 1).any(axis=1).all()


def test_far_rows_are_likelier_and_features_without_metric_are_not_seen() -> None:
    x = np.zeros((100, 2))
    x[-1] = [5.0, 0.0]
    x[:, 1] = np.arange(100) * 10.0
    far = canonical_rows(x, np.zeros(100, dtype=int), np.ones(100), 1)
    picked = pick_seeds(far, np.tile([1.0, 0.0], (50, 1)), 2, draws(2, 50), "k-means++")
    assert (np.sort(far.x[picked, 0], axis=1) == [0.0, 5.0]).all()


def test_rows_in_any_order_are_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    x, codes, weights = rng.normal(size=(50, 4)), rng.integers(0, 2, 50), rng.random(50)
    order = rng.permutation(50)
    first = canonical_rows(x, codes, weights, 2)
    second = canonical_rows(x[order], codes[order], weights[order], 2)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.weights, second.weights)


@pytest.mark.parametrize(("n_starts", "share", "informed"), [(16, 0.5, 8), (1, 0.5, 1), (4, 0.0, 0), (4, 1.0, 4)])
def test_the_asked_share_of_starts_knows_the_relevant_feature(n_starts, share, informed) -> None:
    used = np.array([True, True, False])
    found = starting_weights(np.array([0.9, 0.0, 0.5]), used, n_starts, share)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found[:, 2] == 0.0).all()
    assert (found[:, 0] > 0.99).sum() == informed
    assert (found[:, 1] > 0.0).all()


def test_without_any_relevance_all_starts_are_even() -> None:
    found = starting_weights(np.zeros(2), np.array([True, True]), 3, 1.0)
    np.testing.assert_array_equal(found, np.full((3, 2), 0.5))
