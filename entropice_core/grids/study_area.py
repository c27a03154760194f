"""Where a study looks: a cap around the pole, cut by bounds and by polygons.

Containment is decided for points (cell centres, slumps) and gives the same answer on both sides of 180 degrees and
at the pole; the geometry of the same area is in EPSG:6931. Borders belong to the area.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from entropice_core.errors import ConfigError
from entropice_core.grids.base import Bool, Float64, check_points
from entropice_core.grids.projection import (
    EQUAL_AREA_CRS,
    GEOGRAPHIC_CRS,
    cap_radius_m,
    to_equal_area,
    transformer,
)

Bounds = tuple[float, float, float, float]

_ARC_STEP_DEG = 0.05  # the arc and its chord differ by at most 0.3 m at 60 N, the areas by 1.3e-7
_MAX_EDGE_DEG = 0.1


@dataclass(frozen=True)
class StudyArea:
    """The part of the Arctic that a study looks at.

    Parameters
    ----------
    min_latitude : float
        Southern limit, degrees north, 0 to below 90.
    bounds : (west, south, east, north), optional
        Degrees; ``west > east`` means across 180 degrees: ``(170, 60, -160, 80)`` is Chukotka and western Alaska.
    polygons : shapely geometry or several, optional
        (Multi)polygons; their union counts. Edges in EPSG:4326 are straight on the longitude-latitude map, as in
        GeoJSON, and a polygon across 180 degrees must be split there.
    polygons_crs : str
        Coordinate system of ``polygons``.

    Examples
    --------
    >>> area = StudyArea(60.0, bounds=(170.0, 60.0, -160.0, 80.0))
    >>> area.contains([180.0, 0.0, -165.0], [70.0, 70.0, 59.0]).tolist()
    [True, False, False]
    """

    min_latitude: float
    bounds: Bounds | None = None
    polygons: BaseGeometry | Sequence[BaseGeometry] | None = None
    polygons_crs: str = GEOGRAPHIC_CRS

    def __post_init__(self) -> None:
        object.__setattr__(self, "min_latitude", _check_min_latitude(self.min_latitude))
        if self.polygons is not None:
            object.__setattr__(self, "polygons", tuple(np.atleast_1d(np.asarray(self.polygons, dtype=object))))
        object.__setattr__(self, "bounds", _check_bounds(self.bounds, self.min_latitude))
        if self.geometry().is_empty:
            raise ConfigError(f"The study area {self.describe()} is empty; its bounds and polygons do not meet.")

    @classmethod
    def from_files(cls, min_latitude: float, bounds: Bounds | None, paths: Iterable[Path]) -> Self:
        """Read the polygons from files that GDAL can read, each in its own coordinate system."""
        found = [_read_polygons(Path(path)) for path in paths]
        return cls(min_latitude, bounds, found or None, EQUAL_AREA_CRS)

    def contains(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> Bool:
        """Tell which points lie in the area, borders included: degrees, (n,), (n,) -> (n,)."""
        lons, lats = check_points(lon, lat)
        inside: Bool = lats >= self.min_latitude
        if self.bounds is not None:
            inside &= _in_bounds(lons, lats, self.bounds)
        if self._union is not None:
            candidates = np.flatnonzero(inside)
            x, y = to_equal_area(lons[candidates], lats[candidates])
            inside[candidates] = shapely.intersects_xy(self._union, x, y)
        return inside

    def geometry(self) -> BaseGeometry:
        """The area as one geometry in EPSG:6931, metres."""
        return self._geometry

    def describe(self) -> dict[str, Any]:
        """Plain values for metadata; polygons are told by their area."""
        union = self._union
        return {
            "min_latitude": self.min_latitude,
            "bounds": list(self.bounds) if self.bounds else None,
            "polygons_km2": round(union.area / 1e6, 3) if union is not None else None,
        }

    @cached_property
    def _union(self) -> BaseGeometry | None:
        if self.polygons is None:
            return None
        union = _to_plane(self.polygons, self.polygons_crs)
        shapely.prepare(union)
        return union

    @cached_property
    def _geometry(self) -> BaseGeometry:
        west, south, east, north = self.bounds or (-180.0, self.min_latitude, 180.0, 90.0)
        sector = _sector(west, max(south, self.min_latitude), east, north)
        return sector if self._union is None else shapely.intersection(sector, self._union)


def _check_min_latitude(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not 0.0 <= value < 90.0:
        raise ConfigError(f"min_latitude of a study area must be from 0 to below 90 degrees north, but is {value!r}.")
    return float(value)


def _check_bounds(bounds: Sequence[float] | None, min_latitude: float) -> Bounds | None:
    if bounds is None:
        return None
    values = tuple(float(value) for value in bounds)
    if len(values) != 4 or not np.isfinite(values).all():
        raise ConfigError(f"Bounds of a study area are four numbers (west, south, east, north), but are {bounds!r}.")
    west, south, east, north = values
    if not (-180.0 <= west <= 180.0 and -180.0 <= east <= 180.0) or west == east:
        raise ConfigError(
            f"West and east of a study area must be two different longitudes from -180 to 180, but are {west}, {east}; "
            f"west > east means across 180 degrees."
        )
    if not -90.0 <= south < north <= 90.0:
        raise ConfigError(f"South of a study area must be below north and both within -90 to 90: {south}, {north}.")
    if north <= min_latitude:
        raise ConfigError(f"The study area is empty: north {north} is not above min_latitude {min_latitude}.")
    return west, south, east, north


def _width(west: float, east: float) -> float:
    width = (east - west) % 360.0
    return width if width > 0.0 else 360.0


def _in_bounds(lon: Float64, lat: Float64, bounds: Bounds) -> Bool:
    west, south, east, north = bounds
    eastward = (lon - west) % 360.0 <= _width(west, east)
    # The pole has every longitude, so it lies on the border of any bounds that reach 90 N.
    inside: Bool = (lat >= south) & (lat <= north) & (eastward | (lat == 90.0))
    return inside


def _sector(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Polygon in EPSG:6931 between two meridians (straight lines there) and two parallels (arcs, cut finely)."""
    width = _width(west, east)
    lon = west + np.linspace(0.0, width, max(int(np.ceil(width / _ARC_STEP_DEG)), 2) + 1)
    if width == 360.0:
        outer = shapely.Polygon(_arc(lon[:-1], south))
        return outer if north >= 90.0 else shapely.difference(outer, shapely.Polygon(_arc(lon[:-1], north)))
    inner = np.zeros((1, 2)) if north >= 90.0 else _arc(lon[::-1], north)
    return shapely.Polygon(np.concatenate([_arc(lon, south), inner]))


