"""Daily fields of a Zarr store: from a folder and from an address, with what a store may hide."""

import re
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from entropice_core.climate.annual import annual_maps
from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import DailyFiles
from entropice_core.climate.daily_zarr import DailyZarr
from entropice_core.errors import RetryableSourceError, SourceError
from tests.unit.climate import world

YEAR = 2021
CALENDAR = ArcticCalendar(YEAR)


class Handler(SimpleHTTPRequestHandler):
    """Files over HTTP/1.1; counts what is asked for and denies what it is told to."""

    protocol_version = "HTTP/1.1"
    asked: Counter[str] = Counter()
    status = 200

    def log_message(self, *args):
        pass

    def do_GET(self):
        Handler.asked[self.path] += 1
        if Handler.status != 200:
            self.send_error(Handler.status)
        else:
            super().do_GET()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return world.write_zarr(tmp_path_factory.mktemp("store") / "daily.zarr", (2020, 2021, 2022))


@pytest.fixture(scope="module")
def address(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder.parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{folder.name}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def fresh():
    Handler.asked.clear()
    Handler.status = 200


def maps(where, **more):
    with DailyZarr(str(where), CALENDAR, **more) as source:
        return annual_maps(source, CALENDAR)


def test_a_store_gives_the_same_indices_as_files(folder, tmp_path):
    longitude = np.arange(0.0, 360.0, world.STEP)
    fields = {
        f: v for f, v in world.fields_of(YEAR, longitude=longitude).items() if f[0] in ("t2m", "tp", "ssrd", "ro")
    }
    fields = {f: v for f, v in fields.items() if f[1] in ("mean", "sum")}
    year = world.write_year(tmp_path, YEAR, fields, longitude=longitude)
    with DailyFiles(year, CALENDAR) as source:
        wanted = annual_maps(source, CALENDAR)
    got = maps(folder)
    assert got.names == wanted.names and got.layout.digest == wanted.layout.digest
    np.testing.assert_array_equal(got.values, wanted.values)


def test_an_address_is_read_in_whole_chunks_each_once(address, folder, monkeypatch):
    monkeypatch.setattr("entropice_core.climate.daily_zarr.BAND_BYTES", 4 * 120 * 365 * 5)
    got = maps(address, south=60.0)
    np.testing.assert_array_equal(got.values, maps(folder, south=60.0).values)
    chunks = {path: n for path, n in Handler.asked.items() if re.search(r"/(t2m|tp|ssrd|ro)/c/", path)}
    assert set(chunks.values()) == {1}
    # 365 days of 2021 lie in 6 chunks of 75 days; 60 to 90 N in 3 chunks of 5 rows; 4 around; t2m, tp, ssrd, ro.
    assert len(chunks) == 6 * 3 * 4 * 4
    assert got.layout.y.low[-1] > 58.0


def test_bands_are_whole_chunks_of_rows(folder, monkeypatch):
    monkeypatch.setattr("entropice_core.climate.daily_zarr.BAND_BYTES", 1)
    with DailyZarr(str(folder), CALENDAR) as source:
        assert [(band.start, band.stop) for band in source.bands()] == [(0, 5), (5, 10), (10, 14)]


def test_months_are_provisional_while_the_store_is_young(folder):
    with DailyZarr(str(folder), ArcticCalendar(2022)) as source:
        assert source.provisional_months == ("2022-07", "2022-08", "2022-09")
    with DailyZarr(str(folder), CALENDAR) as source:
        assert source.provisional_months == ()


def test_a_year_after_the_newest_is_refused_with_what_there_is(folder):
    with pytest.raises(SourceError, match=r"lacks 364 of the 365 days of Arctic year 2023.*to 2022-10-01"):
        DailyZarr(str(folder), ArcticCalendar(2023))


def test_a_missing_chunk_is_not_read_as_missing_values(folder, tmp_path):
    import shutil

    torn = tmp_path / "torn.zarr"
    shutil.copytree(folder, torn)
    (torn / "t2m" / "c" / "6" / "1" / "2").unlink()
    with pytest.raises(SourceError, match="no t2m on 75 of 365 days at 150 pixels"):
        maps(torn)


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (403, SourceError, r"denies access .*~/.netrc"),
        (401, SourceError, r"denies access"),
        (404, SourceError, "no Zarr"),
    ],
)
def test_an_address_that_denies_says_what_to_do(address, status, kind, sentence):
    Handler.status = status
    with pytest.raises(kind, match=sentence):
        DailyZarr(address, CALENDAR)


