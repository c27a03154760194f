"""What every grid must do, and the checks at its door.

No grid library belongs here. Conventions of all grids: cell ids are uint64; longitudes are degrees east in
[-180, 180), latitudes degrees north, both geodetic on WGS84; areas are square metres on the WGS84 ellipsoid.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from entropice_core.errors import GridError

if TYPE_CHECKING:
    from entropice_core.grids.projection import Rings
    from entropice_core.grids.study_area import StudyArea

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Geometries = npt.NDArray[np.object_]

ELLIPSOID: dict[str, str | float] = {
    "name": "WGS84",
    "semimajor_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}
"""The ellipsoid of every grid here, in the words of xdggs. It is part of a HEALPix grid's identity."""


@runtime_checkable
class Grid(Protocol):
    """One discrete global grid at one level."""

    @property
    def name(self) -> str:
        """Name in the registry, ``"h3"`` or ``"healpix"``."""
        ...

    @property
    def level(self) -> int:
        """Level: H3 resolution or HEALPix depth."""
        ...

    @property
    def key(self) -> str:
        """Name and level, ``"h3-5"``."""
        ...

    def cells(self, area: "StudyArea") -> UInt64:
        """Cells whose centre lies in the study area, sorted: (n,)."""
        ...

    def locate(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> UInt64:
        """Cell of each point, degrees: (n,), (n,) -> (n,)."""
        ...

    def centers(self, cell_ids: npt.ArrayLike) -> tuple[Float64, Float64]:
        """Longitude and latitude of each cell's centre, degrees: (n,) -> (n,), (n,)."""
        ...

    def polygons(self, cell_ids: npt.ArrayLike, crs: str = "EPSG:6931") -> Geometries:
        """Outline of each cell with densified edges: (n,) -> (n,) shapely geometries."""
        ...

    def outlines(self, cell_ids: npt.ArrayLike, segments: int) -> "Rings":
        """Points on the true edges of each cell, each edge cut into ``segments`` (a power of two)."""
        ...

    def areas_m2(self, cell_ids: npt.ArrayLike) -> Float64:
        """Area of each cell on the WGS84 ellipsoid, m2: (n,) -> (n,)."""
        ...

    def parents(self, cell_ids: npt.ArrayLike, level: int) -> UInt64:
        """Cell of a coarser level in whose subtree each cell is: (n,) -> (n,)."""
        ...

    def children(self, cell_ids: npt.ArrayLike, level: int) -> UInt64:
        """All cells of a finer level in the subtrees of the given cells, sorted: (n,) -> (m,)."""
        ...

    def neighbours(self, cell_ids: npt.ArrayLike) -> tuple[Int64, UInt64]:
        """Neighbours as rows of a ragged array: ``ids[indptr[i]:indptr[i + 1]]`` (sorted) are those of cell i."""
        ...

    def attrs(self) -> dict[str, Any]:
        """Attributes of the ``cell_ids`` coordinate: those that xdggs reads and no others, which it refuses."""
        ...


def wrap_longitude(lon: Float64) -> Float64:
    """Bring longitudes into [-180, 180).

    >>> wrap_longitude(np.array([180.0, 359.5, -180.0, 12.0])).tolist()
    [-180.0, -0.5, -180.0, 12.0]
    """
    if lon.size == 0 or (lon.min() >= -180.0 and lon.max() < 180.0):
        return lon
    wrapped: Float64 = (lon + 180.0) % 360.0 - 180.0
    # The remainder of a tiny negative number rounds up to 360 itself.
    return np.where(wrapped >= 180.0, -180.0, wrapped)


def check_points(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[Float64, Float64]:
    """Return the points as two float64 vectors of one length, longitude wrapped; ``GridError`` names a bad point."""
    lons, lats = np.atleast_1d(np.asarray(lon, dtype=np.float64)), np.atleast_1d(np.asarray(lat, dtype=np.float64))
    if lons.shape != lats.shape or lons.ndim != 1:
        raise GridError(f"Longitudes {lons.shape} and latitudes {lats.shape} must be two vectors of the same length.")
    # Comparisons with NaN are false, so that NaN and infinity fail here too.
    bad = np.flatnonzero(~((np.abs(lats) <= 90.0) & (np.abs(lons) <= 720.0)))
    if bad.size:
        i = int(bad[0])
        raise GridError(
            f"{bad.size} of {lons.size} points are not on the globe, the first is number {i} at lon {lons[i]}, "
            f"lat {lats[i]}; give finite degrees with latitudes from -90 to 90."
        )
    return wrap_longitude(lons), lats


def check_id_vector(cell_ids: npt.ArrayLike, key: str) -> UInt64:
    """Return the ids as a uint64 vector; ``GridError`` for floats, negatives or a matrix."""
    ids = np.atleast_1d(np.asarray(cell_ids))
    if ids.size == 0:
        return np.empty(0, dtype=np.uint64)
    if ids.ndim != 1 or ids.dtype.kind not in "ui":
        raise GridError(
            f"Cell ids of {key} must be a vector of unsigned integers, but got {ids.dtype} of shape {ids.shape}."
        )
    if ids.dtype.kind == "i" and ids.min() < 0:
        raise GridError(f"Cell ids of {key} cannot be negative, but the smallest is {ids.min()}.")
    return ids.astype(np.uint64, copy=False)


def check_coarser(level: int, own_level: int, key: str) -> int:
    """Return the level of the wanted parents if there can be one."""
    if not 0 <= level <= own_level:
        raise GridError(f"Parents of {key} are at levels 0 to {own_level}, but level {level} was asked for.")
    return int(level)


def check_finer(level: int, own_level: int, finest: int, key: str) -> int:
    """Return the level of the wanted children if there can be one."""
    if not own_level <= level <= finest:
        raise GridError(f"Children of {key} are at levels {own_level} to {finest}, but level {level} was asked for.")
    return int(level)


@contextmanager
def library_errors(what: str) -> Iterator[None]:
    """Turn errors of a grid library into ``GridError``; a Rust panic is a ``BaseException`` and would end the run."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise GridError(f"{what} failed: {error}.") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise GridError(f"{what} failed inside the library (Rust panic: {error}); check the ids and points.") from error
