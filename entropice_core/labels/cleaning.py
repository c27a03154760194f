"""What is wrong with a feature's geometry: missing, empty, invalid, without area, far away, or there before.

Each verdict has its name in ``report.REASONS``. Only a shape of the wrong kind, and a layer without one usable
coordinate, are errors: there the study TOML is wrong, not single features.
"""

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from entropice_core.errors import SourceError
from entropice_core.grids.base import Bool, Float64, Geometries
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.files import Layer
from entropice_core.labels.geometry import crs_label, is_on_earth, polygons_of, repair, to_plane
from entropice_core.labels.report import Sieve

REACH_M = 120_000.0
"""Features this far outside the study area are kept: a cell belongs to the study by its centre and may reach out.
The farthest corner of any supported cell is 103 km from its centre (HEALPix depth 6, in EPSG:6931)."""

SAME_M = 0.01
"""Outlines that agree to a centimetre are one: the same scene in another projection differs by 0.1 mm."""

MIN_AREA_M2 = 1.0
"""Smaller polygons are lines or points: no slump is mapped from space below a square metre."""

_KINDS = {"polygon": ("Polygon", "MultiPolygon", "GeometryCollection"), "point": ("Point", "MultiPoint")}


def count_beyond_180(layer: Layer, crs: CRS) -> dict[str, int]:
    """Count the shapes with longitudes beyond 180 degrees, as in files from 0 to 360; they are brought to -180 to 180.

    Only files that have some get the count.
    """
    if not crs.is_geographic:
        return {}
    west, _, east, _ = shapely.bounds(np.asarray(layer.frame.geometry.to_numpy(), dtype=object)).T
    beyond = int(((east > 180.0) | (west < -180.0)).sum())
    return {"longitudes_beyond_180": beyond} if beyond else {}


def _check_units(own: Geometries, crs: CRS, what: str) -> None:
    """Refuse degrees in a coordinate system of metres: all shapes would lie on a spot near its origin."""
    if crs.is_geographic or crs.is_geocentric or not own.size:
        return
    west, south, east, north = shapely.bounds(own).T
    if np.nanmax(np.abs([west, east]), initial=0.0) <= 360.0 and np.nanmax(np.abs([south, north]), initial=0.0) <= 90.0:
        raise SourceError(
            f"{what} says {crs_label(crs)}, whose unit is {crs.axis_info[0].unit_name}, but all its coordinates are "
            f"between -360 and 360 (the first is {west[0]:g}, {south[0]:g}), which looks like degrees; give the file "
            "its right coordinate system."
        )


def clean_geometries(layer: Layer, kind: str, crs: CRS, what: str) -> tuple[Geometries, Sieve, dict[str, int]]:
    """Bring the rows of a layer to the plane: (rows,) geometries, verdicts, number of invalid and repaired ones.

    ``invalid`` counts the outlines that are invalid as the file has them; a few more become so by projecting.
    """
    raw = np.asarray(layer.frame.geometry.to_numpy(), dtype=object)
    sieve = Sieve(raw.size)
    sieve.reject(shapely.is_missing(raw), "missing_geometry")
    sieve.reject(shapely.is_empty(raw), "empty_geometry")
    _check_kinds(raw, sieve.is_kept, kind, what)
    own = np.full(raw.size, shapely.Point() if kind == "point" else shapely.Polygon(), dtype=object)
    keep_kind = polygons_of if kind == "polygon" else _single_point
    own[sieve.is_kept] = [keep_kind(geometry) for geometry in raw[sieve.is_kept]]
    sieve.reject(shapely.is_empty(own), "several_points" if kind == "point" else "not_repairable")
    _check_units(own[sieve.is_kept], crs, what)
    plane = to_plane(own, crs, what)
    sieve.reject(~is_on_earth(plane), "coordinates_not_on_earth")
    if raw.size and (sieve.reason == "coordinates_not_on_earth").all():
        raise SourceError(
            f"{what}: not one of its {raw.size} shapes has coordinates on the globe in {crs_label(crs)}; check that "
            f"the longitude comes first and that the coordinate system is right."
        )
    if kind == "point":
        return plane, sieve, {}
    plane[~sieve.is_kept] = shapely.Polygon()
    # A line along a parallel becomes a thin sliver in the plane, hence the look at the file's own coordinates. A ring
    # along a parallel around the pole looks like such a line there, and is none.
    around_pole = shapely.intersects(shapely.convex_hull(plane), shapely.Point(0.0, 0.0))
    is_line = (shapely.area(shapely.convex_hull(own)) == 0.0) & ~around_pole
    has_extent = ~is_line & (shapely.area(shapely.convex_hull(plane)) >= MIN_AREA_M2)
    plane, invalid = repair(plane)
    no_area = is_line | (shapely.area(plane) < MIN_AREA_M2)
    sieve.reject(no_area & invalid & has_extent, "not_repairable")
    sieve.reject(no_area, "zero_area")
    counts = {"invalid": int((~shapely.is_valid(own)).sum()), "repaired": int((invalid & ~no_area).sum())}
    return plane, sieve, counts


