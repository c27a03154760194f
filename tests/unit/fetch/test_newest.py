"""How far ERA5 has come, as the service says it, and what lies in the data folder."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from entropice_core.errors import ConfigError, RetryableSourceError
from entropice_core.fetch.calendar import Calendar
from entropice_core.fetch.newest import PIXEL, ask_newest, known_newest
from entropice_core.fetch.survey import look_at_year, provisional_months, survey

NOW = datetime(2021, 3, 10, tzinfo=UTC)


@pytest.mark.parametrize("family", ["era5", "era5-land"])
def test_the_service_is_asked_for_one_pixel_and_says_what_is_final(place, family):
    place.server.newest, place.server.final = (2021, 2), (2020, 11)
    found = ask_newest(place.store(), family, place.home, today=NOW)
    assert (found.newest, found.final) == ((2021, 2), (2020, 11))
    asked = [(job.inputs["year"], job.inputs["month"]) for job in place.server.jobs.values()]
    assert asked == [(["2020"], ["09", "10", "11", "12"]), (["2021"], ["01", "02"])]
    assert all(job.inputs["area"] == list(PIXEL) for job in place.server.jobs.values())
    assert all("-land" in job.process for job in place.server.jobs.values()) == (family == "era5-land")
    assert str(found) == "the newest month is 2021-02, final up to 2020-11"


def test_when_the_last_months_are_all_preliminary_the_month_before_them_is_final(place):
    place.server.newest, place.server.final = (2021, 2), (2020, 3)
    assert ask_newest(place.store(), "era5", place.home, today=NOW).final == (2020, 8)


def test_where_files_do_not_say_the_day_decides(place):
    place.server.newest = (2021, 2)
    place.server.expver = None
    assert ask_newest(place.store(), "era5", place.home, today=NOW).final == (2020, 11)


def test_an_answer_is_kept_for_a_day(place):
    place.server.newest, place.server.final = (2021, 2), (2020, 11)
    assert known_newest(place.home, "era5") is None
    asked = ask_newest(place.store(), "era5", place.home)
    assert known_newest(place.home, "era5") == asked
    assert known_newest(place.home, "era5", timedelta(0)) is None
    assert known_newest(place.home, "era5-land") is None
    stored = json.loads((place.home / "fetch" / "newest" / "era5.json").read_text())
    assert (stored["newest"], stored["final"]) == ([2021, 2], [2020, 11])


def test_each_answer_is_that_of_the_data_of_now_and_not_of_an_earlier_question(place):
    place.server.newest, place.server.final = (2021, 2), (2020, 11)
    ask_newest(place.store(), "era5", place.home, today=NOW)
    place.server.final = (2020, 12)
    assert ask_newest(place.store(), "era5", place.home, today=NOW).final == (2020, 12)


def test_a_question_that_stays_in_the_queue_is_taken_up_by_the_next_one(place):
    place.server.queue = (50, 50)
    with pytest.raises(RetryableSourceError, match="in its queue for"):
        ask_newest(place.store(), "era5", place.home, queue_budget_s=10.0)
    jobs = list(place.server.jobs)
    place.server.queue = (0, 0)
    assert ask_newest(place.store(), "era5", place.home).final == (2030, 12)
    assert list(place.server.jobs) == jobs


def test_a_year_is_fetched_by_what_the_service_says_and_not_by_the_day(place):
    place.server.newest, place.server.final = (2021, 12), (2021, 7)
    calendar = ask_newest(place.store(), "era5", place.home)
    with pytest.raises(ConfigError, match="not final yet: the newest month is 2021-12, final up to 2021-07"):
        place.fetch(calendar=calendar)
    report = place.fetch(calendar=calendar, allow_provisional=True)
    assert report.summary["provisional_months"] == ["2021-08", "2021-09"]
    assert place.fetch(calendar=calendar, allow_provisional=True).fetched == []
    place.server.final = (2021, 8)
    later = ask_newest(place.store(), "era5", place.home)
    assert place.fetch(calendar=later, allow_provisional=True).summary["provisional_months"] == ["2021-09"]


def test_daily_results_without_a_version_are_provisional_by_what_the_service_said_of_their_months(place):
    calendar = Calendar((2021, 12), (2021, 7), "2021-12-10T06:00:00+00:00")
    report = place.fetch(
        "daily", 2021, ("t2m",), statistics=("mean",), calendar=calendar, allow_provisional=True, today=date(2026, 1, 1)
    )
    assert report.summary["provisional_months"] == ["2021-08", "2021-09"]
    later = Calendar((2022, 1), (2021, 9), "2022-01-10T06:00:00+00:00")
    again = place.fetch("daily", 2021, ("t2m",), statistics=("mean",), calendar=later, today=date(2026, 1, 1))
    assert len(again.fetched) == 2
    assert again.summary["provisional_months"] == []


def test_a_survey_lists_years_with_what_is_not_final_and_what_is_by_now(place):
    place.server.final = (2021, 7)
    place.fetch(allow_provisional=True, today=date(2021, 10, 20))
    place.fetch(year=2020)
    place.fetch(year=2020, family="era5-land", variables=("sd",))
    found = {(y.family, y.product, y.year): y for y in survey(place.data, {"era5": Calendar((2021, 12), (2021, 8))})}
    assert set(found) == {("era5", "monthly", 2020), ("era5", "monthly", 2021), ("era5-land", "monthly", 2020)}
    year = found["era5", "monthly", 2021]
    assert (year.provisional, year.stale) == (("2021-08", "2021-09"), ("2021-08",))
    assert (year.variables, year.results) == (("t2m", "tp"), 2)
    assert year.bytes == sum(p.stat().st_size for p in place.year.rglob("*.nc"))
    assert found["era5-land", "monthly", 2020].variables == ("sd",)
    next(place.year.rglob("*.nc")).unlink()
    assert "is set aside" in look_at_year(place.data, "era5", "monthly", 2021, None).damaged[0]
    assert len(list(place.year.glob("2*"))) == 2  # a look changes nothing


def test_files_say_which_of_their_months_are_not_final(place, tmp_path):
    place.server.final = (2021, 7)
    report = place.fetch(allow_provisional=True, today=date(2021, 10, 20))
    months = ["2021-08", "2021-09"]
    assert provisional_months([report.file]) == months
    assert provisional_months(sorted(place.year.rglob("*.nc"))) == months
    assert provisional_months(sorted(place.year.glob("2020*/*.nc"))) == []
    other = tmp_path / "made_elsewhere.nc"
    other.write_bytes(report.file.read_bytes())
    assert provisional_months([other, tmp_path / "missing.nc"]) == []
