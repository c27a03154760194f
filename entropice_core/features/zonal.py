"""Statistics of pixels in cells, with the true area of each pixel that lies in each cell as its weight.

Every pixel is cut into subpixels, the centre of each subpixel is asked for its cell, and the subpixel's area on the
ellipsoid is added to the weight of the pair (cell, pixel). That needs no polygon, so nothing special happens at 180
degrees or at the pole. Subpixels are at most ``sqrt(cell area / samples_per_cell)`` wide: a cell of any grid that
lies inside the raster is sampled by about ``samples_per_cell`` points or more, however coarse the raster is. Pixels
far from all cells are never looked at. The weights of a raster and a list of cells are kept in memory, as the files
of all years and all variables of one source have the same pixels.

Memory is bounded: weights and values are made for blocks of rows, and sums of blocks are added.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from entropice_core.features.layout import RasterLayout
from entropice_core.grids.base import Bool, Float64, Grid, Int64, UInt64
from entropice_core.grids.projection import authalic_q

VERSION = "1"

SAMPLES_PER_CELL = 100
BLOCK_PIXELS = 1_000_000  # pixels of a block of rows: 48 MB for the twelve float32 months of a variable
CHUNK_POINTS = 2_000_000  # subpixels that are located at a time: about 150 MB
CACHED_WEIGHTS = 4
CACHED_NONZEROS = 10_000_000  # 120 MB; larger weights are made anew each time
# Square roots of the largest cell's area; the farthest corner north of 30 N is at 1.043 (HEALPix) and 0.62 (H3).
_REACH = 1.1
_GOLDEN = (5.0**0.5 - 1.0) / 2.0
_MEAN_RADIUS_M = 6_371_007.2


@dataclass(frozen=True)
class WeightBlock:
    """Weights of the pixels of some rows of a raster.

    ``pixels`` : (n,) int64, positions in the block's (rows x columns) window of the pixels that touch a cell.
    ``weights`` : (cells, n) float64 CSR, m2 of the pixel inside the cell.
    """

    start: int
    stop: int
    pixels: Int64
    weights: sparse.csr_array


@dataclass(frozen=True)
class ZonalWeights:
    """Weights of all pixels of a raster in a sorted list of cells, block by block."""

    layout: RasterLayout
    grid: Grid
    cell_ids: UInt64
    samples_per_cell: int = SAMPLES_PER_CELL

    def blocks(self) -> Iterator[WeightBlock]:
        """Give the blocks from north to south; small ones come from memory the second time."""
        key = (self.layout.digest, self.grid.key, self.cell_ids.tobytes(), self.samples_per_cell)
        if key in _CACHE:
            _CACHE.move_to_end(key)
            yield from _CACHE[key]
            return
        kept: list[WeightBlock] | None = []
        for block in self._make_blocks():
            if kept is not None:
                kept.append(block)
                kept = kept if sum(b.weights.nnz for b in kept) <= CACHED_NONZEROS else None
            yield block
        if kept is not None:
            _CACHE[key] = tuple(kept)
            while len(_CACHE) > CACHED_WEIGHTS:
                _CACHE.popitem(last=False)

    def _make_blocks(self) -> Iterator[WeightBlock]:
        sampler = _Sampler(self)
        n_rows, n_columns = self.layout.shape
        step = max(1, BLOCK_PIXELS // n_columns)
        for start in range(0, n_rows, step):
            block = sampler.block(start, min(start + step, n_rows))
            if block is not None:
                yield block


_CACHE: OrderedDict[tuple[str, str, bytes, int], tuple[WeightBlock, ...]] = OrderedDict()


@dataclass(frozen=True)
class _Piece:
    """Area ``areas`` (m2) of the pixel at ``rows``, ``columns`` lies in the cell at position ``cells``: all (n,)."""

    cells: Int64
    rows: Int64
    columns: Int64
    areas: Float64


class _Sampler:
    """Cuts the pixels near the cells into subpixels and asks the grid where they are."""

    def __init__(self, weights: ZonalWeights) -> None:
        self.layout, self.grid, self.cell_ids = weights.layout, weights.grid, weights.cell_ids
        areas = weights.grid.areas_m2(weights.cell_ids)
        self.spacing_m = float(np.sqrt(areas.min() / weights.samples_per_cell))
        self.cell_m = float(np.sqrt(areas.max()))
        self.tree = cKDTree(_on_sphere(*weights.grid.centers(weights.cell_ids)))

    def block(self, start: int, stop: int) -> WeightBlock | None:
        n_columns = self.layout.x.size
        rows_, columns_, cells_, areas_ = [], [], [], []
        for rows, columns in self._near_pixels(start, stop):
            for piece in self._sample(rows, columns):
                cells_.append(piece.cells)
                rows_.append(piece.rows)
                columns_.append(piece.columns)
                areas_.append(piece.areas)
        if not sum(cells.size for cells in cells_):
            return None
        flat = (np.concatenate(rows_) - start) * n_columns + np.concatenate(columns_)
        pixels, column = np.unique(flat, return_inverse=True)
        entries = np.concatenate(areas_), (np.concatenate(cells_), column)
        matrix = sparse.coo_array(entries, shape=(self.cell_ids.size, pixels.size))
        return WeightBlock(start, stop, pixels, matrix.tocsr())

    def _near_pixels(self, start: int, stop: int) -> Iterator[tuple[Int64, Int64]]:
        """Rows and columns of the pixels near a cell, one row of tiles at a time; a tile is about half a cell wide."""
        n_columns = self.layout.x.size
        middle = np.array([n_columns // 2])
        height = self._pixel_height_m((start + stop) // 2)
        tile_rows = int(np.clip(0.5 * self.cell_m / height, 1, stop - start))
        for top in range(start, stop, tile_rows):
            bottom = min(top + tile_rows, stop)
            width = float(self.layout.pixel_areas_m2(np.array([(top + bottom) // 2]), middle).sum()) / height
            tile_columns = int(np.clip(0.5 * self.cell_m / max(width, 1.0), 1, max(n_columns // 8, 1)))
            near = self._near_tiles(top, bottom, tile_columns)
            columns = np.flatnonzero(np.repeat(near, tile_columns)[:n_columns])
            if columns.size:
                rows = np.arange(top, bottom)
                yield np.repeat(rows, columns.size), np.tile(columns, rows.size)

    def _near_tiles(self, top: int, bottom: int, tile_columns: int) -> Bool:
        """Tell which tiles of a row of tiles are within reach of a cell's centre: (tiles,)."""
        x, y = self.layout.x, self.layout.y
        left = np.arange(0, x.size, tile_columns)
        right = np.minimum(left + tile_columns, x.size) - 1
        middle_x, middle_y = (x.low[left] + x.high[right]) / 2.0, (y.high[top] + y.low[bottom - 1]) / 2.0
        high, low = y.high[top], y.low[bottom - 1]
        xs = np.concatenate([middle_x, x.low[left], x.high[right], x.low[left], x.high[right]])
        ys = np.repeat([middle_y, high, high, low, low], left.size)
        centre, *corners = self._xyz(xs, ys).reshape(5, left.size, 3)
        radius = np.fmax.reduce([np.linalg.norm(corner - centre, axis=1) for corner in corners])
        finite: Bool = np.isfinite(centre.sum(axis=1))
        radius = np.where(np.isfinite(radius), radius, np.inf)
        distance, _ = self.tree.query(np.where(finite[:, None], centre, 0.0))
        # A tile whose centre is outside the projection is sampled: its corners may be inside.
        near = ~finite | np.asarray(distance <= 1.1 * radius + _REACH * self.cell_m / _MEAN_RADIUS_M)
        return np.asarray(near, dtype=bool)

    def _sample(self, rows: Int64, columns: Int64) -> Iterator[_Piece]:
        """Weights of the pairs of a cell and a pixel among the given pixels (n,), some thousand pixels at a time."""
        areas = self.layout.pixel_areas_m2(rows, columns)
        height = self._pixel_height_m(int(rows[0]))
        n_y = int(np.ceil(height / self.spacing_m))
        n_x = int(np.ceil(max(float(areas.max()) / height, 1e-9) / self.spacing_m))
        step = max(1, CHUNK_POINTS // (n_x * n_y))
        for i in range(0, rows.size, step):
            part = slice(i, i + step)
            yield self._locate(rows[part], columns[part], areas[part], n_x, n_y)

    def _locate(self, rows: Int64, columns: Int64, areas: Float64, n_x: int, n_y: int) -> _Piece:
        point, lon, lat = self._subpixels(rows, columns, n_x, n_y)
        ids = self.grid.locate(lon, lat)
        cell = np.minimum(np.searchsorted(self.cell_ids, ids), self.cell_ids.size - 1)
        inside = self.cell_ids[cell] == ids
        pixel, subrow = point[inside] // (n_x * n_y), point[inside] // n_x % n_y
        share = self._share_of_subrows(rows, n_y)[pixel, subrow] / n_x
        # Adding up here keeps a block small: a hundred subpixels of a pixel become one weight per cell.
        shape = self.cell_ids.size, rows.size
        summed = sparse.coo_array((share * areas[pixel], (cell[inside], pixel)), shape=shape).tocsr().tocoo()
        return _Piece(summed.row.astype(np.int64), rows[summed.col], columns[summed.col], summed.data)

    def _subpixels(self, rows: Int64, columns: Int64, n_x: int, n_y: int) -> tuple[Int64, Float64, Float64]:
        """Position in (pixel, subrow, subcolumn), longitude and latitude of the subpixels inside the projection."""
        x, y = self.layout.x, self.layout.y
        in_y = (np.arange(n_y) + 0.5) / n_y
        # Each subrow is shifted by another part of a step. Straight columns of points would line up with the edges of
        # HEALPix cells, which run at 45 degrees in polar projections, and areas would err three times as much.
        shift = (rows[:, None] * n_y + np.arange(n_y)) * _GOLDEN % 1.0
        in_x = (np.arange(n_x) + shift[:, :, None]) / n_x  # (pixels, n_y, n_x)
        xs = x.low[columns, None, None] + in_x * (x.high - x.low)[columns, None, None]
        ys = y.low[rows, None] + in_y * (y.high - y.low)[rows, None]
        shape = (rows.size, n_y, n_x)
        lon, lat = self.layout.lonlat(xs.ravel(), np.broadcast_to(ys[:, :, None], shape).ravel())
        point = np.flatnonzero(np.isfinite(lon))
        return point, lon[point], lat[point]

    def _share_of_subrows(self, rows: Int64, n_y: int) -> Float64:
        """Share of a pixel's area in each of its subrows: (pixels, n_y); meridians converge, so rows differ."""
        if not self.layout.crs.is_geographic or n_y == 1:
            return np.full((rows.size, n_y), 1.0 / n_y)
        low, high = self.layout.y.low[rows, None], self.layout.y.high[rows, None]
        q = authalic_q(np.sin(np.radians(low + np.arange(n_y + 1) / n_y * (high - low))))
        share: Float64 = np.diff(q, axis=1) / (q[:, -1:] - q[:, :1])
        return share

    def _pixel_height_m(self, row: int) -> float:
        y = self.layout.y
        unit = np.radians(1.0) * _MEAN_RADIUS_M
        if not self.layout.crs.is_geographic:
            unit = self.layout.crs.axis_info[0].unit_conversion_factor
        return float((y.high[row] - y.low[row]) * unit)

    def _xyz(self, x: Float64, y: Float64) -> Float64:
        return _on_sphere(*self.layout.lonlat(x, y))


def _on_sphere(lon: Float64, lat: Float64) -> Float64:
    """Unit vectors of longitudes and latitudes in degrees: (n,), (n,) -> (n, 3)."""
    phi, theta = np.radians(lon), np.radians(lat)
    return np.column_stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)])


