"""An Arctic year as requests: what is asked, what is refused, what is left out because it is there."""

from datetime import date

import pytest

from entropice_core.errors import ConfigError
from entropice_core.fetch.calendar import Calendar, arctic_months, check_year, final_on
from entropice_core.fetch.plan import VARIABLES_PER_REQUEST, Wish, check_area, plan
from entropice_core.fetch.variables import LAND, VARIABLES, find_variables

BOTH = ("t2m", "tp")


def test_a_monthly_year_is_two_requests_with_exactly_twelve_months():
    first, second = plan(Wish("monthly", 2021, BOTH))
    assert (first.inputs["year"], first.inputs["month"]) == (["2020"], ["10", "11", "12"])
    assert (second.inputs["year"], len(second.inputs["month"])) == (["2021"], 9)
    assert [*first.months, *second.months] == arctic_months(2021)
    assert first.inputs["product_type"] == ["monthly_averaged_reanalysis"]
    assert first.inputs["area"] == [90.0, -180.0, 50.0, 180.0]
    assert (first.inputs["data_format"], first.inputs["download_format"]) == ("netcdf", "unarchived")


def test_a_daily_year_asks_one_month_one_statistic_and_one_kind_of_variable_at_a_time():
    requests = plan(Wish("daily", 2021, BOTH))
    assert len(requests) == 12 * 4
    asked = {(r.inputs["daily_statistic"], tuple(r.variables)) for r in requests}
    t2m, tp = ("2m_temperature",), ("total_precipitation",)
    assert asked == {("daily_mean", t2m), ("daily_minimum", t2m), ("daily_maximum", t2m), ("daily_sum", tp)}
    assert all(len(r.inputs["month"]) == 1 and isinstance(r.inputs["year"], str) for r in requests)


@pytest.mark.parametrize(("year", "days"), [(2020, 366), (2021, 365), (2024, 366), (2000, 366), (1900 + 101, 365)])
def test_every_day_of_an_arctic_year_is_asked_for_once_and_29_february_is_kept(year, days):
    requests = plan(Wish("daily", year, ("t2m",), statistics=("mean",)))
    asked = [(r.months[0], day) for r in requests for day in r.inputs["day"]]
    assert len(asked) == len(set(asked)) == days == sum(r.steps for r in requests)
    assert asked[0] == ((year - 1, 10), "01")
    assert asked[-1] == ((year, 9), "30")


def test_many_variables_are_dealt_into_requests_of_a_few():
    requests = plan(Wish("daily", 2021, tuple(VARIABLES), statistics=("mean",)))
    assert max(len(r.variables) for r in requests) == VARIABLES_PER_REQUEST
    asked = {(v, r.months[0]) for r in requests for v in r.variables}
    assert len(asked) == 12 * len(VARIABLES)
    kinds = {frozenset(VARIABLES[v].step_type for v in r.variables) for r in requests}
    assert all(len(kind) == 1 for kind in kinds)


def test_extremes_since_the_last_output_get_their_own_statistic_only():
    requests = plan(Wish("daily", 2021, ("mx2t", "mn2t"), statistics=("mean",)))
    assert {(r.statistic, r.variables[0][:7]) for r in requests} == {("max", "maximum"), ("min", "minimum")}


def test_what_is_there_is_not_asked_for_again():
    have = [("2m_temperature", "month", m) for m in arctic_months(2021)[:3]]
    requests = plan(Wish("monthly", 2021, BOTH), have)
    assert [(r.variables, len(r.months)) for r in requests] == [
        (("total_precipitation",), 3),
        (("2m_temperature", "total_precipitation"), 9),
    ]
    everything = [(v.name, "month", m) for v in find_variables(BOTH) for m in arctic_months(2021)]
    assert plan(Wish("monthly", 2021, BOTH), everything) == []


def test_equal_wishes_have_equal_digests_whatever_order_they_were_named_in():
    one, other = (plan(Wish("monthly", 2021, names))[0] for names in (("tp", "t2m"), ("t2m", "tp", "t2m")))
    assert one.digest == other.digest
    assert one.name == other.name
    assert plan(Wish("monthly", 2022, BOTH))[0].digest != one.digest
    assert plan(Wish("monthly", 2021, BOTH, (80.0, 0.0, 60.0, 90.0)))[0].digest != one.digest


def test_a_request_splits_by_variables_then_by_months_down_to_one_of_each():
    whole = plan(Wish("monthly", 2021))[1]
    todo, atoms = [whole], []
    while todo:
        request = todo.pop()
        todo += request.halves()
        if not request.halves():
            atoms.append(request)
    assert sorted(k for a in atoms for k in a.keys) == sorted(whole.keys)
    assert all(len(a.keys) == 1 for a in atoms)


def test_bytes_are_those_of_the_fields():
    (request, _) = plan(Wish("monthly", 2021, ("t2m",)))
    assert request.bytes == 4 * 161 * 1441 * 3


