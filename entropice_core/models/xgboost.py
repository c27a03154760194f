"""Gradient boosted trees (Chen & Guestrin 2016, doi:10.1145/2939672.2939785): the rival that usually wins on tables.

Trained and read by XGBoost. The booster is kept as the bytes of XGBoost's own binary JSON (UBJ) in an array of uint8:
reading them builds trees and runs nothing. Values that are missing were imputed before, as for every model, so that
models are compared and not their imputations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from pydantic import Field

from entropice_core.config import Strict
from entropice_core.errors import ConfigError, SchemaError
from entropice_core.models.base import Arrays, Float64, Int64, Predictor, check_params, two_columns
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "1"


class Params(Strict):
    """As in XGBoost. ``class_weight = "balanced"`` weighs each class by the inverse of its share.

    ``n_jobs`` is the number of threads. ``device = "cuda"`` trains on a GPU, with sums in another order: the same
    trees but for ties.
    """

    n_estimators: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    max_depth: int = Field(default=4, ge=1, le=16)
    min_child_weight: float = Field(default=1.0, ge=0)
    gamma: float = Field(default=0.0, ge=0)
    subsample: float = Field(default=0.8, gt=0, le=1)
    colsample_bytree: float = Field(default=0.8, gt=0, le=1)
    reg_lambda: float = Field(default=1.0, ge=0)
    reg_alpha: float = Field(default=0.0, ge=0)
    max_bin: int = Field(default=256, ge=2, le=1024)
    class_weight: Literal["balanced"] | None = None
    n_jobs: int = Field(default=1, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True, eq=False)
class BoosterRule:
    """Boosted trees; ``booster`` is an ``xgboost.Booster``."""

    booster: Any

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return (n, n_seen) probabilities."""
        p = np.asarray(self.booster.inplace_predict(prepared), dtype=np.float64)
        return two_columns(p) if p.ndim == 1 else p / p.sum(axis=1, keepdims=True)


def _check_installed() -> None:
    if find_spec("xgboost") is None:
        raise ConfigError("Model 'xgboost' needs the package XGBoost: pip install 'entropice[boost]'.")


def _library() -> Any:
    """Import XGBoost when it is needed: it takes seconds, and it is an optional extra."""
    _check_installed()
    return import_module("xgboost")


def _learner(params: Params, seed: int) -> Callable[[Float64, Int64, Float64 | None], BoosterRule]:
    def learn(prepared: Float64, y: Int64, sample_weight: Float64 | None) -> BoosterRule:
        library = _library()
        weight = _weights(params, y, sample_weight)
        data = library.QuantileDMatrix(prepared, label=y, weight=weight, max_bin=params.max_bin, nthread=params.n_jobs)
        settings = params.model_dump(exclude={"n_estimators", "class_weight", "n_jobs"})
        n_seen = int(y.max()) + 1
        goal = {"objective": "binary:logistic"} if n_seen == 2 else {"objective": "multi:softprob", "num_class": n_seen}
        settings |= {**goal, "tree_method": "hist", "nthread": params.n_jobs, "seed": seed % 2**31, "verbosity": 0}
        booster = library.train(settings, data, num_boost_round=params.n_estimators)
        booster.set_param({"device": "cpu", "nthread": params.n_jobs})  # a model is read alike on every machine
        return BoosterRule(booster)

    return learn


def _weights(params: Params, y: Int64, sample_weight: Float64 | None) -> Float64 | None:
    if params.class_weight is None:
        return sample_weight
    weight = np.ones(y.size) if sample_weight is None else sample_weight
    share = np.bincount(y, weights=weight) / weight.sum()
    balanced: Float64 = weight / (share.size * share[y])
    return balanced


def build(params: Mapping[str, Any], seed: int, feature_names: Sequence[str], n_classes: int = 2) -> PreparedClassifier:
    """Return an unfitted model; a missing XGBoost is told here, not after hours of work on labels and features."""
    checked = check_params("xgboost", Params, params)
    _check_installed()
    return PreparedClassifier(_learner(checked, seed), feature_names, standardise=False, n_classes=n_classes)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata."""
    raw = np.frombuffer(bytes(fitted.rule_.booster.save_raw("ubj")), dtype=np.uint8)
    return pack(fitted, {"booster": raw}, {"n_trees": int(fitted.rule_.booster.num_boosted_rounds())})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    library = _library()
    booster = library.Booster()
    try:
        booster.load_model(bytearray(arrays["booster"].tobytes()))
    except library.core.XGBoostError as error:
        reason = str(error).strip().splitlines()[0]
        raise SchemaError(f"The array 'booster' holds no XGBoost model ({reason}): build the model again.") from error
    booster.set_param({"device": "cpu"})
    return unpack(arrays, meta, BoosterRule(booster))


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:
    """Return the share of the loss that splits on a feature removed; correlated features share it by chance."""
    gains = fitted.rule_.booster.get_score(importance_type="total_gain")
    n_kept = int(fitted.preprocess_.kept.sum())
    total = np.array([gains.get(f"f{i}", 0.0) for i in range(n_kept)])
    return {"total_gain": fitted.preprocess_.expand(total / total.sum() if total.sum() > 0 else total)}
