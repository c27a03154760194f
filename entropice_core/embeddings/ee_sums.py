"""Sums of cells that Earth Engine gave -> mean vectors, their spread and valid areas.

A file of sums holds the answer for some cells in one image; a cell on several images is added up. Sums are kept as they
came, in double precision; they are added in the order of the list, so that equal files give equal features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entropice_core.errors import SourceError
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.kept import is_whole, read_kept
from entropice_core.features.tiles import Tile
from entropice_core.fetch.alphaearth import BANDS
from entropice_core.grids.base import Bool, Float64, Grid, UInt64

VERSION = "1"


@dataclass(frozen=True)
class CellSums:
    """Sums of all pixels of a list of cells.

    ``pixels`` : (c,) number, with fractions where pixels are shared out; ``area_m2`` : (c,) true area of valid pixels;
    ``first``, ``second`` : (c, 64) sums of w x and w x x; ``second`` is None where it was not asked for.
    ``asked`` : (c,) whether the cell was asked for in any image. ``methods`` : how pixels became cells.
    """

    pixels: Float64
    area_m2: Float64
    first: Float64
    second: Float64 | None
    asked: Bool
    methods: tuple[str, ...]

    def mean(self) -> Float64:
        """Mean vector, NaN where there is no valid pixel: (c, 64)."""
        return self.first / self._weight()

    def std(self) -> Float64:
        """Deviation of each axis without Bessel's correction, NaN where there is no valid pixel: (c, 64)."""
        if self.second is None:
            raise SourceError("The sums from Earth Engine were added up without squares, which std needs.")
        return np.sqrt(np.maximum(self.second / self._weight() - self.mean() ** 2, 0.0))

    def squared_length(self) -> float:
        """Mean squared length of the pixels' vectors: 1 where the service's coarse pixels are made length 1 again."""
        weight = self.area_m2.sum()
        return float(self.second.sum() / weight) if self.second is not None and weight > 0.0 else float("nan")

    def _weight(self) -> Float64:
        return np.where(self.area_m2 > 0.0, self.area_m2, np.nan)[:, None]


def add_up(files: Sequence[Path], grid: Grid, cell_ids: UInt64, with_squares: bool) -> CellSums:
    """Add up the files of sums that hold cells of a grid.

    Parameters
    ----------
    files : in the order of the list of a fetch
    grid, cell_ids : the cells that are wanted, sorted (c,)
    with_squares : whether the spread is wanted

    Raises
    ------
    SourceError
        When a file is not what was fetched.
    """
    total = np.zeros((cell_ids.size, 2 + BANDS * (1 + with_squares)))
    asked, methods = np.zeros(cell_ids.size, dtype=bool), set()
    for path in files:
        if not is_whole(path):
            raise SourceError(f"{path} is not what was fetched: run `entropice fetch alphaearth`, which asks again.")
        header, arrays = read_kept(path)
        if grid.key not in header["grids"]:
            continue
        if len(header["columns"]) < total.shape[1]:
            raise SourceError(f"{path} was fetched without squares, which std needs: run `entropice fetch alphaearth`.")
        mine = np.flatnonzero(arrays["grid"] == header["grids"].index(grid.key))
        at = np.searchsorted(cell_ids, arrays["cell_ids"][mine])
        held = cell_ids[np.minimum(at, cell_ids.size - 1)] == arrays["cell_ids"][mine]
        total[at[held]] += arrays["sums"][mine[held], : total.shape[1]]
        asked[at[held]] = True
        methods.add(str(header["method"]))
    first, second = total[:, 2 : 2 + BANDS], total[:, 2 + BANDS :] if with_squares else None
    return CellSums(total[:, 0], total[:, 1], first, second, asked, tuple(sorted(methods)))


def not_asked(grid: Grid, cell_ids: UInt64, asked: Bool, images: Sequence[Mapping[str, Any]]) -> int:
    """How many cells lie at an image and were not asked for: those of a study area that was another when fetched."""
    rest = cell_ids[~asked]
    if not rest.size:
        return 0
    index, seen = CellIndex(grid, rest), np.zeros(rest.size, dtype=bool)
    for image in images:
        seen[index.near(place_of(image))] = True
    return int(seen.sum())


def place_of(image: Mapping[str, Any]) -> Tile:
    """Where an image of a list lies."""
    from pyproj import CRS

    rows, columns = image["shape"]
    left, top, step_x, step_y = (float(image[key]) for key in ("left", "top", "step_x", "step_y"))
    name, crs = str(image["id"]).rsplit("/", 1)[-1], CRS.from_user_input(image["crs"])
    return Tile(name, crs, left, top, step_x, step_y, (rows, columns))
