"""Paired differences have the corrected width, and models are paired on the same places."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from entropice_core.comparison.paired import (
    Entry,
    compare_pairs,
    corrected_interval,
    folds_by_place,
    label_entries,
    pairs_in_words,
    write_pairs,
)
from entropice_core.plots.comparison import pairs as pairs_figure
from entropice_core.plots.files import write_figure

RNG = np.random.default_rng(0)
N = 500
FOLD = np.repeat([f"block-{i}" for i in range(1, 6)], N // 5)
LON = np.repeat([100.0, 110.0, 120.0, 130.0, 140.0], N // 5) + RNG.uniform(-3, 3, N)
LAT = RNG.uniform(65, 75, N)
Y = RNG.integers(0, 2, N)


def entry(model, skill, grid="h3-4", study="one", rows=slice(None)):
    """A model whose loss is so much below that of the prevalence, with a little noise over folds."""
    noise = 0.01 * np.sin(np.arange(N))[rows]
    base = np.full(N, np.log(2.0))[rows]
    p = np.clip(0.5 + (Y[rows] - 0.5) * skill, 0.01, 0.99)
    return Entry(
        study=study, grid=grid, model=model, task="binary", fold=FOLD[rows], lon=LON[rows], lat=LAT[rows], y=Y[rows],
        p=p, weight=np.ones(base.size), loss=base * (1 - skill) + noise, loss_prevalence=base, ratio=0.25,
    )  # fmt: skip


def test_without_correction_the_interval_is_the_usual_one():
    values = [0.02, 0.03, 0.01, 0.04, 0.02]
    found = corrected_interval(values, 0.0)
    usual = ttest_1samp(values, 0.0)
    low, high = usual.confidence_interval(0.95)
    assert found == pytest.approx((np.mean(values), low, high, usual.pvalue))


def test_the_correction_widens_by_the_ratio_of_test_to_training_rows():
    values = [0.02, 0.03, 0.01, 0.04, 0.02]
    plain, corrected = corrected_interval(values, 0.0), corrected_interval(values, 0.25)
    widening = (corrected.high - corrected.low) / (plain.high - plain.low)
    assert widening == pytest.approx(np.sqrt((1 / 5 + 1 / 4) / (1 / 5)))


def test_intervals_of_nothing_cover_zero_as_often_as_they_promise():
    # Differences of folds that share a part, as training sets do: correlation rho = n_test / (n_test + n_train).
    rng, rho, k, covered = np.random.default_rng(1), 0.2, 5, 0
    for _ in range(2000):
        shared = rng.normal(scale=np.sqrt(rho))
        found = corrected_interval(shared + rng.normal(scale=np.sqrt(1 - rho), size=k), rho / (1 - rho))
        covered += found.low <= 0 <= found.high
    assert 0.93 < covered / 2000 < 0.97


def test_folds_without_a_score_are_left_out_and_one_fold_gives_no_interval():
    assert corrected_interval([0.1, np.nan, 0.3], 0.25).mean == pytest.approx(0.2)
    assert np.isnan(corrected_interval([0.1, np.nan], 0.25).low)
    assert corrected_interval([0.0, 0.0], 0.25) == (0.0, 0.0, 0.0, 1.0)


def test_models_on_one_grid_are_paired_by_fold_and_the_better_one_is_found():
    pairs = compare_pairs([entry("logistic_regression", 0.1), entry("xgboost", 0.3)])
    skill = pairs[pairs["metric"] == "log_loss_skill"].iloc[0]
    assert skill["matched_by"] == "fold" and skill["folds"] == 5
    assert skill["difference"] == pytest.approx(0.2) and skill["low"] > 0
    assert "xgboost against h3-4 logistic_regression: +0.200" in pairs_in_words(pairs)[0]
    assert pairs_in_words(pairs)[0].endswith("is better.")


def test_grids_are_paired_by_place_and_models_on_different_grids_are_not():
    half = slice(None, None, 2)
    entries = [entry("xgboost", 0.3), entry("espa", 0.3), entry("xgboost", 0.1, "healpix-7", rows=half)]
    pairs = compare_pairs(entries)
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == {
        ("h3-4 xgboost", "h3-4 espa"),
        ("h3-4 xgboost", "healpix-7 xgboost"),
    }
    across = pairs[pairs["second"] == "healpix-7 xgboost"].iloc[0]
    assert across["matched_by"] == "place" and across["difference"] == pytest.approx(-0.2, abs=0.01)


def test_rows_of_another_grid_fall_into_the_fold_of_the_nearest_cell():
    one, other = entry("a", 0.1), entry("a", 0.1, "healpix-7", rows=slice(1, None, 3))
    assert (folds_by_place(one, other) == other.fold).all()


def test_studies_are_named_where_there_are_several():
    assert label_entries([entry("a", 0.1), entry("b", 0.1)]) == ["h3-4 a", "h3-4 b"]
    assert label_entries([entry("a", 0.1), entry("a", 0.1, study="two")]) == ["one h3-4 a", "two h3-4 a"]


def test_pairs_are_written_and_drawn_also_when_there_is_none(tmp_path):
    write_pairs(tmp_path, [entry("a", 0.1), entry("b", 0.3)], "A study")
    assert len(pd.read_csv(tmp_path / "pairs.csv")) == 2
    assert (tmp_path / "pairs.png").stat().st_size > 5000
    (tmp_path / "none").mkdir()
    write_pairs(tmp_path / "none", [entry("a", 0.1)], "A study")
    assert pairs_in_words(pd.read_csv(tmp_path / "none" / "pairs.csv")) == []


def test_pairs_that_do_not_fit_into_the_figure_are_counted_in_its_title(tmp_path):
    many = compare_pairs([entry(f"m{i}", 0.01 * i) for i in range(13)])
    write_figure(pairs_figure(many, "A study"), tmp_path / "pairs.png")
    assert len(many) == 2 * 78 and (tmp_path / "pairs.png").is_file()
