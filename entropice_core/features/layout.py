"""Where the pixels of a raster lie: their borders, their size on the ellipsoid, their longitudes and latitudes.

A file may count latitude upwards or downwards and longitude from 0 or from -180; it may be projected. All of that
ends here: a layout has columns from west to east (x ascending) and rows from north to south (y descending), and
remembers which row and column of the file each of them is. No values and no cells belong here.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from pyproj import CRS, Proj, Transformer

from entropice_core.errors import SourceError
from entropice_core.grids.base import Float64, Int64, wrap_longitude
from entropice_core.grids.projection import SEMIMAJOR_AXIS_M, authalic_q

_SAME = 1e-4  # share of a pixel below which two centres are the same column (360 and 0, 180 and -180)
_GAP = 1.5  # pixels; a wider step is a gap in the raster, which no pixel fills


@dataclass(frozen=True)
class Axis:
    """Borders of pixels along one axis, in the layout's order.

    ``low``, ``high`` : (n,) float64, units of the CRS. ``order`` : (n,) position of each in the file.
    ``duplicates`` : how many positions of the file repeat another (a column at 0 and at 360 degrees).
    """

    low: Float64
    high: Float64
    order: Int64
    duplicates: int = 0

    @property
    def size(self) -> int:
        """Number of pixels along the axis."""
        return int(self.low.size)

    @property
    def centre(self) -> Float64:
        """Middle of each pixel, units of the CRS: (n,)."""
        return (self.low + self.high) / 2.0


@dataclass(frozen=True)
class RasterLayout:
    """Pixels of a raster: rows from north to south, columns from west to east.

    Examples
    --------
    ERA5 counts longitude from 0 to 359; a layout starts at -180:

    >>> layout = RasterLayout.from_centres(np.arange(0.0, 360.0, 90.0), np.array([60.0, 70.0]), CRS("EPSG:4326"))
    >>> layout.x.centre.tolist(), layout.y.centre.tolist()
    ([-180.0, -90.0, 0.0, 90.0], [70.0, 60.0])
    """

    x: Axis
    y: Axis
    crs: CRS

    @classmethod
    def from_centres(cls, x: Float64, y: Float64, crs: CRS) -> Self:
        """Build a layout from the coordinates of pixel centres as a file gives them; any order, 0-360 or -180-180."""
        geographic = crs.is_geographic
        x_axis = make_axis(x, "x", period=360.0 if geographic else None)
        y_axis = make_axis(y, "y", period=None)
        low, high = (np.clip(edge, -90.0, 90.0) if geographic else edge for edge in (y_axis.low, y_axis.high))
        down = slice(None, None, -1)
        return cls(x_axis, Axis(low[down], high[down], y_axis.order[down], y_axis.duplicates), crs)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y.size, self.x.size

    @cached_property
    def digest(self) -> str:
        """Name of this layout: equal layouts have equal digests, whatever order their files have."""
        h = hashlib.sha256(self.crs.to_wkt().encode())
        for edge in (self.x.low, self.x.high, self.y.low, self.y.high):
            h.update(np.round(edge, 9).tobytes())
        return h.hexdigest()

    @cached_property
    def _to_wgs84(self) -> Transformer | None:
        """From the CRS to longitude and latitude on WGS84; None when it is that already."""
        is_wgs84 = self.crs.is_geographic and self.crs.equals(CRS("EPSG:4326"), ignore_axis_order=True)
        return None if is_wgs84 else Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)

    @cached_property
    def _projection(self) -> Proj:
        return Proj(self.crs)

    def lonlat(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Points in the CRS -> longitude in [-180, 180) and latitude on WGS84; NaN outside the projection: (n,)."""
        if self._to_wgs84 is not None:
            x, y = self._to_wgs84.transform(x, y)
        good = np.isfinite(x) & np.isfinite(y)
        lon = wrap_longitude(np.where(good, x, 0.0))
        lat = np.clip(np.where(good, y, 0.0), -90.0, 90.0)  # a point at the pole may come back as 90 + 1e-14
        return np.where(good, lon, np.nan), np.where(good, lat, np.nan)

    def pixel_areas_m2(self, rows: Int64, columns: Int64) -> Float64:
        """Area of pixels on the ellipsoid, m2: (n,), (n,) -> (n,).

        Geographic: the exact area between two parallels (Snyder 1987, USGS Professional Paper 1395, eq. 3-12).
        Projected: the area in the plane divided by the projection's areal scale at the centre of the pixel, which is
        why a pixel of EPSG:3413 at 60 N counts 7 % less than one at 70 N.
        """
        width = self.x.high[columns] - self.x.low[columns]
        if self.crs.is_geographic:
            q_high, q_low = (authalic_q(np.sin(np.radians(edge[rows]))) for edge in (self.y.high, self.y.low))
            areas: Float64 = SEMIMAJOR_AXIS_M**2 / 2.0 * (q_high - q_low) * np.radians(width)
            return areas
        lon, lat = self.lonlat(self.x.centre[columns], self.y.centre[rows])
        outside = np.isnan(lon)
        factors = self._projection.get_factors(np.where(outside, 0.0, lon), np.where(outside, 90.0, lat))
        unit = self.crs.axis_info[0].unit_conversion_factor
        plane = width * (self.y.high[rows] - self.y.low[rows]) * unit**2
        scale = np.where(outside, np.inf, np.abs(np.asarray(factors.areal_scale)))
        return np.where(np.isfinite(scale) & (scale > 0.0), plane / np.where(scale > 0.0, scale, 1.0), 0.0)


def make_axis(centres: Float64, name: str, period: float | None) -> Axis:
    """Sort centres upwards and put borders half-way between neighbours; ``period`` is 360 for longitudes.

    >>> make_axis(np.array([0.0, 120.0, 240.0, 360.0]), "x", 360.0).duplicates
    1
    """
    values = np.asarray(centres, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise SourceError(
            f"The {name} coordinates of a raster must be two or more finite numbers along one dimension, "
            f"but have shape {values.shape} with {int(np.isfinite(values).sum())} finite; grid the data first."
        )
    if period is not None:
        values = wrap_longitude(np.round(values, 9))
    order = np.argsort(values, kind="stable")
    values, order, duplicates = _without_repeats(values[order], order, period)
    steps = np.diff(values)
    pixel = float(np.median(steps))
    before, after = np.r_[steps[0], steps], np.r_[steps, steps[-1]]
    if period is not None:
        before[0] = after[-1] = values[0] + period - values[-1]
    before, after = (np.where(step > _GAP * pixel, pixel, step) for step in (before, after))
    return Axis(values - before / 2.0, values + after / 2.0, order.astype(np.int64), duplicates)


def _without_repeats(values: Float64, order: Int64, period: float | None) -> tuple[Float64, Int64, int]:
    """Drop centres that lie on another one, such as 360 degrees beside 0."""
    steps = np.diff(values)
    tolerance = _SAME * float(np.median(steps))
    repeated = np.r_[False, steps <= tolerance]
    if period is not None and values.size > 2 and values[0] + period - values[-1] <= tolerance:
        repeated[-1] = True
    if repeated.sum() > 1:
        raise SourceError(
            f"{int(repeated.sum()) + 1} of the {values.size} coordinates of a raster axis are repeated; "
            "a raster has one pixel at a place: write each coordinate once."
        )
    return values[~repeated], order[~repeated], int(repeated.sum())
