"""What is special about H3: the two libraries, the ellipsoid, the pentagons."""

import h3.api.basic_int as h3
import numpy as np
import pytest
import shapely
from pyproj import Geod

from entropice_core.errors import GridError
from entropice_core.grids import GRID_LEVELS, h3_arrays, h3_loops, open_grid
from entropice_core.grids.projection import ELLIPSOID_AREA_M2, GEOGRAPHIC_CRS
from entropice_core.grids.study_area import StudyArea

LEVELS = list(GRID_LEVELS["h3"])
POLE_CELL_LEVEL_4 = 0x8403263FFFFFFFF


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(20)
    return rng.uniform(-180.0, 180.0, 5000), np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(50.0)), 1.0, 5000)))


@pytest.fixture(scope="module", params=LEVELS)
def some_cells(request, points):
    ids = np.unique(open_grid("h3", request.param).locate(*points))[:1500]
    pentagons = np.array([cell for cell in h3.get_pentagons(request.param)], dtype=np.uint64)
    return request.param, np.union1d(ids, pentagons)


def test_array_calls_locate_like_a_loop_over_h3_py(points):
    for level in LEVELS:
        np.testing.assert_array_equal(h3_arrays.locate(*points, level), h3_loops.locate(*points, level))


def test_array_calls_and_loops_agree_in_everything_else(some_cells):
    level, ids = some_cells
    np.testing.assert_allclose(h3_arrays.centers(ids), h3_loops.centers(ids), atol=1e-9)
    for ours, theirs in zip(h3_arrays.corners(ids), h3_loops.corners(ids), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    np.testing.assert_array_equal(
        np.sort(h3_arrays.children(ids, level + 1)), np.sort(h3_loops.children(ids, level + 1))
    )
    np.testing.assert_array_equal(h3_arrays.disks(ids)[1], h3_loops.disks(ids)[1])
    np.testing.assert_array_equal(np.sort(h3_arrays.disks(ids)[0]), np.sort(h3_loops.disks(ids)[0]))
    mixed = np.concatenate([ids[:5], np.array([0, 5, 2**63], dtype=np.uint64)])
    np.testing.assert_array_equal(h3_arrays.is_valid(mixed), h3_loops.is_valid(mixed))


def test_a_grid_on_loops_gives_the_same_cells_areas_and_outlines(monkeypatch):
    grid = open_grid("h3", 3)
    area = StudyArea(80.0)
    ids, areas, outlines = grid.cells(area), grid.areas_m2(grid.cells(area)), grid.polygons(grid.cells(area))
    monkeypatch.setattr("entropice_core.grids.h3.arrays", h3_loops)
    np.testing.assert_array_equal(grid.cells(area), ids)
    np.testing.assert_allclose(grid.areas_m2(ids), areas, rtol=1e-9)
    assert (shapely.hausdorff_distance(grid.polygons(ids), outlines) < 1e-3).all()


def test_parents_by_bits_are_the_parents_that_h3_py_names(some_cells):
    level, ids = some_cells
    for coarser in range(level + 1):
        expected = [h3.cell_to_parent(cell, coarser) for cell in ids.tolist()]
        np.testing.assert_array_equal(open_grid("h3", level).parents(ids, coarser), np.array(expected, np.uint64))


def test_pentagons_have_five_neighbours():
    for level in LEVELS:
        pentagons = np.sort(np.array(h3.get_pentagons(level), dtype=np.uint64))
        indptr, _ = open_grid("h3", level).neighbours(pentagons)
        assert np.diff(indptr).tolist() == [5] * 12


def test_the_areas_of_all_cells_add_up_to_the_ellipsoid():
    """South of the equator the slivers reach over the whole globe, which is a hard case for the quadrature."""
    from entropice_core.grids.h3 import _base_cells

    grid = open_grid("h3", 3)
    everything = grid.areas_m2(h3_arrays.children(_base_cells(), 3))
    assert everything.size == 41162
    # Rings around the south pole are measured from the north pole: the one cell there gets the rest of the globe off.
    south = np.argmin(everything)
    everything[south] += ELLIPSOID_AREA_M2 if everything[south] < 0.0 else 0.0
    assert everything.sum() == pytest.approx(ELLIPSOID_AREA_M2, rel=1e-9)


def test_areas_are_geodesic_areas_of_the_outline():
    grid, earth = open_grid("h3", 4), Geod(ellps="WGS84")
    ids = grid.cells(StudyArea(60.0, bounds=(-140.0, 60.0, -120.0, 75.0)))[::10]
    outlines = grid.polygons(ids, GEOGRAPHIC_CRS)
    geodesic = [earth.geometry_area_perimeter(outline)[0] for outline in outlines]
    np.testing.assert_allclose(grid.areas_m2(ids), geodesic, rtol=2e-5)


def test_areas_on_the_sphere_are_too_small_in_the_arctic():
    grid = open_grid("h3", 4)
    ids = grid.cells(StudyArea(60.0))[::50]
    lat = grid.centers(ids)[1]
    sphere = np.array([h3.cell_area(cell, unit="m^2") for cell in ids.tolist()])
    ratio = sphere / grid.areas_m2(ids) - 1.0
    assert ratio.min() == pytest.approx(-0.0089, abs=1e-4) and ratio.max() == pytest.approx(-0.0056, abs=2e-4)
    assert np.corrcoef(ratio, lat)[0, 1] < -0.95


def test_the_pole_belongs_to_the_cell_that_h3_puts_there_whatever_the_longitude():
    located = open_grid("h3", 4).locate([-180.0, -77.0, 0.0, 130.0], [90.0] * 4)
    assert set(located.tolist()) == {POLE_CELL_LEVEL_4}


def test_a_cell_of_another_level_is_named_with_its_level():
    with pytest.raises(GridError, match=r"1 of 1 ids are not cells of h3-5, the first is .* a cell of h3-4"):
        open_grid("h3", 5).areas_m2([POLE_CELL_LEVEL_4])


def test_an_id_that_is_no_cell_is_named_as_such():
    with pytest.raises(GridError, match="no H3 cell at all"):
        open_grid("h3", 4).centers(np.array([POLE_CELL_LEVEL_4, POLE_CELL_LEVEL_4 - 1], dtype=np.uint64))
