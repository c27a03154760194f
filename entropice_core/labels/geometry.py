"""Geometries of any coordinate system to the equal-area plane (EPSG:6931) and back to degrees; repair of polygons.

A polygon across 180 degrees comes in three spellings: split there, with longitudes beyond 180, or jumping from 179 to
-179. All three become the same polygon in the plane, because an edge goes the short way round; only an edge of exactly
360 degrees goes round the whole globe (the lower edge of a box from -180 to 180). No file is read here.
"""

from collections.abc import Callable

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry.base import BaseGeometry

from entropice_core.errors import SourceError
from entropice_core.grids.base import Bool, Float64, Geometries, wrap_longitude
from entropice_core.grids.projection import (
    EQUAL_AREA_CRS,
    to_lonlat,
)

MAX_EDGE_DEG = 0.1
"""Longer edges in degrees are cut before they are projected, so that a parallel does not become a chord."""
MAX_EDGE_M = 1_000.0
"""The same for edges in a projection, and on the way back: a straight edge of this length bends by 6 cm at 72 N."""

_ON_LINE_M = 1e-6

Project = Callable[[Float64], Float64]


def to_plane(geometries: Geometries, crs: CRS, what: str) -> Geometries:
    """Project geometries to EPSG:6931, metres: (n,) -> (n,).

    Coordinates that cannot be projected become infinite; :func:`is_on_earth` tells. Heights are dropped.
    """
    if crs.is_geocentric:
        raise SourceError(
            f"{what} is in earth-centred coordinates ({crs_label(crs)}), in which an outline has no meaning on a map; "
            f"export it in EPSG:4326."
        )
    try:
        project = _projector(crs)
    except (CRSError, ProjError) as error:
        raise SourceError(
            f"{what} is in {crs_label(crs)}, which cannot be projected to {EQUAL_AREA_CRS} ({error}); "
            f"reproject the file to EPSG:4326."
        ) from error
    flat = shapely.force_2d(geometries)
    if crs.is_geographic:
        return _from_degrees(flat, project)
    longest = MAX_EDGE_M / float(crs.axis_info[0].unit_conversion_factor or 1.0)
    return np.asarray(shapely.transform(shapely.segmentize(flat, longest), project), dtype=object)


def to_degrees(geometries: Geometries) -> Geometries:
    """Give geometries of the plane in EPSG:4326; polygons are split at 180 degrees and closed over the pole."""
    fine = shapely.segmentize(geometries, _edge_lengths(geometries))
    degrees = np.asarray(shapely.transform(fine, _inverse), dtype=object)
    west, _, east, north = shapely.bounds(geometries).T
    is_areal = shapely.get_dimensions(geometries) == 2
    # Longitude 180 is the half line x = 0, y > 0 of the plane.
    for i in np.flatnonzero(is_areal & (west <= _ON_LINE_M) & (east >= -_ON_LINE_M) & (north >= -_ON_LINE_M)):
        degrees[i] = shapely.union_all(_halves_in_degrees(fine[i]))
    return degrees


def is_on_earth(geometries: Geometries) -> Bool:
    """Tell which geometries of the plane have finite coordinates; empty and missing ones have none: (n,)."""
    return np.asarray(np.isfinite(shapely.bounds(geometries)).all(axis=1), dtype=bool)


def repair(geometries: Geometries) -> tuple[Geometries, Bool]:
    """Make invalid polygons valid; those of which nothing is left become empty: (n,) -> (n,), which were invalid."""
    invalid = np.asarray(~shapely.is_valid(geometries), dtype=bool)
    fixed = geometries.copy()
    fixed[invalid] = shapely.make_valid(geometries[invalid], method="structure", keep_collapsed=False)
    for i in np.flatnonzero(invalid):
        fixed[i] = polygons_of(fixed[i])
    return fixed, invalid


def polygons_of(geometry: BaseGeometry) -> BaseGeometry:
    """Keep the polygons of a geometry and drop points and lines; an empty polygon when there are none."""
    parts = shapely.get_parts(geometry, return_index=False)
    while any(part.geom_type in ("GeometryCollection", "MultiPolygon") for part in parts):
        parts = shapely.get_parts(parts)
    areal = [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]
    only: BaseGeometry = areal[0] if len(areal) == 1 else shapely.MultiPolygon(areal) if areal else shapely.Polygon()
    return only


def crs_label(crs: CRS) -> str:
    """Name a coordinate system shortly.

    >>> crs_label(CRS.from_epsg(3413))
    'EPSG:3413'
    """
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.name)


