"""Generated daily fields of a coarse Arctic in the layout of the Climate Data Store, for tests."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from entropice_core.climate.calendar import ArcticCalendar

STEP = 3.0
LATITUDE = np.arange(90.0, 50.9, -STEP)
LONGITUDE = np.arange(-180.0, 180.0, STEP)
FIELDS = {  # short name and statistic: unit as the service writes it
    ("t2m", "mean"): "K",
    ("t2m", "min"): "K",
    ("t2m", "max"): "K",
    ("stl1", "mean"): "K",
    ("swvl1", "mean"): "m**3 m**-3",
    ("sd", "mean"): "m of water equivalent",
    ("tp", "sum"): "m",
    ("sf", "sum"): "m of water equivalent",
    ("ssrd", "sum"): "J m**-2",
    ("e", "sum"): "m of water equivalent",
    ("ro", "sum"): "m",
}


def fields_of(year: int, latitude=LATITUDE, longitude=LONGITUDE, seed: int = 0) -> dict[tuple[str, str], np.ndarray]:
    """Daily fields as served, (days, rows, columns) float32: weather around a seasonal cycle, snow comes and goes."""
    days = ArcticCalendar(year).days
    rng = np.random.default_rng([seed, year])
    shape = (len(days), latitude.size, longitude.size)
    phase = np.cos(2 * np.pi * (np.asarray(days.day_of_year) - 200) / 365.25)[:, None, None]
    climate = 12.0 - 0.75 * (latitude - 50.0)[None, :, None] + 3.0 * np.cos(np.radians(longitude))[None, None, :]
    t = climate - 10.0 + 17.0 * phase + rng.normal(0.0, 3.0, shape) + 0.03 * (year - 2000)
    range_ = 2.0 + 4.0 * rng.random(shape)
    wet = rng.random(shape) < 0.3
    tp = np.where(wet, rng.gamma(0.8, 4.0, shape), 0.0) / 1000.0
    sf = np.where(t < 0.5, tp, np.where(t < 2.0, 0.5 * tp, 0.0))
    sd = np.zeros(shape)
    store = np.zeros(shape[1:])
    for i in range(len(days)):
        store = np.maximum(store + sf[i] - np.maximum(t[i], 0.0) * 0.003, 0.0)
        sd[i] = store
    made = {
        ("t2m", "mean"): t + 273.15,
        ("t2m", "min"): t - range_ + 273.15,
        ("t2m", "max"): t + range_ + 273.15,
        ("stl1", "mean"): 0.5 * t + 0.5 + 273.15,
        ("swvl1", "mean"): 0.25 + 0.1 * rng.random(shape),
        ("sd", "mean"): sd,
        ("tp", "sum"): tp,
        ("sf", "sum"): sf,
        ("ssrd", "sum"): np.maximum(1e7 + 9e6 * phase + rng.normal(0, 1e6, shape), 0.0),
        ("e", "sum"): -np.maximum(0.001 + 0.001 * phase + rng.normal(0, 1e-4, shape), 0.0),
        ("ro", "sum"): 0.2 * tp,
    }
    return {field: values.astype(np.float32) for field, values in made.items()}


def dataset(short: str, days, values, unit: str, latitude=LATITUDE, longitude=LONGITUDE, expver="0001") -> xr.Dataset:
    """One variable in the layout that the service serves since 2024."""
    return xr.Dataset(
        {short: (("valid_time", "latitude", "longitude"), values, {"units": unit, "GRIB_stepType": "avg"})},
        coords={
            "valid_time": ("valid_time", days),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
            "number": 0,
            "expver": ("valid_time", np.full(len(days), expver, dtype=object)),
        },
        attrs={"Conventions": "CF-1.7"},
    )


def write_year(
    data: Path,
    year: int,
    fields: dict[tuple[str, str], np.ndarray] | None = None,
    units: dict[tuple[str, str], str] | None = None,
    latitude=LATITUDE,
    longitude=LONGITUDE,
    by_month: bool = False,
) -> Path:
    """Write a year as ``era5/daily/<year>/<result>/<file>.nc``; return its folder.

    ``by_month`` writes a result a month and a file a variable as the service does; otherwise there is one file a
    statistic, which is faster.
    """
    calendar = ArcticCalendar(year)
    fields = fields_of(year, latitude, longitude) if fields is None else fields
    units = {**FIELDS, **(units or {})}
    folder = data / "era5" / "daily" / str(year)
    for statistic in dict.fromkeys(statistic for _, statistic in fields):
        shorts = [short for short, each in fields if each == statistic]
        parts = {
            short: dataset(short, calendar.days, fields[short, statistic], units[short, statistic], latitude, longitude)
            for short in shorts
        }
        if not by_month:
            result = folder / f"{year - 1}_10-09_{statistic}_0123abcd"
            result.mkdir(parents=True, exist_ok=True)
            xr.merge(parts.values(), compat="override", join="exact", combine_attrs="override").to_netcdf(
                result / "all.nc", engine="h5netcdf"
            )
            continue
        for short in shorts:
            for (y, month), days in zip(calendar.months, calendar.month_slices, strict=True):
                result = folder / f"{y}_{month:02d}_{statistic}_0123abcd"
                result.mkdir(parents=True, exist_ok=True)
                parts[short].isel(valid_time=days).to_netcdf(result / f"{short}.nc", engine="h5netcdf")
    return folder


def write_zarr(path: Path, years, chunks=(75, 5, 30), late: int = 0, extra_days: int = 1) -> Path:
    """Write years as one Zarr store like Earth Data Hub's: no minima or maxima, chunks across years, from 0 E."""
    longitude = np.arange(0.0, 360.0, STEP)
    parts = {year: fields_of(year, LATITUDE, longitude) for year in years}
    days = pd.DatetimeIndex(np.concatenate([ArcticCalendar(year).days for year in years]))
    days = days.append(pd.date_range(days[-1] + pd.Timedelta(1, "D"), periods=extra_days))
    data = xr.Dataset(coords={"valid_time": days, "latitude": LATITUDE, "longitude": longitude})
    for field in (("t2m", "mean"), ("tp", "sum"), ("ssrd", "sum"), ("ro", "sum")):
        values = np.concatenate([parts[year][field] for year in years])
        values = np.concatenate([values, values[:extra_days]])
        if late and field[1] == "sum":
            values = np.roll(values, late, axis=0)
        data[field[0]] = (("valid_time", "latitude", "longitude"), values, {"units": FIELDS[field]})
    encoding = {name: {"chunks": chunks} for name in data.data_vars}
    data.to_zarr(path, mode="w", zarr_format=3, consolidated=True, encoding=encoding)
    return path
