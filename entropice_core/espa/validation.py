"""Checks at the door of the estimators: parameters, labels and sample weights.

What must not be here: checks of X beyond what scikit-learn's own validation does.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.errors import ConfigError, TrainingError, nearest_hint
from entropice_core.espa.scaling import SCALINGS
from entropice_core.espa.seeds import INITS

Floats = NDArray[np.float64]
MISSING = ("error", "mask")


class ParameterError(ConfigError, ValueError):
    """A parameter of an estimator has a value that it cannot have."""


class DataError(TrainingError, ValueError):
    """Rows, labels or weights cannot train a classifier."""


class DisagreementWarning(UserWarning):
    """The clusters follow the labels rather than the features, so they will not predict."""


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ``ParameterError`` for the first parameter outside its range."""
    for name in ("n_clusters", "n_init", "n_average", "max_iter"):
        _check(parameters, name, lambda v: _is_integer(v) and v >= 1, "an integer of at least 1")
    for name in ("eps_c", "eps_a", "alpha", "tol", "mi_prior"):
        _check(parameters, name, lambda v: _is_finite(v) and v >= 0, "a finite number of at least 0")
    _check(parameters, "eps_w", lambda v: _is_real(v) and v > 0, "a number above 0 (infinity keeps W even)")
    if "n_moves" in parameters:
        _check(parameters, "n_moves", lambda v: _is_integer(v) and v >= 0, "an integer of at least 0")
    if "eps_t" in parameters:
        _check(parameters, "eps_t", lambda v: _is_real(v) and v > 0, "a number above 0 (infinity keeps the weights)")
    _check(parameters, "mi_start", lambda v: _is_finite(v) and 0 <= v <= 1, "a share between 0 and 1")
    _check(parameters, "tau", lambda v: v is None or (_is_finite(v) and v >= 0), "None or a number of at least 0")
    for name, known in (("scaling", SCALINGS), ("init", INITS), ("missing", MISSING)):
        if parameters[name] not in known:
            raise ParameterError(f"There is no {name}={parameters[name]!r}; {nearest_hint(parameters[name], known)}.")


def _check(parameters: Mapping[str, Any], name: str, accepts: Any, expected: str) -> None:
    value = parameters[name]
    if not accepts(value):
        raise ParameterError(f"{name} is {value!r}, expected {expected}.")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and not math.isnan(value)


def _is_finite(value: Any) -> bool:
    return _is_real(value) and math.isfinite(value)


def check_search(parameters: Mapping[str, Any], grid: Any) -> None:
    """Raise ``ParameterError`` for the first value of a search outside its range."""
    lists = {
        name: getattr(grid, name) for name in ("n_clusters", "eps_c", "eps_w", "mi_prior", "scaling", "tau", "alpha")
    }
    for name, values in lists.items():
        if not values:
            raise ParameterError(f"{name} is empty, expected at least one value to try.")
        for value in values:
            first = {other: others[0] for other, others in lists.items()}
            check_parameters({**parameters, **first, name: value})
    for name in ("n_models", "n_screen"):
        _check(parameters, name, lambda v: _is_integer(v) and v >= 1, "an integer of at least 1")
    _check(
        parameters, "n_jobs", lambda v: v is None or (_is_integer(v) and (v >= 1 or v == -1)), "None, -1 or at least 1"
    )
    _check(parameters, "keep", lambda v: _is_finite(v) and 0 < v <= 1, "a share above 0 and at most 1")


def check_weights(sample_weight: Any, n_rows: int) -> Floats:
    """(T,) float64 weights; a weight counts like that many copies of the row, zero like its absence."""
    if sample_weight is None:
        return np.ones(n_rows)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n_rows, float(weights))
    if weights.shape != (n_rows,):
        raise DataError(f"sample_weight has shape {weights.shape}, expected ({n_rows},): one weight per row.")
    if not np.isfinite(weights).all() or (weights < 0).any():
        row = int(np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0])
        raise DataError(f"sample_weight of row {row} is {weights[row]}, expected a finite number of at least 0.")
    if not weights.any():
        raise DataError("All sample weights are zero, so no row is left to train on; give at least one row a weight.")
    return weights


def class_factors(class_weight: Any, classes: NDArray[Any], frequency: Floats) -> Floats:
    """(M,) float64 weight per class from None, "balanced" or a mapping, not normalised.

    >>> class_factors("balanced", np.array([0, 1]), np.array([0.75, 0.25])).round(3).tolist()
    [0.667, 2.0]
    """
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ParameterError(f"class_weight is {class_weight!r}, expected None, 'balanced' or a mapping.")
        return 1.0 / (len(classes) * frequency)
    if not isinstance(class_weight, Mapping):
        raise ParameterError(f"class_weight is {class_weight!r}, expected None, 'balanced' or a mapping.")
    unknown = [label for label in class_weight if label not in classes.tolist()]
    if unknown:
        raise ParameterError(f"class_weight names {unknown[0]!r}; {nearest_hint(unknown[0], classes.tolist())}.")
    factors = np.array([float(class_weight.get(label, 1.0)) for label in classes.tolist()])
    if not np.isfinite(factors).all() or (factors < 0).any() or not factors.any():
        raise ParameterError(f"class_weight is {class_weight!r}, expected finite weights of at least 0, not all 0.")
    return factors


def check_finite(X: NDArray[Any], allow_missing: bool, names: NDArray[Any] | None) -> None:
    """Raise ``DataError`` that names the first value that is not a number, block by block."""
    for start in range(0, len(X), 65_536):
        block = X[start : start + 65_536]
        wrong = np.isinf(block) if allow_missing else ~np.isfinite(block)
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            value = "NaN (missing)" if np.isnan(block[row, column]) else "infinity (inf)"
            feature = f"feature {column}" if names is None else f"feature {names[column]!r}"
            remedy = "impute it or set missing='mask'" if np.isnan(block[row, column]) else "correct or remove it"
            raise DataError(f"X holds {value} in row {start + row}, {feature}, expected finite numbers; {remedy}.")
