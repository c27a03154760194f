"""Climate from real ERA5 files: day totals from hours, units that lie, GRIB that is cut."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_zarr import DailyZarr
from entropice_core.climate.field_file import open_fields
from entropice_core.climate.grib import describe_grib
from entropice_core.climate.hourly import day_statistics, day_totals
from entropice_core.climate.quantities import check_values, to_unit
from entropice_core.errors import SourceError

pytestmark = pytest.mark.real


@pytest.fixture
def yukon(real_data):
    return real_data / "era5_hourly_yukon"


def hours_of(path, short):
    """Hourly values in our unit: times, (hours, points)."""
    file = open_fields(path)
    values = to_unit(file.read(short, slice(None), slice(None)), short, file.units[short], str(path))
    return file, values.reshape(len(values), -1).astype(np.float64)


def test_day_totals_of_real_hours_are_those_of_pandas(yukon):
    path = yukon / "era5_sf_20230101_to_20230131.nc"
    file, values = hours_of(path, "tp")
    days, totals = day_totals(values, file.times, "hour", path.name)
    frame = pd.DataFrame(values, index=file.times).resample("D", closed="right", label="left").sum()
    np.testing.assert_allclose(totals, frame.loc[days].to_numpy(), rtol=1e-12, atol=1e-12)
    assert len(days) == 30 and str(days[-1].date()) == "2023-01-30"  # the 31st lacks the hour that ends in February
    assert 25.0 < totals.sum(axis=0).mean() < 36.0  # 33.7 mm in the whole month


def test_freezing_degree_days_of_a_real_january(yukon):
    path = yukon / "era5_sa_20230101_to_20230131.nc"
    file, values = hours_of(path, "t2m")
    days, mean, low, high = day_statistics(values, file.times, path.name)
    assert len(days) == 31 and (low <= mean).all() and (mean <= high).all()
    assert check_values(mean.astype(np.float32), "t2m", path.name) == 0
    np.testing.assert_allclose(np.maximum(-mean, 0.0).sum(axis=0).mean(), 31 * 17.1, rtol=0.01)


def as_store(folder, file, days, totals, late):
    """The real totals as a daily store of an Arctic year that is dry otherwise."""
    calendar = ArcticCalendar(2023)
    axis = pd.date_range(calendar.days[0], periods=calendar.n_days + 1)
    values = np.zeros((len(axis), file.latitude.size, file.longitude.size), dtype=np.float32)
    start = axis.get_loc(days[0]) + late
    values[start : start + len(days)] = totals.reshape(len(days), file.latitude.size, -1)
    coords = {"valid_time": axis, "latitude": file.latitude, "longitude": file.longitude}
    data = xr.Dataset({"tp": (("valid_time", "latitude", "longitude"), values, {"units": "mm"})}, coords=coords)
    data.to_zarr(folder, zarr_format=3, consolidated=False)
    return DailyZarr(str(folder), calendar)


def test_real_weather_shows_a_store_that_is_late_by_a_day(yukon, tmp_path):
    path = yukon / "era5_sf_20230101_to_20230131.nc"
    file, values = hours_of(path, "tp")
    days, totals = day_totals(values, file.times, "hour", path.name)
    with as_store(tmp_path / "right.zarr", file, days, totals, 0) as store:
        found = store.check_days(path, "hour")
    assert found.days_late == 0 and found.misfit[0] < 1e-4 < 0.2 * min(found.misfit[1], found.misfit[-1])
    with (
        as_store(tmp_path / "late.zarr", file, days, totals, 1) as store,
        pytest.raises(SourceError, match="set days_late = 1"),
    ):
        store.check_days(path, "hour")


def test_a_real_file_whose_units_lie_is_refused(real_data):
    (path,) = (real_data / "era5_monthly_climatology").glob("*.nc")
    with xr.open_dataset(path, engine="h5netcdf") as data:
        t, unit = data["t2m"].values.astype(np.float32), data["t2m"].attrs["units"]
        assert unit == "K"
        with pytest.raises(SourceError, match="says K and holds degrees Celsius"):
            check_values(to_unit(t, "t2m", unit, path.name), "t2m", path.name)
        tp = to_unit(data["tp"].values.astype(np.float32), "tp", data["tp"].attrs["units"], path.name)
        with pytest.raises(SourceError, match="says m and holds mm"):
            check_values(tp, "tp", path.name)


def test_real_grib_is_told_whole_and_cut_at_any_place(real_data, tmp_path):
    for path in sorted((real_data / "era5_grib_samples").glob("*.grib")):
        assert describe_grib(path).startswith("a GRIB file of "), path.name
        content = path.read_bytes().rstrip(b"\0")  # padding after the last message is no part of it
        for share in np.linspace(0.02, 0.999, 20):
            cut = tmp_path / "cut.nc"
            cut.write_bytes(content[: int(share * len(content))])
            with pytest.raises(SourceError, match="cut short or damaged"):
                open_fields(cut)