def _projector(crs: CRS) -> Project:
    forward = Transformer.from_crs(crs, EQUAL_AREA_CRS, always_xy=True)
    return lambda points: np.column_stack(forward.transform(points[:, 0], points[:, 1]))


def _inverse(points: Float64) -> Float64:
    return np.column_stack(to_lonlat(points[:, 0], points[:, 1]))


def _from_degrees(geometries: Geometries, project: Project) -> Geometries:
    """Project polygons of degrees; those that are large or jump across 180 degrees edge by edge."""
    west, south, east, north = shapely.bounds(geometries).T
    is_areal = shapely.get_dimensions(geometries) == 2
    is_large = is_areal & (np.maximum(east - west, north - south) > MAX_EDGE_DEG)
    plane = geometries.copy()
    plane[~is_large] = shapely.transform(geometries[~is_large], project)
    for i in np.flatnonzero(is_large):
        plane[i] = _project_edges(geometries[i], project)
    return plane


def _project_edges(geometry: BaseGeometry, project: Project) -> BaseGeometry:
    parts = [
        shapely.Polygon(
            project(_cut_edges(shapely.get_coordinates(part.exterior))),
            [project(_cut_edges(shapely.get_coordinates(hole))) for hole in part.interiors],
        )
        for part in shapely.get_parts(geometry)
    ]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _cut_edges(ring: Float64) -> Float64:
    """Cut the edges of a closed ring of degrees so that none is longer than ``MAX_EDGE_DEG``: (n, 2) -> (m, 2)."""
    step = np.diff(ring, axis=0)
    goes_round = np.abs(step[:, 0]) == 360.0
    step[:, 0] = np.where(goes_round, step[:, 0], wrap_longitude(step[:, 0]))
    pieces = np.maximum(np.ceil(np.abs(step).max(axis=1) / MAX_EDGE_DEG), 1.0).astype(np.int64)
    edge = np.repeat(np.arange(pieces.size), pieces)
    along = (np.arange(edge.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[edge]
    return np.asarray(ring[edge] + along[:, None] * step[edge], dtype=np.float64)


def _edge_lengths(geometries: Geometries) -> Float64:
    """Length of edge, m, that stays straight enough in degrees to change areas by less than 1e-5: (n,).

    An edge of length L at the distance R from the pole bends away by an area of at most L**3 / (12 R). Edges become
    short at the pole, but never so short that a geometry has more than 20,000 more of them.
    """
    to_pole = np.nan_to_num(shapely.distance(shapely.boundary(geometries), shapely.Point(0.0, 0.0)))
    around = shapely.length(geometries)
    straight = np.sqrt(5e-5 * to_pole * around / 4.0)
    return np.clip(straight, np.clip(around / 20_000.0, 1e-3, MAX_EDGE_M), MAX_EDGE_M)


def _halves_in_degrees(geometry: BaseGeometry) -> list[BaseGeometry]:
    """Cut a geometry of the plane along the meridians 0 and 180, and give the western and eastern parts in degrees."""
    reach = 2e7  # beyond the south pole
    halves: list[BaseGeometry] = []
    for side in (-1.0, 1.0):
        # With the pole among its corners a half that encloses the pole gets it as a corner.
        half = shapely.Polygon([(0, -reach), (0, 0), (0, reach), (side * reach, reach), (side * reach, -reach)])
        for part in shapely.get_parts(polygons_of(shapely.intersection(geometry, half))):
            shell, *holes = (_ring_in_degrees(ring, side) for ring in (part.exterior, *part.interiors))
            halves.append(shapely.Polygon(shell, holes))
    return halves


def _ring_in_degrees(ring: BaseGeometry, side: float) -> Float64:
    """Ring of the western (side -1) or eastern (1) half of the plane in degrees: (n, 2); the pole becomes an edge."""
    x, y = shapely.get_coordinates(ring)[:-1].T
    lon, lat = to_lonlat(x, y)
    on_line = np.abs(x) < _ON_LINE_M
    lon = side * np.where(on_line, np.where(y > 0.0, 180.0, 0.0), np.abs(lon))
    points = np.column_stack([lon, lat])
    for i in np.flatnonzero(on_line & (np.abs(y) < _ON_LINE_M))[::-1]:
        ends = [[lon[i - 1], 90.0], [lon[(i + 1) % lon.size], 90.0]]
        points = np.concatenate([points[:i], ends, points[i + 1 :]])
    return points
