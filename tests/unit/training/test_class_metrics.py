"""Scores of several classes equal scikit-learn where it has them, and reduce to those of two classes."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, fbeta_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from entropice_core.errors import SchemaError
from entropice_core.training.class_metrics import class_log_loss, class_shares, score_forecast
from entropice_core.training.metrics import score


def forecasts(n=400, k=3, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), n)
    y = np.array([rng.choice(k, p=row) for row in p])
    return y, p, rng.uniform(0.2, 2.0, n)


def test_log_loss_and_macro_auc_equal_scikit_learn():
    y, p, weight = forecasts()
    found = score_forecast(y, p, weight)
    assert found["log_loss"] == pytest.approx(sklearn_log_loss(y, p, sample_weight=weight))
    one_vs_rest = [roc_auc_score(y == k, p[:, k], sample_weight=weight) for k in range(3)]
    assert found["roc_auc"] == pytest.approx(np.mean(one_vs_rest))
    assert found["brier"] == pytest.approx(
        sum(brier_score_loss(y == k, p[:, k], sample_weight=weight) for k in range(3))
    )


def test_the_parts_of_the_brier_score_add_up_to_it():
    y, p, weight = forecasts()
    found = score_forecast(y, p, weight)
    parts = found["reliability"] - found["resolution"] + found["uncertainty"] + found["within_bins"]
    assert parts == pytest.approx(found["brier"])


def test_two_classes_have_the_scores_of_two_classes():
    y, p, weight = forecasts(k=2)
    assert score_forecast(y, p, weight, shares=[0.6, 0.4]) == score(y, p[:, 1], weight, base_rate=0.4)


def test_a_forecast_of_the_shares_has_no_skill_and_a_certain_one_has_all():
    y, _, _ = forecasts()
    shares = class_shares(y, 3, None)
    constant = score_forecast(y, np.tile(shares, (y.size, 1)), shares=shares)
    assert [constant[f"{name}_skill"] for name in ("log_loss", "brier", "rps")] == pytest.approx([0.0, 0.0, 0.0])
    certain = score_forecast(y, np.eye(3)[y], shares=shares)
    assert [certain[f"{name}_skill"] for name in ("log_loss", "brier", "rps")] == pytest.approx([1.0, 1.0, 1.0])
    assert certain["balanced_accuracy"] == 1.0 and certain["roc_auc"] == 1.0


def test_ranked_probabilities_punish_a_far_class_more_than_a_near_one():
    near, far = ([[0.1, 0.9, 0.0]], [[0.1, 0.0, 0.9]])
    assert score_forecast([0], near)["rps"] < score_forecast([0], far)["rps"]
    assert score_forecast([0], near)["log_loss"] == score_forecast([0], far)["log_loss"]


def test_skill_against_a_climatology_compares_with_its_own_log_loss():
    y, p, _ = forecasts()
    static = np.tile([0.5, 0.3, 0.2], (y.size, 1))
    found = score_forecast(y, p, climatology=static)
    assert found["climatology_log_loss_skill"] == pytest.approx(1 - class_log_loss(y, p) / class_log_loss(y, static))
    two = score(y > 0, 1 - p[:, 0], climatology=1 - static[:, 0])
    assert two["climatology_log_loss_skill"] > 0 and two["climatology_brier_skill"] > 0


def test_a_class_that_these_rows_lack_has_no_auc_and_the_others_make_the_mean():
    y, p, _ = forecasts()
    found = score_forecast(np.minimum(y, 1), p)
    assert np.isnan(found["class_2.roc_auc"]) and found["class_2.n_positive"] == 0
    assert found["roc_auc"] == pytest.approx(np.mean([found["class_0.roc_auc"], found["class_1.roc_auc"]]))


@pytest.mark.parametrize("beta", [1, 2])
def test_f_beta_and_balanced_accuracy_of_two_classes_equal_scikit_learn_at_the_base_rate(beta):
    y, p, weight = forecasts(k=2)
    found = score(y, p[:, 1], weight, base_rate=0.4)
    claims = p[:, 1] >= 0.4
    assert found[f"f{beta}"] == pytest.approx(fbeta_score(y, claims, beta=beta, sample_weight=weight))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, claims, sample_weight=weight))


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 3], [[0.2, 0.3, 0.5]] * 2, "must be classes 0 to 2"),
        ([0, 1], [[0.2, 0.3, 0.6]] * 2, "do not sum to 1"),
        ([0, 1], [[np.nan, 0.5, 0.5]] * 2, "are NaN"),
        ([0], [[0.2, 0.3, 0.5]] * 2, "do not belong together"),
    ],
)
def test_what_cannot_be_scored_is_refused(y, p, message):
    with pytest.raises(SchemaError, match=message):
        score_forecast(y, p)
