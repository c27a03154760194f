"""Exact area weights against polygons, against areas, and at the awkward places of the globe."""

import numpy as np
import pytest
import shapely
from pyproj import CRS

from entropice_core.errors import SourceError
from entropice_core.features import weights as module
from entropice_core.features.layout import RasterLayout
from entropice_core.features.weights import area_means, compute_weights, main_pixels, overlap_weights
from entropice_core.grids import parse_grid_key
from entropice_core.grids.projection import to_equal_area
from entropice_core.grids.study_area import StudyArea

WGS84 = CRS("EPSG:4326")
AREAS = {
    "across 180 degrees": StudyArea(68.0, (176.0, 68.0, -176.0, 70.0)),
    "around the pole": StudyArea(87.5),
    "on the meridian of Greenwich": StudyArea(60.0, (-3.0, 60.0, 3.0, 63.0)),
}


def era5(step=1.0, west=0.0, south=50.0):
    return RasterLayout.from_centres(np.arange(west, west + 360.0, step), np.arange(90.0, south - 0.01, -step), WGS84)


def some_cells(key, area, most=40):
    grid = parse_grid_key(key)
    ids = grid.cells(AREAS[area])
    return grid, ids[:: max(1, ids.size // most)]


def pixel_polygon(layout, row, column, points=200):
    """The pixel with its curved sides as a polygon in EPSG:6931."""
    west, east = layout.x.low[column], layout.x.high[column]
    south, north = layout.y.low[row], layout.y.high[row]
    lon = np.linspace(west, east, points)
    x, y = to_equal_area(np.r_[lon, lon[::-1]], np.r_[np.full(points, south), np.full(points, north)])
    return shapely.make_valid(shapely.Polygon(np.column_stack([x, y])))


@pytest.mark.parametrize("area", list(AREAS))
@pytest.mark.parametrize("key", ["h3-3", "h3-5", "healpix-6", "healpix-9"])
def test_weights_are_the_overlap_of_polygons_to_a_millionth(key, area):
    layout = era5()
    grid, ids = some_cells(key, area, most=12)
    matrix = compute_weights(layout, grid, ids)
    polygons = grid.polygons(ids)
    noise = np.random.default_rng(1).normal(size=layout.shape).ravel()
    for i in range(ids.size):
        pixels = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]
        got = matrix.data[matrix.indptr[i] : matrix.indptr[i + 1]]
        exact = np.array([polygons[i].intersection(pixel_polygon(layout, *divmod(p, 360))).area for p in pixels])
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-6 * polygons[i].area)
        assert abs(got @ noise[pixels] / got.sum() - exact @ noise[pixels] / exact.sum()) < 1e-6


@pytest.mark.parametrize("key", ["h3-3", "h3-4", "healpix-6", "healpix-7"])
def test_the_weights_of_a_cell_are_its_area_and_means_are_preserved(key):
    layout, grid = era5(), parse_grid_key(key)
    ids = grid.cells(StudyArea(62.0))
    matrix = compute_weights(layout, grid, ids)
    areas = grid.areas_m2(ids)
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), areas, rtol=1e-6)
    covered = np.asarray(matrix.sum(axis=0)).ravel()
    field = np.random.default_rng(2).normal(280.0, 15.0, size=covered.size).astype(np.float32)
    means = area_means(matrix, field[None]).astype(np.float64)[:, 0]
    # The mean over all cells is the mean over the pixels they cover: nothing is lost or counted twice.
    assert abs(areas @ means / areas.sum() - covered @ field.astype(np.float64) / covered.sum()) < 1e-6 * 280.0
    rows = np.arange(20)  # 70 N and north of it, where cells cover every pixel
    wanted = layout.pixel_areas_m2(np.repeat(rows, 360), np.tile(np.arange(360), rows.size))
    np.testing.assert_allclose(covered[: wanted.size], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    "centres",
    [
        (np.arange(0.0, 360.0), np.arange(90.0, 49.0, -1.0)),
        (np.arange(-180.0, 180.0), np.arange(50.0, 91.0)),
        (np.arange(-180.0, 181.0), np.arange(90.0, 49.0, -1.0)),
    ],
)
def test_the_order_of_a_file_does_not_change_the_weights(centres):
    grid, ids = some_cells("h3-3", "across 180 degrees")
    layout = RasterLayout.from_centres(*centres, WGS84)
    matrix = compute_weights(layout, grid, ids)
    assert (matrix != compute_weights(era5(west=-180.0), grid, ids)).nnz == 0


