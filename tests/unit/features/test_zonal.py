"""Statistics of pixels in cells against exact overlays, by brute force and by exactextract."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from pyproj import CRS
from scipy import sparse

from entropice_core.features import zonal
from entropice_core.features.layout import RasterLayout
from entropice_core.features.zonal import ZonalSums, ZonalWeights, zonal_statistics
from entropice_core.grids import parse_grid_key
from entropice_core.grids.projection import to_equal_area
from entropice_core.grids.study_area import StudyArea

LONLAT = CRS("EPSG:4326")
ALL = ["mean", "std", "min", "max", "range"]


def global_layout(step=1.0):
    return RasterLayout.from_centres(np.arange(-180.0, 180.0, step), np.arange(55.0, 90.1, step), LONLAT)


def polar_layout(pixel_m, crs="EPSG:6931", half_m=3_300_000.0):
    centre = np.arange(-half_m + pixel_m / 2.0, half_m, pixel_m)
    return RasterLayout.from_centres(centre, centre, CRS(crs))


def total_weights(weights):
    return sum(np.asarray(block.weights.sum(axis=1)).ravel() for block in weights.blocks())


def pixel_polygons(layout):
    """Polygons in EPSG:6931 of all pixels of a geographic layout, ten points a side: (rows * columns,)."""
    t = np.linspace(0.0, 1.0, 10, endpoint=False)
    x0, x1 = layout.x.low[None, :, None], layout.x.high[None, :, None]
    y0, y1 = layout.y.low[:, None, None], layout.y.high[:, None, None]
    flat = 0.0 * (x0 + y0 + t)
    xs = np.concatenate([x0 + t * (x1 - x0) + flat, x1 + flat, x1 - t * (x1 - x0) + flat, x0 + flat], axis=2)
    ys = np.concatenate([y0 + flat, y0 + t * (y1 - y0) + flat, y1 + flat, y1 - t * (y1 - y0) + flat], axis=2)
    x, y = to_equal_area(xs.ravel(), ys.ravel())
    return shapely.polygons(np.stack([x, y], axis=-1).reshape(layout.shape[0] * layout.shape[1], 40, 2))


def test_means_agree_with_a_brute_force_overlay(grid, cell_ids):
    layout = global_layout(step=1.5)
    field = np.random.default_rng(1).normal(size=layout.shape)
    weights = ZonalWeights(layout, grid, cell_ids)
    got = zonal_statistics(weights, field, ["mean"])["mean"]
    pixels = pixel_polygons(layout)
    tree = shapely.STRtree(pixels)
    for i in np.linspace(0, cell_ids.size - 1, 6).astype(int):
        (cell,) = grid.polygons(cell_ids[i : i + 1])
        near = tree.query(cell)
        area = shapely.area(shapely.intersection(pixels[near], cell))
        assert got[i] == pytest.approx((area * field.ravel()[near]).sum() / area.sum(), abs=0.08)


@pytest.mark.parametrize("pixel_m", [12_000.0, 60_000.0])
def test_statistics_agree_with_exactextract(grid, cell_ids, pixel_m):
    """EPSG:6931 keeps areas, so exactextract's planar weights are exact; the field is white noise, the worst case."""
    layout = polar_layout(pixel_m)
    field = np.random.default_rng(2).normal(10.0, 1.0, size=layout.shape)
    field[np.random.default_rng(3).random(layout.shape) < 0.1] = np.nan
    got = zonal_statistics(ZonalWeights(layout, grid, cell_ids), field, ALL)
    edge = {"xmin": layout.x.low[0], "xmax": layout.x.high[-1], "ymin": layout.y.low[-1], "ymax": layout.y.high[0]}
    source = NumPyRasterSource(field, **edge, srs_wkt=layout.crs.to_wkt())
    cells = gpd.GeoDataFrame(geometry=grid.polygons(cell_ids), crs="EPSG:6931")
    exact = exact_extract(source, cells, ["mean", "stdev", "min", "max", "count"], output="pandas")
    # Where most of a cell is masked, a sliver decides and no sampling can be right.
    known = exact["count"].to_numpy() * pixel_m**2 > 0.5 * grid.areas_m2(cell_ids)
    assert known.mean() > 0.8
    error = (got["mean"] - exact["mean"].to_numpy())[known]
    assert np.sqrt((error**2).mean()) < 0.035 and np.abs(error).max() < 0.15
    assert np.sqrt(((got["std"] - exact["stdev"].to_numpy())[known] ** 2).mean()) < 0.05
    # Extremes may only miss pixels of which a sliver lies in the cell.
    assert (got["min"][known] >= exact["min"].to_numpy()[known]).all()
    assert (got["max"][known] <= exact["max"].to_numpy()[known]).all()
    np.testing.assert_allclose(got["range"], got["max"] - got["min"])


@pytest.mark.parametrize(
    "make", [global_layout, lambda: polar_layout(30_000.0), lambda: polar_layout(30_000.0, "EPSG:3413")]
)
def test_weights_add_up_to_the_area_of_each_cell(grid, cell_ids, make):
    total, areas = total_weights(ZonalWeights(make(), grid, cell_ids)), grid.areas_m2(cell_ids)
    np.testing.assert_allclose(total, areas, rtol=0.09)
    assert np.sqrt(((total / areas - 1.0) ** 2).mean()) < 0.035


def test_every_small_cell_is_sampled_by_coarse_pixels():
    grid = parse_grid_key("h3-6")
    ids = grid.cells(StudyArea(68.0, (179.0, 68.0, -179.0, 69.0)))
    field = np.random.default_rng(4).normal(size=global_layout().shape)
    got = zonal_statistics(ZonalWeights(global_layout(), grid, ids), field, ALL)
    assert np.isfinite(got["mean"]).all()
    assert ((got["range"] == 0.0) == (got["std"] < 1e-6)).all()


