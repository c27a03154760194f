"""Exact area weights of a regular longitude-latitude grid (ERA5, ERA5-Land) in cells.

``zonal`` samples pixels with points, which serves any raster in any coordinate system to a per cent. Climate grids are
coarse beside cells and few, so the exact overlap is affordable, and a mean that is not conserved would look like a
trend. In EPSG:6931 outlines of cells are polygons with straight pieces, meridians are rays from the pole and parallels
are circles around it. Each piece is cut where it crosses a ray or a circle; what lies between piece and pole is a
triangle, so that the area of every (cell, pixel) follows from Green's theorem without any further approximation:

    area = 1/2 sum over pieces in the pixel (Q0 x Q1 - R^2 dlambda)  +  full sectors of pixels poleward of a piece

with ends Q0, Q1 of a piece, R the radius of the pixel's northern parallel and dlambda the angle of the piece. Nothing
is special at 180 degrees (angles are differences) or at the pole (the area is measured from it).

Matrices are kept in memory and, where a folder is given, on disk: one file a grid, level, list of cells and layout.
"""

import hashlib
import os
import uuid
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS
from scipy import sparse

from entropice_core.errors import SourceError
from entropice_core.features.kept import mark_used
from entropice_core.features.layout import RasterLayout
from entropice_core.grids.base import Float64, Grid, Int64, UInt64
from entropice_core.grids.projection import POLE_Q, SEMIMAJOR_AXIS_M, authalic_q

VERSION = "1"

CELLS_AT_A_TIME = 20_000  # 340,000 pieces of outlines and their cuts: about 300 MB
KEPT_IN_MEMORY = 4
LAYERS_AT_A_TIME = 16
_TINY = 1e-9  # share of a pixel below which an overlap is rounding
_REGULAR = 1e-6  # share of a step by which a column may be off
_POLE_M = 1e-6

_KEPT: OrderedDict[str, sparse.csr_array] = OrderedDict()


def overlap_weights(layout: RasterLayout, grid: Grid, cell_ids: UInt64, folder: Path | None = None) -> sparse.csr_array:
    """Area of every pixel in every cell, from memory, from ``folder``, or computed.

    Parameters
    ----------
    layout : RasterLayout
        Pixels, regular in longitude, on WGS84.
    grid : Grid
        The grid of the cells.
    cell_ids : (cells,) uint64
        Sorted cells.
    folder : Path, optional
        Where matrices are kept between processes; a damaged file is computed anew.

    Returns
    -------
    csr_array
        (cells, rows x columns) float64, m2 on the WGS84 ellipsoid; pixels in the layout's order, north-west first.

    Raises
    ------
    SourceError
        For a layout that is not a regular longitude-latitude grid.
    """
    key = _key(layout, grid, cell_ids)
    if key in _KEPT:
        _KEPT.move_to_end(key)
        return _KEPT[key]
    path = None if folder is None else folder / f"{grid.key}-{key[:16]}.npz"
    shape = (cell_ids.size, layout.y.size * layout.x.size)
    matrix = _read(path, key, shape)
    if matrix is None:
        matrix = compute_weights(layout, grid, cell_ids)
        _write(path, key, matrix)
    _KEPT[key] = matrix
    while len(_KEPT) > KEPT_IN_MEMORY:
        _KEPT.popitem(last=False)
    return matrix


def compute_weights(layout: RasterLayout, grid: Grid, cell_ids: UInt64) -> sparse.csr_array:
    """Compute what `overlap_weights` returns, some thousand cells at a time."""
    pixels = _PolarPixels.of(layout)
    blocks = [
        pixels.overlaps(grid.polygons(cell_ids[i : i + CELLS_AT_A_TIME]))
        for i in range(0, cell_ids.size, CELLS_AT_A_TIME)
    ]
    empty = sparse.csr_array((0, pixels.rows * pixels.columns))
    return sparse.csr_array(sparse.vstack(blocks or [empty], format="csr"))