def _check_kinds(geometries: Geometries, chosen: Bool, kind: str, what: str) -> None:
    for row in np.flatnonzero(chosen):
        if geometries[row].geom_type not in _KINDS[kind]:
            raise SourceError(
                f'{what}: row {row} is a {geometries[row].geom_type}, but the study TOML says geometry = "{kind}"; '
                f"correct the one or the other."
            )


def _single_point(geometry: BaseGeometry) -> BaseGeometry:
    parts = shapely.get_parts(geometry)
    return parts[0] if len(parts) == 1 else shapely.Point()


def reject_far(features: pd.DataFrame, sieve: Sieve, area: StudyArea) -> None:
    """Reject features that no cell of the study can reach."""
    kept = np.flatnonzero(sieve.is_kept)
    far = np.zeros(len(features), dtype=bool)
    far[kept] = is_far(features["geometry"].to_numpy()[kept], area)
    sieve.reject(far, "outside_study_area")


def is_far(plane: Geometries, area: StudyArea) -> Bool:
    """Tell which geometries of the plane no cell of the study can reach: (n,)."""
    within_reach = area.geometry().buffer(REACH_M)
    shapely.prepare(within_reach)
    return np.asarray(~shapely.intersects(within_reach, plane), dtype=bool)


def reject_duplicates(features: pd.DataFrame, sieve: Sieve) -> None:
    """Reject outlines that were there before in the same year, and points with the same area."""
    kept = np.flatnonzero(sieve.is_kept)
    plane = features["geometry"].to_numpy()[kept]
    year = features["year"].to_numpy()[kept]
    # The area of an outline follows from the outline, that of a point does not.
    area = np.where(shapely.get_dimensions(plane) == 0, features["area_m2"].to_numpy()[kept], 0.0)
    repeats = find_repeats(plane, year, area)
    once = np.flatnonzero(~repeats)
    repeats[once[_repeats_nearly(plane[once], year[once], area[once])]] = True
    duplicate = np.zeros(len(features), dtype=bool)
    duplicate[kept] = repeats
    sieve.reject(duplicate, "duplicate")


def find_repeats(geometries: Geometries, *more: Float64) -> Bool:
    """Tell which shapes were there before, corner by corner, with equal further values: (n,), each (n,) -> (n,)."""
    key = pd.DataFrame({i: values for i, values in enumerate(more)})
    key["outline"] = shapely.to_wkb(shapely.normalize(geometries))
    return np.asarray(key.duplicated().to_numpy(copy=True), dtype=bool)


def _repeats_nearly(plane: Geometries, year: Float64, area: Float64) -> Bool:
    """Tell which outlines lie within ``SAME_M`` of an earlier one of the same year and area: (n,)."""
    centres = shapely.centroid(plane)
    first, second = shapely.STRtree(centres).query(centres, predicate="dwithin", distance=SAME_M)
    same_area = (area[first] == area[second]) | (np.isnan(area[first]) & np.isnan(area[second]))
    pairs = np.flatnonzero((first < second) & (year[first] == year[second]) & same_area)
    near = shapely.hausdorff_distance(plane[first[pairs]], plane[second[pairs]]) <= SAME_M
    repeats = np.zeros(plane.size, dtype=np.bool_)
    repeats[second[pairs[near]]] = True
    return repeats
