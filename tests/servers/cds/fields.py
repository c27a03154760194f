"""Generated fields in the layouts that the service serves since 2024."""

from calendar import monthrange
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

if TYPE_CHECKING:
    from tests.servers.cds.model import Job
    from tests.servers.cds.server import CdsServer

FIELDS = {  # CDS name: NetCDF name, GRIB short name, GRIB number, units, is accumulated, mean, amplitude
    "2m_temperature": ("t2m", "2t", 167, "K", False, 262.0, 22.0),
    "skin_temperature": ("skt", "skt", 235, "K", False, 261.0, 23.0),
    "snow_depth": ("sd", "sd", 141, "m of water equivalent", False, 0.1, 0.1),
    "soil_temperature_level_1": ("stl1", "stl1", 139, "K", False, 265.0, 12.0),
    "total_precipitation": ("tp", "tp", 228, "m", True, 0.002, 0.001),
    "snowfall": ("sf", "sf", 144, "m of water equivalent", True, 0.001, 0.0005),
    "surface_solar_radiation_downwards": ("ssrd", "ssrd", 169, "J m**-2", True, 1e7, 9e6),
}
LAND_FIELDS = {
    **{name: field for name, field in FIELDS.items() if name != "snow_depth"},
    "snow_depth_water_equivalent": FIELDS["snow_depth"],
    "snow_depth": ("sde", "sde", 3066, "m", False, 0.4, 0.3),
    "snow_cover": ("snowc", "snowc", 260038, "%", False, 50.0, 40.0),
    "total_evaporation": ("e", "e", 182, "m of water equivalent", True, -0.001, 0.0005),
}
SEA_NORTH_OF = 78.0
"""ERA5-Land has no values over the sea; here that is everything north of this."""


def fields_of(process: str) -> dict[str, Any]:
    """The variables of a data set: ERA5 and ERA5-Land mean different things by snow_depth."""
    return LAND_FIELDS if "-land" in process else FIELDS


def make_dataset(cds: "CdsServer", job: "Job", names: list[str], wrong: str = "") -> xr.Dataset:
    """Fields of some variables in the layout that the service serves since 2024."""
    north, west, south, east = job.inputs.get("area", [90, -180, -90, 180])
    lat = np.arange(north, (north + south) / 2 if wrong == "half_area" else south - 1e-6, -cds.step)
    lon = np.arange(west, min(east + 1e-6, west + 360 - 1e-6), cds.step)
    known, is_midnight = fields_of(job.process), job.process == "reanalysis-era5-land"
    times = make_times(job, known[names[0]][4], cds.accumulated_hour)[: -1 if wrong == "missing_step" else None]
    is_monthly = "monthly-means" in job.process
    dims = ("valid_time", "latitude", "longitude")
    variables = {}
    for name in names:
        short, grib, param, units, is_accumulated, *_ = known[name]
        days = times - pd.Timedelta(days=1) if is_midnight and is_accumulated else times
        values = np.full((len(times), lat.size, lon.size), np.nan) if wrong == "all_nan" else field_of(
            name, days, lat, lon, as_list(job.inputs.get("daily_statistic", ["daily_mean"]))[0]
        )  # fmt: skip
        if "-land" in job.process:
            values = np.where((lat > SEA_NORTH_OF)[None, :, None], np.nan, values)
        kind = ("avgad" if is_accumulated else "avgua") if is_monthly else "accum" if is_midnight else "instant"
        variables[short] = (dims, values.astype(np.float32), _grib(name, grib, param, units, kind, values[0].size))
    coords: dict[str, Any] = {
        "number": ((), np.int64(0), {"long_name": "ensemble member numerical id", "units": "1"}),
        "valid_time": ("valid_time", times, {"long_name": "time", "standard_name": "time"}),
        "latitude": ("latitude", lat, {"units": "degrees_north", "standard_name": "latitude",
                                       "long_name": "latitude", "stored_direction": "decreasing"}),
        "longitude": ("longitude", lon, {"units": "degrees_east", "standard_name": "longitude",
                                         "long_name": "longitude"}),
    }  # fmt: skip
    if (is_monthly or is_midnight) and cds.expver is not None:
        coords["expver"] = ("valid_time", np.array([cds.expver(t.year, t.month) for t in times], dtype=object))
    attrs = {"GRIB_centre": "ecmf", "GRIB_subCentre": 0, "Conventions": "CF-1.7",
             "institution": "European Centre for Medium-Range Weather Forecasts"}  # fmt: skip
    made = xr.Dataset(variables, coords, attrs)
    return made.squeeze("valid_time") if cds.squeeze else made


def make_times(job: "Job", is_accumulated: bool, hour: int) -> pd.DatetimeIndex:
    """Months, with another hour for means of accumulated variables, or days."""
    months = [(int(y), int(m)) for y in as_list(job.inputs["year"]) for m in as_list(job.inputs["month"])]
    if "monthly-means" in job.process:
        return pd.DatetimeIndex([pd.Timestamp(y, m, 1, hour if is_accumulated else 0) for y, m in sorted(months)])
    days = [int(d) for d in as_list(job.inputs["day"])]
    return pd.DatetimeIndex(
        [pd.Timestamp(y, m, d) for y, m in sorted(months) for d in days if d <= monthrange(y, m)[1]]
    )


def field_of(name: str, times: pd.DatetimeIndex, lat: Any, lon: Any, statistic: str = "daily_mean") -> Any:
    """A smooth field whose every value can be told from its place and time: (time, latitude, longitude)."""
    *_, mean, amplitude = {**LAND_FIELDS, **FIELDS}[name]
    season = -np.cos(2 * np.pi * (np.asarray(times.day_of_year) - 15) / 365.25)[:, None, None]
    south = np.sin(np.radians(90 - lat))[None, :, None]
    east = np.cos(np.radians(lon))[None, None, :]
    shift = {"daily_minimum": -0.2, "daily_maximum": 0.2}.get(statistic, 0.0)
    wave = (
        0.6 * season + 0.2 * south + 0.1 * east * south + shift + 0.001 * (np.asarray(times.year)[:, None, None] - 2020)
    )
    return mean + amplitude * wave


def _grib(name: str, short: str, param: int, units: str, kind: str, points: int) -> dict[str, Any]:
    return {
        "GRIB_paramId": param, "GRIB_dataType": "an", "GRIB_numberOfPoints": points, "GRIB_typeOfLevel": "surface",
        "GRIB_stepUnits": 1, "GRIB_stepType": kind, "GRIB_gridType": "regular_ll", "GRIB_name": name.replace("_", " "),
        "GRIB_shortName": short, "GRIB_units": units, "long_name": name.replace("_", " "), "units": units,
        "standard_name": "unknown", "GRIB_missingValue": 3.4028234663852886e38,
    }  # fmt: skip


def as_list(value: Any) -> list[Any]:
    """Take one value or several."""
    return list(value) if isinstance(value, list | tuple) else [value]