def test_an_address_that_does_not_answer_may_answer_later():
    with pytest.raises(RetryableSourceError, match="try again later"):
        DailyZarr("http://127.0.0.1:9/daily.zarr", CALENDAR)


def hourly_file(path, unit="m"):
    """Hours of twelve days in June whose sums are the days of the store, at 3 x 3 pixels."""
    days = pd.date_range("2021-06-01", periods=12)
    start = CALENDAR.days.get_loc(days[0])
    longitude = np.arange(0.0, 360.0, world.STEP)
    daily = world.fields_of(YEAR, longitude=longitude)["tp", "sum"][start : start + 12, 5:8, 10:13]
    share = np.random.default_rng(5).random((24, 1, 1))
    share /= share.sum()
    hours = pd.date_range(days[0] + pd.Timedelta(1, "h"), periods=12 * 24, freq="h")
    values = (daily[:, None] * share[None]).reshape(-1, 3, 3).astype(np.float32)
    made = world.dataset("tp", hours, values, unit, world.LATITUDE[5:8], longitude[10:13])
    made.to_netcdf(path, engine="h5netcdf")
    return path


def test_day_totals_are_checked_against_the_hourly_definition(folder, tmp_path):
    hourly = hourly_file(tmp_path / "hourly.nc")
    late = world.write_zarr(tmp_path / "late.zarr", (2021,), late=1, extra_days=2)
    with DailyZarr(str(folder), CALENDAR) as source:
        assert source.check_days(hourly, "hour").days_late == 0
    with (
        DailyZarr(str(late), CALENDAR) as source,
        pytest.raises(SourceError, match=r"tp \+1 day\(s\) late .* set days_late = 1"),
    ):
        source.check_days(hourly, "hour")
    with DailyZarr(str(late), CALENDAR, days_late=1) as source:
        assert source.check_days(hourly, "hour").days_late == 1
    with (
        DailyZarr(str(folder), CALENDAR, days_late=1) as source,
        pytest.raises(SourceError, match=r"set days_late = 0"),
    ):
        source.check_days(hourly, "hour")


def test_days_that_are_late_are_moved_back(folder, tmp_path):
    late = world.write_zarr(tmp_path / "late.zarr", (2021,), late=1, extra_days=2)
    got, wanted = maps(late, days_late=1), maps(folder)
    np.testing.assert_array_equal(got.values, wanted.values)
    assert not np.array_equal(maps(late).values, wanted.values)


def test_a_store_of_another_variable_or_unit_fits_at_no_shift(folder, tmp_path):
    hourly = hourly_file(tmp_path / "hourly.nc", unit="mm")
    with (
        DailyZarr(str(folder), CALENDAR) as source,
        pytest.raises(SourceError, match="does not fit the hourly values at any shift"),
    ):
        source.check_days(hourly, "hour")


def test_what_is_no_store_says_so(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(SourceError, match="is no Zarr store"):
        DailyZarr(str(tmp_path / "x"), CALENDAR)
    xr.Dataset({"t2m": ("a", [1.0])}).to_zarr(tmp_path / "y.zarr", consolidated=False, zarr_format=3)
    with pytest.raises(SourceError, match="has no coordinate latitude or lat"):
        DailyZarr(str(tmp_path / "y.zarr"), CALENDAR)
