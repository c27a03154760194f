"""Pixels of a tile -> partial statistics of the cells of all grids and levels, in one pass over the tile.

Two ways from pixels to cells, chosen for each level by the ratio of areas:

* ``pixel_centres``: a pixel belongs wholly to the cell that holds its centre. Right when cells have hundreds of
  pixels, and as fast as the memory allows.
* ``coverage``: a pixel is shared out by area (``features.zonal``). For cells with fewer than 400 pixels.

Cells of HEALPix nest exactly: only the finest of its levels is looked up, the coarser ones are added up from it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError
from entropice_core.features import kernels
from entropice_core.features.array_sums import array_bins, array_sums
from entropice_core.features.cell_labels import CellIndex, CellRuns
from entropice_core.features.partials import Partials
from entropice_core.features.quantity import Quantity
from entropice_core.features.tiles import Tile
from entropice_core.features.zonal import ZonalWeights
from entropice_core.grids import parse_grid_key
from entropice_core.grids.base import Grid, Int64, UInt64

VERSION = "1"

PIXELS_PER_CELL = 400
Method = Literal["pixel_centres", "coverage"]
Field = npt.NDArray[np.floating[Any]]


def choose_method(pixel_area_m2: float, cell_area_m2: float) -> Method:
    """Choose by how many pixels a cell has.

    With 400 pixels in a cell, giving those on its edge wholly to one side moves the mean by 0.7 % of the pixels'
    deviation at most (white noise); with fewer, sharing them out is worth its time.

    >>> choose_method(32.0**2, 36e6), choose_method(25e3**2, 36e6)
    ('pixel_centres', 'coverage')
    """
    return "pixel_centres" if cell_area_m2 >= PIXELS_PER_CELL * pixel_area_m2 else "coverage"


@dataclass(frozen=True)
class Pixels:
    """Pixels of a tile by cell: runs (``features.cell_labels``) over ``source``, with a weight for each.

    ``source`` : None when runs are over the flattened tile itself, else (e,) positions in it, ordered by cell.
    ``weights`` : uint16 per pixel of the tile, or per entry of ``source``.
    """

    runs: CellRuns
    weights: npt.NDArray[np.uint16]
    source: Int64 | None = None


class Reducer:
    """Adds tiles of one data set up to the cells of several grids and levels.

    Parameters
    ----------
    cells : mapping of grid key ("h3-5") to the sorted ids that are wanted
    quantities : what the layers of every tile are
    unit_m2 : unit of weight, ``tiles.area_unit`` of the data set's largest pixel; the same for all its tiles
    pixel_area_m2 : area of a usual pixel, by which the method is chosen; the same for all tiles of the data set
    arrays : module of the array API whose arrays add up (``cupy`` for a GPU); compiled loops when not given. The sums
        are the same to the last bit

    Examples
    --------
    One tile of constant height, one cell around it:

    >>> from pyproj import CRS
    >>> from entropice_core.features.tiles import area_unit
    >>> tile = Tile("t", CRS("EPSG:3413"), 0.0, -2_000_000.0, 32.0, -32.0, (100, 100))
    >>> ids = parse_grid_key("healpix-6").locate([-44.9], [71.6])
    >>> height = Quantity("height", "m", "height", 0.0, 100.0, step=2.0**-8, bins=100)
    >>> reducer = Reducer({"healpix-6": ids}, [height], area_unit(1024.0), 1024.0)
    >>> sums = reducer.reduce(tile, [np.full((100, 100), 12.5)])["healpix-6"]
    >>> sums.pixels().tolist(), sums.statistic("mean").tolist(), sums.statistic("std").tolist()
    ([[10000]], [[12.5]], [[0.0]])
    """

    def __init__(
        self,
        cells: Mapping[str, UInt64],
        quantities: Sequence[Quantity],
        unit_m2: float,
        pixel_area_m2: float,
        arrays: ModuleType | None = None,
    ) -> None:
        self.arrays = arrays
        self.quantities, self.unit_m2, self.pixel_area_m2 = tuple(quantities), unit_m2, pixel_area_m2
        self.cells = {key: np.asarray(ids, dtype=np.uint64) for key, ids in cells.items()}
        grids = {key: parse_grid_key(key) for key in cells}
        self.index = {key: CellIndex(grid, self.cells[key]) for key, grid in grids.items()}
        self.methods: dict[str, Method] = {
            key: choose_method(pixel_area_m2, float(grid.areas_m2(self.cells[key]).min()))
            for key, grid in grids.items()
        }
        self._finer = self._sources_of_nested(grids)

    def _sources_of_nested(self, grids: Mapping[str, Grid]) -> dict[str, str]:
        """For each HEALPix level that is added up from a finer one, which."""
        nested = {g.level: key for key, g in grids.items() if g.name == "healpix"}
        levels = sorted(level for level, key in nested.items() if self.methods[key] == "pixel_centres")
        return {nested[level]: nested[levels[-1]] for level in levels[:-1]}

    def method_words(self) -> dict[str, str]:
        """How pixels became cells, by grid key, for the metadata."""
        words = {
            "pixel_centres": "a pixel belongs to the cell that holds its centre",
            "coverage": "a pixel is shared out by the area of it that lies in each cell",
        }
        weighted = "; weighted by the true area of each pixel on the WGS84 ellipsoid; sums in whole numbers, exact"
        return {key: f"{method}: {words[method]}{weighted}" for key, method in self.methods.items()}

    def reduce(
        self,
        tile: Tile,
        layers: Iterable[Field],
        counted: npt.NDArray[np.bool_] | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, Partials]:
        """Partial statistics of one tile, by grid key; cells without a pixel in the tile are left out.

        Parameters
        ----------
        tile : where the pixels are
        layers : one (rows, columns) field per quantity, in their order, NaN where masked; may be made lazily
        counted : (rows, columns) pixels that count; those that another tile counts are False. All when not given.
        only : grid keys to make partials for; all when not given
        """
        keys = [key for key in self.cells if only is None or key in only]
        weights = tile.weights(self.unit_m2)
        if counted is not None:
            weights = np.where(counted, weights, np.uint16(0))
        sources = sorted({self._finer.get(key, key) for key in keys})
        parts = {key: self._pixels(key, tile, weights) for key in sources}
        sums = {key: _Sums(self.quantities, part, self.arrays) for key, part in parts.items()}
        counts = np.zeros((len(self.quantities), 3), dtype=np.int64)
        made = 0
        for made, (quantity, layer) in enumerate(zip(self.quantities, layers, strict=False), 1):
            if layer.shape != tile.shape:
                raise SchemaError(f"{quantity.name} of tile {tile.name} is {layer.shape}, the tile is {tile.shape}.")
            masked = layer if counted is None else np.where(counted, layer, np.nan)
            steps, counts[made - 1] = quantity.quantise(masked, f"tile {tile.name}")
            if counted is not None:
                counts[made - 1, 1] -= int(np.count_nonzero(~counted))
            for each in sums.values():
                each.add(made - 1, steps.ravel())
        if made != len(self.quantities):
            raise SchemaError(f"Tile {tile.name} has {made} layers for {len(self.quantities)} quantities.")
        found = {key: each.partials(self.unit_m2, counts) for key, each in sums.items()}
        return {key: self._select(key, found) for key in keys}

    def _pixels(self, key: str, tile: Tile, weights: npt.NDArray[np.uint16]) -> Pixels:
        if self.methods[key] == "coverage":
            return _shared_out(tile, self.index[key], weights, self.unit_m2)
        users = [coarse for coarse, fine in self._finer.items() if fine == key]
        index = self._with_descendants(key, users, tile) if users else self.index[key]
        return Pixels(index.runs(tile) if index is not None else _NO_RUNS, weights.ravel())

    def _with_descendants(self, key: str, users: list[str], tile: Tile) -> CellIndex | None:
        """All cells of the finest level that any wanted cell near the tile is made of."""
        grid = self.index[key].grid
        wanted = [self.cells[key][self.index[key].near(tile)]]
        for user in users:
            near = self.cells[user][self.index[user].near(tile)]
            wanted.append(self.index[user].grid.children(near, grid.level))
        ids = np.unique(np.concatenate(wanted))
        return CellIndex(grid, ids) if ids.size else None

    def _select(self, key: str, found: Mapping[str, Partials]) -> Partials:
        source = self._finer.get(key, key)
        sums, grid = found[source], self.index[source].grid
        if source != key:
            sums = sums.grouped(grid.parents(sums.cell_ids, self.index[key].grid.level))
        return sums.take(np.intersect1d(sums.cell_ids, self.cells[key], assume_unique=True))


_NO_RUNS = CellRuns(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))


class _Sums:
    """The sums of one tile and level while its layers come in."""

    def __init__(self, quantities: tuple[Quantity, ...], pixels: Pixels, arrays: ModuleType | None) -> None:
        self.quantities, self.pixels, self.arrays = quantities, pixels, arrays
        shape = pixels.runs.cell_ids.size, len(quantities)
        self.whole = np.zeros((shape[1], shape[0], 5), dtype=np.uint64)
        self.low = np.full((shape[1], shape[0]), 2**31 - 1, dtype=np.int32)
        self.high = np.full((shape[1], shape[0]), -1, dtype=np.int32)
        self.bins: list[tuple[UInt64, UInt64]] = []

    def add(self, v: int, steps: npt.NDArray[np.int32]) -> None:
        """Add the layer of quantity v: steps of the flattened tile."""
        runs, weights, source = self.pixels.runs, self.pixels.weights, self.pixels.source
        values = steps if source is None else steps[source]
        if self.arrays is not None:
            return self._add_arrays(v, values)
        where = runs.begin, runs.length, runs.cell, values, weights
        kernels.add_runs(*where, self.whole[v], self.low[v], self.high[v])
        quantity = self.quantities[v]
        if quantity.bins and runs.cell_ids.size:
            bins = np.zeros((runs.cell_ids.size, quantity.bins), dtype=np.uint64)
            kernels.add_runs_to_bins(*where, quantity.bin_of, bins)
            cell, filled = np.nonzero(bins)
            self._add_bins(v, cell, filled, bins[cell, filled])
        return None

    def _add_arrays(self, v: int, values: npt.NDArray[np.int32]) -> None:
        """The same with arrays of the array API."""
        xp, runs = self.arrays, self.pixels.runs
        assert xp is not None
        pixels = np.repeat(runs.begin - np.r_[0, np.cumsum(runs.length)[:-1]], runs.length) + np.arange(
            runs.length.sum()
        )
        labels = xp.asarray(np.repeat(runs.cell, runs.length).astype(np.int64))
        steps = xp.asarray(values[pixels].astype(np.int64))
        weights = xp.asarray(self.pixels.weights[pixels].astype(np.int64))
        self.whole[v], self.low[v], self.high[v] = array_sums(labels, steps, weights, runs.cell_ids.size)
        quantity = self.quantities[v]
        if quantity.bins:
            self._add_bins(v, *array_bins(labels, steps, weights, xp.asarray(quantity.bin_of.astype(np.int64))))

    def _add_bins(self, v: int, cell: Int64, filled: Int64, weights: UInt64) -> None:
        row = cell.astype(np.uint64) * np.uint64(len(self.quantities)) + np.uint64(v)
        self.bins.append(((row << np.uint64(16)) | filled.astype(np.uint64), weights))

    def partials(self, unit_m2: float, counts: Int64) -> Partials:
        """All layers together, without the cells that have no counted pixel."""
        runs = self.pixels.runs
        seen = np.zeros(runs.cell_ids.size, dtype=np.uint64)
        kernels.weigh_runs(runs.begin, runs.length, runs.cell, self.pixels.weights, seen)
        keys = np.concatenate([np.empty(0, np.uint64), *(each[0] for each in self.bins)])
        weights = np.concatenate([np.empty(0, np.uint64), *(each[1] for each in self.bins)])
        order = np.argsort(keys)
        made = Partials(
            self.quantities,
            unit_m2,
            runs.cell_ids,
            seen,
            np.ascontiguousarray(np.swapaxes(self.whole, 0, 1)),
            np.ascontiguousarray(self.low.T),
            np.ascontiguousarray(self.high.T),
            keys[order],
            weights[order],
            counts.copy(),
        )
        return made.take(runs.cell_ids[seen > 0])


def _shared_out(tile: Tile, index: CellIndex, weights: npt.NDArray[np.uint16], unit_m2: float) -> Pixels:
    """Share pixels out by area; each share is a whole number of units."""
    near = index.near(tile)
    if near.size == 0:
        return Pixels(_NO_RUNS, weights.ravel())
    counted, n_columns = weights.ravel() > 0, tile.shape[1]
    cells, pixels, areas = [], [], []
    layout = tile.layout
    for block in ZonalWeights(layout, index.grid, index.cell_ids[near]).blocks():
        entries = block.weights.tocoo()
        flat = block.pixels[entries.col]
        rows, columns = layout.y.order[block.start + flat // n_columns], layout.x.order[flat % n_columns]
        cells.append(near[entries.row])
        pixels.append(rows * n_columns + columns)
        areas.append(np.floor(entries.data / unit_m2 + 0.5))
    if not cells:
        return Pixels(_NO_RUNS, weights.ravel())
    cell, pixel, area = np.concatenate(cells), np.concatenate(pixels), np.concatenate(areas)
    kept = np.flatnonzero(counted[pixel] & (area > 0.0))
    order = kept[np.lexsort((pixel[kept], cell[kept]))]
    present, of = np.unique(cell[order], return_inverse=True)
    begin, length, label = kernels.find_runs(of.astype(np.int32)[None, :])
    runs = CellRuns(index.cell_ids[present], begin, length, label)
    return Pixels(runs, area[order].astype(np.uint16), pixel[order])
