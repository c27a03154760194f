"""Which cell each pixel of a tile is in: made once per tile and level, then used for every band and statistic.

The naive way inverts the projection for every pixel and asks the grid for its cell. Here the outlines of the few
hundred cells at a tile are projected instead and drawn with scan lines, which costs a division per outline and row.
Outlines are curves and are drawn as chords, so the drawing is not believed close to them: chords are made so short
that they leave their curve by less than 0.02 pixels, and every pixel whose centre is within 0.05 pixels of a chord is
asked of the grid itself. The labels are therefore those of the naive way on every pixel.

Where outlines cannot be drawn (the pole in longitude and latitude), the naive way is taken for the whole tile.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from entropice_core.errors import GridError
from entropice_core.features import kernels
from entropice_core.features.tiles import Tile, pixel_centres
from entropice_core.grids.base import Float64, Grid, Int64, UInt64

CHORD_PIXELS = 0.02
MARGIN_PIXELS = 0.05
MOST_SEGMENTS = 256
_MEAN_RADIUS_M = 6_371_007.2
# Square roots of the largest cell's area; the farthest corner north of 30 N is at 1.043 (HEALPix) and 0.62 (H3).
_REACH = 1.1
_CHUNK = 2_000_000

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class CellRuns:
    """Pixels of a tile by cell, as runs along rows.

    ``cell_ids`` : (m,) uint64, sorted, the cells with a pixel. Run k is the pixels ``begin[k]`` to
    ``begin[k] + length[k]`` of the flattened tile, in the cell at position ``cell[k]``; at most 512 pixels long.
    """

    cell_ids: UInt64
    begin: Int64
    length: Int32
    cell: Int32


@dataclass(frozen=True)
class CellIndex:
    """The cells of one grid level, found by place. Built once, used for all tiles.

    Examples
    --------
    >>> from pyproj import CRS
    >>> from entropice_core.grids import parse_grid_key
    >>> grid = parse_grid_key("healpix-6")
    >>> tile = Tile("t", CRS("EPSG:3413"), 0.0, -2_000_000.0, 1000.0, -1000.0, (2, 2))
    >>> CellIndex(grid, grid.locate([-44.97], [71.7])).labels(tile)
    array([[0, 0],
           [0, 0]], dtype=int32)
    """

    grid: Grid
    cell_ids: UInt64

    def __post_init__(self) -> None:
        if self.cell_ids.size == 0 or (np.diff(self.cell_ids.astype(np.int64)) <= 0).any():
            raise GridError(f"Cell ids of {self.grid.key} must be sorted without repeats, and at least one.")

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(on_sphere(*self.grid.centers(self.cell_ids)))

    @cached_property
    def cell_m(self) -> float:
        """Width of the largest cell, metres."""
        return float(np.sqrt(self.grid.areas_m2(self.cell_ids).max()))

    def near(self, tile: Tile) -> Int64:
        """Positions of the cells that may have a pixel in a tile, sorted: (m,)."""
        points = on_sphere(*tile.border())
        if not np.isfinite(points[-1]).all():
            return np.arange(self.cell_ids.size)
        radius = np.linalg.norm(points[:-1] - points[-1], axis=1)
        radius = np.where(np.isfinite(radius), radius, 2.0)  # part of the border is off the map: look everywhere
        reach = 1.05 * float(radius.max()) + _REACH * self.cell_m / _MEAN_RADIUS_M
        return np.sort(np.asarray(self._tree.query_ball_point(points[-1], reach), dtype=np.int64))

    def labels(self, tile: Tile) -> Int32:
        """Position in ``cell_ids`` of the cell that holds each pixel's centre, -1 for none: (rows, columns)."""
        near = self.near(tile)
        if near.size == 0:
            return np.full(tile.shape, -1, dtype=np.int32)
        outlines = self._outlines(tile, near)
        if outlines is None:
            return self._located(tile, np.arange(tile.shape[0] * tile.shape[1])).reshape(tile.shape)
        rows, columns, offsets = outlines
        steps = kernels.edge_steps(rows, columns, offsets, near.astype(np.int32), *tile.shape)
        labels: Int32 = kernels.sum_steps(steps)
        unsure = kernels.near_edges(rows, columns, offsets, MARGIN_PIXELS, *tile.shape)
        labels.ravel()[unsure] = self._located(tile, unsure)
        return labels

    def runs(self, tile: Tile) -> CellRuns:
        """Pixels of a tile by cell."""
        begin, length, label = kernels.find_runs(self.labels(tile))
        present, cell = np.unique(label, return_inverse=True)
        return CellRuns(self.cell_ids[present], begin, length, cell.astype(np.int32))

    def _located(self, tile: Tile, pixels: Int64) -> Int32:
        """Ask the grid for the cell of some pixels: positions in the flattened tile (n,) -> (n,)."""
        found = np.full(pixels.size, -1, dtype=np.int32)
        for start in range(0, pixels.size, _CHUNK):
            part = pixels[start : start + _CHUNK]
            lon, lat = tile.lonlat(*pixel_centres(part, tile.shape[1]))
            on_map = np.flatnonzero(np.isfinite(lon))
            ids = self.grid.locate(lon[on_map], lat[on_map])
            at = np.minimum(np.searchsorted(self.cell_ids, ids), self.cell_ids.size - 1)
            found[start + on_map] = np.where(self.cell_ids[at] == ids, at, -1)
        return found

    def _outlines(self, tile: Tile, near: Int64) -> tuple[Float64, Float64, Int64] | None:
        return drawn_outlines(tile, self.grid, self.cell_ids[near], CHORD_PIXELS)


def drawn_outlines(
    tile: Tile, grid: Grid, cell_ids: UInt64, error_pixels: float
) -> tuple[Float64, Float64, Int64] | None:
    """Outlines of cells as chords that leave their curves by less than some part of a pixel.

    Gives rows and columns in pixels from the tile's first corner (points,), and where each ring begins (cells + 1,);
    None where there are none such.
    """
    segments = 4
    while segments <= MOST_SEGMENTS:
        rings = grid.outlines(cell_ids, segments)
        rows, columns = tile.pixels(rings.lon, rings.lat)
        if not (np.isfinite(rows).all() and np.isfinite(columns).all()):
            return None
        error = _chord_error(rows, columns, rings.segments)
        if error <= error_pixels:
            return rows, columns, rings.offsets
        # A chord's distance from its curve falls with the square of its length.
        wanted = segments * np.sqrt(error / error_pixels) * 1.02
        segments = max(2 * segments, 1 << int(np.ceil(np.log2(wanted))))
    return None


def _chord_error(rows: Float64, columns: Float64, segments: Int64) -> float:
    """Largest distance between a chord and its curve, pixels: an eighth of the second difference at inner points."""
    inside = np.flatnonzero((segments[:-1] > 0) & (segments[1:] > 0))  # with both neighbours on the same edge
    bend_r = rows[inside - 1] - 2.0 * rows[inside] + rows[inside + 1]
    bend_c = columns[inside - 1] - 2.0 * columns[inside] + columns[inside + 1]
    return float(np.hypot(bend_r, bend_c).max()) / 8.0


def on_sphere(lon: Float64, lat: Float64) -> Float64:
    """Unit vectors of longitudes and latitudes in degrees: (n,), (n,) -> (n, 3)."""
    lam, phi = np.radians(lon), np.radians(lat)
    return np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
