"""What came, compared with what was asked: variables, months or days, area, and whether it is final.

The service drops variables without an error (it only writes a line into the job's log), so a file that opens proves
nothing. Every value is read once: a truncated file opens and fails only then.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from entropice_core.errors import SourceError
from entropice_core.fetch.calendar import month_key as month_key
from entropice_core.fetch.plan import Request
from entropice_core.fetch.variables import Variable

FINAL, PRELIMINARY = "0001", "0005"


@dataclass
class Received:
    """What the files of a result hold.

    ``expver`` maps a month (``2021-03``) to the experiment versions of its steps: ``0001`` is final, ``0005`` ERA5T,
    none when the file does not say. ``missing`` names what was asked for and did not come.
    """

    variables: dict[str, str] = field(default_factory=dict)
    nan_share: dict[str, float] = field(default_factory=dict)
    expver: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def open_netcdf(path: Path) -> xr.Dataset:
    """Open a NetCDF of any kind lazily; ``SourceError`` names the file if it is torn."""
    with path.open("rb") as file:
        is_hdf = file.read(4) == b"\x89HDF"
    try:
        return xr.open_dataset(path, engine="h5netcdf" if is_hdf else "scipy", decode_timedelta=False)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError) as error:
        raise SourceError(f"{path} cannot be read as NetCDF ({error}); fetch it again.") from error


def inspect(request: Request, files: Iterable[Path], *, allow_gaps: bool = False, said: Iterable[str] = ()) -> Received:
    """Read every value of a result and compare it with the request.

    Parameters
    ----------
    request : Request
        What was asked.
    files : iterable of Path
        NetCDF files, variables split among them as the service likes.
    allow_gaps : bool
        Variables that did not come are recorded as missing instead of being an error.
    said : iterable of str
        Lines of the job's log, which go into the error.

    Raises
    ------
    SourceError
        For a missing variable, month or day, another area, a variable without any value, or a torn file.
    """
    received = Received()
    for path in files:
        with open_netcdf(path) as data:
            _add(received, request, path, data)
    received.missing = [v for v in request.variables if v not in received.variables]
    if received.missing and (not allow_gaps or not received.variables):
        hints = [line for line in said if "skipping" in line.lower() or "not available" in line.lower()]
        told = f" (the service says: {' / '.join(hints)})" if hints else ""
        raise SourceError(
            f"The Climate Data Store left {', '.join(received.missing)} out of {request}{told}: ask without "
            f"{'it' if len(received.missing) == 1 else 'them'}, or declare the gap with --allow-gaps."
        )
    return received


def short_in(data: xr.Dataset, variable: Variable) -> str | None:
    """Give the name of a variable in a file: its short name, or whatever bears its GRIB number."""
    if variable.short in data.data_vars:
        return variable.short
    numbered = [n for n in data.data_vars if data[n].attrs.get("GRIB_paramId") == variable.param]
    return str(numbered[0]) if numbered else None


def time_of(data: xr.Dataset, path: Path) -> pd.DatetimeIndex:
    """Read the times of a file; ``valid_time`` since 2024, ``time`` before."""
    name = next((n for n in ("valid_time", "time") if n in data.dims or n in data.coords), None)
    if name is None or not np.issubdtype(data[name].dtype, np.datetime64):
        raise SourceError(f"{path} has no time coordinate valid_time; it has {', '.join(map(str, data.coords))}.")
    return pd.DatetimeIndex(np.atleast_1d(data[name].values))


def _add(received: Received, request: Request, path: Path, data: xr.Dataset) -> None:
    for name in request.variables:
        short = short_in(data, request.variable(name))
        if short is None:
            continue
        if name in received.variables:
            raise SourceError(f"{path} holds {short} once more: two files of one result have it.")
        _check_times(request, path, time_of(data, path), short)
        _check_area(request, path, data)
        received.nan_share[name] = nan_share(path, data[short])
        received.variables[name] = f"{path.name}:{short}"
    for month, versions in _expver(path, data).items():
        received.expver[month] = sorted({*received.expver.get(month, []), *versions})


def _check_times(request: Request, path: Path, times: pd.DatetimeIndex, short: str) -> None:
    if request.product == "monthly":
        expected = [month_key(m) for m in request.months]
        found = list(times.strftime("%Y-%m"))
    else:
        expected = [f"{month_key(m)}-{d:02d}" for m in request.months for d in request.days_of(m)]
        found = list(times.strftime("%Y-%m-%d"))
    if sorted(found) != expected:
        lacking = sorted(set(expected) - set(found))
        surplus = sorted(set(found) - set(expected)) or sorted({t for t in found if found.count(t) > 1})
        told = [f"; missing: {_few(lacking)}"] * bool(lacking) + [f"; not asked for: {_few(surplus)}"] * bool(surplus)
        raise SourceError(
            f"{path} has {len(found)} steps of {short} and {len(expected)} were asked for{''.join(told)}."
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_area(request: Request, path: Path, data: xr.Dataset) -> None:
    """A box must reach its edges to within one grid step; longitudes may count from 0 or from -180."""
    if "latitude" not in data.coords or "longitude" not in data.coords:
        raise SourceError(f"{path} has no coordinates latitude and longitude.")
    lat, lon = (np.atleast_1d(np.asarray(data[n].values, dtype=float)) for n in ("latitude", "longitude"))
    north, west, south, east = request.area
    step = max(_step(lat), _step(lon))
    lon = np.sort((lon - west + 1e-9) % 360.0)
    reaches = (
        lat.max() > north - step and lat.min() < south + step and lon[0] < step and lon[-1] > east - west - step - 1e-6
    )
    exceeds = lat.max() > north + step or lat.min() < south - step or lon[-1] > east - west + step
    if not reaches or exceeds:
        got = f"{lat.max():g} N, {lon[0] + west:g} E to {lat.min():g} N, {lon[-1] + west:g} E"
        asked = f"{north:g} N, {west:g} E to {south:g} N, {east:g} E"
        raise SourceError(f"{path} covers {got}, and {asked} was asked for; fetch it again.")


def _step(values: Any) -> float:
    return float(np.abs(np.diff(values)).min()) + 1e-6 if values.size > 1 else 1.0


def nan_share(path: Path, values: xr.DataArray) -> float:
    """Read every value and give the share that is missing; ``SourceError`` for a torn file or one without values."""
    try:
        share = float(np.isnan(values.values).mean())
    except (OSError, ValueError, TypeError, RuntimeError, EOFError, IndexError) as error:
        raise SourceError(f"{path} is torn: {values.name} cannot be read ({error}); fetch it again.") from error
    if share == 1.0:
        raise SourceError(f"{path} has no value of {values.name}, only missing ones; fetch it again.")
    return share


def _expver(path: Path, data: xr.Dataset) -> dict[str, set[str]]:
    """Read the experiment version of each month; it stands beside the time, or is one for all."""
    if "expver" not in data.variables:
        return {}
    times = time_of(data, path).strftime("%Y-%m")
    versions = np.atleast_1d(np.asarray(data["expver"].values).astype(str))
    if versions.size not in (1, len(times)):
        raise SourceError(
            f"{path} mixes final and preliminary values (expver {', '.join(versions)} along a dimension of its own): "
            "files of the service from before 2024 are not read; fetch it again."
        )
    found: dict[str, set[str]] = {}
    for month, version in zip(times, np.broadcast_to(versions, len(times)), strict=True):
        found.setdefault(str(month), set()).add(f"{int(version):04d}" if version.isdecimal() else str(version))
    return found
