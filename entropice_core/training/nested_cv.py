"""Nested cross-validation in space: an honest score, and then the model that is used.

The outer folds score. Within the training rows of each, inner folds choose the parameters and give the out-of-fold
predictions on which the calibration is fitted; class edge, imputation, scaling, search and calibration never see the
rows that score them. ``fit_final`` repeats the choice on all rows and trains the model that predicts maps; its skill
is that of the nested cross-validation, not one of its own.
"""

import time
from collections.abc import Sequence

import numpy as np

from entropice_core.dataset.folds import Fold, InnerFolds
from entropice_core.errors import TrainingError
from entropice_core.training.candidates import list_candidates
from entropice_core.training.class_metrics import class_shares, row_losses, score_forecast
from entropice_core.training.climatology import climatology_forecast
from entropice_core.training.problem import Params, Problem, Progress, Steps, check_problem, child_seed
from entropice_core.training.results import CVResult, FinalModel, FoldResult
from entropice_core.training.search import choose, fit_rows, n_fits, needs_folds

VERSION = "3"


def nested_cv(
    problem: Problem, folds: Sequence[Fold], inner_folds: InnerFolds, seed: int, progress: Progress | None = None
) -> CVResult:
    """Score a model, its search and its calibration on rows that none of them saw.

    Parameters
    ----------
    problem : Problem
    folds : outer folds over the rows of ``problem.X``
    inner_folds : function (rows, y, seed) -> folds within these rows; see ``dataset.folds.inner_folds_maker``
    seed : int
        Everything random is derived from it by name, so that adding a model or a fold changes no other result.
    progress : function (steps done, steps in all, what), optional

    Raises
    ------
    TrainingError
        When a class is missing or inner folds cannot be made; the message names the outer fold.
    """
    candidates = list_candidates(problem.config, seed)
    check_problem(problem, folds, candidates)
    step = Steps(progress, len(folds) * (n_fits(problem, candidates) + 1))
    results = [_outer_fold(problem, fold, candidates, inner_folds, seed, step) for fold in folds]
    return _collect(results, len(problem.X))


def fit_final(problem: Problem, folds: Sequence[Fold], seed: int, progress: Progress | None = None) -> FinalModel:
    """Choose and calibrate on the out-of-fold predictions of all rows, then fit on all rows."""
    started = time.perf_counter()
    candidates = list_candidates(problem.config, seed)
    check_problem(problem, folds, candidates)
    step = Steps(progress, n_fits(problem, candidates) + 1)
    rows = np.arange(len(problem.density), dtype=np.int64)
    classes = problem.learn_classes(rows)
    y = problem.classify(classes, rows)
    used = folds if needs_folds(problem, candidates) else []
    choice = choose(problem, rows, y, used, candidates, child_seed(seed, "final"), step, "final")
    step.next("final: fit on all rows")
    model_seed = child_seed(seed, "final", "fit")
    return FinalModel(
        fitted=fit_rows(problem, choice.params, rows, y, model_seed),
        calibrator=choice.calibrator,
        classes=classes,
        params=choice.params,
        candidates=choice.candidates,
        n_rows=len(y),
        n_positive=int((y > 0).sum()),
        seed=model_seed,
        seconds=time.perf_counter() - started,
    )


def _outer_fold(
    problem: Problem, fold: Fold, candidates: list[Params], inner_folds: InnerFolds, seed: int, step: Steps
) -> FoldResult:
    started = time.perf_counter()
    own_seed = child_seed(seed, "outer", fold.name)
    try:
        classes = problem.learn_classes(fold.train)
        y_train, y_test = problem.classify(classes, fold.train), problem.classify(classes, fold.test)
        inner = inner_folds(fold.train, y_train, own_seed) if needs_folds(problem, candidates) else []
        choice = choose(problem, fold.train, y_train, inner, candidates, own_seed, step, fold.name)
        step.next(f"{fold.name}: refit")
        fitted = fit_rows(problem, choice.params, fold.train, y_train, child_seed(own_seed, "fit"))
    except TrainingError as error:
        raise TrainingError(f"Outer fold {fold.name!r}: {error}") from error
    proba_raw = fitted.predict_proba(problem.X[fold.test])
    proba = choice.calibrator(proba_raw)
    weight, train_weight = problem.weights_of(fold.test), problem.weights_of(fold.train)
    shares, climatology = class_shares(y_train, classes.n_classes, train_weight), None
    losses = {
        "loss": row_losses(y_test, proba),
        "loss_prevalence": row_losses(y_test, np.tile(shares, (y_test.size, 1))),
    }
    if problem.places is not None:
        at = (problem.places, fold.train, fold.test)
        climatology = climatology_forecast(*at, y_train, classes.n_classes, train_weight)
        losses["loss_climatology"] = row_losses(y_test, climatology)
    return FoldResult(
        name=fold.name,
        classes=classes,
        params=choice.params,
        candidates=choice.candidates,
        calibrator=choice.calibrator,
        raw=score_forecast(y_test, proba_raw, weight, shares=shares, climatology=climatology),
        calibrated=score_forecast(y_test, proba, weight, shares=shares, climatology=climatology),
        n_train=fold.train.size,
        n_test=fold.test.size,
        n_buffer_dropped=fold.n_buffer_dropped,
        n_pixel_dropped=fold.n_pixel_dropped,
        n_inner_folds=len(inner),
        n_unseen=choice.n_unseen,
        preprocess=fitted.report(),
        seconds=time.perf_counter() - started,
        test=fold.test,
        y=y_test,
        proba_raw=proba_raw,
        proba=proba,
        weight=weight,
        losses=losses,
        shares=np.tile(shares, (y_test.size, 1)),
        climatology=climatology,
        fitted=fitted,
    )


def _collect(results: list[FoldResult], n_rows: int) -> CVResult:
    """Join the test rows of all folds, ascending."""
    row = np.concatenate([result.test for result in results])
    order = np.argsort(row, kind="stable")
    static = [result.climatology for result in results if result.climatology is not None]
    return CVResult(
        folds=results,
        row=row[order],
        fold=np.concatenate([np.full(r.test.size, i, dtype=np.int64) for i, r in enumerate(results)])[order],
        proba_raw=np.concatenate([r.proba_raw for r in results])[order],
        proba=np.concatenate([r.proba for r in results])[order],
        y=np.concatenate([r.y for r in results])[order],
        weight=None if results[0].weight is None else np.concatenate([r.weight for r in results])[order],
        losses={name: np.concatenate([r.losses[name] for r in results])[order] for name in results[0].losses},
        shares=np.concatenate([r.shares for r in results])[order],
        climatology=np.concatenate(static)[order] if static else None,
        n_never_tested=n_rows - int(np.unique(row).size),
    )
