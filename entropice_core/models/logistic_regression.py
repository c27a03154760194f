"""Logistic regression with an L2 penalty: the linear yardstick.

Newton steps with a Cholesky factor are used: there are far more rows than features, and they converge to the one
minimum in a few steps whatever the thread count.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from entropice_core.config import Strict
from entropice_core.errors import TrainingError
from entropice_core.models.base import Arrays, Float64, Int64, Predictor, check_params, two_columns
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "1"


class Params(Strict):
    """``C``: inverse strength of the penalty on standardised coefficients; ``class_weight`` as in scikit-learn."""

    C: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    class_weight: Literal["balanced"] | None = None
    max_iter: int = Field(default=200, ge=1)


@dataclass(frozen=True, eq=False)
class LinearRule:
    """P = 1 / (1 + exp(-(x . coefficients + intercept))); coefficients : (n_kept,) per standard deviation."""

    coefficients: Float64
    intercept: float

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return (n, 2) probabilities; each row is summed by itself, so that its result does not depend on the rest."""
        return two_columns(expit((prepared * self.coefficients).sum(axis=1) + self.intercept))


def _learner(params: Params) -> Callable[[Float64, Int64, Float64 | None], LinearRule]:
    def learn(prepared: Float64, y: Int64, sample_weight: Float64 | None) -> LinearRule:
        model = LogisticRegression(
            C=params.C,
            class_weight=params.class_weight,
            max_iter=params.max_iter,
            solver="newton-cholesky",
            tol=1e-8,  # a further Newton step is cheap, and the default stops 1e-4 short in probability
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                model.fit(prepared, y, sample_weight)
            except ConvergenceWarning as warning:
                raise TrainingError(
                    f"Logistic regression with C = {params.C} did not converge in {params.max_iter} steps on "
                    f"{prepared.shape[0]} rows and {prepared.shape[1]} features: lower C or raise max_iter."
                ) from warning
        return LinearRule(model.coef_[0].astype(np.float64), float(model.intercept_[0]))

    return learn


def build(params: Mapping[str, Any], seed: int, feature_names: Sequence[str]) -> PreparedClassifier:  # noqa: ARG001
    """Return an unfitted model; the minimum is unique, so that the seed has no influence."""
    checked = check_params("logistic_regression", Params, params)
    return PreparedClassifier(_learner(checked), feature_names, standardise=True)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata."""
    rule: LinearRule = fitted.rule_
    return pack(fitted, {"coefficients": rule.coefficients, "intercept": np.array(rule.intercept)}, {})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    return unpack(arrays, meta, LinearRule(arrays["coefficients"], float(arrays["intercept"])))


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:
    """Return the coefficients per standard deviation of each feature, with their sign."""
    return {"coefficient": fitted.preprocess_.expand(fitted.rule_.coefficients)}
