"""The truth of the generated Arctic is smooth, seamless and plausible."""

import numpy as np
import pytest

from entropice_core.demo.fields import SmoothField, to_unit_interval
from entropice_core.demo.world import World, month_starts

LON = np.array([-170.0, -60.0, 20.0, 100.0, 160.0])
LAT = np.array([66.0, 70.0, 62.0, 74.0, 68.0])


def test_a_field_has_mean_zero_and_variance_one():
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, 20_000)))
    values = SmoothField.draw((1, 2), 300.0, terms=256)(rng.uniform(-180.0, 180.0, 20_000), lat)
    assert abs(values.mean()) < 0.1 and abs(values.std() - 1.0) < 0.1


def test_a_field_falls_to_its_correlation_at_its_length():
    lat = np.linspace(60.0, 80.0, 4_000)
    step = 300.0 / 111.2
    pairs = [(field(np.zeros(lat.size), lat), field(np.zeros(lat.size), lat + step)) for field in _fields(300)]
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(np.exp(-0.5), abs=0.06)


def _fields(n):
    return [SmoothField.draw((3, i), 300.0) for i in range(n)]


def test_a_field_has_no_seam_at_180_degrees_and_one_value_at_the_pole():
    field = SmoothField.draw((5,), 200.0)
    np.testing.assert_allclose(field(np.array([180.0]), np.array([66.0])), field(np.array([-180.0]), np.array([66.0])))
    assert np.ptp(field(np.arange(-180.0, 180.0, 30.0), np.full(12, 90.0))) < 1e-5


def test_squeezed_values_are_between_zero_and_one():
    squeezed = to_unit_interval(np.random.default_rng(0).standard_normal(10_000))
    assert 0.0 < squeezed.min() < 0.05 and 0.95 < squeezed.max() < 1.0


def test_the_climate_is_arctic():
    temperature = World(42).temperature_degc(LON, LAT, 2021)
    assert temperature.shape == (12, 5)
    january, july = temperature[3], temperature[9]
    assert (january > -45.0).all() and (january < -8.0).all()
    assert (july > 0.0).all() and (july < 22.0).all()
    rain = World(42).precipitation_mm_per_day(LON, LAT, 2021)
    assert (rain > 0.1).all() and (rain < 6.0).all()


def test_years_differ_and_seeds_differ_and_equal_ones_are_equal():
    first = World(1).temperature_degc(LON, LAT, 2021)
    np.testing.assert_array_equal(first, World(1).temperature_degc(LON, LAT, 2021))
    assert np.abs(first - World(1).temperature_degc(LON, LAT, 2022)).max() > 0.2
    assert np.abs(first - World(2).temperature_degc(LON, LAT, 2021)).max() > 0.2


def test_slumps_are_more_frequent_in_rugged_ice_rich_ground():
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(-180.0, 180.0, 4_000), rng.uniform(62.0, 75.0, 4_000)
    world = World(42)
    rate = world.log_slump_rate(lon, lat, 2022)
    assert np.corrcoef(rate, world.ground_ice(lon, lat))[0, 1] > 0.2
    assert np.corrcoef(rate, np.log(world.relief_m(lon, lat)))[0, 1] > 0.2


def test_an_arctic_year_begins_in_october():
    starts = np.array(month_starts(2024), dtype="datetime64[s]").astype("datetime64[M]").astype(str)
    assert (starts[0], starts[4], starts[-1]) == ("2023-10", "2024-02", "2024-09")