def test_a_constant_field_has_that_mean_and_no_spread(grid, cell_ids):
    layout = polar_layout(20_000.0, "EPSG:3413")
    got = zonal_statistics(ZonalWeights(layout, grid, cell_ids), np.full(layout.shape, 273.15), ALL)
    np.testing.assert_allclose(got["mean"], 273.15, rtol=1e-12)
    np.testing.assert_allclose(got["std"], 0.0, atol=1e-6)
    np.testing.assert_array_equal(got["range"], 0.0)


def test_a_linear_field_gives_its_value_at_the_middle_of_the_cell():
    grid = parse_grid_key("healpix-7")
    ids = grid.cells(StudyArea(88.0))
    layout = polar_layout(8_000.0, half_m=400_000.0)
    x, y = np.meshgrid(layout.x.centre, layout.y.centre)
    got = zonal_statistics(ZonalWeights(layout, grid, ids), x + 2.0 * y, ["mean"])["mean"]
    middle = shapely.centroid(grid.polygons(ids))
    error = got - shapely.get_x(middle) - 2.0 * shapely.get_y(middle)  # m; a cell is 51 km wide
    assert np.abs(error).max() < 4_000.0 and np.abs(error.mean()) < 200.0


def test_blocks_of_any_size_give_the_same_statistics(monkeypatch, grid, cell_ids):
    layout = polar_layout(40_000.0)
    field = np.random.default_rng(5).normal(2_000.0, 0.2, size=layout.shape)
    whole = zonal_statistics(ZonalWeights(layout, grid, cell_ids, 64), field, ALL)
    zonal._CACHE.clear()
    monkeypatch.setattr(zonal, "BLOCK_PIXELS", layout.x.size * 3)
    monkeypatch.setattr(zonal, "CHUNK_POINTS", 50)
    split = zonal_statistics(ZonalWeights(layout, grid, cell_ids, 64), field, ALL)
    zonal._CACHE.clear()
    for name in ALL:
        np.testing.assert_allclose(split[name], whole[name], rtol=1e-9, atol=1e-6, err_msg=name)


def test_large_weights_are_not_kept_but_give_the_same(monkeypatch, grid, cell_ids):
    layout = polar_layout(40_000.0)
    field = np.random.default_rng(6).normal(size=layout.shape)
    zonal._CACHE.clear()
    first = zonal_statistics(ZonalWeights(layout, grid, cell_ids), field, ["mean"])["mean"]
    assert len(zonal._CACHE) == 1
    zonal._CACHE.clear()
    monkeypatch.setattr(zonal, "CACHED_NONZEROS", 10)
    second = zonal_statistics(ZonalWeights(layout, grid, cell_ids), field, ["mean"])["mean"]
    assert len(zonal._CACHE) == 0
    np.testing.assert_array_equal(first, second)


def test_masked_pixels_have_no_weight(grid, cell_ids):
    layout = polar_layout(25_000.0)
    field = np.random.default_rng(7).normal(size=layout.shape)
    masked = np.where(np.indices(layout.shape).sum(axis=0) % 2 == 0, field, np.nan)
    weights = ZonalWeights(layout, grid, cell_ids)
    got = zonal_statistics(weights, masked, ["mean"])["mean"]
    top, bottom = np.zeros(cell_ids.size), np.zeros(cell_ids.size)
    for block in weights.blocks():
        flat = masked[block.start : block.stop].ravel()[block.pixels]
        dense = block.weights.toarray()
        top += (dense * np.nan_to_num(flat)).sum(axis=1)
        bottom += (dense * np.isfinite(flat)).sum(axis=1)
    np.testing.assert_allclose(got, top / bottom, rtol=1e-12)


def test_a_cell_without_a_valid_pixel_is_nan_in_every_statistic(grid, cell_ids):
    layout = polar_layout(25_000.0)
    got = zonal_statistics(ZonalWeights(layout, grid, cell_ids), np.full(layout.shape, np.nan), ALL)
    assert all(np.isnan(values).all() for values in got.values())


def test_the_spread_of_large_values_is_not_lost_to_rounding():
    rng = np.random.default_rng(8)
    values = 1e8 + rng.normal(0.0, 0.5, (400, 1))
    sums = ZonalSums(1, 1)
    sums.add(sparse.csr_array(np.ones((1, 400)) * 1e6), values)
    assert sums.statistic("std")[0, 0] == pytest.approx(values.std(), rel=1e-5)


def test_pixels_far_from_all_cells_are_never_located(monkeypatch):
    grid = parse_grid_key("h3-5")
    ids = grid.cells(StudyArea(70.0, (179.9, 70.0, -179.9, 70.5)))
    asked = []
    locate = type(grid).locate
    monkeypatch.setattr(type(grid), "locate", lambda self, lon, lat: asked.append(len(lon)) or locate(self, lon, lat))
    zonal._CACHE.clear()
    total = total_weights(ZonalWeights(global_layout(0.25), grid, ids))
    np.testing.assert_allclose(total, grid.areas_m2(ids), rtol=0.09)
    assert 90 * ids.size < sum(asked) < 5_000 * ids.size


def test_the_mean_of_zeros_is_zero_though_other_cells_hold_thousands():
    """With sums about a common shift the mean of zeros was -5e-13, which is below the valid range of a height."""
    values = np.r_[np.zeros(50), np.random.default_rng(9).uniform(0.0, 3_000.0, 50)][:, None]
    areas = np.random.default_rng(10).uniform(1e6, 9e7, 50)
    sums = ZonalSums(2, 1)
    sums.add(sparse.csr_array(np.kron(np.eye(2), areas)), values)
    assert sums.statistic("mean")[0, 0] == 0.0
