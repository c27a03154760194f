"""The pass of the host: single precision, folds and kept sums change no assignment and no loss."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold

from entropice_core.espa import ESPASearch
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.host_pass import HardSums
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import Scaling
from entropice_core.espa.training import Program, Settings, TrainingRows


def rows_of(X: np.ndarray, codes: np.ndarray, weights: np.ndarray, **options: Any) -> Rows:
    one = np.ones(X.shape[1])
    given = {"codes": codes, "n_classes": int(codes.max()) + 1, "weights": weights, **options}
    return Rows(X, Scaling(0 * one, one, one, one), choose_backend(X), **given)


def plain(rows: Rows, operator: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (B, T) and sums (B, K, columns) in double precision, one fit after the other."""
    block = np.asarray(rows.block(0, rows.n_rows), dtype=np.float64)
    labels = np.stack([(block @ one.T).argmin(axis=1) for one in operator])
    chosen = np.eye(operator.shape[1])[labels] * rows.weights[fold][:, :, None]
    return labels, np.einsum("btk,tc->bkc", chosen, block)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_rows=st.integers(1, 300),
    n_clusters=st.integers(1, 20),
    n_folds=st.integers(1, 3),
    rounded=st.booleans(),
    keep_bytes=st.sampled_from([0, 2**31]),
    masked=st.booleans(),
)
def test_sums_are_those_of_the_cheapest_clusters(
    seed, n_rows, n_clusters, n_folds, rounded, keep_bytes, masked
) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 5))
    operator = rng.normal(size=(9, n_clusters, 5 + 1 + (5 if masked else 0) + 2))
    if rounded:  # ties everywhere
        X, operator = X.round(), operator.round()
    weights = rng.random((n_folds, n_rows)) * (rng.random((n_folds, n_rows)) < 0.7)
    codes = rng.integers(0, 2, n_rows)
    codes[-1] = 1
    rows = rows_of(X, codes, weights, keep_bytes=keep_bytes, masked=masked)
    fold = np.sort(rng.integers(0, n_folds, 9))
    labels, expected = plain(rows, operator, fold)
    everywhere = HardSums(rows, fold, n_clusters, every_row=True)
    np.testing.assert_allclose(everywhere.assign(operator), expected, atol=1e-12)
    np.testing.assert_array_equal(everywhere.labels(), labels)
    np.testing.assert_allclose(HardSums(rows, fold, n_clusters).assign(operator), expected, atol=1e-12)


def test_clusters_that_single_precision_cannot_tell_apart_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    rows = rows_of(X, np.zeros(400, dtype=int), np.ones((1, 400)))
    operator = np.tile(rng.normal(size=(1, 1, 5)), (8, 6, 1))
    operator += 1e-10 * rng.normal(size=operator.shape)
    labels, _ = plain(rows, operator, np.zeros(8, dtype=int))
    assert len(np.unique(labels)) == 6
    sums = HardSums(rows, np.zeros(8, dtype=int), 6, every_row=True)
    sums.assign(operator)
    np.testing.assert_array_equal(sums.labels(), labels)


@pytest.mark.parametrize("size", [1e-30, 1e15, 1e60])
def test_numbers_beyond_single_precision_are_compared_in_double(size) -> None:
    rng = np.random.default_rng(0)
    X, operator = rng.normal(size=(50, 3)) * size, rng.normal(size=(4, 5, 5))
    rows = rows_of(X, np.zeros(50, dtype=int), np.ones((1, 50)))
    operator[:, :, 3] *= size
    labels, _ = plain(rows, operator, np.zeros(4, dtype=int))
    sums = HardSums(rows, np.zeros(4, dtype=int), 5, every_row=True)
    sums.assign(operator)
    np.testing.assert_array_equal(sums.labels(), labels)


@pytest.mark.parametrize("keep_bytes", [0, 2**31])
def test_sums_that_follow_moving_rows_stay_right_and_fits_can_leave(keep_bytes, monkeypatch) -> None:
    monkeypatch.setattr("entropice_core.espa.host_pass.RECOUNT", 10**6)
    monkeypatch.setattr("entropice_core.espa.host_pass.FEW", 0)
    monkeypatch.setattr("entropice_core.espa.host_pass.BLOCK", 4096)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(700, 4))
    weights = rng.random((2, 700)) * (np.arange(700) % 3 != np.array([[0], [1]]))
    rows = rows_of(X, rng.integers(0, 2, 700), weights, keep_bytes=keep_bytes)
    fold = np.repeat([0, 1], 6)
    sums, operator = HardSums(rows, fold, 7), rng.normal(size=(12, 7, 7))
    for sweep in range(60):
        operator = operator + 0.05 * rng.normal(size=operator.shape)
        if sweep == 30:
            kept = np.array([0, 3, 5, 6, 11])
            operator, fold = operator[kept], fold[kept]
            sums.take(kept)
        np.testing.assert_allclose(sums.assign(operator), plain(rows, operator, fold)[1], atol=1e-11)


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """The loop over plain NumPy fits that the speed of the search is measured against."""
    pytest.importorskip("xgboost")
    folder = str(Path(__file__).parents[3] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("espa_speed")
    finally:
        sys.path.remove(folder)


def test_the_search_gives_the_held_out_losses_of_a_loop_of_plain_fits(benchmark, monkeypatch) -> None:
    grid = {"n_clusters": (4, 9), "eps_c": (0.1, 1.0), "eps_w": (0.2, 1.0), "mi_prior": (0.0,)}
    monkeypatch.setattr(benchmark, "GRID", grid)
    X, y = load_wine(return_X_y=True)
    splits = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    n_init, tol, limit = benchmark.N_INIT, benchmark.TOL, benchmark.MAX_ITER
    shared = Settings(9, 0.0, True, "standard", None, 0.0, 0.5, "balanced", n_init, limit, tol, "error")
    data = TrainingRows.select(X, y, np.ones(len(y)))
    starts = Program(data, shared, np.random.RandomState(0), choose_backend(X), [train for train, _ in splits])
    expected = benchmark.loop(X, y, starts, splits)
    options = {
        "n_init": n_init,
        "n_average": benchmark.N_AVERAGE,
        "tol": tol,
        "keep": 1.0,
        "n_moves": 0,
        "scaling": "standard",
    }
    table = ESPASearch(**grid, **options, cv=splits, random_state=0).fit(X, y).results_
    names = ("n_clusters", "eps_c", "eps_w", "tau", "alpha")
    keys = list(zip(*(table[name].tolist() for name in names), strict=True))
    assert sorted(keys) == sorted(expected)
    np.testing.assert_allclose(table["log_loss"], [expected[key] for key in keys], atol=1e-12)
