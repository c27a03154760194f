"""Labels that mean nothing give no skill, and folds that flatter are seen to do so."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropice_core.config import FoldsConfig
from entropice_core.errors import SchemaError
from entropice_core.training.controls import permute_cells, permuted_labels, random_cv
from entropice_core.training.nested_cv import nested_cv


def twin_features(world):
    """Features that name the place of a cell: of no use elsewhere, and a perfect memory nearby."""
    rng = np.random.default_rng(0)
    return np.column_stack([world.lon, world.lat, world.lon + world.lat, world.lon - world.lat]) + rng.normal(
        0, 0.01, (len(world.lon), 4)
    )


@pytest.mark.parametrize(
    ("model", "params"),
    [("logistic_regression", {}), ("random_forest", {"n_estimators": 20, "min_samples_leaf": 5})],
)
def test_permuted_labels_give_chance_skill(world, model, params):
    problem = world.problem(model, params, positive="density_above_quantile")
    control = permuted_labels(problem, world.folds(), world.inner(), world.cell_ids, world.years, seed=1)
    assert control.is_chance
    assert abs(control.mean_auc - 0.5) < 0.06
    assert control.chance_low > 0.4 and control.chance_high < 0.6
    assert control.n_cells == len(np.unique(world.cell_ids)) and control.n_cells_kept == 0
    assert abs(control.cv.summary()["calibrated"]["log_loss_skill"]["mean"]) < 0.03


def test_a_leak_is_seen_by_the_permuted_control(world):
    # The same cells on both sides: a forest remembers them, and the years of a cell are alike.
    leaking = [
        fold.__class__("leak", np.flatnonzero(world.years == 2018), np.flatnonzero(world.years == 2019))
        for fold in world.folds()[:1]
    ]
    problem = world.problem("random_forest", {"n_estimators": 30, "max_features": None}, X=twin_features(world))
    control = permuted_labels(problem, leaking, world.inner(), world.cell_ids, world.years, seed=1)
    assert control.mean_auc > 0.7
    assert not control.is_chance


def test_random_folds_flatter_a_model_that_remembers_places(world):
    patches, patch = np.unique(world.grid.parents(world.cell_ids, 4), return_inverse=True)
    patchwork = np.random.default_rng(1).normal(size=patches.size)[patch].clip(min=0)  # of no rule but nearness
    problem = world.problem("random_forest", {"n_estimators": 30}, X=twin_features(world), density=patchwork)
    spatial = nested_cv(problem, world.folds(), world.inner(), 0).summary()["raw"]["roc_auc"]["mean"]
    config = FoldsConfig(n_folds=4, inner_folds=2)
    result = random_cv(problem, config, world.grid, world.cell_ids, world.lon, world.lat, 0)
    assert result.summary()["raw"]["roc_auc"]["mean"] > 0.8
    assert spatial < 0.65
    assert [fold.name for fold in result.folds] == [f"random-{i}" for i in (1, 2, 3, 4)]
    assert all(fold.n_buffer_dropped == 0 for fold in result.folds)


def test_the_control_reports_strict_json(world):
    control = permuted_labels(world.problem(), world.folds()[:2], world.inner(), world.cell_ids, world.years, seed=0)
    report = json.loads(json.dumps(control.to_dict(), allow_nan=False))
    assert report["is_chance"] is True
    assert report["n_cells_kept"] == 0


@st.composite
def observed(draw):
    """Rows of cells that were observed in some of three years, in any order."""
    cells = draw(st.lists(st.sets(st.sampled_from([2018, 2019, 2020]), min_size=1), min_size=1, max_size=25))
    rows = [(cell, year) for cell, years in enumerate(cells) for year in years]
    rows = draw(st.permutations(rows))
    return np.array([r[0] for r in rows], np.uint64), np.array([r[1] for r in rows]), draw(st.integers(0, 10**6))


@settings(max_examples=100, deadline=None)
@given(observed())
def test_whole_cells_are_permuted_among_cells_of_the_same_years(case):
    ids, years, seed = case
    density = ids.astype(float) + (years - 2000) / 100.0  # says which cell and year it came from
    giver, n_cells, n_kept = permute_cells(ids, years, seed)
    permuted = density[giver]
    giver = np.floor(permuted).astype(int)
    assert np.allclose(permuted - giver, (years - 2000) / 100.0)  # each row still has a density of its own year
    n_same = 0
    for cell in np.unique(ids):
        givers = np.unique(giver[ids == cell])
        assert givers.size == 1  # all years come from one cell
        assert set(years[ids == givers[0]]) == set(years[ids == cell])
        n_same += givers[0] == cell
    assert sorted(permuted) == sorted(density)
    assert (n_cells, n_kept) == (len(np.unique(ids)), n_same)


def test_columns_of_different_length_are_refused():
    with pytest.raises(SchemaError, match="must be of one length"):
        permute_cells([1, 2], [2018], 0)
