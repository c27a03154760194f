"""Rows of data in the one form every pass needs, block by block, in memory or memory-mapped.

A row is stored augmented as ``[x | 1 | observed | rho * onehot(y)]``. One matrix product with the operator of
``steps.py`` then gives every cost of every cluster of every fit, label term included, and the product of the
affiliations with the same rows gives every statistic (sums, masses, class counts).
What must not be here: clusters.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.backend import Array, Backend
from entropice_core.espa.scaling import Scaling

Floats = NDArray[np.float64]
Result = TypeVar("Result")

HOST_BLOCK = 262_144  # numbers of one block of costs: 2 MB, about a core's cache (measured: larger is slower)
DEVICE_BLOCK = 134_217_728  # 1 GB of costs in float64
SMALLEST_SHARE = 1024  # of a block; a device without room even for that is out of the question
KEEP_BYTES = 2**31  # augmented rows up to this size are kept, larger ones are rebuilt block by block in every pass


@dataclass(frozen=True)
class Layout:
    """Columns of an augmented row: D features, a one, D flags if features may be missing, M classes."""

    n_features: int
    n_classes: int
    masked: bool

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.label_start + self.n_classes

    @property
    def label_start(self) -> int:
        """First column of the classes."""
        return self.n_features + 1 + (self.n_features if self.masked else 0)

    @property
    def features(self) -> slice:
        """Columns of the features."""
        return slice(0, self.n_features)

    @property
    def observed(self) -> slice:
        """Columns whose sums are the observed masses of the features (the column of ones when nothing is missing)."""
        return slice(self.n_features + int(self.masked), self.label_start)

    @property
    def labels(self) -> slice:
        """Columns of the classes."""
        return slice(self.label_start, self.n_columns)


class Rows:
    """Augmented rows and their weights.

    Parameters
    ----------
    X : (T, D) any float type, input units, NaN = missing
    scaling : Scaling
        From input units to inside units.
    backend : Backend
    codes : (T,) int, optional
        Class index; without it the rows carry no classes.
    targets : (T, M) float64, optional
        Class distributions instead of class indices; a row of zeros has no label.
    n_classes : int
    weights : (F, T) float64, optional
        One row of weights, each of sum 1, per fold; 0 = held out. Uniform when not given.
    label_ratio : (T,) float64, optional
        rho = weight in the label term over weight in the distance term; 1 when not given, 0 for an unlabelled row.
    masked : bool
        Whether missing values are allowed.
    keep_bytes : int
        Largest augmented matrix to keep in memory.
    """

    def __init__(
        self,
        X: NDArray[Any],
        scaling: Scaling,
        backend: Backend,
        *,
        codes: NDArray[np.intp] | None = None,
        targets: Floats | None = None,
        n_classes: int = 0,
        weights: Floats | None = None,
        label_ratio: Floats | None = None,
        masked: bool = False,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self.backend = backend
        self.layout = Layout(X.shape[1], 0 if codes is None and targets is None else n_classes, masked)
        self.n_rows = len(X)
        self._X, self._scaling, self._codes, self._ratio = X, scaling, codes, label_ratio
        self._targets = targets
        uniform = np.full((1, self.n_rows), 1.0 / max(self.n_rows, 1))
        self.weights: Array = backend.numbers(uniform if weights is None else weights)
        itemsize = 4 if backend.dtype == "float32" else 8
        fits = self.n_rows * self.layout.n_columns * itemsize <= keep_bytes
        self._kept: Array | None = backend.rows(self._augment(slice(0, self.n_rows))) if fits else None
        self._shrunk = 1
        self._singles: NDArray[np.float32] | None = None
        self._sizes: NDArray[np.float32] | None = None

    @property
    def kept(self) -> bool:
        """Whether the augmented rows are in memory rather than built again in every pass."""
        return self._kept is not None

    def ranges(self, n_costs: int) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of blocks so small that a block of costs with ``n_costs`` columns stays bounded."""
        size = self.block_size(n_costs)
        for start in range(0, self.n_rows, size):
            yield start, min(start + size, self.n_rows)

    def block_size(self, n_costs: int) -> int:
        """Rows of a block when each of them has ``n_costs`` costs."""
        budget = HOST_BLOCK if self.backend.is_numpy or str(self.backend.device) == "cpu" else DEVICE_BLOCK
        return max(64, budget // self._shrunk // max(n_costs, self.layout.n_columns, 1))

    def with_room(self, action: Callable[[], Result]) -> Result:
        """Do something block by block; when the device has no room, do it again with blocks of half the size."""
        while True:
            try:
                with self.backend.full_precision():
                    return action()
            except self.backend.out_of_memory:
                if self._shrunk >= SMALLEST_SHARE:
                    raise
                self._shrunk *= 2
                message = f"The device has no room left; going on with blocks of 1/{self._shrunk} of the usual size."
                warnings.warn(message, ResourceWarning, stacklevel=3)

    def gather(self, index: NDArray[np.intp]) -> Array:
        """Augmented rows of the given positions on the device."""
        if self._kept is not None:
            return self.backend.xp.take(self._kept, self.backend.integers(index), axis=0)
        return self.backend.rows(self._augment(index))

    def with_weights(self, weights: Floats) -> "Rows":
        """The same rows, not copied, under other weights (F, T)."""
        other = object.__new__(Rows)
        other.__dict__.update(self.__dict__, weights=self.backend.numbers(weights))
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without what a device holds or what can be computed again there."""
        host = {"weights": self.backend.to_host(self.weights), "_singles": None, "_sizes": None}
        return {**self.__dict__, **host, "_kept": self.kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.weights = self.backend.numbers(state["weights"])
        self._kept = self.backend.rows(self._augment(slice(0, self.n_rows))) if state["_kept"] else None

    def block(self, start: int, stop: int) -> Array:
        """Augmented rows (stop - start, n_columns) on the device."""
        if self._kept is not None:
            return self._kept[start:stop, :]
        return self.backend.rows(self._augment(slice(start, stop)))

    def single_block(self, start: int, stop: int, block: Array) -> NDArray[np.float32]:
        """The same block in single precision, for the host; what is too large for it becomes infinite."""
        with np.errstate(over="ignore"):
            if self._kept is None or block.dtype == np.float32:
                return np.asarray(block, dtype=np.float32)
            if self._singles is None:
                self._singles = np.asarray(self._kept, dtype=np.float32)
            return self._singles[start:stop]

    def sizes(self) -> NDArray[np.float32]:
        """(2, T) length of the features of each row and of its other columns, for bounds on rounding, on the host."""
        if self._sizes is None:
            n, parts = self.layout.n_features, []
            for start, stop in self.ranges(self.layout.n_columns):
                squares = np.asarray(self.block(start, stop), dtype=np.float64) ** 2
                lengths = np.sqrt([squares[:, :n].sum(1), squares[:, n:].sum(1)])
                parts.append(np.minimum(lengths, 1e30).astype(np.float32))
            self._sizes = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0), dtype=np.float32)
        return self._sizes

    def second_moments(self) -> Floats:
        """(F, D) float64: sum of w x^2 per fold in inside units, the constant of the dispersion."""
        layout, xp = self.layout, self.backend.xp
        total = np.zeros((self.weights.shape[0], layout.n_features))
        for start, stop in self.ranges(layout.n_columns):
            squares = xp.astype(self.block(start, stop)[:, layout.features], xp.float64) ** 2
            total += self.backend.to_host(xp.matmul(self.weights[:, start:stop], squares))
        return total

    def _augment(self, chosen: slice | NDArray[np.intp]) -> Floats:
        layout = self.layout
        raw = np.asarray(self._X[chosen], dtype=np.float64)
        result = np.zeros((len(raw), layout.n_columns))
        result[:, layout.features] = self._scaling.inside(raw)
        result[:, layout.n_features] = 1.0
        if layout.masked:
            result[:, layout.observed] = ~np.isnan(raw)
        if self._targets is not None:
            result[:, layout.labels] = self._targets[chosen]
        elif self._codes is not None:
            rho = 1.0 if self._ratio is None else self._ratio[chosen]
            result[np.arange(len(raw)), layout.label_start + self._codes[chosen]] = rho
        return result
