"""The land mask: where it has land, how much, and how well cells get their share."""

import numpy as np
import pytest

from entropice_core.errors import ConfigError, GridError, SourceError
from entropice_core.grids import land, open_grid
from entropice_core.grids.land import land_blocks, land_fraction, land_image, land_samples
from entropice_core.grids.projection import ELLIPSOID_AREA_M2, POLE_Q, authalic_q, to_equal_area
from entropice_core.grids.study_area import StudyArea


def _cap_m2(latitude: float) -> float:
    return float((1.0 - authalic_q(np.sin(np.radians(latitude))) / POLE_Q) / 2.0 * ELLIPSOID_AREA_M2)


@pytest.mark.parametrize("step", [2, 5, 24])
def test_blocks_tile_the_cap_whatever_their_size(step):
    area = sum(block.block_m2.sum(dtype=np.float64) for block in land_blocks(80.0, step))
    assert area == pytest.approx(_cap_m2(80.0), rel=1e-6)


@pytest.mark.parametrize("step", [2, 5, 24])
def test_the_land_does_not_depend_on_the_size_of_blocks(step):
    expected = land_samples(82.0, 1).area_m2.sum(dtype=np.float64)
    assert land_samples(82.0, step).area_m2.sum(dtype=np.float64) == pytest.approx(expected, rel=1e-5)


def test_there_is_as_much_land_north_of_60_as_in_other_masks():
    # ERA5-Land has 17.31 million km2, ERA5 17.13.
    assert land_samples(60.0, 8).area_m2.sum(dtype=np.float64) / 1e12 == pytest.approx(17.34, abs=0.01)


def test_samples_have_land_and_are_smaller_than_their_block():
    samples = land_samples(75.0, 6)
    assert samples.lon.dtype == samples.area_m2.dtype == np.float32
    assert (samples.area_m2 > 0.0).all() and (samples.area_m2 <= samples.block_m2 * 1.0001).all()
    assert samples.lat.min() >= 75.0 - 0.05 and (np.abs(samples.lon) <= 180.0).all()
    assert (np.diff(samples.lat) <= 0.0).all()


def test_blocks_are_about_as_wide_as_high():
    for block in land_blocks(60.0, 6):
        away = block.lat < 89.0
        side = np.sqrt(block.block_m2[away].astype(np.float64))
        assert (side > 0.65 * 6 * 928.0).all() and (side < 1.1 * 6 * 928.0).all()


@pytest.mark.parametrize(
    ("place", "lon", "lat", "is_land"),
    [
        ("Inuvik", -133.72, 68.36, True),
        ("Beaufort Sea", -140.0, 71.5, False),
        ("Greenland ice sheet", -38.5, 72.6, True),
        ("Great Slave Lake counts as land", -114.0, 61.7, True),
        ("Wrangel Island on 180 degrees", 180.0, 71.2, True),
        ("Wrangel Island on -180 degrees", -180.0, 71.2, True),
        ("North Pole", 0.0, 90.0, False),
        ("Herschel Island", -139.1, 69.6, True),
    ],
)
def test_places_are_land_or_sea_as_on_maps(place, lon, lat, is_land):
    x, y = to_equal_area([lon], [lat])
    image = land_image((x[0] - 500.0, x[0] + 500.0, y[0] - 500.0, y[0] + 500.0), 1)
    assert image.shape == (1, 1) and bool(image[0, 0]) is is_land


def test_a_map_background_shows_greenland_below_and_siberia_above_right():
    image = land_image((-3e6, 3e6, -3e6, 3e6), 60)
    assert image.shape == (60, 60)
    assert image[45, 17] and not image[30, 30] and image[10, 45] and not image[38, 40]
    assert image.mean() == pytest.approx(land_image((-3e6, 3e6, -3e6, 3e6), (240, 240)).mean(), abs=0.01)


def test_the_projections_for_maps_show_the_same_land():
    assert land_image((-2e6, 2e6, -2e6, 2e6), 100, "EPSG:3995").mean() == pytest.approx(
        land_image((-2e6, 2e6, -2e6, 2e6), 100, "EPSG:6931").mean(), abs=0.05
    )


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ConfigError, match="x_min < x_max"):
        land_image((1e6, -1e6, -1e6, 1e6), 100)


@pytest.mark.parametrize(("name", "level"), [("h3", 5), ("healpix", 7), ("healpix", 10)])
def test_the_land_fraction_of_coastal_cells_is_that_of_points_inside_them(name, level):
    grid = open_grid(name, level)
    ids = grid.cells(StudyArea(69.0, bounds=(-140.0, 69.0, -128.0, 71.0)))
    fraction = land_fraction(grid, ids)
    assert ((fraction >= 0.0) & (fraction <= 1.0)).all()
    coast = np.flatnonzero((fraction > 0.05) & (fraction < 0.95))[:20]
    assert coast.size > 3
    np.testing.assert_allclose(fraction[coast], _share_of_land(grid, ids[coast]), atol=0.05)


