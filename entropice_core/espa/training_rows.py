"""What a training is given: the rows with their labels and weights, and the settings that all fits share.

What must not be here: starts, batches, devices.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.validation import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


@dataclass(frozen=True)
class Settings:
    """What all fits of a program share; meanings as in ``ESPAClassifier``. ``n_clusters`` and ``mi_prior`` are the
    largest that any fit has, ``scaling`` may be several of which each fit has one.
    """

    n_clusters: int
    eps_a: float
    unbias: bool
    scaling: str | tuple[str, ...]
    class_weight: Any
    mi_prior: float
    mi_start: float
    init: str
    n_init: int
    max_iter: int
    tol: float
    missing: str
    eps_t: float = math.inf
    n_moves: int = 0

    @property
    def scalings(self) -> tuple[str, ...]:
        """Scalings that fits may have; rows are kept in the units of the first."""
        return (self.scaling,) if isinstance(self.scaling, str) else self.scaling

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> "Settings":
        """Pick the fields of a dictionary that may hold more."""
        return cls(**{name: parameters[name] for name in cls.__dataclass_fields__ if name in parameters})


@dataclass(frozen=True)
class TrainingRows:
    """Rows of positive weight.

    Attributes
    ----------
    X : (T, D), input units
    codes : (T,) int
        Class index; with ``targets`` that of the likeliest class, M for a row without a label.
    classes : (M,)
    weights : (T,) float64, in rows
    targets : (T, M) float64, optional
        Class distributions, zeros for a row without a label; then ``codes`` are for the seeds only.
    """

    X: NDArray[Any]
    codes: Integers
    classes: NDArray[Any]
    weights: Floats
    targets: Floats | None = None

    @classmethod
    def select(cls, X: NDArray[Any], y: NDArray[Any], weights: Floats) -> "TrainingRows":
        """Drop rows of weight zero; they count neither as rows nor as classes."""
        kept = weights > 0
        if not kept.all():
            X, y, weights = X[kept], y[kept], weights[kept]
        classes, codes = np.unique(y, return_inverse=True)
        return cls(X, codes, classes, weights)

    @classmethod
    def select_soft(cls, X: NDArray[Any], P: Floats, classes: NDArray[Any], weights: Floats) -> "TrainingRows":
        """Drop rows of weight zero; P (T, M) as ``check_soft_labels`` returns them."""
        kept = weights > 0
        X, P, weights = X[kept], P[kept], weights[kept]
        mass = weights @ P
        if not mass.all():
            name = classes.tolist()[int(np.flatnonzero(mass == 0)[0])]
            raise DataError(f"No row of positive weight gives class {name!r} any probability; leave its column out.")
        codes = np.where(P.any(axis=1), P.argmax(axis=1), len(classes)).astype(np.intp)
        return cls(X, codes, classes, weights, P)

    def frequency(self, weights: Floats) -> Floats:
        """(M,) class frequencies among the labelled rows under weights (T,)."""
        if self.targets is None:
            hard: Floats = np.bincount(self.codes, weights, len(self.classes)) / float(weights.sum())
            return hard
        mass = weights @ self.targets
        shares: Floats = mass / mass.sum()
        return shares

    def labelled(self, part: Integers) -> tuple[NDArray[Any], Integers, Floats]:
        """X, class index and weight of the rows of a part; a row of several classes comes once for each of them."""
        if self.targets is None:
            return self.X[part], self.codes[part], self.weights[part]
        row, code = np.nonzero(self.targets[part])
        return self.X[part][row], code, self.weights[part][row] * self.targets[part][row, code]
