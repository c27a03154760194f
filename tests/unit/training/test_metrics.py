"""Scores equal those of scikit-learn and their own definitions, also with weights, ties and one class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from entropice_core.errors import SchemaError
from entropice_core.training.metrics import log_loss, reliability_table, score, summarise


@st.composite
def forecasts(draw):
    """Labels of both classes, forecasts with ties, and weights."""
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    n = draw(st.integers(4, 80))
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    p = rng.random(n) if draw(st.booleans()) else rng.integers(0, 5, n) / 4.0
    weight = np.ones(n) if draw(st.booleans()) else rng.random(n) + 0.01
    return y, p, weight


@settings(max_examples=150, deadline=None)
@given(forecasts())
def test_scores_equal_those_of_scikit_learn(case):
    y, p, weight = case
    ours = score(y, p, weight)
    claims = p >= np.average(y, weights=weight)
    theirs = {
        "log_loss": sk.log_loss(y, np.column_stack([1 - p, p]), sample_weight=weight),
        "brier": sk.brier_score_loss(y, p, sample_weight=weight),
        "roc_auc": sk.roc_auc_score(y, p, sample_weight=weight),
        "average_precision": sk.average_precision_score(y, p, sample_weight=weight),
        "balanced_accuracy": sk.balanced_accuracy_score(y, claims, sample_weight=weight),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


@settings(max_examples=100, deadline=None)
@given(forecasts())
def test_the_brier_score_is_the_sum_of_its_parts(case):
    y, p, weight = case
    parts = score(y, p, weight)
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within_bins"]
    assert total == pytest.approx(parts["brier"], abs=1e-12)
    assert parts["uncertainty"] == pytest.approx(parts["prevalence"] * (1 - parts["prevalence"]))
    assert min(parts["reliability"], parts["resolution"], parts["ece"]) >= 0


def test_with_one_forecast_a_bin_nothing_is_left_within_bins():
    y = np.array([0, 1, 0, 1, 1, 1, 0, 0])
    p = np.array([0.1, 0.1, 0.1, 0.7, 0.7, 0.7, 0.7, 0.1])
    assert score(y, p)["within_bins"] == pytest.approx(0, abs=1e-15)


def test_bins_have_equal_mass_and_equal_forecasts_share_one():
    table = reliability_table(np.tile([0, 1], 500), np.linspace(0, 1, 1000))
    assert table["n"].tolist() == [100.0] * 10
    assert np.all(table["p_low"][1:] > table["p_high"][:-1])
    tied = reliability_table(np.tile([0, 1], 500), np.repeat([0.2, 0.8], [900, 100]))
    assert tied["n"].tolist() == [900.0, 100.0]
    assert tied["observed"].tolist() == [0.5, 0.5]
    assert tied["weight"].sum() == pytest.approx(1)


def test_the_calibration_error_of_an_overconfident_forecast_is_its_excess():
    y = np.repeat([1, 0, 1, 0], [60, 40, 40, 60])
    p = np.repeat([0.9, 0.9, 0.1, 0.1], [60, 40, 40, 60])
    assert score(y, p)["ece"] == pytest.approx(0.3)


def test_one_class_leaves_ranking_scores_undefined_and_proper_scores_defined():
    scores = score(np.zeros(20), np.linspace(0, 0.5, 20), base_rate=0.1)
    assert all(np.isnan(scores[name]) for name in ("roc_auc", "average_precision", "balanced_accuracy"))
    assert all(np.isfinite(scores[name]) for name in ("log_loss", "brier", "ece", "brier_skill"))


def test_skill_is_against_the_prevalence_of_the_training_rows():
    y = np.array([0, 0, 0, 1])
    assert score(y, np.full(4, 0.4), base_rate=0.4)["brier_skill"] == 0
    assert score(y, np.full(4, 0.25), base_rate=0.4)["log_loss_skill"] > 0
    assert score(y, y.astype(float), base_rate=0.4)["brier_skill"] == 1


def test_a_certain_and_wrong_forecast_costs_much_but_not_infinitely():
    assert log_loss([1], [0.0]) == pytest.approx(36.04, abs=0.01)


def test_rows_without_weight_do_not_count():
    y, p = np.array([0, 1, 1, 0]), np.array([0.2, 0.9, 0.4, 0.6])
    some, padded = score(y, p), score(np.append(y, [1, 1]), np.append(p, [0.0, 0.01]), [1, 1, 1, 1, 0, 0])
    for name in ("log_loss", "brier", "roc_auc", "average_precision", "ece", "reliability"):
        assert padded[name] == pytest.approx(some[name]), name


def test_a_summary_counts_the_folds_in_which_a_score_is_defined():
    summary = summarise([{"roc_auc": 0.7, "n": 3.0}, {"roc_auc": np.nan, "n": 5.0}, {"roc_auc": 0.9, "n": 4.0}])
    assert summary["roc_auc"] == pytest.approx(
        {"mean": 0.8, "sd": np.sqrt(0.02), "min": 0.7, "max": 0.9, "n_folds_defined": 2}
    )
    assert summary["n"]["n_folds_defined"] == 3
    assert np.isnan(summarise([{"roc_auc": np.nan}])["roc_auc"]["mean"])


@pytest.mark.parametrize(
    ("y", "p", "weight", "message"),
    [
        ([0, 1], [0.1, np.nan], None, "1 of 2 probabilities are NaN or outside"),
        ([0, 1], [0.1, 1.1], None, "1 of 2 probabilities are NaN or outside"),
        ([0, 2], [0.1, 0.2], None, "must be 0 or 1"),
        ([0, 1], [0.1], None, "vectors of one length"),
        ([], [], None, "at least 1"),
        ([0, 1], [0.1, 0.2], [0, 0], "not all 0"),
        ([0, 1], [0.1, 0.2], [-1, 1], "not negative"),
    ],
)
def test_bad_forecasts_are_refused(y, p, weight, message):
    with pytest.raises(SchemaError, match=message):
        score(y, p, weight)
