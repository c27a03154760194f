"""What validation and training found: scores and choices of every fold, out-of-fold predictions, the final model.

Nothing is computed here but summaries. Reports hold no time and no NaN, so that the same run writes the same bytes and
every JSON reader can read them; durations are returned apart.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.dataset.classes import ClassEdges
from entropice_core.models.base import Estimator
from entropice_core.training.calibrate import Calibrator
from entropice_core.training.class_metrics import score_forecast
from entropice_core.training.metrics import Scores, summarise
from entropice_core.training.problem import Params

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One outer fold: what was learned on its training rows and how it did on its test rows.

    Attributes
    ----------
    classes : edges between the classes, learned on the training rows
    y : (n_test,) int64, classes of the test rows by these edges
    proba_raw, proba : (n_test, n_classes) float64, before and after calibration
    weight : (n_test,) float64, or None
    losses : -log P(what happened) of each test row (n_test,): of the model, of the prevalence, of the climatology
    shares : (n_test, n_classes) float64, shares of the classes among the training rows, the same for all test rows
    climatology : (n_test, n_classes) float64, the static forecast, or None
    n_unseen : fits on inner folds whose training rows lacked a class
    fitted : stays in memory only, for importances
    """

    name: str
    classes: ClassEdges
    params: Params
    candidates: list[dict[str, Any]]
    calibrator: Calibrator
    raw: Scores
    calibrated: Scores
    n_train: int
    n_test: int
    n_buffer_dropped: int
    n_pixel_dropped: int
    n_inner_folds: int
    n_unseen: int
    preprocess: dict[str, Any]
    seconds: float
    test: Int64 = field(repr=False)
    y: Int64 = field(repr=False)
    proba_raw: Float64 = field(repr=False)
    proba: Float64 = field(repr=False)
    weight: Float64 | None = field(repr=False)
    losses: dict[str, Float64] = field(repr=False)
    shares: Float64 = field(repr=False)
    climatology: Float64 | None = field(repr=False)
    fitted: Estimator = field(repr=False)

    @property
    def edge(self) -> float:
        """Density (m2 m-2) or count above which a row is not of the first class."""
        return self.classes.edges[0]

    @property
    def p_raw(self) -> Float64:
        """Raw probability : (n_test,) of any class but the first."""
        return _positive(self.proba_raw)

    @property
    def p(self) -> Float64:
        """Calibrated probability : (n_test,) of any class but the first."""
        return _positive(self.proba)

    def predict(self, X: Float64) -> Float64:
        """Return calibrated probabilities : (n, n_classes) of other rows, by the model of this fold."""
        return self.calibrator(self.fitted.predict_proba(X))

    def to_dict(self) -> dict[str, Any]:
        """Return what a report needs as JSON-able values; no rows, no model, no seconds."""
        names = ("name", "edge", "params", "candidates", "raw", "calibrated", "n_train", "n_test", "n_buffer_dropped")
        more = ("n_pixel_dropped", "n_inner_folds", "n_unseen", "preprocess")
        report = {name: getattr(self, name) for name in (*names, *more)}
        edges = {"edges": list(self.classes.edges), "class_rows": list(self.classes.n_rows)}
        return {**report, **edges, "calibrator": self.calibrator.to_dict()}


@dataclass(frozen=True, eq=False)
class CVResult:
    """All outer folds, and the table of out-of-fold predictions.

    Attributes
    ----------
    folds : results in the order of the folds
    row : (m,) int64, tested rows, ascending
    fold : (m,) int64, position in ``folds``
    proba_raw, proba : (m, n_classes) float64, before and after calibration
    y : (m,) int64, classes by the edges of the row's fold
    weight : (m,) float64, or None
    losses : (m,) float64 each, see ``FoldResult``
    shares, climatology : (m, n_classes) float64, climatology perhaps None: what skill compares with, of the row's fold
    n_never_tested : rows in no test set
    """

    folds: list[FoldResult]
    row: Int64
    fold: Int64
    proba_raw: Float64
    proba: Float64
    y: Int64
    weight: Float64 | None
    losses: dict[str, Float64]
    shares: Float64
    climatology: Float64 | None
    n_never_tested: int

    @property
    def p_raw(self) -> Float64:
        """Raw probability : (m,) of any class but the first."""
        return _positive(self.proba_raw)

    @property
    def p(self) -> Float64:
        """Calibrated probability : (m,) of any class but the first."""
        return _positive(self.proba)

    def summary(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return mean, spread and range over folds of every score, ``raw`` and ``calibrated``."""
        return {kind: summarise([getattr(f, kind) for f in self.folds]) for kind in ("raw", "calibrated")}

    def pooled(self) -> dict[str, Scores]:
        """Return the scores of all tested rows together, ``raw`` and ``calibrated``.

        Folds have different prevalences; pooled scores mix skill within folds and between them: report both.
        """
        everywhere = np.ones(self.y.size, dtype=bool)
        return {"raw": self._scores(everywhere, self.proba_raw), "calibrated": self.scores_of(everywhere)}

    def scores_of(self, rows: npt.NDArray[np.bool_]) -> Scores:
        """Return the scores of some of the tested rows, (m,) bool, after calibration."""
        return self._scores(rows, self.proba)

    def _scores(self, rows: npt.NDArray[np.bool_], proba: Float64) -> Scores:
        weight, static = (None if part is None else part[rows] for part in (self.weight, self.climatology))
        return score_forecast(self.y[rows], proba[rows], weight, shares=self.shares[rows], climatology=static)

    def to_dict(self) -> dict[str, Any]:
        """Return what a report needs as JSON-able values; undefined scores are None."""
        report: dict[str, Any] = plain(
            {
                "folds": [fold.to_dict() for fold in self.folds],
                "summary": self.summary(),
                "pooled": self.pooled(),
                "n_tested": self.row.size,
                "n_never_tested": self.n_never_tested,
            }
        )
        return report

    def seconds(self) -> dict[str, float]:
        """Return how long each fold took."""
        return {fold.name: fold.seconds for fold in self.folds}


@dataclass(frozen=True, eq=False)
class FinalModel:
    """The model for maps: fitted on all rows; the search and the calibration used the same folds as the scores."""

    fitted: Estimator
    calibrator: Calibrator
    classes: ClassEdges
    params: Params
    candidates: list[dict[str, Any]]
    n_rows: int
    n_positive: int
    seed: int
    seconds: float

    @property
    def edge(self) -> float:
        """Density (m2 m-2) or count above which a row is not of the first class."""
        return self.classes.edges[0]


def _positive(proba: Float64) -> Float64:
    return np.asarray(proba[:, 1:].sum(axis=1))


def plain(value: Any) -> Any:
    """Return a copy that JSON can hold: NumPy numbers as Python's, not-a-number and infinity as None.

    >>> plain({"roc_auc": float("nan"), "n": np.int64(3)})
    {'roc_auc': None, 'n': 3}
    """
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
