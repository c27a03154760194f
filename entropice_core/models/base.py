"""What a model module must offer, and the checks at its door.

A model is a module, not a class: five names (``VERSION`` and four functions). That keeps a model one file, lets the
registry import it lazily and lets every model keep its own state as arrays. Nothing is ever pickled, as loading a
pickle runs code (fault F26 of the reliability table).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from entropice_core.config import Strict
from entropice_core.errors import ConfigError, SchemaError, TrainingError, nearest_hint
from entropice_core.registry import MODELS

Float64 = NDArray[np.float64]
Matrix = NDArray[Any]
"""Features : (n, n_features), float32 or float64."""
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Arrays = dict[str, NDArray[Any]]
ParamsT = TypeVar("ParamsT", bound=Strict)
ROWS = 32_768
"""Rows that are looked at together: 100 MB of 400 features."""


class Predictor(Protocol):
    """Something that turns features into probabilities."""

    @property
    def classes_(self) -> Int64:
        """Classes in the order of the columns of ``predict_proba``: 0, 1, ... n_classes - 1."""
        ...

    def predict_proba(self, X: ArrayLike) -> Float64:
        """Return P(class) : (n, n_classes) float64 for X : (n, n_features), NaN = missing."""
        ...


class Estimator(Predictor, Protocol):
    """An unfitted or fitted model in the manner of scikit-learn."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of X."""
        ...

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from X : (n, n_features), NaN = missing, and y : (n,) of classes 0, 1, ... n_classes - 1."""
        ...

    def report(self) -> dict[str, Any]:
        """Say how many values were imputed in fitting, and which features were dropped and why."""
        ...


class ModelModule(Protocol):
    """The names that a module of ``entropice_core.models`` must have.

    ``VERSION`` goes into every model that is saved; raise it when the same data would give another model.
    """

    VERSION: str

    def build(
        self, params: Mapping[str, Any], seed: int, feature_names: Sequence[str], n_classes: int = 2
    ) -> Estimator:
        """Return an unfitted estimator; a parameter that is unknown or out of range is a ``ConfigError``."""
        ...

    def to_arrays(self, fitted: Any) -> tuple[Arrays, dict[str, Any]]:
        """Return the fitted state as arrays and as metadata that JSON can hold."""
        ...

    def from_arrays(self, arrays: Arrays, meta: dict[str, Any]) -> Predictor:
        """Return a predictor with the same predictions as the model that ``to_arrays`` was given."""
        ...

    def feature_scores(self, fitted: Any) -> dict[str, Float64]:
        """Return what the model itself says about its features: score name -> (n_features,), possibly nothing."""
        ...


def load_module(name: str) -> ModelModule:
    """Return the module of a model; an unknown name is a ``ConfigError`` that lists the known ones.

    >>> load_module("prevalence").VERSION
    '2'
    """
    return cast(ModelModule, MODELS.load(name))


def check_params(model: str, schema: type[ParamsT], params: Mapping[str, Any]) -> ParamsT:
    """Check the parameters of a model against its schema, early and by name.

    >>> class Params(Strict):
    ...     n_trees: int = 10
    >>> check_params("forest", Params, {"n_tree": 3})
    Traceback (most recent call last):
        ...
    entropice_core.errors.ConfigError: Model 'forest' has no parameter 'n_tree'; did you mean 'n_trees'? Known: n_trees.
    """
    for name in params:
        if name not in schema.model_fields:
            hint = nearest_hint(name, schema.model_fields)
            raise ConfigError(f"Model {model!r} has no parameter {name!r}; {hint}.")
    try:
        return schema.model_validate(dict(params))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc'])) or 'params'}: {p['msg']} (got {p['input']!r})" for p in error.errors()
        )
        raise ConfigError(f"Model {model!r} cannot take these parameters: {problems}.") from error


def check_matrix(X: ArrayLike, feature_names: Sequence[str]) -> Matrix:
    """Return X as it is where it is float32, as the store keeps features, and else as float64.

    NaN is a missing value, an infinity is an error that names the feature.
    """
    given = np.asarray(X)
    matrix = np.ascontiguousarray(given, dtype=np.float32 if given.dtype == np.float32 else np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != len(feature_names):
        raise SchemaError(
            f"The feature matrix has shape {matrix.shape}; expected (n, {len(feature_names)}), one column for each of "
            f"{_shorten(feature_names)}: assemble the features in the order of the model."
        )
    infinite = np.zeros(len(feature_names), dtype=bool)
    for start in range(0, len(matrix), ROWS):  # a mask of all rows at once would be a quarter of X once more
        infinite |= np.isinf(matrix[start : start + ROWS]).any(axis=0)
    if infinite.any():
        names = [feature_names[int(i)] for i in np.flatnonzero(infinite)]
        raise SchemaError(
            f"Infinite values in {_shorten(names)}: expected numbers or NaN; mask them where the features are made."
        )
    return matrix


def check_labels(y: ArrayLike, n_rows: int, n_classes: int = 2) -> Int64:
    """Return y as int64 after the checks that every model needs: length, known classes only, at least two of them."""
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise SchemaError(f"There are {n_rows} rows of features and labels of shape {labels.shape}; expected one each.")
    if not np.isin(labels, np.arange(n_classes)).all():
        found = _shorten([str(value) for value in np.unique(labels)])
        expected = "0 and 1" if n_classes == 2 else f"0 to {n_classes - 1}"
        raise SchemaError(f"The labels hold {found}; expected only {expected}: make classes from densities first.")
    labels = labels.astype(np.int64)
    if np.unique(labels).size < 2:
        which = f"the class {int(labels[0])}" if n_rows else "no class"
        raise TrainingError(
            f"All {n_rows} training rows have {which}: a model needs two classes at least; take more cells or years, "
            "or another target."
        )
    return labels


def check_weights(sample_weight: ArrayLike | None, y: Int64) -> Float64 | None:
    """Return the weights as float64; they are finite, not negative, and leave some weight to every class of y."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != y.shape or not np.isfinite(weight).all() or (weight < 0).any():
        raise SchemaError(
            f"sample_weight has shape {weight.shape}; expected {y.shape}, every weight finite and not negative."
        )
    for label in np.unique(y):
        if weight[y == label].sum() <= 0:
            raise TrainingError(f"All rows of class {label} have the weight 0: a model needs weight in every class.")
    return weight


def two_columns(p: Float64) -> Float64:
    """Return P(class 0), P(class 1) : (n, 2) from p = P(class 1) : (n,)."""
    return np.column_stack([1.0 - p, p])


def _shorten(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names)} in all)"
