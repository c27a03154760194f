"""One NetCDF file of fields on latitude and longitude: what it has, and parts of it as float32.

A year is hundreds of files, and a general reader takes a tenth of a second to open each; HDF5 itself takes a
thousandth. So NetCDF4 is read by h5py, and NetCDF3 by xarray. Nothing stays open between calls.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from entropice_core.climate.grib import describe_grib
from entropice_core.climate.quantities import Float32
from entropice_core.errors import SourceError
from entropice_core.grids.base import Float64
from entropice_core.sources.formats import Format, sniff_format

READ_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, EOFError, AssertionError)
_TIMES = ("valid_time", "time")
_DIMS = (*_TIMES, "latitude", "longitude")
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_Texts: TypeAlias = dict[str, str]
_STEPS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}


@dataclass(frozen=True)
class FieldFile:
    """What a file holds; made by `open_fields`.

    ``units`` : unit of each variable that has latitude and longitude. ``latitude``, ``longitude`` : degrees, in the
    file's order. ``attrs`` : text attributes of the file.
    """

    path: Path
    known: Format
    times: pd.DatetimeIndex
    latitude: Float64
    longitude: Float64
    units: dict[str, str]
    attrs: dict[str, str]

    def read_into(self, name: str, rows: slice, out: Float32) -> bool:
        """Read all steps of some rows straight into ``out`` (steps, rows, columns); False where that cannot be done.

        It can where a variable is stored as float32 in this order, without packing; NaN is its only missing value.
        """
        if self.known is Format.NETCDF3 or not out.flags.c_contiguous:
            return False
        try:
            with h5py.File(self.path, "r") as file:
                stored = file[name]
                attrs = [key for key in ("_FillValue", "missing_value") if key in stored.attrs]
                is_plain = stored.dtype == np.float32 and _dims(stored)[-2:] == ("latitude", "longitude")
                is_plain &= stored.ndim == 3 and not {"scale_factor", "add_offset"} & set(stored.attrs)
                if not is_plain or any(np.isfinite(np.ravel(stored.attrs[key])[0]) for key in attrs):
                    return False
                stored.read_direct(out, np.s_[:, rows, :])
                return True
        except READ_ERRORS as error:
            raise self._torn(name, error) from error

    def _torn(self, name: str, error: BaseException) -> SourceError:
        return SourceError(
            f"{self.path} is torn: {name} cannot be read ({type(error).__name__}: {error}); fetch it again."
        )

    def read(self, name: str, steps: slice, rows: slice) -> Float32:
        """Read some steps and rows of a variable, NaN where it is missing: (steps, rows, columns) float32."""
        try:
            if self.known is Format.NETCDF3:
                return self._read_netcdf3(name, steps, rows)
            with h5py.File(self.path, "r") as file:
                return _read_hdf(file[name], _dims(file[name]), steps, rows)
        except READ_ERRORS as error:
            raise self._torn(name, error) from error

    def _read_netcdf3(self, name: str, steps: slice, rows: slice) -> Float32:
        with xr.open_dataset(self.path, engine="scipy", decode_times=False, cache=False) as data:
            variable = data[name]
            window = {"latitude": rows} | {time: steps for time in _TIMES if time in variable.dims}
            others = {dim: 0 for dim in variable.dims if dim not in _DIMS}
            order = [dim for dim in _DIMS if dim in variable.dims]
            values = variable.isel({**window, **others}).transpose(*order).values
        return np.asarray(values, dtype=np.float32).reshape(-1, *values.shape[-2:])


def open_fields(path: Path) -> FieldFile:
    """Look into a NetCDF file; what else it is, GRIB that is cut short included, is said in the error.

    Raises
    ------
    SourceError
        For another format, a torn file, a file without the coordinates, and calendars without all real days.
    """
    with path.open("rb") as file:
        if file.read(4) == b"GRIB":
            raise SourceError(f"{path} is {describe_grib(path)}; climate is read from NetCDF: fetch it as such.")
    known = sniff_format(path)
    if known not in (Format.NETCDF4, Format.NETCDF3):
        raise SourceError(f"{path} is {known.value}; climate is read from NetCDF.")
    try:
        with _contents(path, known) as (coordinates, time_attrs, units, attrs):
            times = _times(path, coordinates["time"], time_attrs)
            return FieldFile(path, known, times, coordinates["latitude"], coordinates["longitude"], units, attrs)
    except READ_ERRORS as error:
        raise SourceError(
            f"{path} cannot be read as {known.value} with valid_time, latitude and longitude "
            f"({type(error).__name__}: {error}); fetch it again."
        ) from error


@contextmanager
def _contents(path: Path, known: Format) -> Iterator[tuple[dict[str, Any], _Texts, _Texts, _Texts]]:
    """Coordinates, attributes of the time, units of the variables, attributes of the file."""
    if known is Format.NETCDF3:
        with xr.open_dataset(path, engine="scipy", decode_times=False, cache=False) as data:
            time = next(name for name in _TIMES if name in data.variables)
            named = {"time": time, "latitude": "latitude", "longitude": "longitude"}
            units = {str(n): str(v.attrs.get("units", "")) for n, v in data.data_vars.items() if _is_field(v.dims)}
            values = {key: np.asarray(data[name].values, dtype=np.float64) for key, name in named.items()}
            yield values, _texts(data[time].attrs), units, _texts(data.attrs)
        return
    with h5py.File(path, "r") as file:
        time = next(name for name in _TIMES if name in file)
        named = {"time": time, "latitude": "latitude", "longitude": "longitude"}
        fields = {n: v for n, v in file.items() if isinstance(v, h5py.Dataset) and _is_field(_dims(v))}
        units = {name: _text(v.attrs.get("units", "")) for name, v in fields.items()}
        values = {key: np.asarray(file[name][()], dtype=np.float64) for key, name in named.items()}
        yield values, _texts(file[time].attrs), units, _texts(file.attrs)


def _is_field(dims: tuple[Any, ...]) -> bool:
    return "latitude" in dims and "longitude" in dims


def _dims(variable: h5py.Dataset) -> tuple[str, ...]:
    """Names of the dimensions of a NetCDF4 variable, which HDF5 keeps as scales."""
    if variable.ndim < 2:
        return ()
    return tuple(dim[0].name.rpartition("/")[2] if len(dim) else "" for dim in variable.dims)


def _read_hdf(variable: h5py.Dataset, dims: tuple[str, ...], steps: slice, rows: slice) -> Float32:
    chosen: dict[str, Any] = {"latitude": rows, "longitude": slice(None), "valid_time": steps, "time": steps}
    stored = variable[tuple(chosen.get(dim, 0) for dim in dims)]
    kept = [dim for dim in dims if dim in _DIMS]
    order = [kept.index(dim) for dim in _DIMS if dim in kept]
    stored = stored.transpose(order) if order != sorted(order) else stored
    attrs = variable.attrs
    fills = [np.ravel(attrs[key])[0] for key in ("_FillValue", "missing_value") if key in attrs]
    missing = [stored == fill for fill in fills if np.isfinite(fill)]
    values: Float32 = stored.astype(np.float32, copy=False)
    if "scale_factor" in attrs or "add_offset" in attrs:
        scale, offset = (float(np.ravel(attrs.get(k, d))[0]) for k, d in (("scale_factor", 1.0), ("add_offset", 0.0)))
        values = (stored * scale + offset).astype(np.float32)
    for each in missing:
        values[each] = np.nan
    return values.reshape(-1, *values.shape[-2:])


def _times(path: Path, values: Float64, attrs: dict[str, str]) -> pd.DatetimeIndex:
    """Decode times such as ``seconds since 1970-01-01``; only calendars of real days are taken."""
    calendar = attrs.get("calendar", "standard").lower()
    if calendar not in _CALENDARS:
        raise SourceError(
            f"{path} counts time in the calendar {calendar!r}, which has no 29 February or other days that are none: "
            "daily fields need the calendar of real days."
        )
    step, _, start = attrs.get("units", "").partition(" since ")
    if step not in _STEPS or not start:
        raise SourceError(f"{path} has time in {attrs.get('units')!r}, expected such as 'seconds since 1970-01-01'.")
    reference = pd.Timestamp(start.replace("T", " ").removesuffix(" UTC"))
    since = np.round(np.atleast_1d(values) * _STEPS[step]).astype("timedelta64[s]")
    return pd.DatetimeIndex(reference.tz_localize(None).to_datetime64() + since)


def _texts(attrs: Any) -> dict[str, str]:
    return {str(key): _text(value) for key, value in dict(attrs).items() if isinstance(value, (str, bytes, np.bytes_))}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
