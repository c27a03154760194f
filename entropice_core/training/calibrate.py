"""Make probabilities mean what they say, with two numbers learned from held-out predictions.

Logistic calibration (Platt 1999): log-odds are multiplied by a slope (over- or under-confidence) and shifted by an
intercept (prevalence, class weights). Two numbers are all that a few thousand correlated rows can support; isotonic
steps would follow the noise. Fitting on predictions of the rows that trained the model would learn nothing, so that
only out-of-fold predictions may come here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from entropice_core.errors import ConfigError, SchemaError, TrainingError, nearest_hint

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Kind = Literal["none", "logistic"]
KINDS = ("none", "logistic")
FLOOR = 1e-6  # fewer than a million rows back a probability: zeros of a model mean "never seen", not "impossible"
MAX_STEPS = 100


@dataclass(frozen=True)
class Calibrator:
    """log-odds -> slope x log-odds + intercept; ``none`` changes nothing.

    >>> Calibrator("logistic", slope=0.5, intercept=0.0)([0.9]).round(3).tolist()
    [0.75]
    """

    kind: Kind = "none"
    slope: float = 1.0
    intercept: float = 0.0
    n_rows: int = 0

    def __call__(self, p: npt.ArrayLike) -> Float64:
        """Return calibrated probabilities of the same shape."""
        probability = np.asarray(p, dtype=np.float64)
        if self.kind == "none":
            return probability.copy()
        calibrated: Float64 = expit(self.slope * _log_odds(probability) + self.intercept)
        return calibrated

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "Calibrator":
        """Rebuild what ``to_dict`` returned."""
        kind = _check_kind(str(state["kind"]))
        return cls(kind, float(state["slope"]), float(state["intercept"]), int(state["n_rows"]))


def fit_calibrator(
    kind: str, p: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> Calibrator:
    """Learn slope and intercept from held-out probabilities.

    Targets are pulled towards 1/2 by one row of each class (Platt 1999), so that the result stays finite when the
    classes are separated. The slope is never negative: calibration may flatten a ranking, not turn it round.

    Parameters
    ----------
    kind : "none" or "logistic"
    p : (n,) float64, out-of-fold probabilities of class 1
    y : (n,) of 0 and 1
    sample_weight : (n,) float64, optional
    """
    checked = _check_kind(kind)
    probability, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    weight = np.ones_like(labels) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if probability.shape != labels.shape or labels.shape != weight.shape or labels.ndim != 1:
        raise SchemaError(
            f"Calibration needs one probability, label and weight a row, got {probability.shape}, {labels.shape} and "
            f"{weight.shape}."
        )
    if checked == "none":
        return Calibrator("none", n_rows=labels.size)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise SchemaError("Calibration got probabilities that are NaN or outside [0, 1]: the model is at fault.")
    targets = _targets(labels, weight)
    slope, intercept = _fit_line(_log_odds(probability), targets, weight)
    return Calibrator("logistic", slope, intercept, labels.size)


def _targets(labels: Float64, weight: Float64) -> Float64:
    positive, negative = float(weight @ labels), float(weight @ (1 - labels))
    if positive <= 0 or negative <= 0:
        raise TrainingError(
            f"Calibration has {labels.size} out-of-fold rows of one class only: take more cells or years, or "
            "training.calibration = 'none'."
        )
    return np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))


def _fit_line(x: Float64, targets: Float64, weight: Float64) -> tuple[float, float]:
    """Minimise the cross entropy of expit(slope x + intercept) with slope >= 0; the problem is convex."""
    constant = 0.0, float(logit(weight @ targets / weight.sum()))
    centre, spread = float(x.mean()), float(x.std())
    if spread < 1e-9:  # one forecast for all rows: only its level can be learned
        return constant
    slope, intercept = _newton((x - centre) / spread, targets, weight)
    if slope <= 0:  # convex, so that the best allowed slope is 0
        return constant
    return slope / spread, intercept - slope * centre / spread


def _newton(z: Float64, targets: Float64, weight: Float64) -> tuple[float, float]:
    design = np.column_stack([z, np.ones_like(z)])
    theta = np.array([1.0, float(logit(weight @ targets / weight.sum()))])
    loss = _cross_entropy(design @ theta, targets, weight)
    for _ in range(MAX_STEPS):
        q = expit(design @ theta)
        gradient = design.T @ (weight * (q - targets))
        curvature = (design * (weight * q * (1 - q))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (new := _cross_entropy(design @ (theta - size * step), targets, weight)) > loss and size > 1e-10:
            size /= 2
        if new >= loss or np.abs(size * step).max() < 1e-12:
            break
        theta, loss = theta - size * step, new
    return float(theta[0]), float(theta[1])


def _cross_entropy(log_odds: Float64, targets: Float64, weight: Float64) -> float:
    return float(weight @ (np.logaddexp(0.0, log_odds) - targets * log_odds))


def _log_odds(probability: Float64) -> Float64:
    clipped: Float64 = logit(np.clip(probability, FLOOR, 1 - FLOOR))
    return clipped


def _check_kind(kind: str) -> Kind:
    if kind == "none":
        return "none"
    if kind == "logistic":
        return "logistic"
    raise ConfigError(f"There is no calibration {kind!r}; {nearest_hint(kind, KINDS)}.")
