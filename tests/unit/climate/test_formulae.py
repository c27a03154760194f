"""Indices against xclim, and against a plain loop where xclim has another definition."""

import numpy as np
import pytest
import xarray as xr
import xclim.indices as xi

from entropice_core.climate import formulae as f
from entropice_core.climate.calendar import SEASONS, ArcticCalendar
from entropice_core.climate.indices import INDICES, SPECS
from tests.unit.climate.world import fields_of

YEARS = (2020, 2021)  # with and without 29 February
POINTS = slice(None, None, 7)


def in_our_units(year):
    """Daily fields in degC, mm and MJ m-2: (days, points) float32."""
    served = {field: v.reshape(len(v), -1)[:, POINTS] for field, v in fields_of(year).items()}
    change = {"t2m": (1, -273.15), "stl1": (1, -273.15), "ssrd": (1e-6, 0), "swvl1": (1, 0)}
    made = {}
    for (short, statistic), values in served.items():
        scale, offset = change.get(short, (1000, 0))
        made[short, statistic] = (values * np.float32(scale) + np.float32(offset)).astype(np.float32)
    return made


@pytest.fixture(scope="module", params=YEARS)
def year(request):
    return request.param


@pytest.fixture(scope="module")
def fields(year):
    return in_our_units(year)


@pytest.fixture(scope="module")
def made(year, fields):
    """Every index that the generated fields allow: name -> (points,)."""
    specs = [spec for spec in SPECS if set(spec.needs) <= set(fields)]
    results = {}
    for spec in specs:
        values = spec.compute(ArcticCalendar(year), *(fields[need] for need in spec.needs))
        results |= {index.name: value for index, value in zip(spec.indices, values, strict=True)}
    return results


@pytest.fixture(scope="module")
def arrays(year, fields):
    """The same as xclim wants them."""
    time = ArcticCalendar(year).days
    units = {"t2m": "degC", "tp": "mm/d", "sf": "mm/d", "sd": "kg m-2"}
    names = {"t2m": "air_temperature", "tp": "precipitation_flux"}
    found = {
        field: xr.DataArray(
            v.astype(np.float64), dims=("time", "point"), coords={"time": time},
            attrs={"units": units[field[0]], "standard_name": names.get(field[0], ""), "cell_methods": "time: mean"},
        )
        for field, v in fields.items() if field[0] in units
    }  # fmt: skip
    rain = np.maximum(found["tp", "sum"] - found["sf", "sum"], 0.0).assign_attrs(found["tp", "sum"].attrs)
    return found | {"rain": rain}


def days_since_october(dates, year):
    """Day of the year as xclim gives it -> day of the Arctic year."""
    december = 366 if (year - 1) % 4 == 0 else 365
    start = 275 if (year - 1) % 4 == 0 else 274
    return np.where(dates >= start, dates - start + 1, dates + december - start + 1)


FREQ = {"freq": "YS-OCT"}
XCLIM = {
    "thawing_degree_days_year_sum_K_d": lambda a: xi.growing_degree_days(a["t2m", "mean"], thresh="0 degC", **FREQ),
    "freezing_degree_days_year_sum_K_d": lambda a: xi.heating_degree_days(a["t2m", "mean"], thresh="0 degC", **FREQ),
    "thaw_days_year_count_d": lambda a: xi.tg_days_above(a["t2m", "mean"], thresh="0 degC", **FREQ),
    "t2m_year_mean_degC": lambda a: xi.tg_mean(a["t2m", "mean"], **FREQ),
    "t2m_year_min_degC": lambda a: xi.tn_min(a["t2m", "min"], **FREQ),
    "t2m_year_max_degC": lambda a: xi.tx_max(a["t2m", "max"], **FREQ),
    "precipitation_year_sum_mm": lambda a: xi.precip_accumulation(a["tp", "sum"], **FREQ),
    "rain_year_sum_mm": lambda a: xi.precip_accumulation(a["rain"], **FREQ),
    "wet_days_year_count_d": lambda a: xi.wetdays(a["tp", "sum"], thresh="1 mm/day", **FREQ),
    "heavy_rain_days_year_count_d": lambda a: xi.wetdays(a["rain"], thresh="10 mm/day", **FREQ),
    "rx1day_year_max_mm": lambda a: xi.max_1day_precipitation_amount(a["tp", "sum"], **FREQ),
    "rx5day_year_max_mm": lambda a: xi.max_n_day_precipitation_amount(a["tp", "sum"], window=5, **FREQ),
    "snow_days_year_count_d": lambda a: xi.snw_days_above(a["sd", "mean"], thresh="4 kg m-2", **FREQ),
    "swe_year_max_mm": lambda a: xi.snw_max(a["sd", "mean"], **FREQ),
}


@pytest.mark.parametrize("name", list(XCLIM))
def test_indices_agree_with_xclim_to_rounding(name, made, arrays):
    theirs = XCLIM[name](arrays).isel(time=0)
    assert theirs.sizes == {"point": made[name].size}
    np.testing.assert_allclose(made[name], theirs, rtol=2e-6, atol=1e-6)
    assert np.ptp(made[name]) > 0.0


