"""Logistic regression with an L2 penalty: the linear yardstick.

Newton steps with a Cholesky factor are used: there are far more rows than features, and they converge to the one
minimum in a few steps whatever the thread count. With ``device`` the same minimum is sought by cuML on a GPU.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from entropice_core.config import Strict
from entropice_core.errors import TrainingError
from entropice_core.models.base import Arrays, Float64, Int64, Predictor, check_params, two_columns
from entropice_core.models.gpu import Device, cuml, is_on_gpu
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "2"


class Params(Strict):
    """``C``: inverse strength of the penalty on standardised coefficients; ``class_weight`` as in scikit-learn.

    ``device``: "cpu", "cuda" (cuML), or "auto" for a GPU where there is one; see ``models.gpu`` for the tolerance.
    """

    C: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    class_weight: Literal["balanced"] | None = None
    max_iter: int = Field(default=200, ge=1)
    device: Device = "cpu"


@dataclass(frozen=True, eq=False)
class LinearRule:
    """P = softmax over classes of x . coefficients + intercept; of two classes only the second has a row.

    coefficients : (1 or n_seen, n_kept) per standard deviation; intercept : (1 or n_seen,)
    """

    coefficients: Float64
    intercept: Float64

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return (n, n_seen); each row is summed by itself, so that its result does not depend on the rest."""
        pairs = zip(self.coefficients, self.intercept, strict=True)
        log_odds = [(prepared * row).sum(axis=1) + intercept for row, intercept in pairs]
        if len(log_odds) == 1:
            return two_columns(expit(log_odds[0]))
        probability: Float64 = softmax(np.column_stack(log_odds), axis=1)
        return probability


def _learner(params: Params) -> Callable[[Float64, Int64, Float64 | None], LinearRule]:
    def learn(prepared: Float64, y: Int64, sample_weight: Float64 | None) -> LinearRule:
        fit = _fit_on_gpu if is_on_gpu(params.device, "logistic_regression") else _fit_on_cpu
        model = fit(params, prepared, y, sample_weight)
        return LinearRule(np.asarray(model.coef_, np.float64), np.atleast_1d(np.asarray(model.intercept_, np.float64)))

    return learn


def _fit_on_cpu(params: Params, prepared: Float64, y: Int64, sample_weight: Float64 | None) -> Any:
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
            return model.fit(prepared, y, sample_weight)
        except ConvergenceWarning as warning:
            raise TrainingError(
                f"Logistic regression with C = {params.C} did not converge in {params.max_iter} steps on "
                f"{prepared.shape[0]} rows and {prepared.shape[1]} features: lower C or raise max_iter."
            ) from warning


def _fit_on_gpu(params: Params, prepared: Float64, y: Int64, sample_weight: Float64 | None) -> Any:
    model = cuml("linear_model").LogisticRegression(
        C=params.C, class_weight=params.class_weight, max_iter=max(params.max_iter, 1000), tol=1e-8, output_type="numpy"
    )
    return model.fit(prepared, y, sample_weight)


def build(
    params: Mapping[str, Any],
    seed: int,  # noqa: ARG001
    feature_names: Sequence[str],
    n_classes: int = 2,
) -> PreparedClassifier:
    """Return an unfitted model; the minimum is unique, so that the seed has no influence."""
    checked = check_params("logistic_regression", Params, params)
    return PreparedClassifier(_learner(checked), feature_names, standardise=True, n_classes=n_classes)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata."""
    rule: LinearRule = fitted.rule_
    return pack(fitted, {"coefficients": rule.coefficients, "intercept": rule.intercept}, {})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    return unpack(arrays, meta, LinearRule(arrays["coefficients"], arrays["intercept"]))


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:
    """Return the coefficients per standard deviation of each feature, with their sign; of more classes each one's."""
    rows, expand = fitted.rule_.coefficients, fitted.preprocess_.expand
    if len(rows) == 1:
        return {"coefficient": expand(rows[0])}
    return {f"coefficient.{label}": expand(row) for label, row in zip(fitted.seen_.tolist(), rows, strict=True)}
