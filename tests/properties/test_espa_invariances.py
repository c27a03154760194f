"""What must not matter to eSPA does not matter, whatever the data; and no fit beats the best of all assignments."""

import itertools
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entropice_core.espa import ESPAClassifier
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.fit import run_fits
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import Scaling, fit_scaling
from entropice_core.espa.steps import Parameters, Problem

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Table:
    """X (T, D), y (T,), weights (T,)."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray


@st.composite
def tables(draw: Any) -> Table:
    """Small tables with any of: ties, repeated rows, constant columns, one class, fewer rows than clusters."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n, d, m = draw(st.integers(2, 30)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    X = rng.normal(size=(n, d))
    if draw(st.booleans()):
        X = np.round(X, 0)
    if draw(st.booleans()):
        X[:, 0] = 7.0
    if draw(st.booleans()):
        X = X[rng.integers(0, n, n)]
    weights = rng.integers(1, 4, n).astype(float) if draw(st.booleans()) else np.ones(n)
    return Table(X, rng.integers(0, m, n), weights)


def model(**changes: Any) -> ESPAClassifier:
    return ESPAClassifier(**{"n_clusters": 5, "n_init": 4, "random_state": 0, **changes})


@QUICK
@given(tables(), st.sampled_from(["standard", "minmax"]), st.sampled_from([0.0, 0.05]))
def test_every_table_gives_distributions_and_a_loss_that_never_rises(table, scaling, eps_a) -> None:
    fitted = model(scaling=scaling, eps_a=eps_a).fit(table.X, table.y, table.weights)
    P = fitted.predict_proba(table.X)
    assert (P >= 0).all()
    np.testing.assert_allclose(P.sum(1), 1.0)
    assert (np.diff(fitted.loss_curve_) <= 1e-11 * np.maximum(1, np.abs(fitted.loss_curve_[:-1]))).all()
    assert len(fitted.cluster_centers_) <= len(np.unique(table.X, axis=0))


@QUICK
@given(tables())
def test_a_weight_equals_that_many_copies_of_the_row(table) -> None:
    """Off a lattice: a row as near to one centre as to another goes where the last bit of two means says."""
    copies = table.weights.astype(int)
    X = table.X + 0.01 * np.sin(37.0 * table.X + np.arange(table.X.shape[1]))
    weighted = model().fit(X, table.y, table.weights)
    repeated = model().fit(X.repeat(copies, 0), table.y.repeat(copies))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-8)


@QUICK
@given(tables())
def test_one_hot_distributions_equal_hard_labels(table) -> None:
    classes, codes = np.unique(table.y, return_inverse=True)
    hard = model().fit(table.X, table.y, table.weights)
    soft = model().fit_soft(table.X, np.eye(len(classes))[codes], table.weights, classes)
    np.testing.assert_allclose(soft.predict_proba(table.X), hard.predict_proba(table.X), atol=1e-12)
    assert soft.classes_.tolist() == hard.classes_.tolist()


@pytest.fixture(scope="module")
def smooth() -> Table:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 4))
    return Table(X, (X[:, 0] + 0.5 * rng.normal(size=120) > 0).astype(int), np.ones(120))


@pytest.mark.parametrize("options", [{}, {"n_moves": 2}, {"eps_t": 0.5}, {"eps_a": 0.02}])
def test_row_order_and_a_shift_by_a_hundred_standard_deviations_do_not_matter(smooth, options) -> None:
    X, y = smooth.X, smooth.y
    order = np.random.default_rng(1).permutation(len(X))
    first = model(**options).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(model(**options).fit(X[order], y[order]).predict_proba(X), first, atol=1e-9)
    far = X + 100.0 * X.std(0)
    np.testing.assert_allclose(model(**options).fit(far, y).predict_proba(far), first, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"n_moves": 2}, {"eps_t": 0.5}])
def test_rows_repeated_equal_weights_doubled_with_every_route(smooth, options) -> None:
    X, y = smooth.X, smooth.y
    weights = 1.0 + (np.arange(len(X)) % 3 == 0)
    copies = weights.astype(int)
    first = model(**options).fit(X, y, weights).predict_proba(X)
    second = model(**options).fit(X.repeat(copies, 0), y.repeat(copies)).predict_proba(X)
    np.testing.assert_allclose(first, second, atol=1e-9)