def test_the_first_days_of_thaw_and_of_lasting_snow_agree_with_xclim(made, arrays, year):
    onset = xi.first_day_temperature_above(arrays["t2m", "mean"], thresh="0 degC", after_date="01-01", window=5, **FREQ)
    np.testing.assert_array_equal(made["thaw_onset_year_day_d"], days_since_october(onset.isel(time=0), year))
    snow = xi.snw_season_start(arrays["sd", "mean"], thresh="4 kg m-2", window=14, **FREQ).isel(time=0)
    np.testing.assert_array_equal(made["snow_onset_year_day_d"], days_since_october(snow.values, year))


def test_freeze_thaw_days_are_those_whose_minimum_is_below_and_maximum_above_zero(made, fields):
    low, high = fields["t2m", "min"], fields["t2m", "max"]
    wanted = [sum(a < 0 < b for a, b in zip(low[:, p], high[:, p], strict=True)) for p in range(low.shape[1])]
    np.testing.assert_array_equal(made["freeze_thaw_days_year_count_d"], wanted)


def runs(holds, length):
    """Positions at which runs of at least ``length`` begin, and where they end, by a loop."""
    found, start = [], None
    for i, yes in enumerate([*holds, False]):
        if yes and start is None:
            start = i
        if not yes and start is not None:
            if i - start >= length:
                found.append((start, i - 1))
            start = None
    return found


def test_thaw_season_is_that_of_a_loop_over_days(made, fields, year):
    first_january = 92
    t = fields["t2m", "mean"]
    for point in range(t.shape[1]):
        spells = runs(t[first_january:, point] > 0, 5)
        wanted = (spells[0][0] + 93.0, spells[-1][1] + 93.0) if spells else (np.nan, np.nan)
        got = made["thaw_onset_year_day_d"][point], made["thaw_end_year_day_d"][point]
        np.testing.assert_array_equal(got, wanted)
        length = wanted[1] - wanted[0] + 1 if spells else 0.0
        assert made["thaw_season_year_length_d"][point] == length


def test_melt_out_is_that_of_a_loop_over_days(made, fields):
    swe = fields["sd", "mean"]
    for point in range(swe.shape[1]):
        most = int(swe[:, point].argmax())
        has_season = bool(runs(swe[:, point] >= 4.0, 14))
        bare = [*(swe[most + 1 :, point] < 4.0), *([True] * 14)]
        spells = runs(bare, 14)
        melted = most + 1 + spells[0][0]
        wanted = melted + 1.0 if has_season and melted < len(swe) else np.nan
        np.testing.assert_array_equal(made["snow_melt_out_year_day_d"][point], wanted)


def test_snow_that_never_melts_has_no_melt_out_and_bare_ground_no_season():
    calendar = ArcticCalendar(2021)
    swe = np.stack([np.full(365, 900.0), np.zeros(365)], axis=1)
    most, day, onset, melt_out = f.snow_season(calendar, swe)
    assert most.tolist() == [900.0, 0.0] and onset[0] == 1.0
    assert np.isnan(melt_out).all() and np.isnan(onset[1]) and np.isnan(day[1])


def test_snow_that_melts_in_the_last_days_of_september_has_a_melt_out():
    swe = np.full((365, 1), 50.0)
    swe[-3:] = 0.0
    assert f.snow_season(ArcticCalendar(2021), swe)[3].tolist() == [363.0]


def test_sums_of_the_four_seasons_are_the_sum_of_the_year(made):
    for name, whole in made.items():
        if "_year_sum_" in name and "summer_warmth" not in name or "_year_count_" in name:
            parts = sum(made[name.replace("_year_", f"_{season}_")] for season in SEASONS if season != "year")
            np.testing.assert_allclose(parts, whole, rtol=1e-9)


def test_29_february_counts():
    for year, total in ((2020, 366.0), (2021, 365.0)):
        calendar = ArcticCalendar(year)
        warm = np.ones((calendar.n_days, 1), np.float32)
        (spec,) = [s for s in SPECS if s.indices[0].name == "thawing_degree_days_year_sum_K_d"]
        got = dict(zip([i.season for i in spec.indices], spec.compute(calendar, warm), strict=True))
        assert got["year"] == total and got["djf"] == 31 + 31 + (29 if year == 2020 else 28)


def test_rain_on_snow_needs_both_rain_and_snow():
    tp, sf = np.array([[5.0], [5.0], [0.9], [5.0]]), np.array([[0.0], [4.5], [0.0], [2.0]])
    swe = np.array([[2.9], [50.0], [50.0], [3.0]])
    assert f.rain_on_snow(tp, sf, swe).ravel().tolist() == [0.0, 0.0, 0.0, 3.0]
    assert f.is_rain_on_snow(tp, sf, swe).ravel().tolist() == [False, False, False, True]


def test_the_summer_warmth_index_adds_the_means_of_warm_months():
    calendar = ArcticCalendar(2021)
    t = np.full((365, 1), -5.0)
    t[calendar.month_slices[9]] = 8.0  # July
    t[calendar.month_slices[10]] = 4.0
    assert f.warm_months(calendar, t)[0].tolist() == [12.0]


def test_every_index_has_a_name_by_the_scheme_a_unit_a_formula_and_a_source():
    for name, index in INDICES.items():
        quantity, _, rest = name.rpartition(f"_{index.season}_")
        assert quantity == index.quantity and index.season in SEASONS and rest.startswith(index.statistic)
        text = index.formula.__doc__ or ""
        assert "Formula: " in text and "Source: " in text, index.formula.__name__
