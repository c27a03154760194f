"""Geometry of the grids, for points, bounds and polygons anywhere in the Arctic."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from entropice_core.grids import GRID_KEYS, parse_grid_key
from entropice_core.grids.projection import GEOGRAPHIC_CRS, to_equal_area, to_lonlat
from entropice_core.grids.study_area import StudyArea

# Places where geometry goes wrong are drawn as often as all others together.
LONGITUDES = st.one_of(
    st.floats(-180.0, 180.0), st.sampled_from([-180.0, 180.0, -90.0, 0.0, 90.0, 179.9999999, -179.9999999, 10.5])
)
LATITUDES = st.one_of(st.floats(50.0, 90.0), st.sampled_from([90.0, 89.9999999, 89.5, 64.7]))
KEYS = st.sampled_from(GRID_KEYS)


@given(KEYS, LONGITUDES, LATITUDES)
@settings(max_examples=300, deadline=None)
def test_a_point_lies_in_the_polygon_of_the_cell_it_is_located_in(key, lon, lat):
    grid = parse_grid_key(key)
    cell = grid.locate([lon], [lat])
    x, y = to_equal_area([lon], [lat])
    gap = grid.polygons(cell)[0].distance(shapely.Point(x[0], y[0]))
    # Straight pieces of a curved edge are off by less than a thousandth of the cell.
    assert gap <= 1e-3 * np.sqrt(grid.areas_m2(cell)[0])


@given(KEYS, LONGITUDES, st.floats(50.0, 89.9))
@settings(max_examples=200, deadline=None)
def test_a_point_lies_in_the_geographic_polygon_of_its_cell_too(key, lon, lat):
    grid = parse_grid_key(key)
    cell = grid.locate([lon], [lat])
    folded = (lon + 180.0) % 360.0 - 180.0
    polygon = grid.polygons(cell, GEOGRAPHIC_CRS)[0]
    degrees = np.degrees(np.sqrt(grid.areas_m2(cell)[0]) / 6371e3)
    # One of the two spellings of 180 degrees touches the part on its side.
    points = [shapely.Point(folded, lat), shapely.Point(folded + 360.0, lat)]
    assert min(polygon.distance(point) for point in points) <= 1e-2 * degrees / np.cos(np.radians(lat))


@given(KEYS, LONGITUDES, LATITUDES)
@settings(max_examples=200, deadline=None)
def test_the_cell_of_a_point_is_its_own_only_ancestor_at_its_level(key, lon, lat):
    grid = parse_grid_key(key)
    cell = grid.locate([lon], [lat])
    np.testing.assert_array_equal(grid.parents(cell, grid.level), cell)
    np.testing.assert_array_equal(grid.children(cell, grid.level), cell)
    np.testing.assert_array_equal(grid.locate(*grid.centers(cell)), cell)


@given(
    st.sampled_from(["h3-3", "h3-4", "healpix-6", "healpix-7"]),
    st.floats(-1.5e6, 1.5e6),
    st.floats(-1.5e6, 1.5e6),
    st.lists(st.floats(0.3, 1.0), min_size=4, max_size=9),
)
@settings(max_examples=60, deadline=None)
def test_a_star_shaped_polygon_keeps_its_area_when_cut_into_cells(key, x, y, radii):
    grid = parse_grid_key(key)
    angle = np.linspace(0.0, 2.0 * np.pi, len(radii), endpoint=False)
    reach = 2.0e5 * np.array(radii)
    star = shapely.Polygon(np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)]))
    near = shapely.get_coordinates(shapely.box(*star.bounds).segmentize(2e4))
    inside = np.array(np.meshgrid(*(np.linspace(c - 2e5, c + 2e5, 41) for c in (x, y)))).reshape(2, -1).T
    ids = np.unique(grid.locate(*to_lonlat(*np.concatenate([near, inside]).T)))
    ids = np.union1d(ids, grid.neighbours(ids)[1])
    pieces = shapely.area(shapely.intersection(grid.polygons(ids), star))
    assert pieces.sum() == pytest.approx(star.area, rel=1e-9)


@st.composite
def areas(draw: st.DrawFn) -> StudyArea:
    """Caps and bounds, across 180 degrees and up to the pole too."""
    south = draw(st.floats(50.0, 85.0))
    north = draw(st.one_of(st.just(90.0), st.floats(south + 1.0, 90.0)))
    west, width = draw(st.floats(-180.0, 179.0)), draw(st.floats(1.0, 359.0))
    east = (west + width + 180.0) % 360.0 - 180.0
    return StudyArea(draw(st.floats(45.0, south)), draw(st.sampled_from([None, (west, south, east, north)])))


@given(areas(), LONGITUDES, LATITUDES)
@settings(max_examples=300, deadline=None)
def test_containment_of_points_and_geometry_of_the_area_agree(area, lon, lat):
    x, y = to_equal_area([lon], [lat])
    point = shapely.Point(x[0], y[0])
    if area.contains([lon], [lat])[0]:
        assert area.geometry().distance(point) < 1.0
    else:
        assert area.geometry().exterior.distance(point) < 1.0 or not area.geometry().contains(point)


@given(areas(), st.sampled_from(["h3-3", "healpix-6"]))
@settings(max_examples=40, deadline=None)
def test_cells_of_an_area_are_those_of_the_cap_whose_centres_it_contains(area, key):
    grid = parse_grid_key(key)
    cap = grid.cells(StudyArea(45.0))
    np.testing.assert_array_equal(grid.cells(area), cap[area.contains(*grid.centers(cap))])
