"""Imputation and scaling that all models share, learned on the training rows only and kept as arrays.

Missing values become the median of the training rows: robust to skewed features, and the same rule for every model,
so that models are compared and not their imputations. Scaling is to zero mean and unit variance; trees need none.

A feature that is missing in all training rows, or has one value in all of them, is dropped and named in the report:
it can teach nothing, and eSPA would give a constant feature its largest weight (no variance within a cluster).

A class that no training row has is no impossible class: it gets the probability 1 / (rows + classes) (Laplace's rule of
succession), and the classes that were seen share the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from entropice_core.errors import TrainingError
from entropice_core.models.base import (
    ROWS,
    Arrays,
    Bool,
    Float64,
    Int64,
    Matrix,
    check_labels,
    check_matrix,
    check_weights,
)

VERSION = "2"
PREFIX = "preprocess."
COLUMNS = 8
"""Columns that are learned from together: 64 MB of 10^6 rows, and each row of X is read in whole lines of memory."""


class Rule(Protocol):
    """A fitted model that sees prepared features only."""

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return (n, n_seen) probabilities of the classes seen in training, for prepared features : (n, n_kept)."""
        ...


@dataclass(frozen=True, eq=False)
class Preprocess:
    """What was learned about the features of the training rows.

    Attributes
    ----------
    feature_names : (n_features,) names in the order of the columns
    kept : (n_features,) bool, False where a feature was dropped
    median, mean, scale : (n_features,) float64 in the feature's unit; 0, 0, 1 where dropped or not standardised
    n_imputed : (n_features,) int64, training rows whose value was missing
    n_rows : training rows
    """

    feature_names: tuple[str, ...]
    kept: Bool
    median: Float64
    mean: Float64
    scale: Float64
    n_imputed: Int64
    n_rows: int

    @classmethod
    def fit(cls, X: Matrix, feature_names: Sequence[str], *, standardise: bool) -> "Preprocess":
        """Learn medians, and means and scales of the imputed values, from X : (n, n_features), some columns at once."""
        n_features = len(feature_names)
        median, mean, scale = np.zeros(n_features), np.zeros(n_features), np.ones(n_features)
        n_imputed, kept = np.zeros(n_features, dtype=np.int64), np.zeros(n_features, dtype=bool)
        for start in range(0, n_features, COLUMNS):
            some = slice(start, start + COLUMNS)
            columns = np.ascontiguousarray(X[:, some].T, dtype=np.float64)
            missing = np.isnan(columns)
            median[some] = [_median(column) for column in columns]
            n_imputed[some] = missing.sum(axis=1)
            np.copyto(columns, median[some, None], where=missing)
            varies = columns.max(axis=1) > columns.min(axis=1)
            if standardise:
                mean[some] = np.where(varies, columns.mean(axis=1), 0.0)
                scale[some] = np.where(varies, columns.std(axis=1), 1.0)
            # A spread at the limit of float64 has a standard deviation of zero by rounding: nothing to learn from it.
            kept[some] = varies & (scale[some] > 0)
        scale[~kept] = 1.0
        return cls(tuple(feature_names), kept, median, mean, scale, n_imputed, len(X))

    def transform(self, X: ArrayLike) -> Matrix:
        """Return prepared features : (n, n_kept) without any NaN.

        They are float64, or float32 where X is and nothing is scaled: trees compare in float32 anyway.

        >>> X = np.array([[1.0, 7.0], [3.0, 7.0], [np.nan, 7.0]])
        >>> prepare = Preprocess.fit(X, ["elevation", "constant"], standardise=False)
        >>> prepare.transform(X).tolist()
        [[1.0], [3.0], [2.0]]
        """
        matrix = check_matrix(X, self.feature_names)
        median, mean, scale = (values[self.kept] for values in (self.median, self.mean, self.scale))
        is_scaled = bool(mean.any() or (scale != 1.0).any())
        prepared: Matrix = np.empty((len(matrix), median.size), np.float64 if is_scaled else matrix.dtype)
        for start in range(0, len(matrix), ROWS):
            rows = matrix[start : start + ROWS, self.kept].astype(np.float64)
            np.copyto(rows, median, where=np.isnan(rows))
            prepared[start : start + ROWS] = (rows - mean) / scale
        return prepared

    def expand(self, scores: ArrayLike) -> Float64:
        """Spread scores : (n_kept,) over all features : (n_features,); a dropped feature has the score 0."""
        out = np.zeros(len(self.feature_names))
        out[self.kept] = np.asarray(scores, dtype=np.float64)
        return out

    def report(self) -> dict[str, Any]:
        """Say what was imputed and dropped, for manifests and MLflow."""
        imputed = {name: int(n) for name, n in zip(self.feature_names, self.n_imputed, strict=True) if n}
        dropped = {
            name: "missing in all training rows" if n == self.n_rows else "one value in all training rows"
            for name, n, kept in zip(self.feature_names, self.n_imputed, self.kept, strict=True)
            if not kept
        }
        return {"n_rows": self.n_rows, "n_imputed": sum(imputed.values()), "imputed": imputed, "dropped": dropped}

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the state as arrays and JSON-able metadata."""
        arrays = {PREFIX + name: getattr(self, name) for name in ("kept", "median", "mean", "scale", "n_imputed")}
        return arrays, {"feature_names": list(self.feature_names), "n_rows": self.n_rows}

    @classmethod
    def from_arrays(cls, arrays: Arrays, meta: dict[str, Any]) -> "Preprocess":
        """Rebuild the state that ``to_arrays`` returned."""
        state = {name: arrays[PREFIX + name] for name in ("kept", "median", "mean", "scale", "n_imputed")}
        return cls(feature_names=tuple(meta["feature_names"]), n_rows=int(meta["n_rows"]), **state)


@dataclass(frozen=True, eq=False)
class PreparedPredictor:
    """Prepared features, then a rule: the predicting half of every model, fitted or loaded.

    ``seen`` : (n_seen,) int64, the classes that the training rows had, ascending; the columns of the rule.
    """

    preprocess: Preprocess
    rule: Any
    n_classes: int
    seen: Int64

    @property
    def classes_(self) -> Int64:
        """Classes in the order of the columns."""
        return np.arange(self.n_classes, dtype=np.int64)

    def predict_proba(self, X: ArrayLike) -> Float64:
        """Return P(class) : (n, n_classes) for X : (n, n_features), NaN = missing."""
        prepared = self.preprocess.transform(X)
        if not len(prepared):
            return np.empty((0, self.n_classes))
        probability: Float64 = self.rule.predict_proba(prepared)
        if self.seen.size == self.n_classes:
            return probability
        unseen = 1.0 / (self.preprocess.n_rows + self.n_classes)
        every = np.full((len(prepared), self.n_classes), unseen)
        every[:, self.seen] = probability * (1.0 - unseen * (self.n_classes - self.seen.size))
        return every


class PreparedClassifier:
    """Imputation, scaling, then a model: what every ``build`` returns.

    Parameters
    ----------
    learn : function (prepared (n, n_kept), y (n,), sample_weight (n,) or None) -> rule with ``predict_proba``; y counts
        the classes that the training rows have, from 0 without a gap
    feature_names : names of the columns of X
    standardise : scale to zero mean and unit variance
    n_classes : classes that there can be, 0 to n_classes - 1
    needs_features : False only for a model that ignores the features

    Attributes
    ----------
    preprocess_ : Preprocess
    rule_ : what ``learn`` returned
    seen_ : (n_seen,) int64, classes of the training rows
    classes_ : (n_classes,) int64
    """

    def __init__(
        self,
        learn: Callable[[Float64, Int64, Float64 | None], Rule],
        feature_names: Sequence[str],
        *,
        standardise: bool,
        n_classes: int = 2,
        needs_features: bool = True,
    ) -> None:
        self.learn = learn
        self.feature_names = tuple(feature_names)
        self.standardise = standardise
        self.needs_features = needs_features
        self.n_classes = n_classes
        self.classes_: Int64 = np.arange(n_classes, dtype=np.int64)

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from X : (n, n_features), NaN = missing, and y : (n,) of classes, two of them at least."""
        matrix = check_matrix(X, self.feature_names)
        labels = check_labels(y, len(matrix), self.n_classes)
        weight = check_weights(sample_weight, labels)
        self.preprocess_ = Preprocess.fit(matrix, self.feature_names, standardise=self.standardise)
        if self.needs_features and not self.preprocess_.kept.any():
            raise TrainingError(
                f"None of the {len(self.feature_names)} features has two different values in the {len(matrix)} "
                "training rows: check that the sources cover the cells."
            )
        self.seen_, code = np.unique(labels, return_inverse=True)
        self.rule_: Any = self.learn(self.preprocess_.transform(matrix), code.astype(np.int64), weight)
        return self

    def predict_proba(self, X: ArrayLike) -> Float64:
        """Return P(class) : (n, n_classes) for X : (n, n_features), NaN = missing."""
        self._check_fitted()
        return PreparedPredictor(self.preprocess_, self.rule_, self.n_classes, self.seen_).predict_proba(X)

    def report(self) -> dict[str, Any]:
        """Say how many values were imputed in fitting, and which features were dropped and why."""
        self._check_fitted()
        unseen = np.setdiff1d(self.classes_, self.seen_).tolist()
        return {**self.preprocess_.report(), **({"unseen_classes": unseen} if unseen else {})}

    def _check_fitted(self) -> None:
        if not hasattr(self, "rule_"):
            raise TrainingError("The model was used before it was fitted: call fit first.")


def pack(fitted: PreparedClassifier, arrays: Arrays, meta: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """Join the arrays of the preprocessing with those of a rule."""
    own_arrays, own_meta = fitted.preprocess_.to_arrays()
    classes = {"n": fitted.n_classes, "seen": fitted.seen_.tolist()}
    return {**own_arrays, **arrays}, {"preprocess": own_meta, "classes": classes, **meta}


def unpack(arrays: Arrays, meta: dict[str, Any], rule: Rule) -> PreparedPredictor:
    """Put the preprocessing of packed arrays before a rule."""
    seen = np.array(meta["classes"]["seen"], dtype=np.int64)
    return PreparedPredictor(Preprocess.from_arrays(arrays, meta["preprocess"]), rule, int(meta["classes"]["n"]), seen)


def _median(column: Float64) -> float:
    seen = column[~np.isnan(column)]
    return float(np.median(seen)) if seen.size else 0.0