def problem_of(table: Table, n_fits: int, eps_c: float, eps_w: float, alpha: float) -> tuple[Rows, Problem, Scaling]:
    """All constants written out, independently of ``Program``."""
    w, M, D = table.weights / table.weights.sum(), int(table.y.max()) + 1, table.X.shape[1]
    scaling = fit_scaling(table.X, table.weights)
    backend = choose_backend(table.X)
    rows = Rows(table.X, scaling, backend, codes=table.y, n_classes=M, weights=w[None, :])
    frequency = np.tile(np.bincount(table.y, w, M), (n_fits, 1))
    one = np.ones(n_fits)
    problem = Problem(
        eps_c=eps_c * one,
        eps_w=eps_w * one,
        eps_a=0.0 * one,
        prior_strength=alpha / table.weights.sum() * one,
        class_prior=frequency,
        class_frequency=frequency,
        class_factor=np.ones((n_fits, M)),
        metric=np.ones((n_fits, D)),
        log_prior=np.zeros((n_fits, D)),
        second_moment=np.tile(rows.second_moments(), (n_fits, 1)),
        fold=np.zeros(n_fits, dtype=np.int64),
    )
    return rows, problem, scaling


def random_start(table: Table, n_fits: int, K: int, seed: int) -> Parameters:
    rng = np.random.default_rng(seed)
    D, M = table.X.shape[1], int(table.y.max()) + 1
    x = (table.X - table.X.mean(0)) / table.X.std(0)
    S = np.stack([x[rng.choice(len(x), K, replace=False)] for _ in range(n_fits)])
    share = np.bincount(table.y, minlength=M) / len(x)
    return Parameters(np.full((n_fits, D), 1 / D), S, np.tile(share, (n_fits, K, 1)), np.ones((n_fits, K), dtype=bool))


def test_the_order_of_the_features_and_the_names_of_the_classes_do_not_matter_to_the_steps(smooth) -> None:
    start = random_start(smooth, 6, 5, 0)
    rows, problem, _ = problem_of(smooth, 6, 0.3, 0.4, 1.0)
    plain = run_fits(rows, problem, start)
    columns = np.array([2, 0, 3, 1])
    turned = Table(smooth.X[:, columns], smooth.y, smooth.weights)
    rows, problem, _ = problem_of(turned, 6, 0.3, 0.4, 1.0)
    found = run_fits(rows, problem, replace(start, W=start.W[:, columns], S=start.S[:, :, columns]))
    np.testing.assert_allclose(found.losses, plain.losses, atol=1e-12)
    np.testing.assert_allclose(found.W, plain.W[:, columns], atol=1e-12)
    renamed = Table(smooth.X, 1 - smooth.y, smooth.weights)
    rows, problem, _ = problem_of(renamed, 6, 0.3, 0.4, 1.0)
    found = run_fits(rows, problem, replace(start, Lambda=start.Lambda[:, :, ::-1]))
    np.testing.assert_allclose(found.losses, plain.losses, atol=1e-12)
    np.testing.assert_allclose(found.Lambda, plain.Lambda[:, :, ::-1], atol=1e-12)


def best_of_all_assignments(table: Table, K: int, eps_c: float, eps_w: float, alpha: float) -> float:
    """The loss of the best of all K^T assignments, each with its closed-form W, S and Lambda."""
    x, w = fit_scaling(table.X, table.weights).inside(table.X), table.weights / table.weights.sum()
    M = int(table.y.max()) + 1
    prior, a = np.bincount(table.y, w, M), alpha / table.weights.sum()
    best = np.inf
    for labels in itertools.product(range(K), repeat=len(x)):
        chosen = np.eye(K)[list(labels)] * w[:, None]
        mass = chosen.sum(0)
        S = chosen.T @ x / np.where(mass > 0, mass, 1.0)[:, None]
        b = w @ (x - S[list(labels)]) ** 2
        W = np.exp(-(b - b.min()) / eps_w)
        W = W / W.sum()
        counts = chosen.T @ np.eye(M)[table.y] + a * prior
        total = counts.sum(1, keepdims=True)
        Lambda = np.where(total > 0, counts / np.where(total > 0, total, 1.0), prior)
        surprise = -(counts * np.log(np.maximum(Lambda, np.finfo(float).eps))).sum()
        entropy = (W * np.log(np.where(W > 0, W, 1.0))).sum()
        best = min(best, float(W @ b + eps_c * surprise + eps_w * entropy))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n_rows", "K"), [(8, 2), (6, 3)])
def test_the_best_restart_reaches_the_best_of_all_assignments_and_none_falls_below(seed, n_rows, K) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 2))
    y = np.concatenate([[0, 1], rng.integers(0, 2, n_rows - 2)])
    table = Table(X, y, rng.integers(1, 3, n_rows).astype(float))
    best = best_of_all_assignments(table, K, 0.3, 0.5, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = ESPAClassifier(K, n_init=32, n_moves=4, tol=1e-12, random_state=0).fit(X, y, table.weights)
    assert fitted.restart_losses_.min() == pytest.approx(best, abs=1e-10)
    assert fitted.restart_losses_.min() >= best - 1e-10