def test_cells_outside_a_regional_grid_have_no_weight_and_those_on_its_edge_the_part_inside():
    grid = parse_grid_key("healpix-6")
    ids = grid.cells(StudyArea(60.0, (100.0, 60.0, 130.0, 75.0)))
    layout = RasterLayout.from_centres(np.arange(110.0, 121.0), np.arange(72.0, 63.9, -1.0), WGS84)
    share = np.asarray(compute_weights(layout, grid, ids).sum(axis=1)).ravel() / grid.areas_m2(ids)
    lon, lat = grid.centers(ids)
    well_inside = (lon > 112) & (lon < 119) & (lat > 65.5) & (lat < 71)
    far = (lon < 106) | (lon > 124) | (lat < 62)
    np.testing.assert_allclose(share[well_inside], 1.0, rtol=1e-6)
    assert well_inside.any() and far.any() and (share[far] == 0.0).all() and ((share > 0.1) & (share < 0.9)).any()


def test_a_cell_around_the_pole_takes_a_sliver_of_every_meridian():
    grid = parse_grid_key("h3-3")
    ids = np.sort(grid.locate([0.0], [90.0]))
    matrix = compute_weights(era5(step=0.25), grid, ids)
    first_row = matrix[:, :1440].toarray().ravel()
    assert (first_row > 0).all() and np.ptp(first_row) < 1e-6 * first_row.mean()


def test_cells_inside_a_pixel_say_so():
    grid = parse_grid_key("healpix-10")
    ids = grid.cells(StudyArea(65.0, (20.0, 65.0, 22.0, 66.0)))
    pixel, effective = main_pixels(compute_weights(era5(), grid, ids))
    assert (np.abs(effective[effective < 1.0001] - 1.0) < 1e-6).all() and (effective < 1.0001).mean() > 0.7
    assert set(pixel % 360 - 180) <= {20, 21, 22}  # columns count from 180 W


def test_pixels_without_a_value_have_no_weight():
    grid, ids = some_cells("h3-3", "on the meridian of Greenwich")
    matrix = compute_weights(era5(), grid, ids)
    field = np.random.default_rng(3).normal(size=(2, matrix.shape[1])).astype(np.float32)
    holes = np.random.default_rng(4).random(matrix.shape[1]) < 0.3
    field[1, holes] = np.nan
    got = area_means(matrix, field)[:, 1]
    kept = matrix.toarray()[:, ~holes]
    np.testing.assert_allclose(got, kept @ field[1, ~holes] / kept.sum(axis=1), rtol=1e-5)
    field[1] = np.nan
    assert np.isnan(area_means(matrix, field)[:, 1]).all() and np.isfinite(area_means(matrix, field)[:, 0]).all()


def test_a_matrix_is_computed_once_and_a_damaged_file_again(tmp_path, monkeypatch):
    grid, ids = some_cells("h3-3", "around the pole")
    layout = era5()
    monkeypatch.setattr(module, "_KEPT", type(module._KEPT)())
    first = overlap_weights(layout, grid, ids, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    calls = []
    monkeypatch.setattr(module, "compute_weights", lambda *a: calls.append(a) or compute_weights(*a))
    assert overlap_weights(layout, grid, ids, tmp_path) is first
    module._KEPT.clear()
    assert (overlap_weights(layout, grid, ids, tmp_path) != first).nnz == 0 and not calls
    module._KEPT.clear()
    path.write_bytes(path.read_bytes()[:-200])
    assert (overlap_weights(layout, grid, ids, tmp_path) != first).nnz == 0 and len(calls) == 1
    overlap_weights(layout, grid, ids[1:], tmp_path)
    assert len(calls) == 2 and len(list(tmp_path.glob("*.npz"))) == 2


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        (
            RasterLayout.from_centres(np.arange(10.0) * 1e4, np.arange(10.0) * 1e4, CRS("EPSG:3413")),
            "longitude and lat",
        ),
        (RasterLayout.from_centres(np.array([0.0, 1.0, 2.0, 3.5]), np.arange(60.0, 70.0), WGS84), "not regular"),
        (RasterLayout.from_centres(np.arange(0.0, 70.0, 7.0), np.arange(60.0, 70.0), WGS84), "not regular"),
    ],
)
def test_other_grids_are_refused_and_sent_to_the_raster_kind(layout, sentence):
    grid, ids = some_cells("h3-3", "around the pole")
    with pytest.raises(SourceError, match=sentence) as error:
        compute_weights(layout, grid, ids)
    assert "kind 'raster'" in str(error.value)
