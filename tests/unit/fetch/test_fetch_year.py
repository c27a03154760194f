"""An Arctic year from the service into the data folder."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from entropice_core.config import RasterConfig
from entropice_core.errors import ConfigError, SourceError, StoreError
from entropice_core.fetch.calendar import arctic_months
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.sources import open_source
from entropice_core.storage.locking import hold
from tests.servers.cds import field_of
from tests.unit.fetch.conftest import BOX, TODAY

FIRSTS = pd.DatetimeIndex([f"{y}-{m:02d}-01" for y, m in arctic_months(2021)])


def test_a_monthly_year_becomes_one_file_of_twelve_months_with_the_values_served(place):
    report = place.fetch()
    assert report.file == place.data / "era5" / "era5_monthly_2021.nc"
    with xr.open_dataset(report.file) as data:
        assert list(data.data_vars) == ["t2m", "tp"]
        assert (data["valid_time"].values == FIRSTS.values).all()
        expected = field_of("2m_temperature", FIRSTS, data["latitude"].values, data["longitude"].values)
        np.testing.assert_allclose(data["t2m"].values, expected, rtol=1e-6)
        assert (data["t2m"].attrs["units"], data["tp"].attrs["units"]) == ("K", "m")
        assert data["tp"].attrs["GRIB_stepType"] == "avgad"
        assert data["tp"].attrs["entropice_valid_time_as_served"].startswith("2020-10-01T06:00")
        assert list(data["expver"].values) == ["0001"] * 12
        assert data.attrs["entropice_is_provisional"] == 0
        assert data.attrs["GRIB_centre"] == "ecmf"
    assert place.hidden() == []
    assert place.submissions() == 2


def test_the_file_is_read_by_a_raster_source(place):
    place.fetch()
    band = {"name": "t2m_{index:02d}", "select": "t2m", "along": "valid_time", "unit": "degC", "offset": -273.15}
    rain = {"name": "tp_{index:02d}", "select": "tp", "along": "valid_time", "unit": "mm d-1", "scale": 1000.0}
    config = RasterConfig(
        kind="raster", title="ERA5", path="{data}/era5/era5_monthly_{year}.nc",
        bands=[band | {"valid_range": [-80, 40]}, rain | {"valid_range": [0, 100]}],
    )  # fmt: skip
    grid = parse_grid_key("h3-3")
    cells = cell_coordinates(grid, grid.cells(StudyArea(60.0, (103.0, 63.0, 112.0, 67.0))))
    features = open_source("era5", config, place.data).features(grid, cells, 2021)
    table = features["features"].to_pandas().set_axis(features["feature"].values, axis=1)
    assert table.shape == (cells.sizes["cell"], 24)
    assert not table.isna().any().any()
    lon, lat = grid.centers(cells["cell_ids"].values)
    points = [(np.array([y]), np.array([x])) for x, y in zip(lon, lat, strict=True)]
    truth = np.array([field_of("2m_temperature", FIRSTS, y, x)[:, 0, 0] for y, x in points])
    assert np.abs(table.iloc[:, :12].values - (truth - 273.15)).max() < 0.2
    assert table["t2m_10"].mean() > table["t2m_04"].mean() + 15  # July, January


def test_a_second_run_asks_the_service_for_nothing(place):
    first = place.fetch()
    before, stamp = len(place.server.seen), first.file.stat().st_mtime_ns
    again = place.fetch()
    new = [s.path for s in place.server.seen[before:]]
    assert new == ["/api/catalogue/v1/messages"]
    assert (again.fetched, again.already) == ([], 2)
    assert again.file.stat().st_mtime_ns == stamp


def test_one_more_variable_fetches_only_that_and_joins_the_file(place):
    place.fetch()
    report = place.fetch(variables=("t2m", "tp", "sd"))
    asked = [s.body["inputs"]["variable"] for s in place.server.calls("POST", "/execution")]
    assert asked[2:] == [["snow_depth"], ["snow_depth"]]
    with xr.open_dataset(report.file) as data:
        assert list(data.data_vars) == ["t2m", "sd", "tp"]


def test_a_receipt_says_what_was_asked_and_what_came(place):
    report = place.fetch()
    receipts = [json.loads(p.read_text()) for p in sorted(place.year.glob("*/receipt.json"))]
    assert [r["received"]["expver"] for r in receipts][0] == {m: ["0001"] for m in ("2020-10", "2020-11", "2020-12")}
    assert sorted(receipts[0]["files"]) == [f"data_stream-moda_stepType-{k}.nc" for k in ("avgad", "avgua")]
    assert receipts[0]["asked"]["inputs"] == place.server.calls("POST", "/execution")[0].body["inputs"]
    assert {r["job_id"] for r in receipts} == set(place.server.jobs)
    assert report.summary["expver"]["2021-09"] == ["0001"]
    assert json.loads((place.year / "year.json").read_text()) == report.summary


def test_the_key_is_in_no_file_and_not_sent_to_the_address_of_the_result(place):
    place.fetch()
    for path in place.folder.rglob("*"):
        assert not path.is_file() or place.server.key.encode() not in path.read_bytes(), path
    assert all("PRIVATE-TOKEN" not in s.headers for s in place.server.calls("GET", "^/cache/"))
    assert all(s.headers["PRIVATE-TOKEN"] == place.server.key for s in place.server.calls("POST", "/execution"))
    assert place.server.key not in repr(place.store()) + "".join(place.heard)


def test_months_of_era5t_are_marked_and_fetched_again_when_they_are_final(place):
    place.server.expver = lambda year, month: "0005" if (year, month) >= (2021, 8) else "0001"
    early, late = pd.Timestamp("2021-10-20").date(), pd.Timestamp("2022-01-02").date()
    first = place.fetch(today=early, allow_provisional=True)
    assert first.summary["provisional_months"] == ["2021-08", "2021-09"]
    with xr.open_dataset(first.file) as data:
        assert list(data["expver"].values) == ["0001"] * 10 + ["0005"] * 2
        assert data.attrs["entropice_provisional_months"] == "2021-08 2021-09"
    assert place.fetch(today=early, allow_provisional=True).fetched == []
    place.server.expver = lambda year, month: "0001"
    second = place.fetch(today=late)
    assert [s.body["inputs"]["month"] for s in place.server.calls("POST", "/execution")][2:] == [["08", "09"]]
    assert second.summary["is_provisional"] is False
    with xr.open_dataset(second.file) as data:
        assert set(data["expver"].values) == {"0001"}


def test_a_daily_year_holds_every_day_of_every_statistic_in_its_own_results(place):
    report = place.fetch("daily", 2020, ("t2m", "skt", "tp"), statistics=("mean",))
    assert len(report.fetched) == 12 * 2
    days = 0
    for folder in sorted((place.data / "era5/daily/2020").glob("*_mean_*")):
        with xr.open_dataset(folder / "2m_temperature_0_daily-mean.nc") as data:
            days += data.sizes["valid_time"]
    assert days == 366
    assert report.file is None
    assert report.summary["is_provisional"] is False
    assert {(v["short"], v["statistic"]) for v in report.summary["variables"]} == {
        ("t2m", "mean"), ("skt", "mean"), ("tp", "sum"),
    }  # fmt: skip
    assert place.fetch("daily", 2020, ("t2m", "skt", "tp"), statistics=("mean",)).fetched == []


def test_what_is_too_large_is_split_before_it_is_submitted(place):
    place.server.cost_limit = 5
    report = place.fetch()
    assert place.submissions() == 6  # two variables of three months: 3 and 3; of nine months: 4, 5, 4 and 5
    assert max(place.server.cost(j.process, j.inputs) for j in place.server.jobs.values()) <= 5
    with xr.open_dataset(report.file) as data:
        assert data.sizes["valid_time"] == 12
        assert not data["tp"].isnull().any()


def test_single_months_that_come_without_a_time_dimension_are_joined_too(place):
    place.server.cost_limit = 1
    place.server.squeeze = True
    report = place.fetch(variables=("t2m",))
    assert place.submissions() == 12
    with xr.open_dataset(report.file) as data:
        assert (data["valid_time"].values == FIRSTS.values).all()
        assert data["t2m"].dims == ("valid_time", "latitude", "longitude")


def test_what_cannot_be_split_any_more_is_refused_with_cost_and_limit(place):
    place.server.cost_limit = 0
    with pytest.raises(SourceError, match="one variable of one month .* It costs 1 and 0 are allowed"):
        place.fetch()
    assert place.submissions() == 0


def test_waiting_in_the_queue_grows_and_is_told(place):
    place.server.queue = (3, 3)
    report = place.fetch()
    assert place.slept[:3] == [1.0, 1.5, 2.25]
    assert report.queued_s == pytest.approx(sum(place.slept))
    assert any("2 in the queue" in p.text for p in place.told)
    assert [p.months_done for p in place.told] == sorted(p.months_done for p in place.told)
    assert place.told[-1].months_done == 12
    assert report.bytes == place.told[-1].bytes == sum(len(a.content) for a in place.server.assets.values())


def test_no_more_than_a_few_jobs_are_in_the_queue(place):
    place.server.queue = (1, 1)
    open_jobs = []
    place.server.on_call = lambda method, path: open_jobs.append(len(place.server.jobs) - len(place.server.assets))
    place.fetch("daily", 2021, ("t2m",), statistics=("mean",))
    assert max(open_jobs) == 4


def test_a_year_that_is_being_fetched_is_not_fetched_twice_at_once(place):
    lock = place.home / "fetch" / "era5-monthly-2021.lock"
    with hold(lock, "a test", 0.0), pytest.raises(StoreError, match="ERA5 monthly 2021 is locked by"):
        place.fetch()


def test_another_area_is_another_year_file_and_needs_its_own_results(place):
    place.fetch()
    report = place.fetch(area=(75.0, 100.0, 60.0, 115.0))
    assert len(report.fetched) == 2
    with xr.open_dataset(report.file) as data:
        assert data["latitude"].max() == 75.0
    assert BOX[0] == 70.0


def test_years_are_refused_before_anything_is_asked_or_made(place):
    with pytest.raises(ConfigError, match="1941"):
        place.fetch(year=1935)
    with pytest.raises(ConfigError, match="2025-10-06"):
        place.fetch(year=2025, today=TODAY)
    assert not place.data.exists()
    assert place.server.calls("POST", ".") == []
