"""H3: hexagons (and twelve pentagons) on the faces of an icosahedron.

H3 takes the geodetic latitude on WGS84 for the latitude on a sphere, and the edges of its cells are great circles of
that sphere. Its own cell areas are areas on the sphere, smaller than those on the ellipsoid by 0.34 % at 50 N and
0.89 % at the pole; :meth:`H3Grid.areas_m2` integrates the same outline on WGS84 instead. Cells differ in area by a
factor of more than two, and children stick out of their parents.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from entropice_core.errors import GridError
from entropice_core.grids.base import (
    Float64,
    Geometries,
    Int64,
    UInt64,
    check_coarser,
    check_finer,
    check_id_vector,
    check_points,
    library_errors,
    wrap_longitude,
)
from entropice_core.grids.projection import (
    EQUAL_AREA_CRS,
    GEOGRAPHIC_CRS,
    POLE_Q,
    SEMIMAJOR_AXIS_M,
    Rings,
    authalic_q,
    next_in_ring,
)
from entropice_core.grids.study_area import StudyArea

try:
    from entropice_core.grids import h3_arrays as arrays
except ImportError:  # pragma: no cover - h3ronpy has no wheel for every platform
    from entropice_core.grids import h3_loops as arrays  # type: ignore[no-redef]

FINEST_LEVEL = 15
SEGMENTS_PER_EDGE = {3: 4, 4: 3, 5: 2, 6: 2}
"""Enough for polygon areas that agree with the exact areas to 1e-6 (docs/grids.md)."""

_POLAR_LATITUDE, _POLAR_SEGMENTS = 88.0, 32
_CHUNK = 100_000
# Descendants of a resolution-0 cell (circumradius below 12 degrees) have their centres within 16 degrees of its own;
# cells shrink by sqrt(7) a level.
_REACH_DEG = 16.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


@dataclass(frozen=True)
class H3Grid:
    """H3 at one resolution. Meets the ``Grid`` protocol, which says what each method takes and gives."""

    level: int
    name: ClassVar[str] = "h3"

    @property
    def key(self) -> str:
        """Name and level, ``"h3-5"``."""
        return f"{self.name}-{self.level}"

    def cells(self, area: StudyArea) -> UInt64:
        """Cells whose centre lies in the study area, sorted. Descends from the 122 cells of level 0.

        H3's own polygon filling works on the longitude-latitude plane and returns nothing, without an error, for a
        cap around the pole; enumerating centres has no such case.
        """
        found = _base_cells()
        for level in range(1, self.level + 1):
            found = arrays.children(found, level)
            reach = _REACH_DEG / 7.0 ** (level / 2.0)
            found = found[arrays.centers(found)[1] >= area.min_latitude - reach]
        inside = area.contains(*self.centers(found))
        return np.sort(found[inside])

    def locate(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> UInt64:
        """Cell of each point."""
        lons, lats = check_points(lon, lat)
        with library_errors(f"Locating {lons.size} points in {self.key}"):
            return arrays.locate(lons, lats, self.level)

    def centers(self, cell_ids: npt.ArrayLike) -> tuple[Float64, Float64]:
        """Longitude and latitude of each centre."""
        ids = self._check(cell_ids)
        if ids.size == 0:
            return np.empty(0), np.empty(0)
        lon, lat = arrays.centers(ids)
        return wrap_longitude(lon), lat

    def polygons(self, cell_ids: npt.ArrayLike, crs: str = EQUAL_AREA_CRS) -> Geometries:
        """Outlines, each edge cut into segments along its great circle."""
        ids = self._check(cell_ids)
        if ids.size == 0:
            return np.empty(0, dtype=object)
        polygons = _rings(ids, SEGMENTS_PER_EDGE[self.level]).polygons(crs)
        if crs == GEOGRAPHIC_CRS:
            # Near the pole a short great circle spans many longitudes, and a straight line on the map is far from it.
            polar = np.flatnonzero(arrays.centers(ids)[1] > _POLAR_LATITUDE)
            polygons[polar] = _rings(ids[polar], _POLAR_SEGMENTS).polygons(crs) if polar.size else polygons[polar]
        return polygons

    def outlines(self, cell_ids: npt.ArrayLike, segments: int) -> Rings:
        """Points on the great circles between the corners of each cell."""
        return _rings(self._check(cell_ids), segments)

    def areas_m2(self, cell_ids: npt.ArrayLike) -> Float64:
        """Areas on WGS84 of the outlines with great-circle edges, exact to about 1e-9."""
        ids = self._check(cell_ids)
        parts = [_ellipsoidal_areas(ids[start : start + _CHUNK]) for start in range(0, ids.size, _CHUNK)]
        return np.concatenate([np.empty(0), *parts])

    def parents(self, cell_ids: npt.ArrayLike, level: int) -> UInt64:
        """Cells of a coarser level (0 to the own level), as H3 numbers them."""
        ids, target = self._check(cell_ids), check_coarser(level, self.level, self.key)
        blank = sum(7 << 3 * (FINEST_LEVEL - digit) for digit in range(target + 1, self.level + 1))
        return (ids & ~np.uint64(0xF << 52)) | np.uint64(target << 52 | blank)

    def children(self, cell_ids: npt.ArrayLike, level: int) -> UInt64:
        """All cells of a finer level (the own level to 15) that H3 numbers under the given cells, sorted."""
        ids, target = self._check(cell_ids), check_finer(level, self.level, FINEST_LEVEL, self.key)
        return np.sort(arrays.children(ids, target)) if ids.size else ids

    def neighbours(self, cell_ids: npt.ArrayLike) -> tuple[Int64, UInt64]:
        """The six cells (five around a pentagon) that share an edge with each cell."""
        ids = self._check(cell_ids)
        if ids.size == 0:
            return np.zeros(1, dtype=np.int64), ids
        found, counts = arrays.disks(ids)
        row = np.repeat(np.arange(ids.size), counts)
        others = found != ids[row]
        found, row = found[others], row[others]
        order = np.lexsort((found, row))
        return np.concatenate([[0], np.cumsum(np.bincount(row, minlength=ids.size))]).astype(np.int64), found[order]

    def attrs(self) -> dict[str, Any]:
        """Attributes of ``cell_ids`` that xdggs reads; it takes no others, not even the ellipsoid."""
        return {"grid_name": self.name, "level": self.level}

    def _check(self, cell_ids: npt.ArrayLike) -> UInt64:
        ids = check_id_vector(cell_ids, self.key)
        levels = (ids >> np.uint64(52)) & np.uint64(0xF)
        bad = np.flatnonzero((levels != self.level) | ~arrays.is_valid(ids)) if ids.size else np.empty(0, np.int64)
        if bad.size:
            raise GridError(_complaint(int(ids[bad[0]]), bad.size, ids.size, self.key))
        return ids


def open_level(level: int) -> H3Grid:
    """Give H3 at a resolution."""
    return H3Grid(level)


def _complaint(cell: int, bad: int, total: int, key: str) -> str:
    is_cell = bool(arrays.is_valid(np.array([cell], dtype=np.uint64))[0])
    what = f"a cell of h3-{cell >> 52 & 0xF}" if is_cell else "no H3 cell at all"
    return (
        f"{bad} of {total} ids are not cells of {key}, the first is {cell} ({cell:x}), {what}; "
        f"use the cells and the data of one grid and level."
    )


def _base_cells() -> UInt64:
    """Give the 122 cells of level 0: mode 1, level 0, all digits blank."""
    return np.uint64(0x8001FFFFFFFFFFF) + (np.arange(122, dtype=np.uint64) << np.uint64(45))


def _rings(ids: UInt64, n: int) -> Rings:
    """Outlines whose edges have n segments."""
    lon, lat, offsets = arrays.corners(ids)
    starts = _unit_vectors(lon, lat)
    points = _along_edges(starts, starts[next_in_ring(offsets)], np.arange(n) / n).reshape(-1, 3)
    lons = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    lats = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    segments = np.tile(np.where(np.arange(n) == 0, 0, n), lon.size)
    return Rings(wrap_longitude(lons), lats, offsets * n, segments)


def _unit_vectors(lon: Float64, lat: Float64) -> Float64:
    lam, phi = np.radians(lon), np.radians(lat)
    return np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


def _along_edges(starts: Float64, ends: Float64, t: Float64) -> Float64:
    """Points at the shares t of great-circle edges: (edges, 3), (edges, 3), (m,) -> (edges, m, 3)."""
    chord = np.linalg.norm(ends - starts, axis=1)
    angle = 2.0 * np.arcsin(chord / 2.0)[:, None]
    near, far = np.sin((1.0 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)
    points: Float64 = near[:, :, None] * starts[:, None, :] + far[:, :, None] * ends[:, None, :]
    return points


def _ellipsoidal_areas(ids: UInt64) -> Float64:
    """Area of each cell on WGS84 by Gauss quadrature of ``a**2 / 2 (q_pole - q(lat)) dlon`` along its edges.

    The integrand is the area of the sliver between edge and north pole, so that rings around the pole need no special
    care. Along a great circle ``dlon/dt = angle (A x B)_z / (sin(angle) cos(lat)**2)``, and the quotient of
    ``q_pole - q`` and ``cos(lat)**2`` is smooth up to the pole.
    """
    lon, lat, offsets = arrays.corners(ids)
    starts = _unit_vectors(lon, lat)
    ends = starts[next_in_ring(offsets)]
    points = _along_edges(starts, ends, (_NODES + 1.0) / 2.0)
    cos2 = points[:, :, 0] ** 2 + points[:, :, 1] ** 2
    mean = ((POLE_Q - authalic_q(points[:, :, 2])) / cos2) @ (_WEIGHTS / 2.0)
    cross = starts[:, 0] * ends[:, 1] - starts[:, 1] * ends[:, 0]
    angle = 2.0 * np.arcsin(np.linalg.norm(ends - starts, axis=1) / 2.0)
    slivers = 0.5 * SEMIMAJOR_AXIS_M**2 * mean * cross * angle / np.sin(angle)
    return np.add.reduceat(slivers, offsets[:-1])
