"""Calibration repairs confidence and prevalence, never turns a ranking round, and stays finite."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, softmax

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
        (("isotonik", [0.5, 0.5], [0, 1]), ConfigError, "no calibration 'isotonik'; did you mean 'isotonic'"),
        (("logistik", [0.5, 0.5], [0, 1]), ConfigError, "did you mean 'logistic'"),
        (("logistic", [0.5, 0.5], [1, 1]), TrainingError, "2 out-of-fold rows of one class"),
        (("logistic", [0.5, np.nan], [0, 1]), SchemaError, "NaN or outside"),
        (("logistic", [0.5], [0, 1]), SchemaError, "one probability, label and weight a row"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fit_calibrator(*arguments)


def three_classes(n=6000, seed=0, slopes=(2.0, 2.0, 2.0), shifts=(0.0, 0.5, -0.5)):
    """Labels of three classes, and forecasts whose log-probabilities were stretched and shifted."""
    rng = np.random.default_rng(seed)
    truth = log_softmax(rng.normal(0, 1.2, (n, 3)), axis=1)
    y = (rng.random((n, 1)) > np.cumsum(np.exp(truth), axis=1)).sum(axis=1)
    return y, softmax(truth * np.array(slopes) + np.array(shifts), axis=1)


def loss_of(y, p):
    return float(-np.log(p[np.arange(len(y)), y]).mean())


@pytest.mark.parametrize("kind", ["temperature", "logistic", "vector", "dirichlet", "isotonic", "auto"])
def test_every_kind_repairs_three_classes_on_rows_that_were_not_used(kind):
    y, p = three_classes()
    calibrate = fit_calibrator(kind, p, y)
    y_new, p_new = three_classes(seed=1)
    after = calibrate(p_new)
    assert after.sum(axis=1) == pytest.approx(1.0)
    assert loss_of(y_new, after) < loss_of(y_new, p_new) - 0.05
    assert Calibrator.from_dict(json.loads(json.dumps(calibrate.to_dict()))) == calibrate


def test_a_shift_of_each_class_needs_more_than_a_temperature_and_auto_sees_it():
    y, p = three_classes(slopes=(1.0, 1.0, 1.0), shifts=(0.0, 2.0, -2.0))
    chosen = fit_calibrator("auto", p, y)
    losses = dict(chosen.tried)
    assert losses["logistic"] < losses["temperature"] - 0.1
    assert chosen.kind in ("logistic", "vector", "dirichlet")
    assert losses[chosen.kind] == min(losses.values())
    y_new, p_new = three_classes(seed=2, slopes=(1.0, 1.0, 1.0), shifts=(0.0, 2.0, -2.0))
    assert loss_of(y_new, fit_calibrator("logistic", p, y)(p_new)) == pytest.approx(losses["logistic"], abs=0.03)


def test_forecasts_that_are_calibrated_already_are_not_made_worse_by_auto():
    y, p = three_classes(slopes=(1.0, 1.0, 1.0), shifts=(0.0, 0.0, 0.0))
    y_new, p_new = three_classes(seed=3, slopes=(1.0, 1.0, 1.0), shifts=(0.0, 0.0, 0.0))
    assert loss_of(y_new, fit_calibrator("auto", p, y)(p_new)) < loss_of(y_new, p_new) + 0.003


@pytest.mark.parametrize("kind", ["temperature", "logistic", "vector", "isotonic", "auto"])
def test_two_columns_and_the_probability_of_class_one_are_the_same_thing(kind):
    y, p = overconfident(n=800)
    one, two = fit_calibrator(kind, p, y), fit_calibrator(kind, np.column_stack([1 - p, p]), y)
    assert one == two
    assert np.array_equal(two(np.column_stack([1 - p, p]))[:, 1], one(p))


@pytest.mark.parametrize("kind", ["temperature", "logistic", "vector", "dirichlet"])
def test_the_fit_of_log_linear_kinds_is_a_minimum(kind):
    y, p = three_classes(n=400)
    fitted = fit_calibrator(kind, p, y)
    total = np.bincount(y)
    targets = ((np.eye(3) * total[:, None] + 1) / (total[:, None] + 3))[y]
    free = np.ones((3, 3), bool) if kind == "dirichlet" else np.eye(3, dtype=bool)

    def loss(matrix, bias):
        off = matrix[~np.eye(3, dtype=bool)] @ matrix[~np.eye(3, dtype=bool)]
        return -(targets * log_softmax(np.log(p) @ matrix.T + bias, axis=1)).sum() + off

    best, rng = loss(np.array(fitted.matrix), np.array(fitted.bias)), np.random.default_rng(0)
    for _ in range(50):
        step, shift = rng.normal(0, 0.02, (3, 3)) * free, rng.normal(0, 0.02, 3)
        if kind in ("temperature", "logistic"):
            step = np.eye(3) * step[0, 0]
        moved = np.array(fitted.bias) + (0 if kind == "temperature" else shift)
        assert loss(np.array(fitted.matrix) + step, moved) >= best - 1e-7


def test_isotonic_steps_rise_and_equal_the_pooled_means():
    p, y = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6] * 50), np.array([0, 1, 0, 0, 1, 1] * 50)
    found = fit_calibrator("isotonic", p, y)(np.linspace(0, 1, 101))
    assert (np.diff(found) >= 0).all()
    low, high = 1 / 152, 151 / 152  # classes are pulled together by one row of each
    assert fit_calibrator("isotonic", p, y)([0.3])[0] == pytest.approx((2 * low + high) / 3)  # 0.2 to 0.4 pooled


def test_auto_scores_a_group_only_with_a_calibration_that_was_fitted_without_it():
    y, p = overconfident(n=600)
    groups = np.arange(600) % 3
    chosen = fit_calibrator("auto", p, y, groups=groups)
    losses = []
    for name in range(3):
        q = fit_calibrator("logistic", p[groups != name], y[groups != name])(p[groups == name])
        losses.append(log_loss(y[groups == name], q))
    assert dict(chosen.tried)["logistic"] == pytest.approx(np.mean(losses), abs=1e-12)


def test_auto_with_too_few_places_to_compare_takes_logistic():
    chosen = fit_calibrator("auto", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], groups=[0, 0, 1, 1])
    assert (chosen.kind, chosen.tried) == ("logistic", ())


def test_a_calibration_of_other_classes_or_an_older_form_is_refused():
    y, p = three_classes(n=300)
    with pytest.raises(SchemaError, match="of 3 classes got 2 columns"):
        fit_calibrator("vector", p, y)([0.5, 0.2])
    with pytest.raises(SchemaError, match="lacks or does not know"):
        Calibrator.from_dict({"kind": "logistic", "slope": 1.0, "intercept": 0.0, "n_rows": 3})
    with pytest.raises(SchemaError, match="not classes 0 to 2"):
        fit_calibrator("vector", p, y + 1)
