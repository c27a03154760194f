"""The share of positive training rows, for every cell: what a model must beat.

A model whose log loss is no lower than this one's has learnt nothing about where slumps are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entropice_core.config import Strict
from entropice_core.models.base import Arrays, Float64, Int64, Predictor, check_params, two_columns
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "1"


class Params(Strict):
    """The prevalence has no parameters."""


@dataclass(frozen=True)
class ConstantRule:
    """One probability for all."""

    p: float

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return the same two probabilities for each row."""
        return two_columns(np.full(len(prepared), self.p))


def _learn(_prepared: Float64, y: Int64, sample_weight: Float64 | None) -> ConstantRule:
    return ConstantRule(float(np.average(y, weights=sample_weight)))


def build(params: Mapping[str, Any], seed: int, feature_names: Sequence[str]) -> PreparedClassifier:  # noqa: ARG001
    """Return an unfitted model.

    >>> import numpy as np
    >>> model = build({}, seed=0, feature_names=["elevation"])
    >>> model.fit([[1.0], [2.0], [3.0], [4.0]], [0, 0, 0, 1]).predict_proba([[9.0]]).tolist()
    [[0.75, 0.25]]
    """
    check_params("prevalence", Params, params)
    return PreparedClassifier(_learn, feature_names, standardise=False, needs_features=False)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata."""
    return pack(fitted, {"p": np.array(fitted.rule_.p)}, {})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    return unpack(arrays, meta, ConstantRule(float(arrays["p"])))


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:  # noqa: ARG001
    """Return nothing: the model looks at no feature."""
    return {}
