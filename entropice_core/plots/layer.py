"""What a map shows: cells of a grid, one value each, and the words without which a picture says nothing.

Nothing is drawn here. Half a million cells are more than a picture has pixels for, so a layer can be made coarser: the
cells of a parent become one, with the mean of their values (or the commonest class), and the layer says so.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from entropice_core.errors import GridError
from entropice_core.grids import GRID_LEVELS, open_grid
from entropice_core.grids.base import Grid

Kind = Literal["sequential", "diverging", "classes", "rank"]
COLOURS: dict[Kind, str] = {"sequential": "viridis", "diverging": "PuOr_r", "classes": "cividis", "rank": "viridis_r"}
"""Perceptually uniform (viridis, cividis) or evenly diverging; all keep their order for colour-blind readers. Of ranks
the first are bright, as on the published picture of priorities."""

LOGARITHMIC = ", logarithmic"
"""What follows the words of a quantity whose colours are logarithmic."""

MOST_CELLS = 80_000
"""Cells that a still picture draws one by one; H3 5 has 67,000 on land north of 60 N."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One value per cell, and what it means.

    Attributes
    ----------
    grid : grid of the cells
    cell_ids : (n,) uint64, sorted
    values : (n,) float64; NaN is "no value", which is drawn grey and named
    label : the quantity with its unit
    title, subtitle : study; date, model, grid
    footer : licences, citations, digest
    low, high : range of the colours; the range of the values where None
    is_log : logarithmic colours; values of 0 have a pale colour of their own
    classes : for kind ``classes``, what the values 0, 1, ... mean
    outside : (n,) bool, cells outside the area of applicability, which are hatched; None where that is not known
    """

    grid: Grid
    cell_ids: NDArray[np.uint64]
    values: NDArray[np.float64]
    label: str
    title: str = ""
    subtitle: str = ""
    footer: tuple[str, ...] = ()
    kind: Kind = "sequential"
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    classes: tuple[str, ...] = ()
    outside: NDArray[np.bool_] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.cell_ids.shape != self.values.shape:
            raise GridError(
                f"A map of {self.grid.key} got {self.cell_ids.size} cells and {self.values.size} values: one value a "
                "cell is expected, take both from the same dataset."
            )

    def limits(self) -> tuple[float, float]:
        """Give the range of the colours, low < high."""
        known = self.values[np.isfinite(self.values)]
        if self.is_log:
            known = known[known > 0]
        if self.kind == "classes":
            return 0.0, float(max(len(self.classes) - 1, 1))
        low = self.low if self.low is not None else float(known.min()) if known.size else 0.0
        high = self.high if self.high is not None else float(known.max()) if known.size else 1.0
        if self.kind == "diverging":
            high = max(abs(low), abs(high)) or 1.0
            return -high, high
        if self.is_log:
            low = low if low > 0 else (float(known.min()) if known.size else high / 10)
            return (low, high) if high > low > 0 else (1e-9, 1.0) if high <= 0 else (high / 10, high)
        return (low, high) if high > low else (low, low + 1.0)


def coarsen(layer: Layer) -> Layer:
    """Give the layer on the next coarser level: mean of the cells that have a value, or their commonest class."""
    level = layer.grid.level - 1
    grid = open_grid(layer.grid.name, level)
    ids, child_of = np.unique(layer.grid.parents(layer.cell_ids, level), return_inverse=True)
    known = np.isfinite(layer.values)
    combined = _commonest if layer.kind == "classes" else _mean
    return replace(
        layer,
        grid=grid,
        cell_ids=ids,
        values=combined(child_of[known], layer.values[known], ids.size),
        outside=None if layer.outside is None else _mostly(child_of, layer.outside, ids.size),
        low=layer.limits()[0],
        high=layer.limits()[1],
        note=f"{'commonest class' if layer.kind == 'classes' else 'mean'} of the cells in each cell of {grid.key}",
    )


def thin(layer: Layer, most: int = MOST_CELLS) -> Layer:
    """Coarsen until at most so many cells are left, or the grid has no coarser level."""
    while layer.cell_ids.size > most and layer.grid.level > GRID_LEVELS[layer.grid.name].start:
        layer = coarsen(layer)
    return layer


def _mean(group: NDArray[np.intp], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    count = np.bincount(group, minlength=size)
    total = np.bincount(group, weights=values, minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mostly(group: NDArray[np.intp], flags: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    half: NDArray[np.bool_] = np.bincount(group, weights=flags, minlength=size) > 0.5 * np.bincount(
        group, minlength=size
    )
    return half


def _commonest(group: NDArray[np.intp], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    if not values.size:
        return np.full(size, np.nan)
    code = values.astype(np.int64)
    counts = np.zeros((size, int(code.max()) + 1), dtype=np.int64)
    np.add.at(counts, (group, code), 1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1).astype(np.float64), np.nan)