@pytest.mark.parametrize(
    ("product", "year", "today", "words"),
    [
        ("monthly", 1940, date(2026, 1, 1), "the first Arctic year is 1941"),
        ("monthly", 2021, date(2021, 10, 5), "from 2021-10-06 on"),
        ("daily", 2021, date(2021, 10, 6), "from 2021-10-07 on"),
        ("monthly", 2021, date(2021, 11, 1), "not final before 2022-01-01"),
        ("monthly", 2030, date(2026, 1, 1), "can be fetched from 2030-10-06"),
    ],
)
def test_years_that_are_not_there_or_not_final_are_refused(product, year, today, words):
    with pytest.raises(ConfigError, match=words):
        check_year(product, year, today)


def test_a_year_that_is_complete_but_not_final_can_be_allowed():
    assert check_year("monthly", 2021, date(2021, 11, 1), allow_provisional=True) is None
    assert check_year("monthly", 2021, date(2022, 1, 1)) is None
    assert [final_on((2021, m)).isoformat() for m in (1, 8, 12)] == ["2021-05-01", "2021-12-01", "2022-04-01"]


@pytest.mark.parametrize(
    ("area", "words"),
    [
        ((50, -180, 90, 180), "south"),
        ((80, 170, 60, -170), "whole circle"),
        ((91, 0, 60, 90), "within -90 to 90"),
        ((80, 0, 60), "north, west, south, east"),
    ],
)
def test_areas_that_the_service_would_not_take_are_refused(area, words):
    with pytest.raises(ConfigError, match=words):
        check_area(area)


@pytest.mark.parametrize(("names", "words"), [(["t2n"], "t2m"), (["2m_temprature"], "2m_temperature")])
def test_unknown_variables_are_refused_with_the_nearest_name(names, words):
    with pytest.raises(ConfigError, match=words):
        find_variables(names)


def test_unknown_statistics_are_refused():
    with pytest.raises(ConfigError, match="mean, min and max"):
        plan(Wish("daily", 2021, BOTH, statistics=("median",)))


def test_six_variables_are_asked_for_when_none_is_named():
    for family, snow in (("era5", "snow_depth"), ("era5-land", "snow_depth_water_equivalent")):
        names = [v.name for v in find_variables([], family)]
        assert len(names) == 6
        assert snow in names


def test_snow_depth_means_water_in_era5_and_height_in_era5_land():
    assert (VARIABLES["snow_depth"].short, LAND["snow_depth"].short) == ("sd", "sde")
    with pytest.raises(ConfigError, match="ERA5-Land has no variable 'mx2t'"):
        find_variables(["mx2t"], "era5-land")


def test_a_daily_year_of_era5_land_takes_totals_at_midnight_and_one_day_more_at_the_end():
    requests = plan(Wish("daily", 2021, BOTH, statistics=("mean",), family="era5-land"))
    assert len(requests) == 12 + 13
    derived = [r for r in requests if r.dataset == "derived-era5-land-daily-statistics"]
    hourly = [r for r in requests if r.dataset == "reanalysis-era5-land"]
    assert {tuple(r.variables) for r in derived} == {("2m_temperature",)}
    assert all("product_type" not in r.inputs and "time" not in r.inputs for r in derived)
    assert {(tuple(r.variables), tuple(r.inputs["time"])) for r in hourly} == {(("total_precipitation",), ("00:00",))}
    asked = [(r.months[0], int(day)) for r in hourly for day in r.inputs["day"]]
    assert len(asked) == len(set(asked)) == 366
    assert (asked[0], asked[-1]) == (((2020, 10), 1), ((2021, 10), 1))
    assert sum(r.steps for r in hourly) == 366


def test_bytes_of_era5_land_are_those_of_a_tenth_of_a_degree():
    (request, _) = plan(Wish("monthly", 2021, ("t2m",), family="era5-land"))
    assert request.bytes == 4 * 401 * 3601 * 3


@pytest.mark.parametrize(
    ("year", "calendar", "provisional", "words"),
    [
        (2021, Calendar((2021, 8), (2021, 5)), True, "the service says that the newest month is 2021-08"),
        (
            2021,
            Calendar((2021, 10), (2021, 8)),
            False,
            "not final yet: the newest month is 2021-10, final up to 2021-08",
        ),
        (
            1950,
            Calendar((2021, 10), (2021, 8)),
            False,
            "ERA5-Land begins in January 1950: the first Arctic year is 1951",
        ),
    ],
)
def test_the_service_is_believed_more_than_the_day(year, calendar, provisional, words):
    with pytest.raises(ConfigError, match=words):
        check_year("monthly", year, date(2030, 1, 1), provisional, calendar, "era5-land")
    assert check_year("monthly", 2021, date(2021, 1, 1), True, Calendar((2021, 9), (2021, 6))) is None


@pytest.mark.parametrize("day", [date(2021, 10, 5), date(2021, 10, 6), date(2021, 12, 31), date(2022, 1, 1)])
def test_the_rule_of_thumb_agrees_with_its_dates(day):
    calendar = Calendar.expected(day)
    assert calendar.has(2021) == (day >= date(2021, 10, 6))
    assert calendar.is_final(2021) == (day >= final_on((2021, 9)))
