"""The shape of the ground: against gdaldem, against surfaces whose shape is known, and without seams."""

import numpy as np
import pytest
from pyproj import CRS, Proj, Transformer

from entropice_core.features.tiles import Tile
from entropice_core.terrain.derivatives import halo_pixels, layers, quantities, tpi_name
from tests.unit.terrain.conftest import hills

POLAR, DEGREES = CRS("EPSG:3413"), CRS("EPSG:4326")
RADII = (48.0, 320.0)
HALO = halo_pixels(RADII, 32.0)
NAMES = [q.name for q in quantities(RADII)]
SIBERIA = Tile("Siberia", POLAR, -1_200_000.0, 2_900_000.0, 32.0, -32.0, (150, 140))


def padded(tile: Tile, halo: int = HALO) -> Tile:
    return tile.window(-halo, -halo, (tile.shape[0] + 2 * halo, tile.shape[1] + 2 * halo))


def shape_of(tile: Tile, make=hills, water=None, **kwargs) -> dict[str, np.ndarray]:
    outer = padded(tile)
    made = layers(make(outer, **kwargs), outer, HALO, RADII, 32.0, water)
    return dict(zip(NAMES, made, strict=True))


def scale_and_turn(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """PROJ's linear scale and the angle from grid north to true north, degrees clockwise, of every pixel."""
    rows, columns = np.divmod(np.arange(tile.shape[0] * tile.shape[1]), tile.shape[1])
    lon, lat = tile.lonlat(rows + 0.5, columns + 0.5)
    factors = Proj(tile.crs).get_factors(lon, lat)
    return factors.meridional_scale.reshape(tile.shape), (lon + 45.0).reshape(tile.shape)


def compare(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Equal where both have a value; ours has one wherever theirs has, but for water."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.8 and not (np.isfinite(ours) & np.isnan(theirs)).any()
    assert np.abs(ours[both] - theirs[both]).max() <= tolerance


def of_core(field: np.ndarray) -> np.ndarray:
    return field[HALO:-HALO, HALO:-HALO]


def test_slope_is_that_of_gdaldem_with_its_plane_stretched_to_true_metres(gdaldem, tmp_path):
    ours = shape_of(SIBERIA)["slope"]
    scale, _ = scale_and_turn(SIBERIA)
    planar = of_core(gdaldem(tmp_path, "slope", hills(padded(SIBERIA)), 32.0))
    true = np.degrees(np.arctan(np.tan(np.radians(planar)) * scale))
    assert 1.01 < scale.mean() < 1.06  # south of 70 N, where the plane is too flat
    compare(ours, true, 1e-5)  # degrees; float32 has steps of 8e-6 beyond 64
    assert np.nanmax(np.abs(ours - planar)) > 0.3


def test_aspect_is_that_of_gdaldem_turned_to_true_north(gdaldem, tmp_path):
    ours = shape_of(SIBERIA)
    _, turn = scale_and_turn(SIBERIA)
    aspect = of_core(gdaldem(tmp_path, "aspect", hills(padded(SIBERIA)), 32.0))
    true = np.radians(aspect + turn)
    sine = np.sin(np.radians(ours["slope"].astype(float)))
    compare(ours["northness"], np.where(np.isnan(aspect), np.nan, np.cos(true) * sine), 2e-6)
    compare(ours["eastness"], np.where(np.isnan(aspect), np.nan, np.sin(true) * sine), 2e-6)


@pytest.mark.parametrize(
    ("name", "mode", "options", "tolerance"),
    [
        ("tri", "TRI", ("-alg", "Riley"), 1e-5),
        ("roughness", "roughness", (), 1e-6),
        (tpi_name(48.0), "TPI", (), 8e-3),  # heights in steps of 1/128 m
    ],
)
def test_ruggedness_and_position_are_those_of_gdaldem(gdaldem, tmp_path, name, mode, options, tolerance):
    outer = padded(SIBERIA)
    theirs = of_core(gdaldem(tmp_path, mode, hills(outer), 32.0, *options))
    ours = shape_of(SIBERIA)[name]
    if mode == "TPI":  # a ring may lack some of its pixels here; gdaldem gives nothing then
        ours = np.where(np.isnan(theirs), np.nan, ours)
    compare(ours, theirs, tolerance)


def test_ruggedness_is_right_at_great_height_with_little_noise():
    def plateau(tile: Tile) -> np.ndarray:
        return (8000.0 - 700.0 + 0.2 * (hills(tile, voids=False) % 1.0)).astype(np.float32)

    outer = padded(SIBERIA)
    z = plateau(outer).astype(float)
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    expected = np.sqrt(sum((np.roll(z, s, (0, 1)) - z) ** 2 for s in steps))
    found = shape_of(SIBERIA, plateau)["tri"]
    both = np.isfinite(found)
    assert both.mean() > 0.9 and np.abs(found - of_core(expected))[both].max() < 1e-5


def plane(slope_east: float, slope_north: float):
    """A tilted plane in true metres around the middle of a tile, by geodesic azimuth and distance."""

    def make(tile: Tile) -> np.ndarray:
        from pyproj import Geod

        rows, columns = np.divmod(np.arange(tile.shape[0] * tile.shape[1]), tile.shape[1])
        lon, lat = tile.lonlat(rows + 0.5, columns + 0.5)
        middle = lon.size // 2 + tile.shape[1] // 2
        start = np.full(lon.size, lon[middle]), np.full(lon.size, lat[middle])
        azimuth, _, distance = Geod(ellps="WGS84").inv(*start, lon, lat)
        east, north = distance * np.sin(np.radians(azimuth)), distance * np.cos(np.radians(azimuth))
        return (500.0 + slope_east * east + slope_north * north).reshape(tile.shape).astype(np.float32)

    return make


GLO30 = Tile("GLO-30", DEGREES, 150.0, 57.0, 1.5 / 3600, -1 / 3600, (60, 60))
ACROSS = Tile("180", POLAR, -1_700_000.0, 1_700_000.0, 32.0, -32.0, (60, 60))


@pytest.mark.parametrize("tile", [SIBERIA.window(0, 0, (60, 60)), GLO30, ACROSS], ids=lambda tile: tile.name)
@pytest.mark.parametrize(("east", "north"), [(0.3, 0.0), (0.0, 0.3), (-0.2, 0.1)])
def test_a_plane_has_its_true_slope_and_faces_its_true_way(tile, east, north):
    found = shape_of(tile, plane(east, north))
    length = np.sqrt(1 + east**2 + north**2)
    middle = (slice(25, 35), slice(25, 35))
    assert found["slope"][middle] == pytest.approx(np.degrees(np.arctan(np.hypot(east, north))), abs=2e-3)
    assert found["eastness"][middle] == pytest.approx(-east / length, abs=3e-4)
    assert found["northness"][middle] == pytest.approx(-north / length, abs=3e-4)
    assert np.abs(found["profile_curvature"][middle]).max() < 1e-6
    assert found["vrm"][middle].max() < 1e-6


def test_level_ground_has_no_slope_no_direction_and_the_sun_of_level_ground():
    def level(tile: Tile) -> np.ndarray:
        z = np.full(tile.shape, 100.0, dtype=np.float32)
        z[::3, ::3] += 1e-4  # not exactly level, or it would be taken for water
        return z

    found = shape_of(SIBERIA, level)
    assert np.nanmax(found["slope"]) < 1e-3 and np.nanmax(np.abs(found["northness"])) < 1e-5
    assert found["solar_index"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("sign", "profile", "plan"), [(-1.0, 1.0, -1.0), (1.0, -1.0, 1.0)])
def test_a_dome_is_convex_both_ways_and_a_bowl_concave(sign, profile, plan):
    tile = SIBERIA.window(0, 0, (60, 60))
    curvature = 2e-4  # 1/m

    def paraboloid(outer: Tile) -> np.ndarray:
        rows, columns = np.indices(outer.shape)
        square = (32.0 * (rows - outer.shape[0] / 2)) ** 2 + (32.0 * (columns - outer.shape[1] / 2)) ** 2
        return (800.0 + sign * curvature / 2 * square).astype(np.float32)

    found, scale = shape_of(tile, paraboloid), scale_and_turn(tile)[0]
    away = np.hypot(*np.meshgrid(np.arange(60) - 29.5, np.arange(60) - 29.5)) > 8
    for name, expected in (("profile_curvature", profile), ("plan_curvature", plan)):
        assert (found[name] / scale**2)[away] == pytest.approx(expected * curvature, rel=2e-2)


def test_vector_ruggedness_is_one_less_the_mean_normal():
    found, outer = shape_of(SIBERIA), padded(SIBERIA, HALO)
    window = shape_of(outer.window(HALO - 1, HALO - 1, (152, 142)))
    east, north = window["eastness"].astype(float), window["northness"].astype(float)
    up = np.sqrt(1.0 - east**2 - north**2)
    steps = [(slice(i, 150 + i), slice(j, 140 + j)) for i in range(3) for j in range(3)]
    sums = [sum(part[step] for step in steps) for part in (east, north, up)]
    expected = 1.0 - np.sqrt(sum(part**2 for part in sums)) / 9.0
    both = np.isfinite(expected) & np.isfinite(found["vrm"])
    assert both.mean() > 0.7 and np.abs(found["vrm"] - expected)[both].max() < 2e-6


@pytest.mark.parametrize(("latitude", "low", "high"), [(60.0, 1.05, 1.4), (75.0, 1.05, 1.4)])
def test_southern_slopes_have_more_sun_than_northern_ones_and_east_is_like_west(latitude, low, high):
    x, y = Transformer.from_crs(4326, POLAR, always_xy=True).transform(130.0, latitude)
    tile = Tile("slope", POLAR, round(x / 32) * 32.0, round(y / 32) * 32.0, 32.0, -32.0, (60, 60))
    middle = (30, 30)
    sun = {
        name: shape_of(tile, plane(*gradient))["solar_index"][middle]
        for name, gradient in {"S": (0, 0.4), "N": (0, -0.4), "E": (-0.4, 0), "W": (0.4, 0)}.items()
    }
    assert sun["N"] < 0.95 and low < sun["S"] < high and sun["S"] > sun["N"]
    assert sun["E"] == pytest.approx(sun["W"], rel=2e-3)


def test_position_is_height_above_a_ring():
    found, outer = shape_of(SIBERIA), padded(SIBERIA)
    z = hills(outer).astype(float)
    rows, columns = np.indices(outer.shape)
    checked = 0
    for row, column in [(5, 7), (70, 60), (40, 52), (149, 139)]:
        away = np.hypot(rows - row - HALO, columns - column - HALO)
        ring = (away <= 10.0) & (away > 5.0)
        expected = z[row + HALO, column + HALO] - np.nanmean(z[ring])
        if np.isfinite(found[tpi_name(320.0)][row, column]):
            assert found[tpi_name(320.0)][row, column] == pytest.approx(expected, abs=8e-3)
            checked += 1
    assert checked >= 2


def test_there_are_no_seams_whatever_the_tiles():
    whole = shape_of(SIBERIA)
    for row, column, n_rows, n_columns in [(0, 0, 70, 140), (70, 0, 80, 33), (70, 33, 80, 107)]:
        piece = shape_of(SIBERIA.window(row, column, (n_rows, n_columns)))
        for name in NAMES:
            expected = whole[name][row : row + n_rows, column : column + n_columns]
            assert np.array_equal(piece[name], expected, equal_nan=True), name


def test_voids_and_water_are_masked_and_nothing_is_filled_in():
    outer = padded(SIBERIA)
    z, found = hills(outer), shape_of(SIBERIA)
    void = np.isnan(of_core(z))
    lake = of_core(z) == np.float32(321.5)
    assert void.any() and lake.any()
    for name in NAMES:
        assert np.isnan(found[name][void]).all() and np.isnan(found[name][lake]).mean() > 0.9
    beside = np.isnan(of_core(np.roll(z, 1, axis=1))) & ~void & ~lake
    assert np.isnan(found["slope"][beside]).all() and np.isfinite(found["elevation"][beside]).any()


def test_declared_water_is_masked_too():
    water = np.zeros(SIBERIA.shape, dtype=bool)
    water[:20] = True
    found = shape_of(SIBERIA, water=water)
    assert all(np.isnan(found[name][:20]).all() for name in NAMES) and np.isfinite(found["slope"][20:]).any()
