"""Rings at 180 degrees and over the pole, and the equal-area plane."""

import numpy as np
import pytest
import shapely
from pyproj import Geod

from entropice_core.grids.base import wrap_longitude
from entropice_core.grids.projection import (
    ELLIPSOID_AREA_M2,
    cap_radius_m,
    split_ring,
    to_equal_area,
    to_lonlat,
)


def test_the_ellipsoid_has_the_area_that_is_published():
    square_kilometres = ELLIPSOID_AREA_M2 / 1e6
    assert square_kilometres == pytest.approx(510_065_621.724, abs=1e-3)


def test_the_radius_of_a_parallel_is_that_of_the_projection():
    for latitude in (0.0, 50.0, 60.0, 75.0, 89.9):
        x, y = to_equal_area([33.0], [latitude])
        assert np.hypot(x[0], y[0]) == pytest.approx(cap_radius_m(latitude), abs=1e-6)


def test_the_plane_keeps_areas_of_the_ellipsoid():
    lon, lat = np.array([10.0, 10.5, 10.5, 10.0]), np.array([64.0, 64.0, 64.2, 64.2])
    x, y = to_equal_area(lon, lat)
    geodesic = abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])
    assert shapely.Polygon(np.column_stack([x, y])).area == pytest.approx(geodesic, rel=1e-3)
    np.testing.assert_allclose(to_lonlat(x, y), [lon, lat], atol=1e-9)


@pytest.mark.parametrize("lon", [-540.0, -180.0, -1e-17, 0.0, 179.999999, 180.0, 359.0, 540.0])
def test_wrapped_longitudes_are_in_the_half_open_range_and_the_same_direction(lon):
    wrapped = wrap_longitude(np.array([lon]))[0]
    assert -180.0 <= wrapped < 180.0
    assert np.cos(np.radians(wrapped - lon)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("ring", "parts", "area"),
    [
        ([(10, 60), (20, 60), (20, 70), (10, 70)], 1, 100.0),
        ([(175, 60), (-175, 60), (-175, 70), (175, 70)], 2, 100.0),
        ([(175, 60), (-180, 60), (-180, 70), (175, 70)], 1, 50.0),  # touches 180 degrees, spelt -180
        ([(-180, 60), (-170, 60), (-170, 70), (-180, 70)], 1, 100.0),
        ([(0, 80), (90, 80), (180, 80), (-90, 80)], 1, 3600.0),  # around the pole
        ([(-30, 80), (60, 80), (150, 80), (-120, 80)], 1, 3600.0),
        ([(20, 80), (40, 80), (77, 90)], 1, 200.0),  # a corner on the pole has any longitude
        ([(170, 80), (-170, 80), (0, 90)], 2, 200.0),
    ],
)
def test_a_ring_becomes_valid_parts_between_minus_180_and_180(ring, parts, area):
    lon, lat = np.array(ring, dtype=float).T
    polygon = split_ring(lon, lat)
    assert polygon.is_valid
    assert shapely.get_num_geometries(polygon) == parts
    assert polygon.area == pytest.approx(area)
    assert polygon.bounds[0] >= -180.0 and polygon.bounds[2] <= 180.0
    assert all(part.exterior.is_ccw for part in shapely.get_parts(polygon))


def test_a_ring_may_start_at_any_of_its_points():
    lon, lat = np.array([120.0, -160.0, -100.0, -20.0, 60.0]), np.array([85.0, 84.0, 83.0, 84.5, 82.0])
    expected = split_ring(lon, lat)
    for start in range(1, 5):
        assert split_ring(np.roll(lon, start), np.roll(lat, start)).symmetric_difference(expected).area < 1e-9
