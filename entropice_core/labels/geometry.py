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
    GEOGRAPHIC_CRS,
    split_ring,
    to_lonlat,
    transformer,
)

MAX_EDGE_DEG = 0.1
"""Longer edges in degrees are cut before they are projected, so that a parallel does not become a chord."""
MAX_EDGE_M = 5_000.0
"""The same for edges in a projection, and on the way back: a straight edge of this length is off by 2 m at 72 N."""

Project = Callable[[Float64], Float64]


def to_plane(geometries: Geometries, crs: CRS, what: str) -> Geometries:
    """Project geometries to EPSG:6931, metres: (n,) -> (n,).

    Coordinates that cannot be projected become infinite; :func:`is_on_earth` tells. Heights are dropped.
    """
    try:
        if crs.is_geocentric:
            return _from_geocentric(geometries, crs)
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
    degrees = np.asarray(shapely.transform(shapely.segmentize(geometries, MAX_EDGE_M), _inverse), dtype=object)
    west, _, east, north = shapely.bounds(geometries).T
    is_areal = shapely.get_dimensions(geometries) == 2
    # Longitude 180 is the half line x = 0, y > 0 of the plane.
    for i in np.flatnonzero(is_areal & (west <= 0.0) & (east >= 0.0) & (north >= 0.0)):
        degrees[i] = shapely.union_all([_split(part) for part in shapely.get_parts(degrees[i])])
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
    if len(areal) == 1:
        return areal[0]
    return shapely.MultiPolygon(areal) if areal else shapely.Polygon()


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


def _from_geocentric(geometries: Geometries, crs: CRS) -> Geometries:
    forward = Transformer.from_crs(crs, CRS.from_user_input(EQUAL_AREA_CRS).to_3d(), always_xy=True)
    projected = shapely.transform(geometries, lambda p: np.column_stack(forward.transform(*p.T)), include_z=True)
    return np.asarray(shapely.force_2d(projected), dtype=object)


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


def _split(polygon: BaseGeometry) -> BaseGeometry:
    """Split one polygon of degrees, whose edges go the short way round, at 180 degrees."""
    shell, *holes = (
        split_ring(*shapely.get_coordinates(ring)[:-1].T) for ring in (polygon.exterior, *polygon.interiors)
    )
    return shapely.difference(shell, shapely.union_all(holes)) if holes else shell


def project_points(lon: Float64, lat: Float64) -> Geometries:
    """Give points of degrees in the plane: (n,), (n,) -> (n,) shapely points."""
    x, y = transformer(GEOGRAPHIC_CRS, EQUAL_AREA_CRS).transform(lon, lat)
    return np.asarray(shapely.points(x, y), dtype=object)
