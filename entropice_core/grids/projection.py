"""The ellipsoid, the equal-area plane and rings that cross 180 degrees or enclose the pole: nowhere else.

EPSG:6931 (NSIDC EASE-Grid 2.0 North) is a Lambert azimuthal equal-area projection of WGS84 about the north pole:
areas measured in it are areas on the ellipsoid, meridians are straight lines, and neither the pole nor 180 degrees
is special. Geometry is therefore done in it, and longitude and latitude are only for input and for files.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import shapely
import shapely.affinity
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from entropice_core.errors import GridError
from entropice_core.grids.base import ELLIPSOID, Bool, Float64, Geometries, Int64, wrap_longitude

EQUAL_AREA_CRS = "EPSG:6931"
GEOGRAPHIC_CRS = "EPSG:4326"

SEMIMAJOR_AXIS_M = float(ELLIPSOID["semimajor_axis"])
FLATTENING = 1.0 / float(ELLIPSOID["inverse_flattening"])
ECCENTRICITY = math.sqrt(FLATTENING * (2.0 - FLATTENING))

_POLE_TOLERANCE_DEG = 1e-9  # 0.1 mm


def authalic_q(sin_lat: npt.ArrayLike) -> Float64:
    """Area between equator and parallel, in units of ``pi a**2``, by which the ellipsoid becomes an equal-area sphere.

    Snyder 1987 (USGS Professional Paper 1395), equation 3-12. ``q(1)`` belongs to the pole.
    """
    s, e = np.asarray(sin_lat, dtype=np.float64), ECCENTRICITY
    q: Float64 = (1.0 - e * e) * (s / (1.0 - (e * s) ** 2) + np.arctanh(e * s) / e)
    return q


POLE_Q = float(authalic_q(1.0))
ELLIPSOID_AREA_M2 = 2.0 * math.pi * SEMIMAJOR_AXIS_M**2 * POLE_Q
"""Surface of the WGS84 ellipsoid, 510,065,621.7 km2."""


def cap_radius_m(latitude: float) -> float:
    """Radius in EPSG:6931 of a circle of latitude, metres.

    >>> round(cap_radius_m(60.0))
    3309820
    """
    q = float(authalic_q(math.sin(math.radians(latitude))))
    return SEMIMAJOR_AXIS_M * math.sqrt(max(POLE_Q - q, 0.0))


@lru_cache(maxsize=8)
def transformer(source: str, target: str) -> Transformer:
    """Give the transformer between two coordinate systems, x or longitude first."""
    return Transformer.from_crs(source, target, always_xy=True)


def to_equal_area(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[Float64, Float64]:
    """Degrees on WGS84 -> metres in EPSG:6931: (n,), (n,) -> (n,), (n,)."""
    x, y = transformer(GEOGRAPHIC_CRS, EQUAL_AREA_CRS).transform(lon, lat)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def to_lonlat(x: npt.ArrayLike, y: npt.ArrayLike, crs: str = EQUAL_AREA_CRS) -> tuple[Float64, Float64]:
    """Metres in a projection -> degrees on WGS84: (n,), (n,) -> (n,), (n,)."""
    lon, lat = transformer(crs, GEOGRAPHIC_CRS).transform(x, y)
    return np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)


@dataclass(frozen=True)
class Rings:
    """Outlines of cells whose edges are curves, given by points on the curves.

    Straight pieces between points of a curve enclose too little or too much. In the plane, points inside an edge are
    therefore moved outward by a twelfth of their second difference: one segment of n loses two thirds of its
    sagitta times its length, and the sagitta is an eighth of the second difference. The polygons then have the area
    of the curved outlines to 1e-6 with few points. Both cells at an edge move its points alike.

    Attributes
    ----------
    lon, lat : (points,) float64, degrees
        Points of all rings, one ring after the other, counter-clockwise, first point not repeated.
    offsets : (rings + 1,) int64
        Ring i has the points ``offsets[i]`` to ``offsets[i + 1]``.
    segments : (points,) int64
        Number of segments of the edge that the point lies in or, for a corner, 0.
    """

    lon: Float64
    lat: Float64
    offsets: Int64
    segments: Int64

    def polygons(self, crs: str) -> Geometries:
        """Polygons in EPSG:6931, or in EPSG:4326 split at 180 degrees and closed over the pole."""
        if crs == EQUAL_AREA_CRS:
            return _polygons(self._points_in_plane(), self.offsets)
        if crs == GEOGRAPHIC_CRS:
            return self._geographic_polygons()
        raise GridError(f"Cell polygons come in {EQUAL_AREA_CRS} or {GEOGRAPHIC_CRS}, but {crs!r} was asked for.")

    def _points_in_plane(self) -> Float64:
        points = np.column_stack(to_equal_area(self.lon, self.lat))
        following = next_in_ring(self.offsets)
        inside = np.flatnonzero(self.segments)
        before = np.empty_like(following)
        before[following] = np.arange(following.size)
        bend = points[before[inside]] - 2.0 * points[inside] + points[following[inside]]
        n = self.segments[inside].astype(np.float64)
        points[inside] -= (n / (n - 1.0) / 12.0)[:, None] * bend
        return points

    def _geographic_polygons(self) -> Geometries:
        polygons = _polygons(np.column_stack([self.lon, self.lat]), self.offsets)
        for i in np.flatnonzero(self._is_special()):
            ring = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
            polygons[i] = split_ring(self.lon[ring], self.lat[ring])
        return polygons

    def _is_special(self) -> Bool:
        """Tell which rings jump across 180 degrees or touch a pole: (rings,)."""
        jumps = np.abs(self.lon[next_in_ring(self.offsets)] - self.lon) > 180.0
        at_pole = np.abs(self.lat) >= 90.0 - _POLE_TOLERANCE_DEG
        return np.logical_or.reduceat(jumps | at_pole, self.offsets[:-1])


def next_in_ring(offsets: Int64) -> Int64:
    """Index of the point after each point of rings that lie one after the other.

    >>> next_in_ring(np.array([0, 3, 7])).tolist()
    [1, 2, 0, 4, 5, 6, 3]
    """
    following = np.arange(1, offsets[-1] + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    return following


def _polygons(points: Float64, offsets: Int64) -> Geometries:
    rings = shapely.linearrings(points, indices=np.repeat(np.arange(offsets.size - 1), np.diff(offsets)))
    polygons: Geometries = np.asarray(shapely.polygons(rings), dtype=object)
    return polygons


def split_ring(lon: Float64, lat: Float64) -> BaseGeometry:
    """Make a polygon of longitudes and latitudes from a ring on the globe.

    A ring across 180 degrees gives one part on each side, a ring around the north pole is closed along the top of the
    map, and a corner on the pole becomes the edge between the longitudes of its two neighbours.

    >>> split_ring(np.array([170.0, -170.0, -170.0, 170.0]), np.array([60.0, 60.0, 70.0, 70.0])).area
    200.0
    """
    lon, lat = _with_pole_edges(lon, lat)
    steps = wrap_longitude(np.diff(lon, append=lon[:1]))
    lon = lon[0] + np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    turn = 360.0 * round(float(steps.sum()) / 360.0)
    return _around_pole(lon, lat, turn) if turn else _folded(shapely.Polygon(np.column_stack([lon, lat])))


def _around_pole(lon: Float64, lat: Float64, turn: float) -> BaseGeometry:
    """Close a ring around a pole: three turns of it are a curve across the map, cut to one turn."""
    pole = math.copysign(90.0, float(lat.mean()))
    lons = np.concatenate([lon - turn, lon, lon + turn, [lon[0] + 2.0 * turn] * 2, [lon[0] - turn]])
    lats = np.concatenate([lat, lat, lat, lat[:1], [pole, pole]])
    window = shapely.box(-180.0, -90.0, 180.0, 90.0)
    cut = shapely.intersection(shapely.Polygon(np.column_stack([lons, lats])), window)
    oriented: BaseGeometry = shapely.orient_polygons(cut)
    return oriented


def _with_pole_edges(lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    corners = np.flatnonzero(np.abs(lat) >= 90.0 - _POLE_TOLERANCE_DEG)
    for i in corners[::-1]:
        ends = [lon[i - 1], lon[(i + 1) % lon.size]]
        lon = np.concatenate([lon[:i], ends, lon[i + 1 :]])
        lat = np.concatenate([lat[:i], [math.copysign(90.0, float(lat[i]))] * 2, lat[i + 1 :]])
    return lon, lat


def _folded(polygon: BaseGeometry) -> BaseGeometry:
    """Cut a polygon whose longitudes run on past 180 degrees into the parts of each turn, brought back."""
    west, _, east, _ = polygon.bounds
    parts: list[shapely.Polygon] = []
    for turn in range(math.floor((west + 180.0) / 360.0), math.floor((east + 180.0) / 360.0) + 1):
        window = shapely.box(360.0 * turn - 180.0, -90.0, 360.0 * turn + 180.0, 90.0)
        piece = shapely.affinity.translate(shapely.intersection(polygon, window), xoff=-360.0 * turn)
        pieces = [part for part in shapely.get_parts(piece) if isinstance(part, shapely.Polygon)]
        parts.extend(part for part in pieces if part.area > 0.0)
    merged = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    oriented: BaseGeometry = shapely.orient_polygons(merged)
    return oriented
