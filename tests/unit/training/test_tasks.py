"""Classes of density and count go through validation as two classes do, with weights; a lack of classes is handled."""

import json
from dataclasses import replace

import numpy as np
import pytest

from entropice_core.config import FoldsConfig, TargetConfig
from entropice_core.dataset.folds import Fold, check_no_leakage, make_folds
from entropice_core.dataset.pixels import pixel_groups
from entropice_core.dataset.temporal import check_years_apart, temporal_fold
from entropice_core.errors import ProvenanceError, SchemaError, TrainingError
from entropice_core.models.base import load_module
from entropice_core.registry import MODELS
from entropice_core.training.controls import permuted_labels
from entropice_core.training.importance import measure_importances
from entropice_core.training.nested_cv import fit_final, nested_cv
from entropice_core.training.persist import Feature, load_model, save_model
from entropice_core.training.problem import Places

DENSITY = TargetConfig(inventory="darts", task="density_class", n_classes=3)
PARAMS = {
    "random_forest": {"n_estimators": 10},
    "xgboost": {"n_estimators": 15},
    "espa": {"n_clusters": 8, "n_init": 2},
}


@pytest.fixture(scope="module")
def problem_of(world):
    def make(model="logistic_regression", **changes):
        base = world.problem(model, PARAMS.get(model, {}))
        places = Places(world.cell_ids, world.lon, world.lat, world.years)
        return replace(base, **{"target": DENSITY, "places": places, **changes})

    return make


def folds_of(world, config):
    return make_folds(config, world.grid, world.cell_ids, world.lon, world.lat, 0, y=(world.density > 0).astype(int))


def test_edges_of_density_classes_are_learned_on_the_training_rows_of_each_fold(world, problem_of):
    cv = nested_cv(problem_of(), world.folds(), world.inner(), 0)
    for fold, result in zip(world.folds(), cv.folds, strict=True):
        above = world.density[fold.train][world.density[fold.train] > 0]
        assert result.classes.edges[0] == 0.0
        assert (above <= result.classes.edges[1]).mean() == pytest.approx(0.5, abs=0.01)
        assert np.array_equal(result.y, result.classes.apply(world.density[fold.test]))
    assert cv.proba.shape == (len(world.density), 3)
    assert np.allclose(cv.proba.sum(axis=1), 1) and np.allclose(cv.p, 1 - cv.proba[:, 0])
    summary = cv.summary()["calibrated"]
    assert summary["log_loss_skill"]["mean"] > 0.1
    assert summary["class_2.roc_auc"]["mean"] > 0.7
    json.dumps(cv.to_dict(), allow_nan=False)


@pytest.mark.parametrize("model", [name for name in MODELS.names() if name != "logistic_regression"])
def test_every_model_learns_and_keeps_three_classes(world, problem_of, tmp_path, model):
    final = fit_final(problem_of(model), world.folds()[:2], 0)
    features = [Feature(name, "1") for name in final.fitted.feature_names]
    save_model(tmp_path, model, final.fitted, final.calibrator, final.classes, "healpix-6", features)
    read = load_model(tmp_path)
    p = read.predict_proba(world.X)
    assert p.shape == (len(world.X), 3) and np.allclose(p.sum(axis=1), 1)
    assert np.array_equal(p, final.calibrator(final.fitted.predict_proba(world.X)))
    assert read.edges == final.classes


def test_classes_of_counts_need_counts_and_have_edges_in_slumps(world, problem_of):
    target = TargetConfig(inventory="darts", task="count_class", n_classes=3, edges=(0.0, 2.0))
    count = np.ceil(world.density * 1e4)
    cv = nested_cv(problem_of(target=target, count=count), world.folds(), world.inner(), 0)
    assert all(fold.classes.edges == (0.0, 2.0) and fold.classes.quantity == "count" for fold in cv.folds)
    assert np.array_equal(np.sort(cv.y), np.sort(np.searchsorted([0.0, 2.0], count, side="left")))
    with pytest.raises(SchemaError, match="'count_class' needs the counts"):
        nested_cv(problem_of(target=target), world.folds(), world.inner(), 0)


def test_a_class_that_only_test_rows_have_is_refused_with_the_fold_and_the_class(world, problem_of):
    target = TargetConfig(inventory="darts", task="density_class", n_classes=3, edges=(0.0, 0.5))
    fold, density = world.folds()[0], np.minimum(world.density, 0.1)
    density[fold.test[:5]] = 0.9
    with pytest.raises(TrainingError, match=r"Outer fold 'block-1': Class 2 of 3 .* has none of the"):
        nested_cv(problem_of(target=target, density=density), [fold], world.inner(), 0)


