"""Two finished fits are matched box by box, and every pair gives one of both."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from entropice_core.espa import ESPAClassifier
from entropice_core.espa.crossing import cross_fits, match_boxes
from entropice_core.espa.fit import FitResult

B, K, D, M = 4, 3, 2, 2


@pytest.fixture
def parents() -> FitResult:
    """Fits whose boxes lie at the same three places, in other orders, each a little off by its own number."""
    places = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    orders = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1]]
    S = np.stack([places[order] + 0.1 * fit for fit, order in enumerate(orders)])
    Lambda = np.broadcast_to(np.arange(B)[:, None, None] / 10.0, (B, K, M)).copy()
    W = np.stack([[1.0 - fit / 10, fit / 10] for fit in range(B)])
    losses = [np.array([3.0 - fit]) for fit in range(B)]
    return FitResult(W, S, Lambda, np.ones((B, K), bool), losses, np.ones(B, bool))


def streams(seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, fit]) for fit in range(B)]


def test_boxes_are_matched_by_the_least_sum_of_distances() -> None:
    S = np.array([[0.0, 0.0], [5.0, 0.0]])
    own, partner = match_boxes(S, np.array([[5.0, 9.0], [0.0, -9.0]]), np.array([1.0, 0.0]))
    assert own.tolist() == [0, 1]
    assert partner.tolist() == [1, 0]


def test_a_child_has_every_place_once_and_boxes_of_both_parents(parents: FitResult) -> None:
    mixed = 0
    for seed in range(20):
        child = cross_fits(parents, np.zeros(B, int), np.ones((B, D)), streams(seed))
        for fit in range(B):
            places = {tuple(np.round(box - 0.1 * parent, 6)) for box, parent in
                      zip(child.S[fit], np.round(child.Lambda[fit, :, 0] * 10).astype(int), strict=True)}  # fmt: skip
            assert places == {(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)}
            givers = set(np.round(child.Lambda[fit, :, 0] * 10).astype(int).tolist())
            assert len(givers | {fit}) <= 2
            mixed += len(givers) == 2
    assert mixed > 20


def test_a_child_has_the_feature_weights_of_the_better_parent(parents: FitResult) -> None:
    child = cross_fits(parents, np.array([0, 0, 1, 1]), np.ones((B, D)), streams())
    np.testing.assert_array_equal(child.W, parents.W[[1, 1, 3, 3]])


def test_a_fit_alone_stays_what_it_is_and_draws_do_not_depend_on_other_groups(parents: FitResult) -> None:
    child = cross_fits(parents, np.array([0, 1, 1, 2]), np.ones((B, D)), streams())
    for fit in (0, 3):
        np.testing.assert_array_equal(child.S[fit], parents.S[fit])
    together = cross_fits(parents, np.array([0, 1, 1, 0]), np.ones((B, D)), streams())
    np.testing.assert_array_equal(child.S[1:3], together.S[1:3])


def test_two_rounds_leave_fewer_than_one_restart_in_twenty_above_the_best_basin_of_digits() -> None:
    X, y = (part[:300] for part in load_digits(return_X_y=True))
    options = {"n_clusters": 20, "eps_c": 0.3, "eps_w": 0.5, "n_init": 24, "random_state": 0}
    plain = ESPAClassifier(**options).fit(X, y).restart_losses_
    moved = ESPAClassifier(**options, n_moves=2).fit(X, y).restart_losses_
    best = min(plain.min(), moved.min())
    assert ((plain - best) / abs(best) > 0.01).mean() > 0.5
    assert ((moved - best) / abs(best) > 0.01).mean() < 0.05
