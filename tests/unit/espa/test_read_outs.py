"""Log-linear class tables: the minimiser they claim to be, chosen by held-out rows only, explained and stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from entropice_core.espa import ESPAEnsemble, ESPASearch
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.log_linear import fit_table
from entropice_core.espa.read_outs import LogLinear

OPTIONS = {"n_clusters": (4, 8), "eps_c": (0.3,), "eps_w": (0.3, 1.0), "mi_prior": (0.0,), "n_init": 4, "n_average": 2}
MODEL = {**OPTIONS, "scaling": "standard", "n_models": 2, "n_moves": 0, "cv": 3, "random_state": 0}


def problem(seed: int, n_rows: int, n_boxes: int, n_classes: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    affiliation = softmax(2 * rng.normal(size=(n_rows, n_boxes)), axis=1)
    counted = rng.dirichlet(np.ones(n_classes), n_boxes)
    return affiliation, rng.integers(0, n_classes, n_rows), rng.integers(1, 4, n_rows).astype(float), counted


def objective(table: np.ndarray, given: tuple[np.ndarray, ...], penalty: float) -> float:
    affiliation, codes, weights, counted = given
    start = np.log(np.maximum(counted, 1e-6))
    # scores are known up to a constant per box, which the penalty fixes at the mean of what they are drawn to
    theta = table + (start - table).mean(axis=1, keepdims=True)
    logs = log_softmax(affiliation @ theta, axis=1)[np.arange(len(codes)), codes]
    return float(-(weights @ logs) + 0.5 * penalty * ((theta - start) ** 2).sum())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_rows=st.integers(1, 60),
    n_boxes=st.integers(1, 6),
    n_classes=st.integers(1, 4),
    penalty=st.sampled_from([1e-2, 0.1, 1.0, 100.0]),
)
def test_no_table_nearby_is_better(seed, n_rows, n_boxes, n_classes, penalty) -> None:
    given_ = problem(seed, n_rows, n_boxes, n_classes)
    table = fit_table(*given_, penalty)
    np.testing.assert_allclose(table.sum(axis=1), 0.0, atol=1e-9)
    best = objective(table, given_, penalty)
    found = minimize(lambda t: objective(t.reshape(table.shape), given_, penalty), table.ravel())
    assert best <= found.fun + 1e-5 * max(1.0, abs(found.fun))


def test_both_ways_to_the_minimum_end_there(monkeypatch) -> None:
    given_ = problem(1, 80, 5, 3)
    newton = fit_table(*given_, 0.5)
    monkeypatch.setattr("entropice_core.espa.log_linear.NEWTON", 0)
    np.testing.assert_allclose(fit_table(*given_, 0.5), newton, atol=1e-3)


def test_a_row_of_weight_two_equals_the_row_twice() -> None:
    affiliation, codes, weights, counted = problem(2, 30, 4, 3)
    times = weights.astype(int)
    repeated = (np.repeat(affiliation, times, axis=0), np.repeat(codes, times), np.ones(times.sum()), counted)
    np.testing.assert_allclose(
        fit_table(affiliation, codes, weights, counted, 0.3), fit_table(*repeated, 0.3), atol=1e-6
    )


@pytest.fixture(scope="module")
def slope() -> tuple[np.ndarray, ...]:
    """Classes told apart by a slope in six features, where counting in boxes makes a staircase."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 6))
    y = (X.sum(axis=1) + 0.5 * rng.normal(size=900) > 0).astype(int)
    return X[:300], y[:300], X[300:], y[300:]


def test_on_a_slope_log_linear_tables_are_chosen_and_come_near_logistic_regression(slope) -> None:
    X, y, X_test, y_test = slope
    chosen = ESPAEnsemble(**MODEL).fit(X, y)
    counted = ESPAEnsemble(**MODEL, log_linear=False).fit(X, y)
    assert counted.read_out_ == (None,)
    assert chosen.read_out_ != (None,)
    losses = [log_loss(y_test, model.predict_proba(X_test)) for model in (chosen, counted)]
    line = log_loss(y_test, LogisticRegression().fit(X, y).predict_proba(X_test))
    assert losses[0] < line + 0.6 * (losses[1] - line)


def test_a_search_counts_unless_it_is_asked(slope) -> None:
    assert ESPASearch(**{**MODEL, "n_models": 1}).fit(*slope[:2]).read_out_ == (None,)
    assert ESPASearch(**{**MODEL, "n_models": 1}, log_linear=True).fit(*slope[:2]).read_out_ != (None,)


@pytest.mark.parametrize("way", [None, LogLinear(0.4, 0.1), LogLinear(1.6, 0.01)])
def test_labels_of_held_out_rows_do_not_reach_their_probabilities(way, slope, monkeypatch) -> None:
    monkeypatch.setattr("entropice_core.espa.ensemble.WAYS", (way,))
    X, y, *_ = slope
    test = np.arange(0, 300, 3)
    other = y.copy()
    other[test] = 1 - other[test]
    split = [(np.setdiff1d(np.arange(300), test), test)]
    # one value of everything, as labels of held-out rows do decide among values
    fixed = {"n_clusters": (8,), "eps_w": (0.5,), "tau": (0.2,), "alpha": (1.0,), "n_models": 1, "cv": split}
    first, second = (ESPAEnsemble(**{**MODEL, **fixed}).fit(X, labels) for labels in (y, other))
    assert first.read_out_ == (way,)
    np.testing.assert_array_equal(first.held_out_probabilities_[test], second.held_out_probabilities_[test])


def test_log_linear_models_are_stored_and_explained_to_the_last_digit(slope) -> None:
    X, y, X_test, _ = slope
    model = ESPAEnsemble(**MODEL).fit(X, y)
    stored = ESPAEnsemble.from_arrays(*model.to_arrays())
    np.testing.assert_array_equal(stored.predict_proba(X_test), model.predict_proba(X_test))
    told = model.explain(X_test[0])
    np.testing.assert_allclose(told.path.loc["returned"], model.predict_proba(X_test[:1])[0], atol=1e-12)
    member = model.predictor_.member_probabilities(X_test[:1], choose_backend(X_test))
    np.testing.assert_allclose(told.path.loc["all boxes by affiliation"], member[0, 0], atol=1e-12)


def test_three_classes_and_weights_go_through_the_ensemble() -> None:
    X, y = load_wine(return_X_y=True)
    weights = np.ones(len(y))
    weights[::5] = 0.0
    model = ESPAEnsemble(**MODEL).fit(X, y, sample_weight=weights)
    P = model.predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    assert log_loss(y, P) < 0.1
