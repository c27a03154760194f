"""Nested validation learns everything on training rows, and is the same each time."""

import json
from dataclasses import replace

import numpy as np
import pytest

from entropice_core.config import FoldsConfig, ModelConfig, TargetConfig
from entropice_core.dataset.folds import check_no_leakage
from entropice_core.errors import ConfigError, SchemaError, TrainingError
from entropice_core.models.base import load_module
from entropice_core.training.candidates import list_candidates
from entropice_core.training.metrics import log_loss, score
from entropice_core.training.nested_cv import fit_final, nested_cv
from entropice_core.training.problem import Problem, child_seed

SEARCH = {"C": [0.001, 0.1, 10.0]}


@pytest.fixture(scope="module")
def cv(world):
    return nested_cv(world.problem(search=SEARCH, positive="density_above_quantile"), world.folds(), world.inner(), 7)


def test_every_row_has_one_prediction_from_a_fold_that_did_not_train_on_it(world, cv):
    folds = world.folds()
    assert np.array_equal(cv.row, np.arange(len(world.density)))
    for i, fold in enumerate(folds):
        assert np.array_equal(cv.row[cv.fold == i], fold.test)
    assert cv.n_never_tested == 0
    check_no_leakage(folds, world.cell_ids)


def test_skill_is_found_in_space(cv):
    summary = cv.summary()
    assert summary["calibrated"]["roc_auc"]["mean"] > 0.75
    assert summary["calibrated"]["log_loss_skill"]["mean"] > 0.1
    assert summary["calibrated"]["roc_auc"]["n_folds_defined"] == 4


def test_the_edge_between_classes_is_learned_on_the_training_rows_of_each_fold(world, cv):
    for fold, result in zip(world.folds(), cv.folds, strict=True):
        assert result.edge == np.quantile(world.density[fold.train], 0.75)
        assert np.array_equal(result.y, world.density[fold.test] > result.edge)
    assert len({result.edge for result in cv.folds}) > 1


def test_what_happens_in_the_test_rows_changes_nothing_that_was_learned(world):
    # The test rows get absurd features and densities: edge, scaling, choice and calibration must stay.
    fold = world.folds()[0]
    broken_X, broken_density = world.X.copy(), world.density.copy()
    broken_X[fold.test] = 1e9
    broken_density[fold.test] = 5.0
    problem = world.problem(search=SEARCH, positive="density_above_quantile")
    broken = replace(problem, X=broken_X, density=broken_density)
    one = nested_cv(problem, [fold], world.inner(), 0).folds[0]
    two = nested_cv(broken, [fold], world.inner(), 0).folds[0]
    assert (one.edge, one.params, one.candidates, one.calibrator) == (
        two.edge,
        two.params,
        two.candidates,
        two.calibrator,
    )
    assert np.array_equal(one.fitted.predict_proba(world.X), two.fitted.predict_proba(world.X))


def test_scores_and_predictions_belong_together(cv):
    for i, result in enumerate(cv.folds):
        mine = cv.fold == i
        assert result.calibrated["log_loss"] == log_loss(cv.y[mine], cv.p[mine])
        assert result.raw["brier"] == score(cv.y[mine], cv.p_raw[mine])["brier"]
        assert np.array_equal(cv.p[mine], result.calibrator(cv.p_raw[mine]))
    assert cv.pooled()["calibrated"]["n"] == len(cv.row)


def test_the_candidate_with_the_lowest_calibrated_log_loss_is_chosen(cv):
    for result in cv.folds:
        losses = [candidate["log_loss"] for candidate in result.candidates]
        assert result.params == result.candidates[int(np.argmin(losses))]["params"]
        assert [candidate["params"]["C"] for candidate in result.candidates] == SEARCH["C"]


def test_the_first_of_equal_candidates_is_chosen(world):
    problem = world.problem(search={"max_iter": [50, 60]})
    assert nested_cv(problem, world.folds()[:1], world.inner(), 0).folds[0].params == {"max_iter": 50}


@pytest.mark.parametrize(
    ("model", "params"),
    [("random_forest", {"n_estimators": 15}), ("espa", {"n_clusters": 6, "n_init": 2}), ("prevalence", {})],
)
def test_the_same_seed_gives_the_same_result_bit_for_bit(world, model, params):
    problem, folds = world.problem(model, params), world.folds()[:2]
    one, two = (nested_cv(problem, folds, world.inner(), 3) for _ in range(2))
    assert json.dumps(one.to_dict()) == json.dumps(two.to_dict())
    assert np.array_equal(one.p, two.p)


