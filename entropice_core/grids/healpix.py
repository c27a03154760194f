"""HEALPix, nested numbering, equal-area on the WGS84 ellipsoid.

Sphere and ellipsoid give different cells: the authalic latitude moves borders by up to 14 km, and at level 10 only
4 % of the points north of 50 N are in a cell of the same id. This grid is on WGS84 always, and its attributes say so.
Every cell has the same area: the surface of the ellipsoid divided by the number of cells. (Gorski et al. 2005,
doi:10.1086/427976.)
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from healpix_geo import nested

from entropice_core.errors import GridError
from entropice_core.grids.base import (
    ELLIPSOID,
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
from entropice_core.grids.projection import ELLIPSOID_AREA_M2, EQUAL_AREA_CRS, Rings
from entropice_core.grids.study_area import StudyArea

FINEST_LEVEL = 29
ELLIPSOID_NAME = "WGS84"

_CHUNK = 1_000_000
_MIN_SEGMENTS, _MAX_SEGMENTS = 4, 64
_POLAR_FACES_SOUTH_LIMIT_DEG = 42.0  # faces 0-3 alone reach north of 41.94 N


@dataclass(frozen=True)
class HealpixGrid:
    """HEALPix at one depth. Meets the ``Grid`` protocol, which says what each method takes and gives."""

    level: int
    name: ClassVar[str] = "healpix"

    @property
    def key(self) -> str:
        """Name and level, ``"healpix-8"``."""
        return f"{self.name}-{self.level}"

    @property
    def size(self) -> int:
        """Number of cells on the globe."""
        return 12 << 2 * self.level

    def cells(self, area: StudyArea) -> UInt64:
        """Cells whose centre lies in the study area, sorted. Looks at the centres of all northern cells."""
        faces = 4 if area.min_latitude >= _POLAR_FACES_SOUTH_LIMIT_DEG else 8
        stop = faces * 4**self.level
        parts = [np.arange(start, min(start + _CHUNK, stop), dtype=np.uint64) for start in range(0, stop, _CHUNK)]
        return np.concatenate([part[area.contains(*self.centers(part))] for part in parts])

    def locate(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> UInt64:
        """Cell of each point."""
        lons, lats = check_points(lon, lat)
        if lons.size == 0:
            return np.empty(0, dtype=np.uint64)
        with library_errors(f"Locating {lons.size} points in {self.key}"):
            ids: UInt64 = nested.lonlat_to_healpix(lons, lats, self.level, ellipsoid=ELLIPSOID_NAME)
        return ids

    def centers(self, cell_ids: npt.ArrayLike) -> tuple[Float64, Float64]:
        """Longitude and latitude of each centre."""
        ids = self._check(cell_ids)
        if ids.size == 0:
            return np.empty(0), np.empty(0)
        with library_errors(f"Finding the centres of {ids.size} cells of {self.key}"):
            lon, lat = nested.healpix_to_lonlat(ids, self.level, ellipsoid=ELLIPSOID_NAME)
        return wrap_longitude(lon), lat

    def polygons(self, cell_ids: npt.ArrayLike, crs: str = EQUAL_AREA_CRS) -> Geometries:
        """Outlines; edges are cut finer towards the pole, where they are most curved (``docs/grids.md``)."""
        ids = self._check(cell_ids)
        polygons = np.empty(ids.size, dtype=object)
        upper, lower = self._edge_segments(ids)
        for pair in np.unique(np.column_stack([upper, lower]), axis=0):
            chosen = np.flatnonzero((upper == pair[0]) & (lower == pair[1]))
            polygons[chosen] = self._rings(ids[chosen], int(pair[0]), int(pair[1])).polygons(crs)
        return polygons

    def outlines(self, cell_ids: npt.ArrayLike, segments: int) -> Rings:
        """Points on the curved edges of each cell."""
        return self._rings(self._check(cell_ids), segments, segments)

    def areas_m2(self, cell_ids: npt.ArrayLike) -> Float64:
        """Area of the ellipsoid divided by the number of cells, for every cell."""
        return np.full(self._check(cell_ids).size, ELLIPSOID_AREA_M2 / self.size)

    def parents(self, cell_ids: npt.ArrayLike, level: int) -> UInt64:
        """Cells of a coarser level (0 to the own level) that enclose the given ones exactly."""
        ids, target = self._check(cell_ids), check_coarser(level, self.level, self.key)
        return ids >> np.uint64(2 * (self.level - target))

    def children(self, cell_ids: npt.ArrayLike, level: int) -> UInt64:
        """All cells of a finer level (the own level to 29) inside the given ones, sorted."""
        ids, target = self._check(cell_ids), check_finer(level, self.level, FINEST_LEVEL, self.key)
        shift = 2 * (target - self.level)
        offsets = np.arange(4 ** (target - self.level), dtype=np.uint64)
        return ((np.sort(ids) << np.uint64(shift))[:, None] + offsets).ravel()

    def neighbours(self, cell_ids: npt.ArrayLike) -> tuple[Int64, UInt64]:
        """The eight cells (seven at some face corners) that share an edge or a corner with each cell."""
        ids = self._check(cell_ids)
        if ids.size == 0:
            return np.zeros(1, dtype=np.int64), ids
        with library_errors(f"Finding the neighbours of {ids.size} cells of {self.key}"):
            around = np.sort(nested.neighbours(ids, self.level), axis=1)
        exists = around >= 0
        indptr = np.concatenate([[0], np.cumsum(exists.sum(axis=1))]).astype(np.int64)
        return indptr, around[exists].astype(np.uint64)

    def attrs(self) -> dict[str, Any]:
        """Attributes of ``cell_ids`` that xdggs reads; it takes no others."""
        return {
            "grid_name": self.name,
            "level": self.level,
            "indexing_scheme": "nested",
            "ellipsoid": dict(ELLIPSOID),
        }

    def _check(self, cell_ids: npt.ArrayLike) -> UInt64:
        ids = check_id_vector(cell_ids, self.key)
        if ids.size and ids.max() >= self.size:
            bad = np.flatnonzero(ids >= self.size)
            raise GridError(
                f"{bad.size} of {ids.size} ids are not cells of {self.key}, the first is {ids[bad[0]]} and the largest "
                f"possible is {self.size - 1}; use the cells and the data of one grid and level."
            )
        return ids

    def _edge_segments(self, ids: UInt64) -> tuple[Int64, Int64]:
        """Number of segments of the two northern and the two southern edges of each cell: (n,), (n,).

        An edge's curvature, in units of its length, falls with the number of rings k of cells between it and the
        pole. The edge between rings k and k + 1 gets 64 / k segments (at least 4), the same for the cells on both
        sides, so that neighbours share every point and no sliver is counted twice or lost.
        """
        face, i, j = nested.healpix_to_base_cell_coordinates(ids, self.level) if ids.size else (ids, ids, ids)
        side = 2**self.level
        k = np.where(face < 4, 2 * side - 1 - i.astype(np.int64) - j.astype(np.int64), side)
        return _segments_below_ring(k - 1), _segments_below_ring(k)

    def _rings(self, ids: UInt64, upper: int, lower: int) -> Rings:
        step = max(upper, lower)
        with library_errors(f"Finding the outlines of {ids.size} cells of {self.key}"):
            lon, lat = nested.vertices(ids, self.level, ellipsoid=ELLIPSOID_NAME, step=step)
        # Corners come in the order south, east, north, west: edges 0 and 3 are the southern, 1 and 2 the northern.
        counts = np.array([lower, upper, upper, lower])
        columns = np.concatenate([edge * step + np.arange(n) * (step // n) for edge, n in enumerate(counts)])
        segments = np.where(columns % step == 0, 0, np.repeat(counts, counts))
        offsets = np.arange(ids.size + 1, dtype=np.int64) * columns.size
        lons = wrap_longitude(lon[:, columns].ravel())
        return Rings(lons, lat[:, columns].ravel(), offsets, np.tile(segments, ids.size))


def open_level(level: int) -> HealpixGrid:
    """Give HEALPix at a depth."""
    return HealpixGrid(level)


def _segments_below_ring(k: Int64) -> Int64:
    wanted = 2 ** np.ceil(np.log2(_MAX_SEGMENTS / np.maximum(k, 1)))
    segments: Int64 = np.clip(wanted, _MIN_SEGMENTS, _MAX_SEGMENTS).astype(np.int64)
    return segments
