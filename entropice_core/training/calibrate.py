"""Make probabilities mean what they say, with few numbers learned from held-out predictions.

A model that ranks well may still say 0.9 where 0.6 comes true. All maps here (but the steps of ``isotonic``) act on
log-probabilities, ``z = matrix @ log p + bias`` followed by a softmax, and differ in what may vary:

* ``temperature``: one slope for all classes (Guo et al. 2017, arXiv:1706.04599);
* ``logistic``: one slope, and a shift for each class. For two classes this is Platt (1999): log-odds x slope +
  intercept; for more it is the bias-corrected temperature scaling of Alexandari et al. (2020, arXiv:1901.06852);
* ``vector``: a slope and a shift for each class. For two classes this is beta calibration (Kull et al. 2017);
* ``dirichlet``: a full matrix, its off-diagonal held small (Kull et al. 2019, arXiv:1910.12656);
* ``isotonic``: rising steps for each class against the rest, made to sum to 1 (Zadrozny and Elkan 2002);
* ``auto``: the one of these, or ``none``, with the lowest log loss on rows that it was not fitted on.

Fitting on predictions of the rows that trained the model would learn nothing, so that only out-of-fold predictions
may come here. Slopes are never negative: calibration may flatten a ranking, not turn it round.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, log_softmax, logit, softmax

from entropice_core.errors import ConfigError, SchemaError, TrainingError, nearest_hint

VERSION = "2"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Kind = Literal["none", "temperature", "logistic", "vector", "dirichlet", "isotonic"]
KINDS: tuple[str, ...] = (*get_args(Kind), "auto")
FLOOR = 1e-6  # fewer than a million rows back a probability: zeros of a model mean "never seen", not "impossible"
MAX_STEPS = 100
RIDGE = 1.0  # nats that an off-diagonal element of 1 costs: as much as a prior of unit width
RUNS = 5  # parts in which ``auto`` compares, where the caller gives no groups


@dataclass(frozen=True)
class Calibrator:
    """Probabilities in, calibrated probabilities of the same shape out; ``none`` changes nothing.

    Attributes
    ----------
    kind : what is applied
    matrix : (n_classes, n_classes), ``bias`` : (n_classes,); empty for ``none`` and ``isotonic``
    knots : for each class its forecasts, ascending, and what they become; straight between; only ``isotonic``
    n_rows : rows of the fit
    tried : kinds that ``auto`` compared, with their log loss (nats) on rows that they were not fitted on

    Examples
    --------
    >>> half = Calibrator("logistic", matrix=((0.5, 0.0), (0.0, 0.5)), bias=(0.0, 0.0))
    >>> half([0.9]).round(3).tolist(), half([[0.1, 0.9]]).round(3).tolist()
    ([0.75], [[0.25, 0.75]])
    """

    kind: Kind = "none"
    matrix: tuple[tuple[float, ...], ...] = ()
    bias: tuple[float, ...] = ()
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()
    n_rows: int = 0
    tried: tuple[tuple[str, float], ...] = ()

    def __call__(self, p: npt.ArrayLike) -> Float64:
        """Calibrate p : (n,), the probability of class 1 of two, or (n, n_classes)."""
        probability = np.asarray(p, dtype=np.float64)
        if self.kind == "none":
            return probability.copy()
        columns = _columns(probability)
        n_classes = len(self.knots) or len(self.bias)
        if columns.shape[1] != n_classes:
            raise SchemaError(f"A calibration of {n_classes} classes got {columns.shape[1]} columns of probabilities.")
        calibrated = _steps(columns, self.knots) if self.kind == "isotonic" else self._log_linear(columns)
        return calibrated[:, 1] if probability.ndim == 1 else calibrated

    def _log_linear(self, columns: Float64) -> Float64:
        z = _logs(columns) @ np.array(self.matrix).T + np.array(self.bias)
        found: Float64 = softmax(z, axis=1)
        return found

    @property
    def slope(self) -> float:
        """Factor of the log-odds of class 1 of two (kinds with one slope)."""
        return self.matrix[-1][-1] if self.matrix else 1.0

    @property
    def intercept(self) -> float:
        """Shift of the log-odds of class 1 of two (kinds with one slope)."""
        return self.bias[-1] - self.bias[0] if self.bias else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "Calibrator":
        """Rebuild what ``to_dict`` returned, also after a trip through JSON."""
        differing = sorted(set(cls.__dataclass_fields__) ^ set(state))
        if differing:
            raise SchemaError(f"A stored calibration lacks or does not know {', '.join(differing)}: train again.")
        return cls(
            kind=_check_kind(str(state["kind"]), get_args(Kind)),  # type: ignore[arg-type]
            matrix=tuple(tuple(map(float, row)) for row in state["matrix"]),
            bias=tuple(map(float, state["bias"])),
            knots=tuple((tuple(map(float, x)), tuple(map(float, y))) for x, y in state["knots"]),
            n_rows=int(state["n_rows"]),
            tried=tuple((str(kind), float(loss)) for kind, loss in state["tried"]),
        )


def fit_calibrator(
    kind: str,
    p: npt.ArrayLike,
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> Calibrator:
    """Learn a calibration from held-out probabilities.

    Targets are pulled towards the other classes by one row of each (Platt 1999), so that the result stays finite when
    the classes are separated.

    Parameters
    ----------
    kind : one of ``KINDS``
    p : (n,) float64, out-of-fold probabilities of class 1 of two; or (n, n_classes)
    y : (n,) classes, 0 to n_classes - 1
    sample_weight : (n,) float64, optional
    groups : (n,) integers, optional
        Only for ``auto``: rows of one group are scored together, by a calibration that was fitted without them.
        Without it the rows are cut into runs: they come sorted by cell, and near cells have near numbers.
    """
    checked = _check_kind(kind, KINDS)
    probability, labels = np.asarray(p, dtype=np.float64), np.asarray(y)
    weight = np.ones(labels.shape) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if probability.shape[:1] != labels.shape or labels.shape != weight.shape or probability.ndim not in (1, 2):
        raise SchemaError(
            f"Calibration needs one probability, label and weight a row, got {probability.shape}, {labels.shape} and "
            f"{weight.shape}."
        )
    if checked == "none":
        return Calibrator("none", n_rows=labels.size)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise SchemaError("Calibration got probabilities that are NaN or outside [0, 1]: the model is at fault.")
    columns = _columns(probability)
    codes = _checked_labels(labels, columns.shape[1], weight)
    if checked != "auto":
        return _fit(checked, columns, codes, weight)
    return _choose(columns, codes, weight, _runs(labels.size) if groups is None else np.asarray(groups))


def _choose(p: Float64, y: Int64, weight: Float64, groups: npt.NDArray[Any]) -> Calibrator:
    """Compare the kinds on groups of rows that they were not fitted on; the simplest of equals."""
    if groups.shape != y.shape:
        raise SchemaError(f"There are groups of shape {groups.shape} for {y.size} rows of calibration: one for each.")
    kinds = [kind for kind in get_args(Kind) if kind != "dirichlet" or p.shape[1] > 2]  # for two it is `vector` again
    names = np.unique(groups)
    parts = [groups == name for name in names]
    if len(parts) < 2 or any(np.unique(y[~part & (weight > 0)]).size < 2 for part in parts):
        return _fit("logistic", p, y, weight)  # too few places to compare on
    losses = {}
    for kind in kinds:
        held_out = np.empty_like(p)
        for part in parts:
            held_out[part] = _fit(kind, p[~part], y[~part], weight[~part])(p[part])
        happened = np.maximum(held_out[np.arange(y.size), y], np.finfo(np.float64).eps)
        losses[kind] = float(-(weight @ np.log(happened)) / weight.sum())
    best = min(kinds, key=lambda kind: losses[kind])
    return replace(_fit(best, p, y, weight), tried=tuple(losses.items()))


def _fit(kind: str, p: Float64, y: Int64, weight: Float64) -> Calibrator:
    n_classes = p.shape[1]
    if kind == "none":
        return Calibrator("none", n_rows=y.size)
    targets = _targets(y, weight, n_classes)
    if kind == "isotonic":
        return Calibrator("isotonic", knots=_fit_steps(p, targets, weight), n_rows=y.size)
    if kind == "logistic" and n_classes == 2:
        slope, intercept = _fit_line(_logs(p) @ np.array([-1.0, 1.0]), targets[:, 1], weight)
        return Calibrator("logistic", ((slope, 0.0), (0.0, slope)), (0.0, intercept), n_rows=y.size)
    matrix, bias = _fit_matrix(kind, _logs(p), targets, weight)
    rows = tuple(tuple(row) for row in matrix.tolist())
    return Calibrator(_check_kind(kind, get_args(Kind)), rows, tuple(bias.tolist()), n_rows=y.size)  # type: ignore[arg-type]


def _targets(y: Int64, weight: Float64, n_classes: int) -> Float64:
    """Return what each row should be told : (n, n_classes), one row of each class mixed into every class."""
    total = np.bincount(y, weights=weight, minlength=n_classes)
    targets = (np.eye(n_classes) * total[:, None] + 1.0) / (total[:, None] + n_classes)
    return np.asarray(targets[y])


def _fit_matrix(kind: str, x: Float64, targets: Float64, weight: Float64) -> tuple[Float64, Float64]:
    """Minimise the cross entropy over the elements of matrix and bias that a kind lets vary; the problem is convex."""
    m = x.shape[1]
    n_slopes = {"temperature": 1, "logistic": 1, "vector": m, "dirichlet": m * m}[kind]
    n_shifts = 0 if kind == "temperature" else m - 1  # the shift of class 0 stays 0: only differences count
    off_diagonal = ~np.eye(m, dtype=bool)

    def unpack(theta: Float64) -> tuple[Float64, Float64]:
        slopes = theta[:n_slopes]
        matrix = slopes.reshape(m, m) if kind == "dirichlet" else np.diag(np.broadcast_to(slopes, m))
        return matrix, np.concatenate([np.zeros(m - n_shifts), theta[n_slopes:]])

    def loss(theta: Float64) -> tuple[float, Float64]:
        matrix, bias = unpack(theta)
        logs = log_softmax(x @ matrix.T + bias, axis=1)
        excess = weight[:, None] * (np.exp(logs) - targets)  # targets sum to 1
        by_matrix = excess.T @ x
        value = -float(weight @ (targets * logs).sum(axis=1))
        if kind == "dirichlet":
            value += RIDGE * float((matrix[off_diagonal] ** 2).sum())
            slopes = (by_matrix + 2 * RIDGE * np.where(off_diagonal, matrix, 0.0)).ravel()
        else:
            slopes = np.diag(by_matrix) if n_slopes == m else np.array([np.trace(by_matrix)])
        return value / weight.sum(), np.concatenate([slopes, excess.sum(axis=0)[m - n_shifts :]]) / weight.sum()

    is_diagonal = ~off_diagonal.ravel() if kind == "dirichlet" else np.ones(n_slopes, dtype=bool)
    start = np.concatenate([is_diagonal.astype(np.float64), np.zeros(n_shifts)])
    bounds = [(0.0, None) if d else (None, None) for d in is_diagonal] + [(None, None)] * n_shifts
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-9, "ftol": 1e-14})
    return unpack(found.x)


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


def _fit_steps(
    p: Float64, targets: Float64, weight: Float64
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """Return the ends of the steps of each class: pooled neighbours (Ayer et al. 1955), equal forecasts first."""
    knots = []
    for k in range(p.shape[1]):
        x, where = np.unique(p[:, k], return_inverse=True)
        mass = np.bincount(where, weights=weight)
        x, where = x[mass > 0], np.cumsum(mass > 0)[where] - 1
        mean = np.bincount(where[weight > 0], weights=(weight * targets[:, k])[weight > 0]) / mass[mass > 0]
        risen = isotonic_regression(mean, weights=mass[mass > 0]).x
        is_end = np.ones(x.size, dtype=bool)
        is_end[1:-1] = (risen[1:-1] != risen[:-2]) | (risen[1:-1] != risen[2:])
        knots.append((tuple(x[is_end].tolist()), tuple(risen[is_end].tolist())))
    return tuple(knots)


def _steps(p: Float64, knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]) -> Float64:
    risen = np.column_stack([np.interp(p[:, k], x, y) for k, (x, y) in enumerate(knots)])
    if len(knots) == 2:
        return np.column_stack([1.0 - risen[:, 1], risen[:, 1]])
    return np.asarray(risen / risen.sum(axis=1, keepdims=True))


def _columns(p: Float64) -> Float64:
    return np.column_stack([1.0 - p, p]) if p.ndim == 1 else p


def _logs(p: Float64) -> Float64:
    return np.log(np.clip(p, FLOOR, 1.0 - FLOOR))


def _runs(n: int) -> Int64:
    return np.arange(n, dtype=np.int64) * RUNS // max(n, 1)


def _checked_labels(labels: npt.NDArray[Any], n_classes: int, weight: Float64) -> Int64:
    if not np.isin(labels, np.arange(n_classes)).all():
        raise SchemaError(f"Calibration got labels that are not classes 0 to {n_classes - 1}: make classes first.")
    codes = labels.astype(np.int64)
    if np.unique(codes[weight > 0]).size < 2:
        raise TrainingError(
            f"Calibration has {labels.size} out-of-fold rows of one class only: take more cells or years, or "
            "training.calibration = 'none'."
        )
    return codes


def _check_kind(kind: str, known: tuple[str, ...]) -> str:
    if kind not in known:
        raise ConfigError(f"There is no calibration {kind!r}; {nearest_hint(kind, known)}.")
    return kind