def test_a_fold_has_the_same_result_whether_others_run_or_not(world):
    problem, folds = world.problem("random_forest", {"n_estimators": 15}), world.folds()
    both, alone = nested_cv(problem, folds[:2], world.inner(), 3), nested_cv(problem, folds[1:2], world.inner(), 3)
    assert np.array_equal(both.folds[1].p, alone.folds[0].p)


def test_another_candidate_changes_nothing_for_those_that_were_there(world):
    folds = world.folds()[:1]

    def losses(*leaves):
        problem = world.problem("random_forest", {"n_estimators": 10}, {"min_samples_leaf": list(leaves)})
        candidates = nested_cv(problem, folds, world.inner(), 3).folds[0].candidates
        return {candidate["params"]["min_samples_leaf"]: candidate["log_loss"] for candidate in candidates}

    few, many = losses(5, 20), losses(2, 5, 10, 20)
    assert {leaf: many[leaf] for leaf in few} == few


def test_calibration_repairs_a_model_with_balanced_classes(world):
    problem = world.problem(params={"class_weight": "balanced"}, positive="density_above_quantile")
    cv = nested_cv(problem, world.folds(), world.inner(), 0)
    summary = cv.summary()
    assert summary["calibrated"]["log_loss"]["mean"] < summary["raw"]["log_loss"]["mean"] - 0.02
    assert summary["calibrated"]["ece"]["mean"] < summary["raw"]["ece"]["mean"]


def test_without_search_and_calibration_no_inner_fold_is_made(world):
    def refuse(rows, y, seed):
        raise AssertionError("inner folds were asked for")

    problem = world.problem(calibration="none")
    cv = nested_cv(problem, world.folds(), refuse, 0)
    assert np.array_equal(cv.p, cv.p_raw)
    assert [fold.n_inner_folds for fold in cv.folds] == [0, 0, 0, 0]
    assert fit_final(problem, world.folds(), 0).calibrator.kind == "none"


def test_the_report_is_strict_json_without_times(cv):
    report = json.loads(json.dumps(cv.to_dict(), allow_nan=False))
    assert report["n_tested"] == len(cv.row)
    assert report["folds"][0]["preprocess"]["n_imputed"] > 0
    assert "seconds" not in json.dumps(report)
    assert set(cv.seconds()) == {fold["name"] for fold in report["folds"]}


def test_a_test_fold_of_one_class_leaves_the_auc_undefined_and_counted(world):
    fold = world.folds()[0]
    density = world.density.copy()
    density[fold.test] = 0.0
    cv = nested_cv(world.problem(density=density), world.folds(), world.inner(), 0)
    assert np.isnan(cv.folds[0].calibrated["roc_auc"])
    assert cv.summary()["calibrated"]["roc_auc"]["n_folds_defined"] == 3
    assert np.isfinite(cv.folds[0].calibrated["log_loss"])
    assert cv.to_dict()["folds"][0]["calibrated"]["roc_auc"] is None


def test_progress_counts_to_the_end(world):
    seen = []
    problem, folds = world.problem(search=SEARCH), world.folds()
    nested_cv(problem, folds, world.inner(), 0, lambda done, total, what: seen.append((done, total, what)))
    assert [done for done, _, _ in seen] == list(range(16))
    assert {total for _, total, _ in seen} == {16}
    assert seen[0][2] == "block-1: candidate 1 of 3" and seen[3][2] == "block-1: refit"


def test_the_final_model_is_fitted_on_all_rows_and_calibrated_on_out_of_fold_predictions(world):
    problem = world.problem(search=SEARCH, positive="density_above_quantile")
    final = fit_final(problem, world.folds(), 0)
    assert final.n_rows == len(world.density)
    assert final.edge == np.quantile(world.density, 0.75)
    assert final.n_positive == (world.density > final.edge).sum()
    assert final.calibrator.n_rows == len(world.density)
    assert final.fitted.report()["n_rows"] == len(world.density)
    assert final.params in [{"C": c} for c in SEARCH["C"]]
    again = fit_final(problem, world.folds(), 0)
    assert np.array_equal(final.fitted.predict_proba(world.X), again.fitted.predict_proba(world.X))


