"""The dissimilarity index equals what one computes pair by pair, and knows what is unlike the training rows."""

import json

import numpy as np
import pytest

from entropice_core.applicability.index import Applicability, learn_applicability
from entropice_core.errors import SchemaError, TrainingError

NAMES = ("a", "b", "c", "d")


def world(n=240, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)) * [1.0, 10.0, 0.1, 1.0] + [0.0, 100.0, 0.0, 5.0]
    X[rng.random(X.shape) < 0.05] = np.nan
    fold = np.arange(n) * 4 // n
    splits = [(np.flatnonzero(fold != k)[3:], np.flatnonzero(fold == k)) for k in range(4)]
    return X, splits


def brute_force(X, splits, importance, new):
    """The paper's steps, one pair at a time."""
    median = np.nanmedian(X, axis=0)
    filled = np.where(np.isnan(X), median, X)
    mean, sd = filled.mean(axis=0), filled.std(axis=0, ddof=1)
    weight = np.maximum(importance, 0) / np.maximum(importance, 0).sum()
    placed = (filled - mean) / sd * weight
    placed_new = (np.where(np.isnan(new), median, new) - mean) / sd * weight

    def distance(a, b):
        return sum((u - v) ** 2 for u, v in zip(a, b, strict=True)) ** 0.5

    pairs = [distance(placed[i], placed[j]) for i in range(len(X)) for j in range(i)]
    mean_pair = sum(pairs) / len(pairs)
    own = np.empty(len(X))
    for train, test in splits:
        for i in test:
            own[i] = min(distance(placed[i], placed[j]) for j in train) / mean_pair
    q1, q3 = np.quantile(own, [0.25, 0.75])
    index = [min(distance(row, other) for other in placed) / mean_pair for row in placed_new]
    return np.array(index), own[own <= q3 + 1.5 * (q3 - q1)].max(), own


def test_index_and_threshold_equal_a_brute_force_computation():
    X, splits = world()
    importance = np.array([0.3, 0.1, -0.2, 0.05])
    new = np.random.default_rng(1).normal(size=(50, 4)) * [2.0, 10.0, 0.1, 1.0] + [0.0, 100.0, 0.0, 5.0]
    new[3, 1] = np.nan
    found, own = learn_applicability(X, splits, importance, NAMES)
    index, threshold, expected_own = brute_force(X, splits, importance, new)
    np.testing.assert_allclose(found.index(new), index, rtol=1e-9)
    np.testing.assert_allclose(own, expected_own, rtol=1e-9)
    assert found.threshold == pytest.approx(threshold, rel=1e-9)
    assert found.n_outliers == (own > found.threshold).sum() > 0


def test_training_rows_have_the_index_zero_and_what_nobody_saw_is_outside():
    X, splits = world()
    found, _ = learn_applicability(X, splits, [1, 1, 1, 1], NAMES)
    assert found.index(X[:5]).max() == 0
    far = np.array([[40.0, 100.0, 0.0, 5.0]])
    assert found.inside(found.index(np.vstack([X[:1], far]))).tolist() == [True, False]


def test_a_feature_of_no_importance_cannot_put_a_cell_outside():
    X, splits = world()
    found, _ = learn_applicability(X, splits, [1.0, 0.5, -0.1, 0.0], NAMES)
    strange = X[:3].copy()
    strange[:, 2:] = 1e6
    assert found.index(strange).max() == 0


def test_a_row_without_any_value_has_no_index_and_lies_outside():
    X, splits = world()
    found, _ = learn_applicability(X, splits, None, NAMES)
    index = found.index(np.full((1, 4), np.nan))
    assert np.isnan(index[0]) and not found.inside(index)[0]
    assert not found.is_weighted


def test_a_constant_and_an_empty_column_weigh_nothing():
    X, splits = world()
    X[:, 1], X[:, 2] = 0.1, np.nan
    found, _ = learn_applicability(X, splits, [1, 1, 1, 1], NAMES)
    assert found.weight.tolist() == [0.5, 0.0, 0.0, 0.5]
    assert found.reference.shape[1] == 2


def test_it_survives_json_and_arrays_and_chunks_do_not_matter():
    X, splits = world()
    found, _ = learn_applicability(X, splits, [1, 2, 3, 4], NAMES)
    again = Applicability.from_parts(found.to_arrays(), json.loads(json.dumps(found.to_dict())))
    new = np.random.default_rng(2).normal(size=(100, 4))
    whole = again.index(new)
    assert np.array_equal(whole, found.index(new))
    tree = again.tree()
    assert np.array_equal(whole, np.concatenate([again.index(new[:37], tree), again.index(new[37:], tree)]))


def test_rows_without_any_difference_and_foreign_columns_are_refused():
    splits = [(np.arange(5), np.arange(5, 10))]
    with pytest.raises(TrainingError, match="rows that differ"):
        learn_applicability(np.ones((10, 2)), splits, None, ("a", "b"))
    X, splits = world()
    found, _ = learn_applicability(X, splits, None, NAMES)
    with pytest.raises(SchemaError, match="for 4 features"):
        found.index(X[:, :2])
    with pytest.raises(SchemaError, match="importances of shape"):
        learn_applicability(X, splits, [1.0], NAMES)


def test_more_rows_than_are_kept_are_thinned_evenly_and_the_index_hardly_moves(monkeypatch):
    from entropice_core.applicability import index as module

    rng = np.random.default_rng(0)
    X, fold = rng.normal(size=(6000, 2)), np.arange(6000) % 4
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(4)]
    whole, _ = learn_applicability(X, splits, None, ("a", "b"))
    monkeypatch.setattr(module, "MAX_REFERENCE", 3000)
    monkeypatch.setattr(module, "MAX_PAIRED", 1000)
    thinned, own = learn_applicability(X, splits, None, ("a", "b"))
    assert (len(thinned.reference), np.isfinite(own).sum(), thinned.n_rows) == (3000, 3000, 6000)
    assert thinned.mean_distance == pytest.approx(whole.mean_distance, rel=0.05)
    assert thinned.threshold == pytest.approx(whole.threshold, rel=0.6)
