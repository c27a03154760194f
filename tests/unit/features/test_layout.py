"""Pixels of every order and projection lie where they are, with their true areas."""

import numpy as np
import pytest
from pyproj import CRS, Geod

from entropice_core.errors import SourceError
from entropice_core.features.layout import RasterLayout, make_axis

LONLAT = CRS("EPSG:4326")
LON, LAT = np.arange(-180.0, 180.0, 2.0), np.arange(60.0, 91.0, 1.0)


def quad_area_m2(layout, row, column, n=60):
    """Area of one pixel on the ellipsoid by an independent way: the geodesic area of its outline, n points a side."""
    x0, x1 = layout.x.low[column], layout.x.high[column]
    y0, y1 = layout.y.low[row], layout.y.high[row]
    t = np.linspace(0.0, 1.0, n, endpoint=False)
    xs = np.concatenate([x0 + t * (x1 - x0), np.full(n, x1), x1 - t * (x1 - x0), np.full(n, x0)])
    ys = np.concatenate([np.full(n, y0), y0 + t * (y1 - y0), np.full(n, y1), y1 - t * (y1 - y0)])
    lon, lat = layout.lonlat(xs, ys)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    return abs(area)


@pytest.mark.parametrize(
    ("lon", "lat"),
    [
        (LON, LAT[::-1]),
        (LON % 360.0, LAT),
        (np.sort(LON % 360.0), LAT[::-1]),
        (np.r_[np.sort(LON % 360.0), 360.0], LAT),
        (np.r_[LON, 180.0], LAT),
    ],
    ids=["descending", "unsorted 0-360", "0-360", "0 and 360", "-180 and 180"],
)
def test_every_order_of_rows_and_columns_gives_the_same_layout(lon, lat):
    expected = RasterLayout.from_centres(LON, LAT, LONLAT)
    layout = RasterLayout.from_centres(lon, lat, LONLAT)
    assert layout.digest == expected.digest
    wrapped = (lon[layout.x.order] + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(wrapped, LON)
    np.testing.assert_array_equal(lat[layout.y.order], LAT[::-1])
    assert layout.x.duplicates == lon.size - LON.size


def test_a_window_across_180_degrees_has_a_gap_and_no_wide_pixel():
    layout = RasterLayout.from_centres(np.arange(170.0, 191.0, 1.0), LAT, LONLAT)
    np.testing.assert_allclose(layout.x.high - layout.x.low, 1.0)
    assert layout.x.low[0] == -180.5 and layout.x.high[-1] == 179.5


def test_pixels_end_at_the_pole():
    layout = RasterLayout.from_centres(LON, LAT, LONLAT)
    assert layout.y.high.max() == 90.0
    whole = layout.pixel_areas_m2(*(a.ravel() for a in np.indices(layout.shape)))
    ring = np.linspace(-180.0, 180.0, 20_000, endpoint=False)
    cap, _ = Geod(ellps="WGS84").polygon_area_perimeter(ring, np.full(ring.size, 59.5))
    assert whole.sum() == pytest.approx(abs(cap), rel=1e-6)


@pytest.mark.parametrize("epsg", [3413, 6931, 3995, 32608, 4326, 4258])
def test_areas_of_pixels_agree_with_geodesics(epsg):
    crs = CRS.from_epsg(epsg)
    x = np.arange(-170.0, 171.0, 1.0) if crs.is_geographic else np.arange(-1.0e6, 1.0e6, 2.0e4)
    y = np.arange(60.0, 89.0, 1.0) if crs.is_geographic else x + (7.5e6 if epsg == 32608 else -1.6e6)
    layout = RasterLayout.from_centres(x, y, crs)
    rows, columns = np.array([2, 10, 20]), np.array([3, 30, 45])
    expected = [quad_area_m2(layout, r, c) for r, c in zip(rows, columns, strict=True)]
    np.testing.assert_allclose(layout.pixel_areas_m2(rows, columns), expected, rtol=2e-4)


def test_a_point_outside_the_projection_has_no_place_and_no_area():
    layout = RasterLayout.from_centres(
        np.array([-9e6, 0.0, 9e6]), np.array([-9e6, 0.0, 9e6]), CRS("+proj=ortho +lat_0=90")
    )
    lon, lat = layout.lonlat(np.array([9e6, 0.0]), np.array([9e6, 0.0]))
    assert np.isnan([lon[0], lat[0]]).all() and lat[1] == pytest.approx(90.0)
    assert layout.pixel_areas_m2(np.array([0]), np.array([0]))[0] == 0.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0], "two or more finite numbers"),
        ([1.0, np.nan, 3.0], "2 finite"),
        ([[1.0, 2.0], [1.0, 2.0]], "one dimension"),
        ([0.0, 1.0, 1.0, 1.0, 2.0], "repeated"),
    ],
)
def test_coordinates_that_are_no_axis_are_refused(values, words):
    with pytest.raises(SourceError, match=words):
        make_axis(np.array(values), "x", None)


def test_irregular_rows_have_borders_half_way():
    axis = make_axis(np.array([60.0, 61.0, 62.2, 63.0]), "y", None)
    np.testing.assert_allclose(axis.high[:-1], axis.low[1:])
    np.testing.assert_allclose(axis.low, [59.5, 60.5, 61.6, 62.6])
