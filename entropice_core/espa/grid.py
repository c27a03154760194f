"""What a search is asked: values to combine, effort, and what it tells while it runs.

What must not be here: fits.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Configuration:
    """What a fit is given: K, the two temperatures of training, the power of the prior of W, and the scaling."""

    n_clusters: int
    eps_c: float
    eps_w: float
    mi_prior: float
    scaling: str


@dataclass(frozen=True)
class Grid:
    """Values to combine; tau and alpha are read-out parameters and need no fits."""

    n_clusters: tuple[int, ...]
    eps_c: tuple[float, ...]
    eps_w: tuple[float, ...]
    mi_prior: tuple[float, ...]
    scaling: tuple[str, ...]
    tau: tuple[float | None, ...]
    alpha: tuple[float, ...]

    def configurations(self) -> list[Configuration]:
        """All combinations of the training parameters, in a fixed order.

        >>> len(Grid((2, 4), (0.1,), (0.5, 1.0), (0.0,), ("standard",), (0.0, 0.2), (1.0,)).configurations())
        4
        """
        axes: tuple[tuple[Any, ...], ...] = (self.n_clusters, self.eps_c, self.eps_w, self.mi_prior, self.scaling)
        sizes, *others = (sorted(set(axis)) for axis in axes)
        return [Configuration(int(values[0]), *values[1:]) for values in itertools.product(sizes, *others)]


@dataclass(frozen=True)
class Plan:
    """How to search: the grid, restarts averaged, the share kept after screening (and how many configurations at
    least, those that will be averaged), and restarts used for screening.
    """

    grid: Grid
    n_average: int
    keep: float
    n_keep_least: int
    n_screen: int


@dataclass(frozen=True)
class Progress:
    """Told to the caller after each chunk of configurations."""

    stage: str
    done: int
    total: int
    best_log_loss: float


def grid_of(parameters: dict[str, Any]) -> Grid:
    """Values of the parameters of a search; numbers stand for themselves."""
    names = ("n_clusters", "eps_c", "eps_w", "mi_prior", "scaling", "tau", "alpha")
    return Grid(**{name: _values(parameters[name]) for name in names})


def _values(given: Any) -> tuple[Any, ...]:
    """Plain Python numbers from a number, a sequence or an array."""
    values = np.atleast_1d(np.array(given, dtype=object)).tolist()
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)
