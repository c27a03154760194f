"""Units inside the classifier: centred and divided per feature, and how to come back.

Distances mean nothing across kelvins and metres, and the statistics behind every step cancel badly when the data are
not centred; so centring is not an option, only the divisor is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.errors import ConfigError, nearest_hint

Floats = NDArray[np.float64]
SCALINGS = ("standard", "minmax", "none")
_BLOCK = 65_536


@dataclass(frozen=True)
class Scaling:
    """x_inside = (x - center) / scale.

    Attributes
    ----------
    center : (D,) float64, input units
        Weighted mean over the observed values.
    scale : (D,) float64, input units, > 0
        Divisor; 1 for features that do not vary.
    variance : (D,) float64
        Weighted variance in inside units; 0 for features that do not vary.
    observed : (D,) float64 in [0, 1]
        Weight share of the rows in which the feature is observed.
    """

    center: Floats
    scale: Floats
    variance: Floats
    observed: Floats

    @property
    def varies(self) -> NDArray[np.bool_]:
        """(D,) bool: features that can tell rows apart."""
        return self.variance > 0.0

    def inside(self, X: NDArray[Any]) -> Floats:
        """(T, D) from input units to inside units; missing values become 0, the mean."""
        scaled: Floats = (np.asarray(X, dtype=np.float64) - self.center) / self.scale
        missing = np.isnan(scaled)
        if missing.any():
            scaled[missing] = 0.0
        return scaled

    def outside(self, S: Floats) -> Floats:
        """(..., D) from inside units to input units."""
        return S * self.scale + self.center


def fit_scaling(X: NDArray[Any], weights: Floats, kind: str = "standard") -> Scaling:
    """Measure centre and divisor with row weights, in blocks, ignoring missing values.

    ``standard`` divides by the standard deviation, so that W compares what clusters explain of each feature;
    ``minmax`` divides by the range, as in the papers' scripts, which rewards heavy-tailed features; ``none`` only
    centres. In the last two all features are then divided by one number that makes their mean variance one, so that
    temperatures mean the same in every scaling.

    Parameters
    ----------
    X : (T, D) any float type, NaN = missing
    weights : (T,) float64, >= 0, any total
    kind : "standard", "minmax" or "none"

    >>> fit_scaling(np.array([[1.0, 5.0], [3.0, 5.0]]), np.ones(2)).scale.tolist()
    [1.0, 1.0]
    """
    if kind not in SCALINGS:
        raise ConfigError(f"There is no scaling called {kind!r}; {nearest_hint(kind, SCALINGS)}.")
    share = weights / weights.sum()
    observed, center, low, high = _first_moments(X, share)
    second = _second_moments(X, share, center, observed)
    # a column of equal values has a rounding-noise variance; its range says so
    varies = (high - low) > 8 * np.finfo(np.float64).eps * np.maximum(np.abs(high), np.abs(low))
    varies &= second > 0
    divisor = {"standard": np.sqrt(second), "minmax": high - low, "none": np.ones_like(center)}[kind]
    if kind != "standard" and varies.any():
        # one common factor, so that temperatures have the same unit in every scaling: a mean variance of one
        divisor = divisor * np.sqrt(np.mean(second[varies] / divisor[varies] ** 2))
    scale = np.where(varies, divisor, 1.0)
    return Scaling(center, scale, np.where(varies, second / scale**2, 0.0), observed)


def _blocks(n: int) -> range:
    return range(0, n, _BLOCK)


def _first_moments(X: NDArray[Any], share: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    n_features = X.shape[1]
    observed, total = np.zeros(n_features), np.zeros(n_features)
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    for start in _blocks(len(X)):
        block = np.asarray(X[start : start + _BLOCK], dtype=np.float64)
        w = share[start : start + _BLOCK]
        seen = ~np.isnan(block) & (w > 0)[:, None]
        observed += w @ seen
        total += w @ np.where(seen, block, 0.0)
        low = np.minimum(low, np.where(seen, block, np.inf).min(0))
        high = np.maximum(high, np.where(seen, block, -np.inf).max(0))
    never = observed == 0
    low[never] = high[never] = 0.0
    return observed, total / np.where(never, 1.0, observed), low, high


def _second_moments(X: NDArray[Any], share: Floats, center: Floats, observed: Floats) -> Floats:
    total = np.zeros(X.shape[1])
    for start in _blocks(len(X)):
        block = np.asarray(X[start : start + _BLOCK], dtype=np.float64) - center
        w = share[start : start + _BLOCK]
        seen = ~np.isnan(block) & (w > 0)[:, None]
        total += w @ np.where(seen, block, 0.0) ** 2
    result: Floats = total / np.where(observed == 0, 1.0, observed)
    return result
