"""Searches try what the study says, the same each time, and halving spends its time on the better candidates."""

import pytest
from pydantic import ValidationError

from entropice_core.config import ModelConfig, Range
from entropice_core.training.candidates import list_candidates
from entropice_core.training.nested_cv import fit_final, nested_cv
from entropice_core.training.problem import Problem

DRAWN = {"search": {"C": {"low": 1e-3, "high": 10.0, "log": True}, "max_iter": [100, 200]}, "method": "random"}


def test_random_candidates_lie_in_their_ranges_and_differ_by_seed_only():
    config = ModelConfig(model="x", n_candidates=20, **DRAWN)
    found = list_candidates(config, seed=3)
    assert len(found) == 20
    assert all(1e-3 <= c["C"] <= 10 and c["max_iter"] in (100, 200) for c in found)
    assert found == list_candidates(config, seed=3) != list_candidates(config, seed=4)


def test_on_a_log_scale_small_values_are_as_common_as_large_ones():
    config = ModelConfig(model="x", n_candidates=400, **DRAWN)
    below = sum(c["C"] < 0.1 for c in list_candidates(config))
    assert 160 < below < 240


def test_whole_numbers_are_drawn_from_end_to_end():
    config = ModelConfig(model="x", search={"k": Range(low=2, high=4)}, method="random", n_candidates=3)
    assert sorted(c["k"] for c in list_candidates(config)) == [2, 3, 4]


def test_short_lists_give_fewer_candidates_than_asked_for():
    config = ModelConfig(model="x", search={"k": [1, 2]}, method="random", n_candidates=50)
    assert sorted(c["k"] for c in list_candidates(config)) == [1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": {"C": 1}, "search": {"C": [1]}}, "C stands in params and in search"),
        ({"search": {"C": {"low": 1, "high": 2}}}, "search.C is a range: method = 'grid' needs a list"),
        ({"method": "random"}, "method = 'random' needs a search table"),
        ({"search": {"C": {"low": 2, "high": 1}}, "method": "random"}, "must lie below high"),
        ({"search": {"C": {"low": 0, "high": 1, "log": True}}, "method": "random"}, "must be above 0 when log"),
    ],
)
def test_a_search_that_means_nothing_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig(model="x", **changes)


def searching(world, method):
    problem = world.problem(positive="density_above_quantile")
    search = {"C": [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]}
    config = ModelConfig(model="logistic_regression", search=search, method=method, n_candidates=9)
    return Problem(**{**problem.__dict__, "config": config})


def test_halving_ends_with_a_candidate_that_was_fitted_on_all_rows(world):
    said = []
    problem = searching(world, "halving")
    final = fit_final(problem, world.folds(), 0, lambda done, total, what: said.append((done, total)))
    by_share = {}
    for candidate in final.candidates:
        by_share.setdefault(candidate["share"], []).append(candidate)
    assert {share: len(found) for share, found in sorted(by_share.items())} == {0.111111: 6, 0.333333: 2, 1.0: 1}
    assert final.params == by_share[1.0][0]["params"]
    assert said[-1] == (said[-1][1] - 1, 9 + 3 + 1 + 1)


def test_halving_finds_about_what_the_whole_grid_finds(world):
    halved = nested_cv(searching(world, "halving"), world.folds()[:2], world.inner(), 0)
    whole = nested_cv(searching(world, "grid"), world.folds()[:2], world.inner(), 0)
    loss = [cv.summary()["calibrated"]["log_loss"]["mean"] for cv in (halved, whole)]
    assert abs(loss[0] - loss[1]) < 0.01
    again = nested_cv(searching(world, "halving"), world.folds()[:2], world.inner(), 0)
    assert [f.params for f in again.folds] == [f.params for f in halved.folds]
