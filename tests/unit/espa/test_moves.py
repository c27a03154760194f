"""Moves out of poor optima: what they promise comes true, the loss never rises, and the best basin is found."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_wine

from entropice_core.errors import ConfigError
from entropice_core.espa import ESPAClassifier, ESPASearch
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.board import Board, host_problem
from entropice_core.espa.moves import exchange_boxes, shift_rows
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows

FITS, BOXES = 3, 4


@pytest.fixture(scope="module")
def wine() -> tuple[np.ndarray, np.ndarray]:
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    return load_breast_cancer(return_X_y=True)


def board_of(seed: int, n_rows: int = 30, missing: float = 0.0, eps_c: float = 0.3) -> tuple[Board, np.ndarray]:
    """Rows with ties and unequal weights, three fits, and labels by lot; box 3 of the first fit is empty."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n_rows, 4)).round(1), np.arange(n_rows) % 3
    X[rng.random(X.shape) < missing] = np.nan
    weights = rng.integers(1, 4, n_rows).astype(float)
    rules = Settings(
        BOXES, 0.0, True, "standard", {0: 2.0}, 0.0, 0.5, "random", FITS, 50, 1e-8, "mask" if missing else "error"
    )
    rows = TrainingRows.select(X, y, weights)
    program = Program(rows, rules, np.random.RandomState(seed), choose_backend(X))
    problem = program.problem(Jobs.restarts_of_all_rows(BOXES, 1.0, eps_c, 0.4, FITS))
    pool = program._pool(0)
    board = Board(program.rows.layout, pool, host_problem(problem, program.backend, np.arange(FITS), pool), BOXES)
    labels = rng.integers(0, BOXES, (FITS, n_rows))
    labels[0] = rng.integers(0, BOXES - 1, n_rows)
    return board, labels


def with_weights_held(board: Board, labels: np.ndarray, W: np.ndarray) -> np.ndarray:
    """(G,) minus the loss up to a constant, S and Lambda being the best for the labels."""
    return board.scores(board.sums(labels, board.n_boxes), W).sum(axis=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 5.0]))
def test_what_a_row_gains_is_the_fall_of_the_loss_when_it_alone_moves(seed, eps_c) -> None:
    board, labels = board_of(seed, eps_c=eps_c)
    state = board.settle(labels)
    gain, target = board.row_gains(state)
    before = with_weights_held(board, labels, state.parameters.W)
    for fit, row in np.ndindex(FITS, 8):
        falls = []
        for box in range(BOXES):
            moved = labels.copy()
            moved[fit, row] = box
            falls.append((with_weights_held(board, moved, state.parameters.W) - before)[fit])
        falls[labels[fit, row]] = -np.inf
        assert gain[fit, row] == pytest.approx(max(falls), abs=1e-10)
        assert falls[target[fit, row]] == pytest.approx(max(falls), abs=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1]))
def test_differences_of_scores_are_differences_of_the_loss(seed, missing) -> None:
    board, labels = board_of(seed, missing=missing)
    other = np.where(labels == 1, 2, labels)
    first, second = board.settle(labels), board.settle(other)
    W = first.parameters.W
    held = board.scores(first.totals, W).sum(axis=1) - board.scores(second.totals, W).sum(axis=1)
    # the loss of the second labels under the W of the first, by the functional itself
    S, Lambda, live = board.tables(second.totals)
    costs = board.costs(W, S, live, Lambda)
    own = np.take_along_axis(costs, other[:, None, :], axis=1)[:, 0] + board.squares(W)
    p = first.parameters
    own_first = np.take_along_axis(board.costs(W, p.S, p.live, p.Lambda), labels[:, None, :], axis=1)[:, 0]
    prior = (board.problem.prior_strength[:, None] * board.problem.class_prior)[:, None, :]
    drawn = [-(prior * np.log(table)).sum(axis=(1, 2)) * board.problem.eps_c for table in (Lambda, p.Lambda)]
    loss = (own - own_first - board.squares(W)) @ board.pool.share + drawn[0] - drawn[1]
    np.testing.assert_allclose(held, loss, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1]))