def _share_of_land(grid, ids):
    """Share of land among random points in each cell, looked up in the mask at full resolution."""
    rng = np.random.default_rng(5)
    lon, lat = grid.centers(ids)
    reach = np.sqrt(grid.areas_m2(ids).max()) / 111e3
    lats = (lat[:, None] + rng.uniform(-reach, reach, (ids.size, 5000))).ravel()
    lons = (lon[:, None] + rng.uniform(-reach, reach, (ids.size, 5000)) / np.cos(np.radians(lat[:, None]))).ravel()
    located, weight = grid.locate(lons, lats).reshape(ids.size, -1), np.cos(np.radians(lats)).reshape(ids.size, -1)
    weight = weight * (located == ids[:, None])
    return (weight * land._is_land(lons, lats, 1).reshape(weight.shape)).sum(axis=1) / weight.sum(axis=1)


def test_cells_far_from_coasts_are_wholly_land_or_wholly_sea():
    grid = open_grid("healpix", 7)
    inland, sea = grid.locate([120.0, -38.0, 0.0, -150.0], [65.0, 72.0, 89.0, 78.0]).reshape(2, 2)
    np.testing.assert_array_equal(land_fraction(grid, inland), [1.0, 1.0])
    np.testing.assert_array_equal(land_fraction(grid, sea), [0.0, 0.0])


def test_the_order_of_cells_and_repeated_cells_do_not_matter():
    grid = open_grid("h3", 4)
    ids = grid.cells(StudyArea(70.0, bounds=(-130.0, 70.0, -115.0, 75.0)))
    mixed = np.concatenate([ids[::-1], ids[:3]])
    expected = dict(zip(ids.tolist(), land_fraction(grid, ids).tolist(), strict=True))
    assert land_fraction(grid, mixed).tolist() == [expected[cell] for cell in mixed.tolist()]


def test_a_cell_has_the_same_fraction_alone_and_among_others():
    grid = open_grid("h3", 4)
    ids = grid.cells(StudyArea(80.0, bounds=(-75.0, 80.0, -60.0, 84.0)))
    together = land_fraction(grid, ids)
    assert np.unique(together).size > 10
    for i in (0, ids.size // 2):
        # The block size follows from the mean cell area, so that a cell alone may see other blocks.
        assert land_fraction(grid, ids[i : i + 1])[0] == pytest.approx(together[i], abs=0.03)


def test_a_southern_cell_has_no_mask_and_is_named():
    grid = open_grid("healpix", 6)
    south = grid.locate([20.0], [-30.0])
    with pytest.raises(GridError, match=f"1 of 2 cells of healpix-6 .* southern hemisphere, the first is {south[0]}"):
        land_fraction(grid, np.concatenate([grid.locate([20.0], [80.0]), south]))


def test_a_cell_smaller_than_a_pixel_of_the_mask_is_named():
    tiny = type(open_grid("h3", 3))(12)
    with pytest.raises(GridError, match="hold no pixel of the land mask"):
        land_fraction(tiny, tiny.locate([20.0], [88.0]))


@pytest.mark.parametrize(("latitude", "step"), [(90.0, 4), (-10.0, 4), (60.0, 0), (60.0, 7)])
def test_impossible_blocks_are_refused(latitude, step):
    with pytest.raises(GridError, match="a step that divides 120"):
        list(land_blocks(latitude, step))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(land, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="install the package global-land-mask"):
        land_samples(89.0)


def test_another_mask_in_the_package_is_refused(monkeypatch, tmp_path):
    np.savez_compressed(tmp_path / "mask.npz", mask=np.zeros((180, 360), dtype=bool))
    monkeypatch.setattr(land, "_mask_path", lambda: tmp_path / "mask.npz")
    with pytest.raises(SourceError, match=r"bool of shape \(180, 360\)"):
        land_samples(89.0)


def test_degrees_north_of_what_is_wanted_are_left_out_and_nothing_else():
    whole = list(land_blocks(60.0, 6))
    some = list(land_blocks(60.0, 6, 66.5))
    assert [float(block.lat.max()) for block in some] == [float(block.lat.max()) for block in whole[-7:]]
    assert len(whole) == 30
    for one, other in zip(some, whole[-7:], strict=True):
        np.testing.assert_array_equal(one.area_m2, other.area_m2)
