"""Stability tells a ranking that comes again from one that does not, and what moves it."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from entropice_core.training.stability import agree, describe_stability

NAMES = [f"f{i}" for i in range(12)]


def test_agreement_is_the_mean_over_pairs():
    scores = np.random.default_rng(0).normal(size=(4, 12))
    found = agree(scores, 5)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    assert found.spearman == pytest.approx(np.mean([spearmanr(scores[i], scores[j])[0] for i, j in pairs]))
    top = [set(np.argsort(-row)[:5]) for row in scores]
    assert found.top_overlap == pytest.approx(np.mean([len(top[i] & top[j]) / 5 for i, j in pairs]))
    assert found.n_pairs == 6


def scores(between_folds, between_seeds, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.linspace(3, 0, 12)
    by_fold = truth + between_folds * rng.normal(size=(5, 1, 12))
    return by_fold + between_seeds * rng.normal(size=(5, 3, 12))


@pytest.mark.parametrize(
    ("between_folds", "between_seeds", "word"),
    [(0.1, 0.05, "stable: "), (3.0, 0.05, "not stable: the ranking depends on the place"), (0.0, 2.5, "unsteady: ")],
)
def test_the_verdict_names_what_moves_the_ranking(between_folds, between_seeds, word):
    assert describe_stability(scores(between_folds, between_seeds), NAMES, 4)["verdict"].startswith(word)


def test_features_come_in_order_with_their_ranks_over_all_fits():
    report = describe_stability(scores(0.1, 0.05), NAMES, 4)
    first = report["features"][0]
    assert (first["name"], first["best_rank"], first["share_in_top"]) == ("f0", 1.0, 1.0)
    assert report["features"][-1]["share_in_top"] == 0.0
    assert first["sd_over_folds"] > first["sd_over_seeds"] > 0
    json.dumps(report, allow_nan=False)


def test_one_fold_or_scores_that_do_not_vary_say_nothing():
    assert describe_stability(np.ones((1, 1, 3)), ["a", "b", "c"], 2)["verdict"].startswith("not known")
    assert describe_stability(np.zeros((3, 2, 3)), ["a", "b", "c"], 2)["verdict"].startswith("not known")