def area_means(weights: sparse.csr_array, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean of layers over cells, weighted by area; NaN pixels have no weight.

    Parameters
    ----------
    weights : csr_array
        (cells, pixels) float64, m2.
    values : (layers, pixels) float32
        NaN where a pixel has no value.

    Returns
    -------
    (cells, layers) float32
        NaN where no pixel of the cell has a value.

    Examples
    --------
    >>> area_means(sparse.csr_array([[3.0, 1.0]]), np.array([[10.0, 20.0], [np.nan, 20.0]], np.float32)).tolist()
    [[12.5, 20.0]]
    """
    means = np.empty((weights.shape[0], values.shape[0]), dtype=np.float32)
    for start in range(0, values.shape[0], LAYERS_AT_A_TIME):
        part = np.asarray(values[start : start + LAYERS_AT_A_TIME], dtype=np.float64).T
        valid = np.isfinite(part)
        total = weights @ np.where(valid, part, 0.0)
        area = weights.sum(axis=1)[:, None] if valid.all() else weights @ valid.astype(np.float64)
        has_pixels = area > 0.0
        mean = np.where(has_pixels, total / np.where(has_pixels, area, 1.0), np.nan)
        means[:, start : start + LAYERS_AT_A_TIME] = mean
    return means


def main_pixels(weights: sparse.csr_array) -> tuple[Int64, npt.NDArray[np.float32]]:
    """Tell which pixel fills most of each cell, and of how many pixels its mean is made.

    Cells smaller than a pixel share its values with their neighbours; validation must keep them together.

    Returns
    -------
    pixel : (cells,) int64, position in the layout, -1 outside the raster
    effective_pixels : (cells,) float32, (sum w)^2 / sum w^2: 1 for a cell within one pixel, 2 for two equal halves

    Examples
    --------
    >>> pixel, effective = main_pixels(sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]]))
    >>> pixel.tolist(), effective.tolist()
    ([0, 2, -1], [2.0, 1.0, 0.0])
    """
    pixel = np.full(weights.shape[0], -1, dtype=np.int64)
    filled = np.flatnonzero(np.diff(weights.indptr))
    row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((-weights.indices, weights.data, row))  # the heaviest comes last; of equal ones the first pixel
    pixel[filled] = weights.indices[order][weights.indptr[1:][filled] - 1]
    total = np.asarray(weights.sum(axis=1)).ravel()
    squares = np.asarray(weights.multiply(weights).sum(axis=1)).ravel()
    effective = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0.0)
    return pixel, effective.astype(np.float32)


@dataclass(frozen=True)
class _PolarPixels:
    """Pixels in polar coordinates around the north pole of EPSG:6931.

    ``west`` and ``step``: degrees; columns are ``step`` wide from ``west`` on. ``radius2`` : (rows + 1,) squared radii
    of the parallels, m2, from the pole outwards; half a difference times an angle is an area on the ellipsoid.
    """

    west: float
    step: float
    columns: int
    radius2: Float64

    @property
    def rows(self) -> int:
        return self.radius2.size - 1

    @classmethod
    def of(cls, layout: RasterLayout) -> "_PolarPixels":
        if not (layout.crs.is_geographic and layout.crs.equals(CRS("EPSG:4326"), ignore_axis_order=True)):
            raise SourceError(
                f"Exact weights are for longitude and latitude on WGS84, not for {layout.crs.name}: use kind 'raster'."
            )
        step = 360.0 / round(360.0 / float(np.median(layout.x.high - layout.x.low)))
        off = np.abs(layout.x.low - layout.x.low[0] - step * np.arange(layout.x.size)).max()
        gap = np.abs(layout.y.high[1:] - layout.y.low[:-1]).max()
        if off > _REGULAR * step or gap > _REGULAR * step:
            raise SourceError(
                f"A grid of {layout.y.size} x {layout.x.size} pixels is not regular: columns are up to {off:g} and "
                f"rows up to {gap:g} degrees off; longitudes must divide the circle evenly. Use kind 'raster'."
            )
        edges = np.append(layout.y.high, layout.y.low[-1])
        radius2 = SEMIMAJOR_AXIS_M**2 * (POLE_Q - authalic_q(np.sin(np.radians(edges))))
        radius2[edges >= 90.0] = 0.0
        return cls(float(layout.x.low[0]), step, layout.x.size, radius2)

    def overlaps(self, polygons: npt.NDArray[np.object_]) -> sparse.csr_array:
        """Areas of some cells: (cells,) polygons in EPSG:6931 -> (cells, pixels) m2."""
        cell, first, last = _pieces(polygons)
        t_cell, ends = self._cut(cell, first, last)
        begin, end = ends
        cross = _cross(begin, end)
        angle = np.arctan2(cross, (begin * end).sum(axis=1))
        middle = (begin + end) / 2.0
        row = np.searchsorted(self.radius2, (middle**2).sum(axis=1), side="right") - 1
        column = np.floor((np.degrees(np.arctan2(middle[:, 1], middle[:, 0])) - self.west) / self.step).astype(np.int64)
        column %= round(360.0 / self.step)
        inside = column < self.columns
        entries = [
            self._own(t_cell[inside], row[inside], column[inside], cross[inside], angle[inside]),
            self._poleward(t_cell, row, column, angle, inside, len(polygons)),
        ]
        cells, rows, columns, areas = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        matrix = sparse.coo_array(
            (areas, (cells, rows * self.columns + columns)), shape=(len(polygons), self.rows * self.columns)
        ).tocsr()
        pixel_area = np.repeat(np.diff(self.radius2), self.columns) * np.radians(self.step) / 2.0
        matrix.data[matrix.data < _TINY * pixel_area[matrix.indices]] = 0.0
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return matrix

    def _own(
        self, cell: Int64, row: Int64, column: Int64, cross: Float64, angle: Float64
    ) -> tuple[Int64, Int64, Int64, Float64]:
        """Area between a piece and the northern parallel of the pixel it lies in."""
        keep = (row >= 0) & (row < self.rows)
        row = row[keep]
        return cell[keep], row, column[keep], (cross[keep] - self.radius2[row] * angle[keep]) / 2.0

    def _poleward(
        self, cell: Int64, row: Int64, column: Int64, angle: Float64, inside: npt.NDArray[np.bool_], n_cells: int
    ) -> tuple[Int64, Int64, Int64, Float64]:
        """Whole sectors of the pixels between a piece and the row of the cell that is nearest to the pole."""
        top = np.full(n_cells, self.rows)
        np.minimum.at(top, cell, np.clip(row, 0, self.rows))
        around_pole = np.abs(np.bincount(cell, angle, minlength=n_cells)) > np.pi
        top[around_pole] = 0
        cell, angle, column = cell[inside], angle[inside], column[inside]
        count = np.maximum(np.minimum(row[inside], self.rows) - top[cell], 0)
        piece, step = _ragged(count)
        rows = top[cell][piece] + step
        areas = np.diff(self.radius2)[rows] * angle[piece] / 2.0
        return cell[piece], rows, column[piece], areas

    def _cut(self, cell: Int64, first: Float64, last: Float64) -> tuple[Int64, tuple[Float64, Float64]]:
        """Cut pieces (n, 2) where they cross rays and circles: cells and ends of the parts."""
        cuts = [(np.arange(len(first)), np.zeros(len(first))), *self._crossings(first, last - first, last)]
        piece, t = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
        keep = (t == 0.0) | ((t > 0.0) & (t < 1.0))
        piece, t = piece[keep], t[keep]
        order = np.lexsort((t, piece))
        piece, t = piece[order], t[order]
        points = first[piece] + t[:, None] * (last - first)[piece]
        ends = np.empty_like(points)
        ends[:-1] = points[1:]
        is_last = np.append(piece[1:] != piece[:-1], True)
        ends[is_last] = last[piece[is_last]]
        return cell[piece], (points, ends)

    def _crossings(self, first: Float64, along: Float64, last: Float64) -> Iterator[tuple[Int64, Float64]]:
        """Where pieces cross meridians and parallels: number of the piece and share of its length."""
        cross, dot = _cross(first, last), (first * last).sum(axis=1)
        length2 = np.maximum((along**2).sum(axis=1), 1e-30)
        at_pole = np.minimum((first**2).sum(axis=1), (last**2).sum(axis=1)) < _POLE_M**2
        u0 = (np.degrees(np.arctan2(first[:, 1], first[:, 0])) - self.west) / self.step
        u1 = u0 + np.where(at_pole, 0.0, np.degrees(np.arctan2(cross, dot)) / self.step)
        low, high = np.ceil(np.minimum(u0, u1)).astype(np.int64), np.floor(np.maximum(u0, u1)).astype(np.int64)
        piece, step = _ragged(np.maximum(high - low + 1, 0))
        meridian = np.radians(self.west + (low[piece] + step) * self.step)
        ray = np.column_stack([np.cos(meridian), np.sin(meridian)])
        across = _cross(along[piece], ray)
        yield piece, -_cross(first[piece], ray) / np.where(across == 0.0, np.inf, across)

        nearest = -(first * along).sum(axis=1) / length2  # share at which the line is nearest to the pole
        distance2 = np.maximum((first**2).sum(axis=1) - nearest**2 * length2, 0.0)
        ends2 = np.column_stack([(first**2).sum(axis=1), (last**2).sum(axis=1)])
        turns = (nearest > 0.0) & (nearest < 1.0)
        smallest = np.where(turns, distance2, ends2.min(axis=1))
        yield np.flatnonzero(turns), nearest[turns]
        begin = np.searchsorted(self.radius2, smallest, side="right")
        stop = np.searchsorted(self.radius2, ends2.max(axis=1), side="left")
        piece, step = _ragged(np.maximum(stop - begin, 0))
        half = np.sqrt(np.maximum(self.radius2[begin[piece] + step] - distance2[piece], 0.0) / length2[piece])
        yield piece, nearest[piece] - half
        yield piece, nearest[piece] + half


def _pieces(polygons: npt.NDArray[np.object_]) -> tuple[Int64, Float64, Float64]:
    """Straight pieces of outlines, counter-clockwise around the cells: cell (n,), begin and end (n, 2).

    Axes are turned so that the angle of a point is its longitude.
    """
    points, cell = shapely.get_coordinates(shapely.orient_polygons(polygons), return_index=True)
    turned = np.column_stack([-points[:, 1], points[:, 0]])
    same = cell[1:] == cell[:-1]
    return cell[:-1][same].astype(np.int64), turned[:-1][same], turned[1:][same]


def _cross(a: Float64, b: Float64) -> Float64:
    product: Float64 = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product


def _ragged(count: Int64) -> tuple[Int64, Int64]:
    """Count up from 0 for each: owner and number within it.

    >>> [part.tolist() for part in _ragged(np.array([2, 0, 3]))]
    [[0, 0, 2, 2, 2], [0, 1, 0, 1, 2]]
    """
    owner = np.repeat(np.arange(count.size), count)
    starts = np.cumsum(count) - count
    return owner, np.arange(owner.size) - starts[owner]


def _key(layout: RasterLayout, grid: Grid, cell_ids: UInt64) -> str:
    h = hashlib.sha256(f"{VERSION} {layout.digest} {grid.key} ".encode())
    h.update(np.ascontiguousarray(cell_ids).tobytes())
    return h.hexdigest()


def _read(path: Path | None, key: str, shape: tuple[int, int]) -> sparse.csr_array | None:
    """Read a kept matrix; None when there is none that is whole and of this key."""
    if path is None or not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            mark_used(path)
            return sparse.csr_array((stored["data"], stored["indices"], stored["indptr"]), shape=shape)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path | None, key: str, matrix: sparse.csr_array) -> None:
    """Keep a matrix; the file appears whole or not at all."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.npz")
    try:
        np.savez(part, key=np.array(key), data=matrix.data, indices=matrix.indices, indptr=matrix.indptr)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
