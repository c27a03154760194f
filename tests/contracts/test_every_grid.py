"""What every grid promises, for every grid in the registry and every level of it."""

from functools import cache

import numpy as np
import pytest
import shapely
import shapely.affinity
from pyproj import Geod

from entropice_core.errors import GridError
from entropice_core.grids import GRID_KEYS, GRID_LEVELS, open_grid, parse_grid_key
from entropice_core.grids.base import Grid, UInt64
from entropice_core.grids.projection import EQUAL_AREA_CRS, GEOGRAPHIC_CRS, to_equal_area, to_lonlat
from entropice_core.grids.study_area import StudyArea
from entropice_core.registry import GRIDS

# Cells with their centre north of 50, 60 and 65 N on WGS84, counted with h3-py and healpix-geo by other code.
COUNTS = {
    "h3-3": (4849, 2738, 1890),
    "h3-4": (33956, 19160, 13232),
    "h3-5": (237680, 134102, 92653),
    "h3-6": (1663828, 938727, 648622),
    "healpix-6": (5724, 3280, 2380),
    "healpix-7": (23112, 13284, 9384),
    "healpix-8": (92880, 52812, 37264),
    "healpix-9": (370660, 211900, 148512),
    "healpix-10": (1480920, 848904, 592960),
}

# The awkward places: the pole, 180 degrees, an H3 pentagon (64.7 N 10.5 E), a corner of HEALPix faces (41.9 N 0 E).
PLACES = {
    "the pole": StudyArea(85.0),
    "180 degrees": StudyArea(65.0, bounds=(174.0, 65.0, -174.0, 71.0)),
    "the pentagon": StudyArea(61.0, bounds=(4.0, 61.0, 17.0, 68.0)),
    "a meridian between faces": StudyArea(66.0, bounds=(-93.0, 66.0, -87.0, 70.0)),
}
EARTH = Geod(ellps="WGS84")


@cache
def cells_at(key: str, place: str) -> UInt64:
    """At most 1,500 cells that touch each other, around an awkward place."""
    ids = parse_grid_key(key).cells(PLACES[place])
    if ids.size <= 1500:
        return ids
    x, y = to_equal_area(*parse_grid_key(key).centers(ids))
    distance = np.hypot(x - (0.0 if place == "the pole" else x.mean()), y - (0.0 if place == "the pole" else y.mean()))
    return np.sort(ids[np.argsort(distance, kind="stable")[:1500]])


@pytest.fixture(params=GRID_KEYS)
def grid(request: pytest.FixtureRequest) -> Grid:
    return parse_grid_key(request.param)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_registered_grid_has_levels_and_keys():
    assert set(GRIDS.names()) == set(GRID_LEVELS) == {key.rpartition("-")[0] for key in GRID_KEYS}
    assert set(COUNTS) == set(GRID_KEYS)


def test_a_grid_opened_by_its_key_is_the_grid_opened_by_name_and_level(grid):
    assert isinstance(grid, Grid)
    assert grid.key == f"{grid.name}-{grid.level}"
    assert open_grid(grid.name, grid.level) == grid


def test_the_arctic_has_as_many_cells_as_counted_elsewhere(grid):
    counted = tuple(grid.cells(StudyArea(latitude)).size for latitude in (50.0, 60.0, 65.0))
    assert counted == COUNTS[grid.key]


def test_cells_are_sorted_unique_and_have_their_centre_inside(grid, place):
    ids = grid.cells(PLACES[place])
    assert ids.dtype == np.uint64 and ids.size > 0
    assert (np.diff(ids.astype(np.int64)) > 0).all()
    assert PLACES[place].contains(*grid.centers(ids)).all()


def test_no_neighbour_outside_an_area_has_its_centre_inside(grid, place):
    ids = grid.cells(PLACES[place])
    around = np.setdiff1d(grid.neighbours(ids)[1], ids)
    assert around.size > 0
    assert not PLACES[place].contains(*grid.centers(around)).any()


def test_the_centre_of_a_cell_lies_in_the_cell(grid, place):
    ids = cells_at(grid.key, place)
    lon, lat = grid.centers(ids)
    assert ((lon >= -180.0) & (lon < 180.0)).all()
    np.testing.assert_array_equal(grid.locate(lon, lat), ids)


def test_longitudes_a_turn_apart_are_the_same_place(grid):
    lon, lat = np.array([-180.0, -0.25, 10.0, 179.999]), np.array([71.0, 60.0, 66.5, 68.0])
    np.testing.assert_array_equal(grid.locate(lon + 360.0, lat), grid.locate(lon, lat))


def test_polygons_in_the_plane_have_the_area_of_the_cells(grid, place):
    ids = cells_at(grid.key, place)
    polygons = grid.polygons(ids)
    assert shapely.is_valid(polygons).all()
    np.testing.assert_allclose(shapely.area(polygons), grid.areas_m2(ids), rtol=1e-6)


