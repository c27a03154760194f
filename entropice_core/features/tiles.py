"""A tile of a raster: where its pixels lie on the globe, how large each truly is, and in which direction north is.

Pixels of one raster have places on one lattice, whatever tile they come in: column ``i`` of the lattice begins at
``i * step_x``. Everything that varies slowly (true area, longitude and latitude, the direction of north) is computed
at knots of that lattice, every 32 pixels, and interpolated linearly, so that a pixel gets the same number from every
tile that holds it. Over 32 pixels of 32 m the linear interpolation errs by 3e-9 of the area.

No cells and no values belong here.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Proj, Transformer

from entropice_core.errors import SchemaError
from entropice_core.features import kernels
from entropice_core.features.layout import RasterLayout
from entropice_core.grids.base import Float64, Int64, wrap_longitude
from entropice_core.grids.projection import SEMIMAJOR_AXIS_M, authalic_q

KNOT_PIXELS = 32
MAX_WEIGHT = (1 << 14) - 1
"""Largest weight of a pixel, in units of :func:`area_unit`; with up to 2**20 value steps sums stay exact."""

UInt16 = npt.NDArray[np.uint16]


def area_unit(pixel_area_m2: float) -> float:
    """Unit of area in which pixels of about this size are weighed: a power of two, m2.

    All tiles of a data set must use one unit, so that their sums can be added. A pixel counts 5,400 to 10,900 units:
    its area is rounded by 1e-4 of itself at most.

    >>> area_unit(32.0 * 32.0), area_unit(10.0 * 10.0)
    (0.125, 0.015625)
    """
    return float(2.0 ** np.ceil(np.log2(pixel_area_m2 * 1.5 / MAX_WEIGHT)))


@dataclass(frozen=True)
class Knots:
    """What varies slowly, at every 32nd pixel corner of the lattice: arrays are (rows, columns) of knots, float64.

    ``row``, ``column`` : place of the first knot, in pixels from the tile's first corner; never positive.
    ``area_m2`` : true area of a pixel there. ``lon``, ``lat`` : degrees, NaN outside the projection.
    """

    row: int
    column: int
    area_m2: Float64
    lon: Float64
    lat: Float64


@dataclass(frozen=True)
class Tile:
    """A rectangle of pixels.

    Attributes
    ----------
    name : for messages
    crs : coordinate system of the pixels; projected, or longitude and latitude
    left, top : outer corner of the first pixel, units of the CRS; ``top`` is the southern edge when ``step_y`` > 0
    step_x, step_y : from one pixel to the next, units of the CRS; ``step_y`` is negative when the first row is north
    shape : rows and columns

    Examples
    --------
    >>> tile = Tile("t", CRS("EPSG:3413"), 0.0, 64.0, 32.0, -32.0, (2, 3))
    >>> tile.xy(np.array([0.5]), np.array([0.5]))
    (array([16.]), array([48.]))
    """

    name: str
    crs: CRS
    left: float
    top: float
    step_x: float
    step_y: float
    shape: tuple[int, int]

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel on the lattice of the raster."""
        return _lattice(self.top / self.step_y)[0], _lattice(self.left / self.step_x)[0]

    @property
    def phase(self) -> tuple[float, float]:
        """Where the lattice's pixel 0 begins, in pixels of row and column from coordinate 0: (-0.5, 0.5]."""
        return _lattice(self.top / self.step_y)[1], _lattice(self.left / self.step_x)[1]

    def window(self, row: int, column: int, shape: tuple[int, int]) -> "Tile":
        """Cut or extend to the rectangle that begins at a row and column of this tile (negative ones lie outside)."""
        left, top = self.left + column * self.step_x, self.top + row * self.step_y
        return Tile(self.name, self.crs, left, top, self.step_x, self.step_y, shape)

    def xy(self, rows: Float64, columns: Float64) -> tuple[Float64, Float64]:
        """Places in pixels from the first corner -> coordinates in the CRS; (0.5, 0.5) is the first centre: (n,)."""
        return self.left + columns * self.step_x, self.top + rows * self.step_y

    def lonlat(self, rows: Float64, columns: Float64) -> tuple[Float64, Float64]:
        """Places in pixels from the first corner -> degrees on WGS84, NaN outside the projection: (n,), (n,)."""
        x, y = self.xy(rows, columns)
        to_wgs84 = _to_wgs84(self.crs)
        if to_wgs84 is not None:
            x, y = to_wgs84.transform(x, y)
        good = np.isfinite(x) & np.isfinite(y) & (np.abs(y) <= 90.0 + 1e-9)
        lon = wrap_longitude(np.where(good, x, 0.0))
        lat = np.clip(np.where(good, y, 0.0), -90.0, 90.0)
        return np.where(good, lon, np.nan), np.where(good, lat, np.nan)

    def pixels(self, lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
        """Degrees on WGS84 -> rows and columns in pixels from the first corner; inf outside the projection: (n,).

        In longitude and latitude, points are put on the side of 180 degrees where the tile is.
        """
        to_wgs84 = _to_wgs84(self.crs)
        x, y = (lon, lat) if to_wgs84 is None else to_wgs84.transform(lon, lat, direction="INVERSE")
        if self.crs.is_geographic:
            middle = self.left + self.step_x * self.shape[1] / 2.0
            x = middle + wrap_longitude(np.asarray(x) - middle)
        return (np.asarray(y) - self.top) / self.step_y, (np.asarray(x) - self.left) / self.step_x

    @cached_property
    def knots(self) -> Knots:
        """Knots around all pixels of the tile."""
        (row0, column0), (n_rows, n_columns) = self.origin, self.shape
        rows = np.arange(row0 // KNOT_PIXELS, (row0 + n_rows - 1) // KNOT_PIXELS + 2) * KNOT_PIXELS
        columns = np.arange(column0 // KNOT_PIXELS, (column0 + n_columns - 1) // KNOT_PIXELS + 2) * KNOT_PIXELS
        # From the lattice's own coordinates and not from the tile's corner: equal bits whatever tile asks.
        phase_y, phase_x = self.phase
        xs, ys = np.meshgrid((columns + phase_x) * self.step_x, (rows + phase_y) * self.step_y)
        lattice = Tile(self.name, self.crs, 0.0, 0.0, 1.0, 1.0, self.shape)
        lon, lat = (part.reshape(xs.shape) for part in lattice.lonlat(ys.ravel(), xs.ravel()))
        area = _true_areas(self.crs, abs(self.step_x), abs(self.step_y), lon, lat)
        return Knots(int(rows[0]) - row0, int(columns[0]) - column0, area, lon, lat)

    def weights(self, unit_m2: float) -> UInt16:
        """True area of every pixel in units of ``unit_m2``, rounded: (rows, columns).

        Raises
        ------
        SchemaError
            When a pixel is larger than the unit was made for.
        """
        knots = self.knots
        largest = float(np.max(knots.area_m2)) / unit_m2
        if largest > MAX_WEIGHT:
            raise SchemaError(
                f"Pixels of tile {self.name} have up to {largest * unit_m2:g} m2, but the unit {unit_m2:g} m2 is for "
                f"up to {MAX_WEIGHT * unit_m2:g} m2: give the largest pixel of the data set to area_unit."
            )
        made: UInt16 = kernels.weights(knots.area_m2 / unit_m2, knots.row, knots.column, KNOT_PIXELS, *self.shape)
        return made

    @cached_property
    def layout(self) -> RasterLayout:
        """The same pixels as a layout, rows from north to south."""
        x = self.left + (np.arange(self.shape[1], dtype=np.float64) + 0.5) * self.step_x
        y = self.top + (np.arange(self.shape[0], dtype=np.float64) + 0.5) * self.step_y
        return RasterLayout.from_centres(x, y, self.crs)

    def border(self, points: int = 16) -> tuple[Float64, Float64]:
        """Longitudes and latitudes of points along the border and in the middle (last): (4 * points + 1,)."""
        t = np.arange(points) / points
        zero, one = np.zeros(points), np.ones(points)
        rows = np.concatenate([zero, t, one, 1.0 - t, [0.5]]) * self.shape[0]
        columns = np.concatenate([t, one, 1.0 - t, zero, [0.5]]) * self.shape[1]
        return self.lonlat(rows, columns)

    def __hash__(self) -> int:
        return hash((self.name, self.left, self.top, self.step_x, self.step_y, self.shape))


def _lattice(place: float) -> tuple[int, float]:
    """Split a place in pixels into a whole number and the rest, alike for all places a whole number apart.

    >>> _lattice(3.5), _lattice(4.5), _lattice(-125003.125)
    ((3, 0.5), (4, 0.5), (-125003, -0.125))
    """
    whole = int(np.floor(place + 0.5 - 1e-6))
    return whole, round(place - whole, 6)


@lru_cache(maxsize=256)
def _to_wgs84(crs: CRS) -> Transformer | None:
    """From a CRS to WGS84; None when it is that already."""
    if crs.is_geographic and crs.equals(CRS("EPSG:4326"), ignore_axis_order=True):
        return None
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def _true_areas(crs: CRS, width: float, height: float, lon: Float64, lat: Float64) -> Float64:
    """Area on the ellipsoid of pixels around points, m2, 0 outside the projection; as in ``features.layout``."""
    good = np.isfinite(lon)
    if crs.is_geographic:
        north, south = (np.clip(lat + side * height / 2.0, -90.0, 90.0) for side in (1.0, -1.0))
        band = authalic_q(np.sin(np.radians(north))) - authalic_q(np.sin(np.radians(south)))
        return np.where(good, SEMIMAJOR_AXIS_M**2 / 2.0 * band * np.radians(width), 0.0)
    factors = Proj(crs).get_factors(np.where(good, lon, 0.0), np.where(good, lat, 90.0))
    scale = np.abs(np.asarray(factors.areal_scale))
    good &= np.isfinite(scale) & (scale > 0.0)
    unit = crs.axis_info[0].unit_conversion_factor
    return np.where(good, width * height * unit**2 / np.where(good, scale, 1.0), 0.0)


def pixel_centres(indices: Int64, n_columns: int) -> tuple[Float64, Float64]:
    """Positions in a flattened tile -> rows and columns of the centres, in pixels from the first corner: (n,)."""
    rows, columns = np.divmod(indices, n_columns)
    return rows.astype(np.float64) + 0.5, columns.astype(np.float64) + 0.5