def test_rows_in_no_region_are_never_tested_and_never_calibrate(world):
    regions = {"west": (70.0, 60.0, 110.0, 76.0), "middle": (110.0, 60.0, 140.0, 76.0)}
    config = FoldsConfig(
        kind="leave_one_region_out", regions=regions, block_level={"healpix": 3}, inner_folds=2, buffer_km=50.0
    )
    folds, problem = world.folds(config), world.problem()
    cv = nested_cv(problem, folds, world.inner(config), 0)
    n_east = int(((world.lon >= 140) | (world.lon < 0)).sum())
    assert [fold.name for fold in cv.folds] == ["west", "middle"]
    assert cv.n_never_tested == folds[0].n_never_tested == n_east
    assert fit_final(problem, folds, 0).calibrator.n_rows == len(world.density) - n_east


@pytest.mark.parametrize("density", [0.0, 0.3])
def test_one_class_is_refused_with_the_fold_and_the_edge(world, density):
    problem = world.problem(density=np.full_like(world.density, density))
    lacking = 0 if density else 1
    with pytest.raises(
        TrainingError, match=rf"Outer fold 'block-1': Class {lacking} of 2 .* has none of the \d+ train"
    ):
        nested_cv(problem, world.folds(), world.inner(), 0)
    with pytest.raises(TrainingError, match=f"Class {lacking} of 2"):
        fit_final(problem, world.folds(), 0)


def test_too_few_inner_blocks_name_the_outer_fold(world):
    config = FoldsConfig(n_folds=2, inner_folds=20, block_level={"healpix": 2})
    with pytest.raises(TrainingError, match=r"Outer fold 'block-1': The cells lie in \d+ blocks of healpix level 2"):
        nested_cv(world.problem(), world.folds(config), world.inner(config), 0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"density": np.zeros(3)}, SchemaError, r"densities of shape \(3,\)"),
        ({"feature_names": ("a",)}, SchemaError, "1 feature names"),
        ({"config": ModelConfig(model="x", search={"C": [1.0, -1.0]})}, ConfigError, "C: .*greater than 0"),
    ],
)
def test_mistakes_show_before_anything_is_fitted(world, changes, error, message):
    with pytest.raises(error, match=message):
        nested_cv(replace(world.problem(), **changes), world.folds(), world.inner(), 0)


def test_unobserved_rows_are_refused(world):
    density = world.density.copy()
    density[:3] = np.nan
    with pytest.raises(SchemaError, match="3 of .* densities are not finite: keep observed rows only"):
        nested_cv(world.problem(density=density), world.folds(), world.inner(), 0)


def test_candidates_are_all_combinations_with_the_fixed_parameters():
    config = ModelConfig(model="espa", params={"n_init": 4}, search={"n_clusters": [20, 40], "eps_w": [0.1, 0.3]})
    combinations = [(c["n_clusters"], c["eps_w"]) for c in list_candidates(config)]
    assert combinations == [(20, 0.1), (20, 0.3), (40, 0.1), (40, 0.3)]
    assert all(candidate["n_init"] == 4 for candidate in list_candidates(config))
    assert list_candidates(ModelConfig(model="prevalence")) == [{}]


def test_child_seeds_differ_by_name_and_number():
    seeds = [child_seed(0, "a"), child_seed(0, "b"), child_seed(1, "a"), child_seed(0, "a", "b"), child_seed(0, "ab")]
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_problem_is_plain_arrays():
    problem = Problem(
        load_module("prevalence"), ModelConfig(model="prevalence"), np.zeros((2, 1)), np.zeros(2),
        TargetConfig(inventory="darts"), ("a",),
    )  # fmt: skip
    assert problem.calibration == "logistic"


def test_skill_of_a_region_and_of_all_rows_is_against_what_the_training_rows_of_each_fold_knew(world, cv):
    rows = world.lon[cv.row] > np.median(world.lon)
    found = cv.scores_of(rows)
    known, gained = cv.losses["loss_prevalence"][rows], cv.losses["loss"][rows]
    assert found["log_loss_skill"] == pytest.approx(1 - gained.mean() / known.mean(), abs=1e-12)
    prevalence = cv.y[rows].mean()  # nobody knew it: against it the region would have another skill
    own = 1 - gained.mean() / -(prevalence * np.log(prevalence) + (1 - prevalence) * np.log(1 - prevalence))
    assert abs(found["log_loss_skill"] - own) > 1e-3
    everywhere = 1 - cv.losses["loss"].mean() / cv.losses["loss_prevalence"].mean()
    assert cv.pooled()["calibrated"]["log_loss_skill"] == pytest.approx(everywhere, abs=1e-12)
