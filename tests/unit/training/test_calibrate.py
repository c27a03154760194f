"""Calibration repairs confidence and prevalence, never turns a ranking round, and stays finite."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from entropice_core.errors import ConfigError, SchemaError, TrainingError
from entropice_core.training.calibrate import Calibrator, fit_calibrator
from entropice_core.training.metrics import log_loss, score


def overconfident(n=4000, seed=0, slope=3.0, shift=1.0):
    """Labels, and forecasts whose log-odds are too large and shifted."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1.2, n)
    return (rng.random(n) < expit(truth)).astype(int), expit(slope * truth + shift)


def test_overconfident_forecasts_get_better_on_rows_that_were_not_used():
    y, p = overconfident()
    calibrate = fit_calibrator("logistic", p, y)
    y_new, p_new = overconfident(seed=1)
    before, after = score(y_new, p_new), score(y_new, calibrate(p_new))
    assert after["log_loss"] < before["log_loss"] - 0.1
    assert after["ece"] < 0.03 < before["ece"]
    assert after["roc_auc"] == pytest.approx(before["roc_auc"], abs=1e-12)


def test_slope_and_intercept_undo_what_was_done_to_the_log_odds():
    y, p = overconfident(n=60000, slope=2.0, shift=0.7)
    calibrate = fit_calibrator("logistic", p, y)
    assert calibrate.slope == pytest.approx(0.5, abs=0.02)
    assert calibrate.intercept == pytest.approx(-0.35, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 60))
def test_the_fit_is_the_minimum_under_a_slope_that_is_not_negative(seed, n):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    p = rng.beta(0.3, 0.3, n).clip(1e-6, 1 - 1e-6)
    target = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / (n - y.sum() + 2))

    def loss(theta):
        z = theta[0] * logit(p) + theta[1]
        return np.sum(np.logaddexp(0, z) - target * z)

    ours = fit_calibrator("logistic", p, y)
    best = minimize(loss, [0.5, 0.0], method="L-BFGS-B", bounds=[(0, None), (None, None)]).fun
    assert loss([ours.slope, ours.intercept]) <= best + 1e-6
    assert ours.slope >= 0


def test_separated_classes_give_a_finite_calibration():
    calibrate = fit_calibrator("logistic", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    p = calibrate([0.0, 0.5, 1.0])
    assert np.isfinite([calibrate.slope, calibrate.intercept]).all()
    assert np.all((p > 0) & (p < 1))


def test_a_ranking_that_is_the_wrong_way_round_is_flattened_to_the_prevalence():
    y, p = overconfident()
    calibrate = fit_calibrator("logistic", 1 - p, y)
    assert calibrate.slope == 0
    assert calibrate([0.01, 0.99]) == pytest.approx([y.mean()] * 2, abs=1e-3)


def test_one_forecast_for_all_is_moved_to_the_prevalence():
    y = np.repeat([0, 1], [300, 100])
    assert fit_calibrator("logistic", np.full(400, 0.6), y)([0.6])[0] == pytest.approx(0.25, abs=0.005)


def test_zeros_and_ones_of_a_model_are_taken_as_never_seen_not_as_certain():
    p = fit_calibrator("logistic", [0, 0, 0, 1, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1, 1, 0])([0.0, 1.0])
    assert 0.1 < p[0] < 0.4 and 0.6 < p[1] < 0.9


def test_no_calibration_changes_nothing():
    p = np.array([0.0, 0.3, 1.0])
    assert np.array_equal(fit_calibrator("none", p, [0, 1, 1])(p), p)


def test_weights_count_like_copies():
    y, p = overconfident(n=200)
    weight = np.random.default_rng(0).integers(1, 4, 200)
    weighted = fit_calibrator("logistic", p, y, weight)
    copied = fit_calibrator("logistic", np.repeat(p, weight), np.repeat(y, weight))
    assert (weighted.slope, weighted.intercept) == pytest.approx((copied.slope, copied.intercept), rel=1e-8)


def test_a_calibration_survives_json_bit_for_bit():
    y, p = overconfident(n=500)
    calibrate = fit_calibrator("logistic", p, y)
    again = Calibrator.from_dict(json.loads(json.dumps(calibrate.to_dict())))
    assert again == calibrate
    assert np.array_equal(again(p), calibrate(p))


def test_calibrated_log_loss_is_never_worse_on_the_rows_of_the_fit_beyond_the_pull_of_two_rows():
    for seed in range(10):
        y, p = overconfident(n=300, seed=seed, slope=1.0, shift=0.0)
        assert log_loss(y, fit_calibrator("logistic", p, y)(p)) < log_loss(y, p) + 2 / 300


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("isotonik", [0.5, 0.5], [0, 1]), ConfigError, "no calibration 'isotonik'; known: none, logistic"),
        (("logistik", [0.5, 0.5], [0, 1]), ConfigError, "did you mean 'logistic'"),
        (("logistic", [0.5, 0.5], [1, 1]), TrainingError, "2 out-of-fold rows of one class"),
        (("logistic", [0.5, np.nan], [0, 1]), SchemaError, "NaN or outside"),
        (("logistic", [0.5], [0, 1]), SchemaError, "one probability, label and weight a row"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fit_calibrator(*arguments)
