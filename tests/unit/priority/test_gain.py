"""Gain curves count land and slump area, rank honestly where scores tie, and carry an interval from whole blocks."""

import json

import numpy as np
import pytest

from entropice_core.errors import SchemaError
from entropice_core.priority.gain import AT, measure_gain


def rows(n_blocks=40, per_block=50, seed=0, knows=1.0):
    rng = np.random.default_rng(seed)
    blocks = np.repeat(np.arange(n_blocks), per_block)
    land = rng.uniform(1, 3, blocks.size)
    propensity = 1.5 * rng.normal(size=n_blocks)[blocks] + rng.normal(size=blocks.size)
    density = np.where(propensity > 1.5, np.exp(propensity), 0.0) * 1e-3
    return knows * propensity + rng.normal(size=blocks.size), density * land, land, blocks, blocks % 4


def test_a_curve_one_can_count_by_hand():
    # in the order of the scores: 4 of 10 slump area on 1 of 10 land, then 4 on 2, then 2 on 7
    gain = measure_gain([3.0, 2.0, 1.0], [4.0, 4.0, 2.0], [1.0, 2.0, 7.0], [0, 1, 2], [0, 0, 0], 0)
    np.testing.assert_allclose(np.interp([0.1, 0.3, 1.0], AT, gain.pooled), [0.4, 0.8, 1.0], atol=1e-9)
    assert gain.saved[0.8]["share"] == pytest.approx(0.7)
    assert gain.saved[0.9]["share"] == pytest.approx(1 - (0.3 + 0.7 / 2))


def test_scores_that_tie_are_worth_nothing():
    _, slump, land, blocks, folds = rows()
    gain = measure_gain(np.ones(slump.size), slump, land, blocks, folds, 0)
    np.testing.assert_allclose(gain.pooled, AT, atol=1e-12)
    assert gain.saved[0.9]["share"] == pytest.approx(0.1)


def test_knowing_more_saves_more_and_the_truth_saves_most():
    found = [measure_gain(*rows(knows=k), 0) for k in (0.0, 0.5, 3.0)]
    shares = [gain.saved[0.9]["share"] for gain in found]
    assert shares[0] < 0.2 < shares[1] < shares[2]
    assert all((gain.best >= gain.pooled - 1e-12).all() for gain in found)


def test_the_interval_holds_the_truth_of_new_blocks_most_of_the_time():
    truth = np.mean([measure_gain(*rows(n_blocks=400, seed=900 + s), 0).saved[0.8]["share"] for s in range(4)])
    entries = [measure_gain(*rows(seed=s), 0).saved[0.8] for s in range(20)]
    inside = [entry["low"] <= truth <= entry["high"] for entry in entries]
    assert np.mean(inside) > 0.7
    assert np.mean([entry["high"] - entry["low"] for entry in entries]) < 0.4


def test_folds_are_ranked_by_themselves_and_an_empty_one_is_counted():
    score, slump, land, blocks, folds = rows()
    slump = np.where(folds == 2, 0.0, slump)
    gain = measure_gain(score, slump, land, blocks, folds, 0)
    assert sorted(gain.folds) == ["0", "1", "3"] and gain.n_empty_folds == 1
    one = measure_gain(*(part[folds == 1] for part in (score, slump, land, blocks, folds)), 0)
    np.testing.assert_array_equal(gain.folds["1"], one.pooled)
    json.dumps(gain.to_dict(), allow_nan=False)


def test_the_seed_decides_the_interval_and_nothing_else():
    first, again, other = (measure_gain(*rows(), seed) for seed in (1, 1, 2))
    assert first.to_dict() == again.to_dict()
    assert np.array_equal(first.pooled, other.pooled) and not np.array_equal(first.low, other.low)


def test_nothing_to_find_is_refused():
    score, slump, land, blocks, folds = rows()
    with pytest.raises(SchemaError, match="some slump area"):
        measure_gain(score, slump * 0, land, blocks, folds, 0)
    with pytest.raises(SchemaError, match="one score"):
        measure_gain(score[:5], slump, land, blocks, folds, 0)
