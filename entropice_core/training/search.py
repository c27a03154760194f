"""Choose the parameters of a model, and calibrate it, from out-of-fold predictions.

Parameters are chosen by the log loss of *calibrated* out-of-fold predictions, as those are the product: a forest
whose raw probabilities are flat but whose order is right should not lose to one that is merely better scaled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.dataset.folds import Fold
from entropice_core.errors import TrainingError
from entropice_core.models.base import Estimator
from entropice_core.training.calibrate import Calibrator, fit_calibrator
from entropice_core.training.metrics import log_loss
from entropice_core.training.problem import Params, Problem, Steps, child_seed

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Choice:
    """What the search chose, and the out-of-fold predictions of the choice.

    Attributes
    ----------
    params : the candidate with the lowest log loss; the first of equals
    candidates : each candidate with its ``log_loss`` after calibration and ``log_loss_raw``
    calibrator : fitted on the out-of-fold predictions
    rows, p, y : (m,) rows with an out-of-fold prediction, their raw probability and their class
    """

    params: Params
    candidates: list[dict[str, Any]]
    calibrator: Calibrator
    rows: Int64
    p: Float64
    y: Int64


def needs_folds(problem: Problem, candidates: Sequence[Params]) -> bool:
    """Say whether out-of-fold predictions are wanted: not for a single candidate without calibration."""
    return len(candidates) > 1 or problem.calibration != "none"


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
    """Fit every candidate on every fold, and keep the one with the lowest log loss after calibration.

    Parameters
    ----------
    rows : (n,) int64, rows of ``problem.X`` that may be used
    y : (n,) int64, their classes; the edge between the classes was learned on these rows
    folds : folds within ``rows``
    """
    if not folds:
        steps.next(f"{where}: no search")
        nothing = np.empty(0, dtype=np.int64)
        return Choice(dict(candidates[0]), [], fit_calibrator("none", [], []), nothing, np.empty(0), nothing)
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    tried: list[tuple[Float64, Calibrator]] = []
    table: list[dict[str, Any]] = []
    for number, params in enumerate(candidates):
        steps.next(f"{where}: candidate {number + 1} of {len(candidates)}")
        # All candidates draw the same random numbers: they are then compared by their parameters, not by their luck.
        p = _out_of_fold(problem, rows, y, folds, params, child_seed(seed, "candidates"))[tested]
        calibrator = fit_calibrator(problem.calibration, p, y[tested])
        loss, loss_raw = log_loss(y[tested], calibrator(p)), log_loss(y[tested], p)
        tried.append((p, calibrator))
        table.append({"params": dict(params), "log_loss": loss, "log_loss_raw": loss_raw})
    best = int(np.argmin([entry["log_loss"] for entry in table]))
    p, calibrator = tried[best]
    return Choice(dict(candidates[best]), table, calibrator, rows[tested], p, y[tested])


def fit_rows(problem: Problem, params: Params, rows: Int64, y: Int64, seed: int) -> Estimator:
    """Fit one model on some rows and their classes."""
    return problem.module.build(params, seed, problem.feature_names).fit(problem.X[rows], y)


def refuse_one_class(y: Int64, edge: float) -> None:
    """Say clearly that there is nothing to tell apart."""
    n_positive = int(y.sum())
    if n_positive in (0, y.size):
        which = "none" if n_positive == 0 else "all"
        raise TrainingError(
            f"There is one class only: of {y.size} training rows {which} has a density above {edge:.6g} m2 m-2; take "
            "more cells or years, or another target."
        )


def _out_of_fold(problem: Problem, rows: Int64, y: Int64, folds: Sequence[Fold], params: Params, seed: int) -> Float64:
    """Return the raw probability : (n,) of each row from a model that did not see it; NaN where no fold tests it."""
    p = np.full(rows.size, np.nan)
    for fold in folds:
        fitted = fit_rows(problem, params, rows[fold.train], y[fold.train], child_seed(seed, fold.name))
        p[fold.test] = fitted.predict_proba(problem.X[rows[fold.test]])[:, 1]
    return p
