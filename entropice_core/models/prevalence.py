"""The share of each class among the training rows, for every cell: what a model must beat.

A model whose log loss is no lower than this one's has learnt nothing about where slumps are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entropice_core.config import Strict
from entropice_core.models.base import Arrays, Float64, Int64, Predictor, check_params
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "2"


class Params(Strict):
    """The prevalence has no parameters."""


@dataclass(frozen=True)
class ConstantRule:
    """The same probabilities for all; p : (n_seen,)."""

    p: Float64

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return the same probabilities for each row : (n, n_seen)."""
        return np.tile(self.p, (len(prepared), 1))


def _learn(_prepared: Float64, y: Int64, sample_weight: Float64 | None) -> ConstantRule:
    share = np.bincount(y, weights=sample_weight).astype(np.float64)
    return ConstantRule(share / share.sum())


def build(
    params: Mapping[str, Any],
    seed: int,  # noqa: ARG001
    feature_names: Sequence[str],
    n_classes: int = 2,
) -> PreparedClassifier:
    """Return an unfitted model.

    >>> import numpy as np
    >>> model = build({}, seed=0, feature_names=["elevation"])
    >>> model.fit([[1.0], [2.0], [3.0], [4.0]], [0, 0, 0, 1]).predict_proba([[9.0]]).tolist()
    [[0.75, 0.25]]
    """
    check_params("prevalence", Params, params)
    return PreparedClassifier(_learn, feature_names, standardise=False, n_classes=n_classes, needs_features=False)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata."""
    return pack(fitted, {"p": fitted.rule_.p}, {})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    return unpack(arrays, meta, ConstantRule(arrays["p"]))


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:  # noqa: ARG001
    """Return nothing: the model looks at no feature."""
    return {}
