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
from entropice_core.training.metrics import score
from entropice_core.training.problem import (
    Params,
    Problem,
    Progress,
    Steps,
    check_problem,
    child_seed,
    learn_edge,
    list_candidates,
)
from entropice_core.training.results import CVResult, FinalModel, FoldResult
from entropice_core.training.search import choose, fit_rows, needs_folds, refuse_one_class

VERSION = "1"


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
    candidates = list_candidates(problem.config)
    check_problem(problem, folds, candidates)
    step = Steps(progress, len(folds) * (len(candidates) + 1))
    results = [_outer_fold(problem, fold, candidates, inner_folds, seed, step) for fold in folds]
    return _collect(results, len(problem.X))


def fit_final(problem: Problem, folds: Sequence[Fold], seed: int, progress: Progress | None = None) -> FinalModel:
    """Choose and calibrate on the out-of-fold predictions of all rows, then fit on all rows."""
    started = time.perf_counter()
    candidates = list_candidates(problem.config)
    check_problem(problem, folds, candidates)
    step = Steps(progress, len(candidates) + 1)
    edge = learn_edge(problem.target, problem.density)
    y = (problem.density > edge).astype(np.int64)
    rows = np.arange(len(y), dtype=np.int64)
    refuse_one_class(y, edge)
    used = folds if needs_folds(problem, candidates) else []
    choice = choose(problem, rows, y, used, candidates, child_seed(seed, "final"), step, "final")
    step.next("final: fit on all rows")
    model_seed = child_seed(seed, "final", "fit")
    fitted = fit_rows(problem, choice.params, rows, y, model_seed)
    seconds = time.perf_counter() - started
    return FinalModel(
        fitted, choice.calibrator, edge, choice.params, choice.candidates, len(y), int(y.sum()), model_seed, seconds
    )


def _outer_fold(
    problem: Problem, fold: Fold, candidates: list[Params], inner_folds: InnerFolds, seed: int, step: Steps
) -> FoldResult:
    started = time.perf_counter()
    edge = learn_edge(problem.target, problem.density[fold.train])
    y_train = (problem.density[fold.train] > edge).astype(np.int64)
    y_test = (problem.density[fold.test] > edge).astype(np.int64)
    own_seed = child_seed(seed, "outer", fold.name)
    try:
        refuse_one_class(y_train, edge)
        inner = inner_folds(fold.train, y_train, own_seed) if needs_folds(problem, candidates) else []
        choice = choose(problem, fold.train, y_train, inner, candidates, own_seed, step, fold.name)
        step.next(f"{fold.name}: refit")
        fitted = fit_rows(problem, choice.params, fold.train, y_train, child_seed(own_seed, "fit"))
    except TrainingError as error:
        raise TrainingError(f"Outer fold {fold.name!r}: {error}") from error
    p_raw = fitted.predict_proba(problem.X[fold.test])[:, 1]
    p = choice.calibrator(p_raw)
    base_rate = float(y_train.mean())
    return FoldResult(
        name=fold.name,
        edge=edge,
        params=choice.params,
        candidates=choice.candidates,
        calibrator=choice.calibrator,
        raw=score(y_test, p_raw, base_rate=base_rate),
        calibrated=score(y_test, p, base_rate=base_rate),
        n_train=fold.train.size,
        n_test=fold.test.size,
        n_buffer_dropped=fold.n_buffer_dropped,
        n_inner_folds=len(inner),
        preprocess=fitted.report(),
        seconds=time.perf_counter() - started,
        test=fold.test,
        y=y_test,
        p_raw=p_raw,
        p=p,
        fitted=fitted,
    )


def _collect(results: list[FoldResult], n_rows: int) -> CVResult:
    """Join the test rows of all folds, ascending."""
    row = np.concatenate([result.test for result in results])
    order = np.argsort(row, kind="stable")
    return CVResult(
        folds=results,
        row=row[order],
        fold=np.concatenate([np.full(r.test.size, i, dtype=np.int64) for i, r in enumerate(results)])[order],
        p_raw=np.concatenate([r.p_raw for r in results])[order],
        p=np.concatenate([r.p for r in results])[order],
        y=np.concatenate([r.y for r in results])[order],
        n_never_tested=n_rows - int(np.unique(row).size),
    )
