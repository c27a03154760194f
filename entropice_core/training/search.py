"""Choose the parameters of a model, and calibrate it, from out-of-fold predictions.

Parameters are chosen by the log loss of *calibrated* out-of-fold predictions, as those are the product: a forest
whose raw probabilities are flat but whose order is right should not lose to one that is merely better scaled.

Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943) fits all candidates on a ninth of the training rows,
the best third on a third, and the best ninth on all of them: most of the time goes to candidates that are worth it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.dataset.folds import Fold
from entropice_core.models.base import Estimator
from entropice_core.training.calibrate import Calibrator, fit_calibrator
from entropice_core.training.class_metrics import class_log_loss
from entropice_core.training.problem import Params, Problem, Steps, child_seed

VERSION = "2"
ETA = 3
SHARES = (1 / 9, 1 / 3, 1.0)
"""Shares of the training rows on which the rungs of a halving fit."""
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Choice:
    """What the search chose, and the out-of-fold predictions of the choice.

    Attributes
    ----------
    params : the candidate with the lowest log loss; the first of equals
    candidates : each candidate with its ``log_loss`` after calibration and ``log_loss_raw``; of a halving also the
        ``share`` of the training rows that it was last fitted on
    calibrator : fitted on the out-of-fold predictions
    rows : (m,) int64, rows with an out-of-fold prediction
    p : (m, n_classes) float64, their raw probabilities
    y : (m,) int64, their classes
    n_unseen : fits whose training rows lacked a class
    """

    params: Params
    candidates: list[dict[str, Any]]
    calibrator: Calibrator
    rows: Int64
    p: Float64
    y: Int64
    n_unseen: int = 0


@dataclass(frozen=True, eq=False)
class _Tried:
    """One candidate on the inner folds."""

    params: Params
    log_loss: float
    log_loss_raw: float
    calibrator: Calibrator
    p: Float64
    n_unseen: int
    share: float


def needs_folds(problem: Problem, candidates: Sequence[Params]) -> bool:
    """Say whether out-of-fold predictions are wanted: not for a single candidate without calibration."""
    return len(candidates) > 1 or problem.calibration != "none"


def n_fits(problem: Problem, candidates: Sequence[Params]) -> int:
    """Count the candidates over all rungs."""
    return sum(_sizes(problem, len(candidates)))


def choose(
    problem: Problem,
    rows: Int64,
    y: Int64,
    folds: Sequence[Fold],
    candidates: Sequence[Params],
    seed: int,
    steps: Steps,
    where: str,
) -> Choice:
    """Fit the candidates on every fold, and keep the one with the lowest log loss after calibration.

    Parameters
    ----------
    rows : (n,) int64, rows of ``problem.X`` that may be used
    y : (n,) int64, their classes; the edges between the classes were learned on these rows
    folds : folds within ``rows``
    """
    if not folds:
        steps.next(f"{where}: no search")
        nothing = np.empty(0, dtype=np.int64)
        p = np.empty((0, problem.target.n_learned))
        return Choice(dict(candidates[0]), [], Calibrator(), nothing, p, nothing)
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    latest: dict[int, _Tried] = {}
    running = list(range(len(candidates)))
    sizes = _sizes(problem, len(candidates))
    for n, share in zip(sizes, SHARES[-len(sizes) :], strict=True):
        running = sorted(sorted(running, key=lambda i: (latest[i].log_loss, i))[:n]) if latest else running
        for number in running:
            steps.next(f"{where}: candidate {number + 1} of {len(candidates)}" + _of_rows(share))
            latest[number] = _try(problem, rows, y, folds, tested, candidates[number], seed, share)
    best = min(running, key=lambda i: (latest[i].log_loss, i))
    return Choice(
        dict(candidates[best]),
        _table(latest, with_share=len(sizes) > 1),
        latest[best].calibrator,
        rows[tested],
        latest[best].p,
        y[tested],
        sum(tried.n_unseen for tried in latest.values()),
    )


def fit_rows(problem: Problem, params: Params, rows: Int64, y: Int64, seed: int) -> Estimator:
    """Fit one model on some rows and their classes."""
    model = problem.module.build(params, seed, problem.feature_names, problem.target.n_learned)
    return model.fit(problem.X[rows], y, problem.weights_of(rows))


def _sizes(problem: Problem, n: int) -> list[int]:
    """Say how many candidates run on each rung; without halving, or with few, all of them once."""
    if problem.config.method != "halving" or n < ETA:
        return [n]
    return [n, max(n // ETA, 2), max(n // ETA**2, 1)]


def _of_rows(share: float) -> str:
    return "" if share == 1 else f" on {share:.0%} of the rows"


def _table(latest: dict[int, _Tried], *, with_share: bool) -> list[dict[str, Any]]:
    return [
        {
            "params": dict(tried.params),
            "log_loss": tried.log_loss,
            "log_loss_raw": tried.log_loss_raw,
            **({"share": round(tried.share, 6)} if with_share else {}),
        }
        for _, tried in sorted(latest.items())
    ]


def _try(
    problem: Problem,
    rows: Int64,
    y: Int64,
    folds: Sequence[Fold],
    tested: Int64,
    params: Params,
    seed: int,
    share: float,
) -> _Tried:
    """Fit a candidate on every fold; all candidates draw the same numbers: they differ by parameters, not by luck."""
    p, fold_of_row, n_unseen = _out_of_fold(problem, rows, y, folds, params, child_seed(seed, "candidates"), share)
    p, weight = p[tested], problem.weights_of(rows[tested])
    calibrator = fit_calibrator(problem.calibration, p, y[tested], weight, fold_of_row[tested])
    loss, loss_raw = class_log_loss(y[tested], calibrator(p), weight), class_log_loss(y[tested], p, weight)
    return _Tried(dict(params), loss, loss_raw, calibrator, p, n_unseen, share)


def _out_of_fold(
    problem: Problem, rows: Int64, y: Int64, folds: Sequence[Fold], params: Params, seed: int, share: float
) -> tuple[Float64, Int64, int]:
    """Predict each row by a model that did not see it.

    Returns raw probabilities : (n, n_classes), NaN where no fold tests a row; the fold of each row; and how many fits
    lacked a class.
    """
    n_classes = problem.target.n_learned
    p, fold_of_row = np.full((rows.size, n_classes), np.nan), np.full(rows.size, -1, dtype=np.int64)
    n_unseen = 0
    for number, fold in enumerate(folds):
        own_seed = child_seed(seed, fold.name)
        train = fold.train if share == 1 else fold.train[_part(y[fold.train], share, own_seed)]
        n_unseen += int(np.unique(y[train]).size < n_classes)
        fitted = fit_rows(problem, params, rows[train], y[train], own_seed)
        p[fold.test] = fitted.predict_proba(problem.X[rows[fold.test]])
        fold_of_row[fold.test] = number
    return p, fold_of_row, n_unseen


def _part(y: Int64, share: float, seed: int) -> Int64:
    """Take a share of the rows of each class, at least one; a smaller share is part of a larger one."""
    order = np.random.default_rng(seed).permutation(y.size)
    taken = [order[y[order] == k] for k in np.unique(y)]
    return np.sort(np.concatenate([of_class[: max(1, round(share * of_class.size))] for of_class in taken]))