def test_polygons_of_adjacent_cells_leave_no_gap_and_do_not_overlap(grid, place):
    polygons = grid.polygons(cells_at(grid.key, place))
    union = shapely.union_all(polygons)
    assert union.area == pytest.approx(shapely.area(polygons).sum(), rel=1e-9)
    assert sum(shapely.Polygon(hole).area for hole in _holes(union)) < 1e-9 * union.area


def test_an_outline_crosses_the_plane_once_however_it_lies_to_180_degrees(grid, place):
    ids = cells_at(grid.key, place)
    size = np.sqrt(grid.areas_m2(ids))
    width = np.ptp(shapely.bounds(grid.polygons(ids)).reshape(-1, 2, 2), axis=1).max(axis=1)
    assert (width < 3.0 * size).all()


def test_geographic_polygons_are_valid_and_have_the_geodesic_area_of_the_cells(grid, place):
    ids = cells_at(grid.key, place)
    ids = ids[:: max(ids.size // 200, 1)]
    polygons = grid.polygons(ids, GEOGRAPHIC_CRS)
    assert shapely.is_valid(polygons).all()
    west, south, east, north = shapely.bounds(polygons).T
    assert (west >= -180.0).all() and (east <= 180.0).all() and (south > 0.0).all() and (north <= 90.0).all()
    dense = shapely.segmentize(polygons, 0.05)  # a straight line on the map is no geodesic
    geodesic = [EARTH.geometry_area_perimeter(polygon)[0] for polygon in shapely.orient_polygons(dense)]
    np.testing.assert_allclose(geodesic, grid.areas_m2(ids), rtol=2e-3)


def test_some_geographic_polygons_at_180_degrees_are_split_there(grid):
    ids = cells_at(grid.key, "180 degrees")
    polygons = grid.polygons(ids, GEOGRAPHIC_CRS)
    is_split = shapely.get_num_geometries(polygons) > 1
    for polygon in polygons[is_split]:
        touching = [part.bounds[0] == -180.0 or part.bounds[2] == 180.0 for part in polygon.geoms]
        assert all(touching)
    widths = [part.bounds[2] - part.bounds[0] for part in shapely.get_parts(polygons)]
    assert max(widths) < 10.0
    # HEALPix has a face border exactly at 180 degrees, so that none of its cells crosses there.
    assert is_split.any() == (grid.name == "h3")


def test_the_pole_lies_in_the_polygon_of_its_cell(grid):
    cell = grid.locate([12.0], [90.0])
    assert grid.polygons(cell)[0].distance(shapely.Point(0.0, 0.0)) < 1e-6
    assert grid.polygons(cell, GEOGRAPHIC_CRS)[0].bounds[3] == 90.0


@pytest.mark.parametrize(
    "ring",
    [
        [(-2.1e5, -1.9e5), (2.3e5, -2.0e5), (2.2e5, 1.7e5), (-1.8e5, 2.4e5)],  # around the pole
        [(-1.5e5, 2.0e6), (1.6e5, 2.1e6), (1.0e5, 2.4e6), (-1.2e5, 2.3e6)],  # across 180 degrees
    ],
    ids=["the pole", "180 degrees"],
)
def test_the_pieces_of_a_polygon_in_the_cells_add_up_to_the_polygon(grid, ring):
    polygon = shapely.Polygon(np.array(ring) / 2.0 ** max(grid.level - {"h3": 4, "healpix": 7}[grid.name], 0))
    if ring[0][1] > 1e6:
        polygon = shapely.affinity.translate(polygon, yoff=2.2e6 - polygon.centroid.y)
    ids = _cells_around(grid, polygon)
    pieces = shapely.area(shapely.intersection(grid.polygons(ids), polygon))
    assert pieces.sum() == pytest.approx(polygon.area, rel=1e-9)


def test_every_cell_is_a_child_of_its_parent(grid, place):
    ids = cells_at(grid.key, place)[:50]
    for level in (grid.level, grid.level - 1, grid.level - 2):
        parents = np.unique(grid.parents(ids, level))
        assert np.isin(ids, _children(grid, parents, level)).all()


def test_every_child_has_the_cell_as_parent_and_children_are_sorted(grid):
    ids = cells_at(grid.key, "the pole")
    children = grid.children(ids, grid.level + 1)
    assert (np.diff(children.astype(np.int64)) > 0).all()
    finer = type(grid)(grid.level + 1)  # type: ignore[call-arg]
    np.testing.assert_array_equal(np.unique(finer.parents(children, grid.level)), ids)
    assert children.size == ids.size * {"h3": 7, "healpix": 4}[grid.name]


def test_neighbours_are_mutual_sorted_and_never_the_cell_itself(grid, place):
    ids = cells_at(grid.key, place)
    indptr, around = grid.neighbours(ids)
    assert indptr.shape == (ids.size + 1,) and indptr[-1] == around.size
    pairs = np.column_stack([np.repeat(ids, np.diff(indptr)), around])
    assert (pairs[:, 0] != pairs[:, 1]).all()
    inside = pairs[np.isin(pairs[:, 1], ids)]
    assert {tuple(pair) for pair in inside.tolist()} == {(b, a) for a, b in inside.tolist()}
    for i in range(0, ids.size, 97):
        row = around[indptr[i] : indptr[i + 1]]
        assert (np.diff(row.astype(np.int64)) > 0).all()
    allowed = {"h3": {5, 6}, "healpix": {7, 8}}[grid.name]
    assert set(np.diff(indptr).tolist()) <= allowed


def test_neighbours_touch_the_cell(grid):
    ids = cells_at(grid.key, "180 degrees")[:40]
    indptr, around = grid.neighbours(ids)
    cells = np.repeat(grid.polygons(ids), np.diff(indptr))
    gaps = shapely.distance(cells, grid.polygons(around))
    assert (gaps < 1e-3).all()


@pytest.mark.parametrize("method", ["centers", "polygons", "areas_m2", "neighbours"])
def test_ids_that_are_no_cells_are_refused(grid, method):
    for ids in ([2**63], [-1], [1.5], [[1, 2]]):
        with pytest.raises(GridError, match=grid.key):
            getattr(grid, method)(np.array(ids))


def test_ids_of_the_other_grid_are_refused_whichever_way(grid):
    for other in GRID_KEYS:
        ids = cells_at(other, "the pole")
        same_range = grid.name == "healpix" == other.rpartition("-")[0]  # a HEALPix id does not tell its depth
        if other != grid.key and not same_range:
            with pytest.raises(GridError, match="ids are not cells of"):
                grid.centers(ids)


@pytest.mark.parametrize("lat", [90.001, -91.0, np.nan, np.inf])
def test_points_off_the_globe_are_refused_and_named(grid, lat):
    with pytest.raises(GridError, match="number 1"):
        grid.locate([0.0, 10.0], [60.0, lat])


def test_points_of_different_number_are_refused(grid):
    with pytest.raises(GridError, match="same length"):
        grid.locate([0.0, 10.0], [60.0])


def test_parents_are_coarser_and_children_finer_or_the_error_says_which_levels(grid):
    ids = cells_at(grid.key, "the pole")[:3]
    with pytest.raises(GridError, match=f"levels 0 to {grid.level}"):
        grid.parents(ids, grid.level + 1)
    with pytest.raises(GridError, match=f"levels {grid.level} to"):
        grid.children(ids, grid.level - 1)


def test_another_coordinate_system_is_refused_with_the_two_that_exist(grid):
    with pytest.raises(GridError, match="EPSG:6931 or EPSG:4326"):
        grid.polygons(cells_at(grid.key, "the pole")[:1], "EPSG:3413")


def test_no_cells_in_give_no_cells_out(grid):
    none = np.empty(0, dtype=np.uint64)
    assert grid.locate([], []).size == grid.areas_m2(none).size == grid.polygons(none).size == 0
    assert grid.centers(none)[0].size == grid.parents(none, 0).size == grid.children(none, grid.level).size == 0
    indptr, around = grid.neighbours(none)
    assert indptr.tolist() == [0] and around.size == 0


def _cells_around(grid: Grid, polygon: shapely.Polygon) -> UInt64:
    """Cells that touch a polygon: those of a dense set of its points, and their neighbours."""
    x, y = (axis.ravel() for axis in np.meshgrid(*(np.linspace(*span, 60) for span in _spans(polygon))))
    ids = np.unique(grid.locate(*to_lonlat(x, y)))
    return np.union1d(ids, grid.neighbours(ids)[1])


def _spans(polygon: shapely.Polygon) -> list[tuple[float, float]]:
    west, south, east, north = polygon.bounds
    return [(west, east), (south, north)]


def _holes(union: shapely.Geometry) -> list[shapely.LinearRing]:
    return [hole for part in shapely.get_parts(union) for hole in part.interiors]


def _children(grid: Grid, parents: UInt64, level: int) -> UInt64:
    """Cells of the grid under cells of a coarser level, which may have no grid of its own here."""
    return type(grid)(level).children(parents, grid.level)  # type: ignore[call-arg]


def test_the_plane_is_the_default(grid):
    cell = cells_at(grid.key, "the pentagon")[:1]
    assert grid.polygons(cell)[0].equals(grid.polygons(cell, EQUAL_AREA_CRS)[0])