def test_shifts_never_raise_the_loss_and_end_where_no_single_row_gains(seed, missing) -> None:
    board, labels = board_of(seed, missing=missing)
    before = labels.copy()
    moved = shift_rows(board, labels)
    np.testing.assert_array_equal(labels, before)
    start, end = board.settle(labels), board.settle(moved)
    assert (end.loss <= start.loss + 1e-12).all()
    if not missing:
        gain, _ = board.row_gains(end)
        again = board.settle(shift_rows(board, moved))
        assert ((gain <= 1e-4).all(axis=1) | (again.loss >= end.loss - 1e-2)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_exchanges_that_pay_lower_the_loss_and_depend_on_no_other_fit(seed) -> None:
    board, labels = board_of(seed)
    streams = [np.random.default_rng([seed, fit]) for fit in range(FITS)]
    together = exchange_boxes(board, labels, streams)
    alone = [
        exchange_boxes(board.take(np.array([fit])), labels[[fit]], [np.random.default_rng([seed, fit])])[0]
        for fit in range(FITS)
    ]
    np.testing.assert_array_equal(together, np.stack(alone))
    # labels by lot waste boxes, and the first fit has an empty one: there is always an exchange that pays
    assert (board.settle(together).loss < board.settle(labels).loss).all()


def falls(curve: np.ndarray) -> bool:
    return bool((np.diff(curve) <= 1e-10 * np.maximum(np.abs(curve[:-1]), 1.0)).all())


def test_moves_only_ever_lower_the_loss_of_every_restart(cancer) -> None:
    X, y = cancer
    curves = [ESPAClassifier(n_moves=n, random_state=0).fit(X, y) for n in (0, 1, 4)]
    for before, after in zip(curves, curves[1:], strict=False):
        assert (after.restart_losses_ <= before.restart_losses_).all()
        assert falls(after.loss_curve_)
    assert curves[2].restart_losses_.mean() < curves[0].restart_losses_.mean() - 0.005


def test_three_rounds_bring_nearly_every_restart_into_the_best_basin() -> None:
    rng = np.random.default_rng(0)
    # a ring in two of forty features of equal variance: half of the even starts choose noise
    X = rng.normal(size=(240, 40))
    y = (X[:, 0] ** 2 + X[:, 1] ** 2 < 1.4).astype(int)
    options = {"n_clusters": 10, "eps_w": 0.15, "random_state": 0}
    plain = ESPAClassifier(**options, n_init=16, n_moves=0).fit(X, y).restart_losses_
    moved = ESPAClassifier(**options, n_init=16, n_moves=3).fit(X, y).restart_losses_
    best = min(plain.min(), moved.min())
    reach = 0.01 * max(abs(best), 0.15 * math.log(40))
    assert (moved <= best + reach).mean() >= 0.95
    assert (plain <= best + reach).mean() <= 0.3
    assert moved.max() < plain.mean()


@pytest.mark.parametrize("options", [{"eps_a": 0.02}, {"missing": "mask"}, {"n_clusters": 1}, {"dtype": "float32"}])
def test_moves_go_with_every_other_option(wine, options) -> None:
    X, y = wine
    model = ESPAClassifier(**{"n_clusters": 4, "n_init": 4, "n_moves": 2, "random_state": 0, **options}).fit(X, y)
    assert falls(model.loss_curve_)
    again = ESPAClassifier(**{"n_clusters": 4, "n_init": 4, "n_moves": 2, "random_state": 0, **options}).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_the_search_takes_moves_and_ends_the_same_in_any_chunks(wine, monkeypatch) -> None:
    X, y = wine
    options = {"n_clusters": (8,), "eps_c": (0.1, 0.3), "eps_w": (0.5,), "n_init": 4, "keep": 1.0, "random_state": 0}
    plain, moved = (ESPASearch(**options, n_moves=n).fit(X, y) for n in (0, 2))
    assert not np.array_equal(plain.predict_proba(X), moved.predict_proba(X))
    monkeypatch.setattr("entropice_core.espa.search.HOST_COLUMNS", 10)
    again = ESPASearch(**options, n_moves=2).fit(X, y)
    np.testing.assert_allclose(again.results_["log_loss"], moved.results_["log_loss"], atol=1e-10)
    with pytest.raises(ConfigError, match="n_moves is -2"):
        ESPASearch(**options, n_moves=-2).fit(X, y)
