"""eSPA+ (Horenko 2020, doi:10.1162/neco_a_01296; Vecchi et al. 2022, doi:10.1162/neco_a_01490) as a model of a study.

The method is ``entropice_core.espa``; here it gets the imputation and scaling of all models. Parameters are those of
``ESPAClassifier``, less ``random_state`` (the study's seed), ``missing`` (values are imputed before) and dictionaries
of class weights (a TOML has "balanced").
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from entropice_core.errors import ConfigError, nearest_hint
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.estimator import ESPAClassifier
from entropice_core.espa.predictor import Predictor as EspaPredictor
from entropice_core.espa.validation import DisagreementWarning, check_parameters
from entropice_core.models.base import Arrays, Float64, Int64, Predictor
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "4"
OURS = ("random_state", "missing")  # decided here, not in a study


@dataclass(frozen=True, eq=False)
class EspaRule:
    """A fitted eSPA on prepared features; always read with NumPy, so that a model is the same on every machine."""

    predictor: EspaPredictor
    dtype: str
    scores: dict[str, Float64]
    disagreement: float = 0.0

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return (n, n_seen) probabilities."""
        return self.predictor.predict_proba(prepared, choose_backend(prepared, "numpy", "cpu", self.dtype))


def param_names() -> list[str]:
    """List the parameters that a study may set."""
    return [name for name in signature(ESPAClassifier).parameters if name not in OURS]


def _learner(params: Mapping[str, Any], seed: int) -> Callable[[Float64, Int64, Float64 | None], EspaRule]:
    def learn(prepared: Float64, y: Int64, sample_weight: Float64 | None) -> EspaRule:
        model = ESPAClassifier(**params, random_state=seed)
        with warnings.catch_warnings():  # a search tries many settings; the share is kept with the model instead
            warnings.simplefilter("ignore", DisagreementWarning)
            model.fit(prepared, y, sample_weight)
        scores = {
            "feature_weight": model.feature_weights_,
            "explained_variance": model.explained_variance_ratio_,
            "importance": model.feature_importances_,
        }
        return EspaRule(model.predictor_, model.dtype, scores, float(model.disagreement_))

    return learn


def build(params: Mapping[str, Any], seed: int, feature_names: Sequence[str], n_classes: int = 2) -> PreparedClassifier:
    """Return an unfitted model."""
    for name in params:
        if name not in param_names():
            raise ConfigError(f"Model 'espa' has no parameter {name!r}; {nearest_hint(name, param_names())}.")
    if params.get("class_weight") not in (None, "balanced"):
        raise ConfigError(f"Model 'espa' has class_weight = {params['class_weight']!r}; expected 'balanced' or none.")
    check_parameters({**ESPAClassifier().get_params(deep=False), **params})
    return PreparedClassifier(_learner(dict(params), seed), feature_names, standardise=True, n_classes=n_classes)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata; the scores go along, as maps and pages show them."""
    rule: EspaRule = fitted.rule_
    arrays, meta = rule.predictor.to_arrays()
    arrays |= {f"score.{name}": score for name, score in rule.scores.items()}
    kept = {"espa": meta, "dtype": rule.dtype, "scores": list(rule.scores), "disagreement": rule.disagreement}
    return pack(fitted, arrays, kept)


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    scores = {name: arrays[f"score.{name}"] for name in meta["scores"]}
    predictor = EspaPredictor.from_arrays(arrays, meta["espa"])
    rule = EspaRule(predictor, str(meta["dtype"]), scores, float(meta["disagreement"]))
    return unpack(arrays, meta, rule)


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:
    """Return W, the explained share of variance, and their product; W alone is no measure of relevance."""
    return {name: fitted.preprocess_.expand(score) for name, score in fitted.rule_.scores.items()}