@dataclass
class ZonalSums:
    """Running sums of some layers of pixels in cells; blocks may be added one after the other.

    With pixel values x, weights a (m2) and a fixed shift s near the mean: sum a, sum a x, sum a (x - s) and
    sum a (x - s)^2. The shift keeps the variance right when values are large beside their spread; the mean goes without
    it, so that the mean of zeros is 0 and not -5e-13. Arrays are (cells, layers).
    """

    n_cells: int
    n_layers: int
    with_extremes: bool = False
    weight: Float64 = field(init=False)
    total: Float64 = field(init=False)
    first: Float64 = field(init=False)
    second: Float64 = field(init=False)
    low: Float64 = field(init=False)
    high: Float64 = field(init=False)
    shift: Float64 | None = None

    def __post_init__(self) -> None:
        shape = (self.n_cells, self.n_layers)
        self.weight, self.total, self.first, self.second = np.zeros((4, *shape))
        self.low, self.high = np.full(shape, np.inf), np.full(shape, -np.inf)

    def add(self, weights: sparse.csr_array, values: Float64) -> None:
        """Add the pixels of one block: (cells, pixels) weights, (pixels, layers) values with NaN where masked."""
        valid = np.isfinite(values)
        if self.shift is None:
            count = np.maximum(valid.sum(axis=0), 1)
            self.shift = np.where(valid, values, 0.0).sum(axis=0) / count
        shifted = np.where(valid, values - self.shift, 0.0)
        self.weight += weights @ valid.astype(np.float64)
        self.total += weights @ np.where(valid, values, 0.0)
        self.first += weights @ shifted
        self.second += weights @ (shifted * shifted)
        if self.with_extremes:
            self._add_extremes(weights, values, valid)

    def _add_extremes(self, weights: sparse.csr_array, values: Float64, valid: Bool) -> None:
        filled = np.flatnonzero(np.diff(weights.indptr))
        starts = weights.indptr[:-1][filled]
        for layer in range(self.n_layers):
            for extreme, reduce, empty in ((self.low, np.minimum, np.inf), (self.high, np.maximum, -np.inf)):
                column = np.where(valid[:, layer], values[:, layer], empty)[weights.indices]
                extreme[filled, layer] = reduce(extreme[filled, layer], reduce.reduceat(column, starts))

    def statistic(self, name: str) -> Float64:
        """One statistic, NaN where a cell has no valid pixel: (cells, layers).

        ``std`` is the standard deviation of the pixels in the cell, weighted by area, without Bessel's correction: a
        cell inside a single pixel has 0.
        """
        has_pixels = self.weight > 0.0
        weight = np.where(has_pixels, self.weight, 1.0)
        if name == "mean":
            value = self.total / weight
        elif name == "std":
            value = np.sqrt(np.maximum(self.second / weight - (self.first / weight) ** 2, 0.0))
        else:
            value = self._extreme(name)
        return np.where(has_pixels, value, np.nan)

    def _extreme(self, name: str) -> Float64:
        if name == "range":
            return np.where(self.high >= self.low, self.high - np.where(np.isfinite(self.low), self.low, 0.0), np.nan)
        return {"min": self.low, "max": self.high}[name]


def zonal_statistics(weights: ZonalWeights, values: Float64, statistics: Sequence[str]) -> dict[str, Float64]:
    """Statistics of one field in memory, for tests and notebooks: (rows, columns) in the layout's order -> (cells,).

    A field of a source is read block by block instead, see ``sources.raster``.
    """
    sums = ZonalSums(weights.cell_ids.size, 1, with_extremes=True)
    for block in weights.blocks():
        sums.add(block.weights, values[block.start : block.stop].reshape(-1, 1)[block.pixels])
    return {name: sums.statistic(name)[:, 0] for name in statistics}