def test_a_class_that_an_inner_fold_lacks_gets_a_small_probability_and_is_counted(world, problem_of):
    target = TargetConfig(inventory="darts", task="density_class", n_classes=3, edges=(0.0, 0.5))
    fold, density = world.folds()[0], np.minimum(world.density, 0.1)
    cell = world.cell_ids[fold.train[0]]
    density[world.cell_ids == cell] = 0.9  # one cell of the class: one inner fold or another trains without it
    found = nested_cv(problem_of(target=target, density=density), [fold], world.inner(), 0).folds[0]
    assert found.n_unseen >= 1
    assert found.to_dict()["n_unseen"] == found.n_unseen
    assert np.isfinite(found.calibrated["log_loss"])


def test_a_model_gives_a_class_that_it_never_saw_the_probability_of_a_first_case():
    X = np.arange(40.0)[:, None]
    fitted = load_module("logistic_regression").build({}, 0, ("a",), 3).fit(X, np.repeat([0, 2], 20))
    p = fitted.predict_proba(X)
    assert np.allclose(p[:, 1], 1 / 43) and np.allclose(p.sum(axis=1), 1)
    assert fitted.report()["unseen_classes"] == [1]


def test_weights_reach_fit_calibration_and_scores(world, problem_of):
    heavy = np.where(world.lon > 120, 10.0, 0.1)
    weight = heavy / heavy.mean()
    plain, weighted = (nested_cv(problem_of(weight=w), world.folds()[:2], world.inner(), 0) for w in (None, weight))
    assert not np.allclose(plain.proba, weighted.proba)
    fold = weighted.folds[0]
    scored = fold.calibrated["log_loss"]
    assert scored == pytest.approx(np.average(fold.losses["loss"], weights=fold.weight))
    ones = nested_cv(problem_of(weight=np.ones(len(world.X))), world.folds()[:2], world.inner(), 0)
    assert np.allclose(plain.proba, ones.proba, atol=1e-9)


def test_controls_and_importances_run_on_classes(world, problem_of):
    problem = problem_of()
    control = permuted_labels(problem, world.folds()[:2], world.inner(), world.cell_ids, world.years, 0)
    assert control.is_chance
    cv = nested_cv(problem, world.folds()[:2], world.inner(), 0)
    found = measure_importances(problem, cv, ["climate", "terrain", "none", "none"], 2, 0).to_dict()
    assert {found["features"][0]["name"], found["features"][1]["name"]} == {"warmth", "slope"}


def test_cells_of_one_source_pixel_are_never_on_both_sides(world):
    config = FoldsConfig(n_folds=4, block_level={"healpix": 3}, buffer_km=0.0, pixel_degrees=2.0)
    groups = pixel_groups(world.lon, world.lat, 2.0)
    apart = folds_of(world, config)
    check_no_leakage(apart, world.cell_ids, groups)
    assert sum(fold.n_pixel_dropped for fold in apart) > 0
    together = folds_of(world, config.model_copy(update={"pixel_degrees": 0.0}))
    with pytest.raises(ProvenanceError, match="same pixel groups"):
        check_no_leakage(together, world.cell_ids, groups)
    for one, other in zip(apart, together, strict=True):
        assert other.train.size - one.train.size == one.n_pixel_dropped


def test_a_buffer_wider_than_a_pixel_leaves_nothing_to_drop(world):
    assert sum(fold.n_pixel_dropped for fold in world.folds()) == 0


def test_the_temporal_hold_out_learns_from_earlier_years_only(world, problem_of):
    fold = temporal_fold(world.years, 2018)
    check_years_apart(fold, world.years)
    assert set(world.years[fold.train]) == {2018} and set(world.years[fold.test]) == {2019}
    cv = nested_cv(problem_of(), [fold], world.inner(), 0)
    summary = cv.summary()["calibrated"]
    assert summary["log_loss_skill"]["mean"] > 0.1
    assert summary["climatology_log_loss_skill"]["mean"] < summary["log_loss_skill"]["mean"]  # cells are alike in time
    with pytest.raises(TrainingError, match=r"train_until = 2019 leaves \d+ training and 0 test rows"):
        temporal_fold(world.years, 2019)
    mixed = Fold("mixed", np.array([0, 1]), np.array([2, 3]))
    with pytest.raises(ProvenanceError, match="years overlap"):
        check_years_apart(mixed, world.years)


def test_duplicate_columns_change_no_forecast_of_a_tree_or_neighbour_and_do_no_harm_to_others(world):
    twice = np.column_stack([world.X, world.X[:, 0]])
    names = ("warmth", "slope", "noise", "ripple", "warmth_again")
    for model in [name for name in MODELS.names() if name != "autogluon"]:  # trees and their means are there already
        problem = world.problem(model, PARAMS.get(model, {}), X=twice, feature_names=names)
        cv = nested_cv(problem, world.folds()[:1], world.inner(), 0)
        assert np.isfinite(cv.p).all()
        assert model == "prevalence" or cv.summary()["calibrated"]["roc_auc"]["mean"] > 0.65
