"""What is special about HEALPix: the ellipsoid, the face borders, the panics of its library."""

import healpy
import numpy as np
import pytest
import shapely
from healpix_geo import nested

from entropice_core.errors import GridError
from entropice_core.grids import GRID_LEVELS, open_grid
from entropice_core.grids.base import library_errors
from entropice_core.grids.projection import ELLIPSOID_AREA_M2, POLE_Q, authalic_q
from entropice_core.grids.study_area import StudyArea


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(21)
    return rng.uniform(-180.0, 180.0, 200_000), np.degrees(np.arcsin(rng.uniform(0.0, 1.0, 200_000)))


def test_points_are_located_as_healpy_locates_their_authalic_latitudes(points):
    lon, lat = points
    authalic = np.degrees(np.arcsin(authalic_q(np.sin(np.radians(lat))) / POLE_Q))
    for level in GRID_LEVELS["healpix"]:
        expected = healpy.ang2pix(2**level, lon, authalic, nest=True, lonlat=True)
        np.testing.assert_array_equal(open_grid("healpix", level).locate(lon, lat), expected.astype(np.uint64))


def test_the_sphere_would_give_other_cells(points):
    lon, lat = points
    arctic = lat > 50.0
    sphere = healpy.ang2pix(2**10, lon[arctic], lat[arctic], nest=True, lonlat=True).astype(np.uint64)
    same = np.mean(open_grid("healpix", 10).locate(lon[arctic], lat[arctic]) == sphere)
    assert same == pytest.approx(0.036, abs=0.005)


def test_all_cells_have_the_same_area_and_add_up_to_the_ellipsoid():
    grid = open_grid("healpix", 6)
    areas = grid.areas_m2(np.arange(grid.size, dtype=np.uint64))
    assert np.unique(areas).size == 1
    assert areas.sum() == pytest.approx(ELLIPSOID_AREA_M2, rel=1e-12)
    assert areas[0] / 1e6 == pytest.approx(10377.31, abs=0.01)


def test_neighbours_at_the_pole_reach_over_it():
    grid = open_grid("healpix", 6)
    four = np.unique(grid.locate([-135.0, -45.0, 45.0, 135.0], [89.9] * 4))
    assert four.size == 4
    indptr, around = grid.neighbours(four)
    for i in range(4):
        assert np.isin(np.delete(four, i), around[indptr[i] : indptr[i + 1]]).all()


def test_outlines_share_their_points_across_rings_with_more_and_fewer_segments():
    grid = open_grid("healpix", 6)
    polygons = grid.polygons(grid.cells(StudyArea(70.0)))
    edges = np.unique(shapely.get_num_coordinates(polygons))
    assert edges.size > 3
    union = shapely.union_all(polygons)
    assert union.area == pytest.approx(shapely.area(polygons).sum(), rel=1e-12)
    # Rounding leaves holes of less than a square millimetre.
    assert sum(shapely.Polygon(hole).area for hole in union.interiors) < 1e-3


def test_cells_down_to_the_equator_are_found_on_all_northern_faces():
    grid = open_grid("healpix", 6)
    lat = grid.centers(np.arange(grid.size, dtype=np.uint64))[1]
    for latitude in (0.0, 41.0, 42.5):
        assert grid.cells(StudyArea(latitude)).size == np.count_nonzero(lat >= latitude)


def test_a_cell_beyond_the_last_is_named_with_the_largest_possible():
    with pytest.raises(GridError, match="1 of 2 ids are not cells of healpix-6, the first is 49152 .* 49151"):
        open_grid("healpix", 6).centers([0, 49152])


def test_a_panic_in_rust_becomes_a_grid_error():
    with pytest.raises(GridError, match="Covering a zone failed inside the library"), library_errors("Covering a zone"):
        nested.zone_coverage((0.0, 60.0, 360.0, 90.0), 6, ellipsoid="WGS84")


def test_an_interrupt_is_not_taken_for_a_panic():
    with pytest.raises(KeyboardInterrupt), library_errors("Locating"):
        raise KeyboardInterrupt
