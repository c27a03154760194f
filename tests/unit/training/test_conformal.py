"""Conformal sets hold the truth as often as they promise, in each class, and on blocks that they never saw."""

import json

import numpy as np
import pytest

from entropice_core.errors import SchemaError
from entropice_core.training.conformal import ConformalSets, fit_sets, measure_coverage


def rows(n_blocks=60, per_block=40, seed=0, effect=0.5, spread=0.6):
    """Classes with a rare one, forecasts that know something, and an error that all rows of a block share."""
    rng = np.random.default_rng(seed)
    blocks = np.repeat(np.arange(n_blocks), per_block)
    y = (rng.random(blocks.size) < 0.15).astype(int)
    odds = 2.0 * y - 1.5 + rng.normal(0, spread, blocks.size) + effect * rng.normal(size=n_blocks)[blocks]
    p = 1 / (1 + np.exp(-odds))
    return np.column_stack([1 - p, p]), y, blocks


def hits(sets, p, y, k):
    return sets(p)[np.arange(y.size), y][y == k].mean()


def reached(sets, p, y):
    """Share of class 0 above its threshold, without the rule that the likeliest class is never left out."""
    return (p[y == 0, 0] >= sets.least[0]).mean()


def test_both_classes_are_covered_on_new_blocks_also_the_rare_one():
    found = np.array(
        [[hits(fit_sets(*rows(seed=s), 0.9), *rows(seed=1000 + s)[:2], k) for k in (0, 1)] for s in range(60)]
    )
    assert (found.mean(axis=0) > 0.9 - 0.005).all()
    assert found[:, 1].mean() < 0.93  # the common class is covered more often, as the likeliest class is never left out


def test_counting_blocks_keeps_the_promise_where_counting_rows_breaks_it():
    few = {"n_blocks": 12, "per_block": 200, "effect": 1.2, "spread": 0.3}
    by_block, by_row = [], []
    for s in range(150):
        p, y, blocks = rows(seed=s, **few)
        p_new, y_new, _ = rows(seed=5000 + s, **few)
        by_block.append(reached(fit_sets(p, y, blocks, 0.9), p_new, y_new))
        by_row.append(reached(fit_sets(p, y, np.arange(y.size), 0.9), p_new, y_new))
    assert np.mean(by_row) < 0.89
    assert np.mean(by_block) > 0.9


def test_the_threshold_is_the_order_statistic_that_one_can_count():
    p = np.column_stack([1 - np.arange(1, 10) / 10, np.arange(1, 10) / 10])
    sets = fit_sets(p, np.ones(9, dtype=int), np.arange(9), 0.8)
    assert sets.least == (0.0, pytest.approx(0.2))  # 0.8 x 10/9 x 9 = 8 of 9 rows; no row of class 0: always in
    assert sets.n_blocks == (0, 9)


def test_too_few_blocks_leave_no_class_out():
    p, y, blocks = rows(n_blocks=5)
    sets = fit_sets(p, y, blocks, 0.9)  # 0.9 x 6/5 > 1
    assert sets.least == (0.0, 0.0)
    assert sets(p).all()


def test_measured_coverage_is_that_of_sets_from_the_other_folds():
    p, y, blocks = rows()
    folds = blocks % 4
    report = measure_coverage(p, y, blocks, folds, 0.9)
    sets = fit_sets(p[folds != 2], y[folds != 2], blocks[folds != 2], 0.9)
    inside = sets(p[folds == 2])
    assert report["folds"][2]["coverage"] == pytest.approx(inside[np.arange(inside.shape[0]), y[folds == 2]].mean())
    assert report["folds"][2]["mean_size"] == pytest.approx(inside.sum(axis=1).mean())
    assert abs(report["summary"]["coverage_by_class"][1]["mean"] - 0.9) < 0.05
    assert report["summary"]["coverage"]["sd"] > 0
    assert report["blocks"]["n"] == 60
    json.dumps(report, allow_nan=False)


def test_a_fold_without_a_class_is_counted_out_and_not_as_zero():
    p, y, blocks = rows()
    folds = blocks % 4
    y = np.where(folds == 1, 0, y)
    report = measure_coverage(p, y, blocks, folds, 0.9)
    assert report["folds"][1]["coverage_by_class"][1] is None
    assert report["summary"]["coverage_by_class"][1]["n_folds"] == 3


def test_three_classes_and_json_and_nan():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 3000)
    y = (rng.random((3000, 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    sets = fit_sets(p, y, np.arange(3000) // 30, 0.8)
    assert [(p[y == k, k] >= sets.least[k]).mean() for k in range(3)] == pytest.approx([0.8] * 3, abs=0.02)
    assert ConformalSets.from_dict(json.loads(json.dumps(sets.to_dict()))) == sets
    assert sets(np.full((1, 3), np.nan)).all()
    assert sets(p).any(axis=1).all()


@pytest.mark.parametrize(
    ("p", "y", "blocks", "coverage", "message"),
    [
        ([0.5, 0.5], [0, 1], [0, 1], 0.9, r"probabilities \(n, n_classes\)"),
        ([[0.5, 0.5]], [2], [0], 0.9, "classes 0 to n_classes - 1"),
        ([[0.5, 0.5]], [1], [0], 1.0, "between 0 and 1"),
    ],
)
def test_bad_input_is_refused(p, y, blocks, coverage, message):
    with pytest.raises(SchemaError, match=message):
        fit_sets(p, y, blocks, coverage)