def _arc(lon: Float64, lat: float) -> Float64:
    """Points of a parallel in EPSG:6931, where longitude 0 points to -y: (n,) -> (n, 2)."""
    angle, radius = np.radians(lon), cap_radius_m(lat)
    return np.column_stack([radius * np.sin(angle), -radius * np.cos(angle)])


def _to_plane(polygons: BaseGeometry | Sequence[BaseGeometry], crs: str) -> BaseGeometry:
    """Union of polygons in EPSG:6931."""
    parts = np.atleast_1d(np.asarray(polygons, dtype=object))
    kinds = {shapely.GeometryType(kind).name for kind in shapely.get_type_id(parts)}
    if not kinds <= {"POLYGON", "MULTIPOLYGON"}:
        raise ConfigError(f"A study area is made of polygons, but got {', '.join(sorted(kinds))}.")
    if crs == GEOGRAPHIC_CRS:
        _check_lonlat(parts)
        parts = shapely.segmentize(parts, _MAX_EDGE_DEG)
    project: Transformer = transformer(crs, EQUAL_AREA_CRS)
    flat = shapely.transform(parts, project.transform, interleaved=False)
    union: BaseGeometry = shapely.union_all(shapely.make_valid(flat))
    return union


def _check_lonlat(parts: npt.NDArray[np.object_]) -> None:
    west, south, east, north = shapely.total_bounds(parts)
    if max(abs(west), abs(east)) > 180.0 or max(abs(south), abs(north)) > 90.0:
        raise ConfigError(
            f"Study area polygons reach from {west}, {south} to {east}, {north}, which is not within -180, -90 to 180, "
            f"90 degrees; split them at 180 degrees or name their coordinate system."
        )


def _read_polygons(path: Path) -> BaseGeometry:
    """Read a polygon file and give the union in EPSG:6931."""
    import geopandas  # half a second, and most studies name no file
    import pyogrio.errors

    if not path.exists():
        raise ConfigError(f"The study area file {path.name} does not exist.")
    try:
        frame = geopandas.read_file(path, columns=[])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise ConfigError(
            f"The study area file {path.name} is no vector file ({error}); give a GeoPackage, shapefile or GeoJSON."
        ) from error
    if frame.crs is None:
        raise ConfigError(f"The study area file {path.name} does not say its coordinate system; add one.")
    if frame.empty:
        raise ConfigError(f"The study area file {path.name} has no polygons.")
    epsg = frame.crs.to_epsg()
    return _to_plane(frame.geometry.to_numpy(), GEOGRAPHIC_CRS if epsg == 4326 else frame.crs.to_wkt())
