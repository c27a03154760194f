"""A year of daily fields in a Zarr store: a folder, or an address such as those of Earth Data Hub.

Rows are read in whole chunks, all longitudes at once and each field of a year once, so that a chunk is asked for once a
year; the chunks at the two ends of a year are shared with its neighbours. Only rows north of ``south`` are looked at.

A password is taken from ``~/.netrc`` (machine and password of the hub), never from the study. A remote store has no
checksums: a study names the state it was read in (``snapshot``), and kept results belong to that name.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS

from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import BAND_BYTES, as_slice, field_of
from entropice_core.climate.field_file import READ_ERRORS, open_fields
from entropice_core.climate.hourly import Accumulation, Shift, day_totals, find_shift
from entropice_core.climate.quantities import QUANTITIES, Daily, Float32, to_unit
from entropice_core.errors import RetryableSourceError, SourceError
from entropice_core.features.layout import RasterLayout

try:
    from aiohttp import ClientError
except ImportError:  # pragma: no cover - addresses need the extra `fetch`, folders do not

    class ClientError(Exception):  # type: ignore[no-redef]
        """Stands for the errors of a library that is not there, so cannot raise them."""


_ERRORS = (*READ_ERRORS, ClientError, ImportError)
_FINAL_AFTER = pd.DateOffset(months=3)
"""ERA5 is final two to three months after a month's end; what a store has is judged by its newest day."""
_TIMES = ("valid_time", "time")


def is_address(path: str) -> bool:
    """Tell an address from a path of this machine."""
    return path.startswith(("http://", "https://"))


class DailyZarr:
    """The daily fields of one Arctic year in a Zarr store.

    Parameters
    ----------
    address : str
        Folder or http(s) address.
    calendar : ArcticCalendar
        The year.
    south : float
        Degrees north; rows whose centre lies south of it are not read.
    days_late : int
        Days by which accumulated values stand too late: 1 where the total of a day stands under the next.
    """

    def __init__(self, address: str, calendar: ArcticCalendar, south: float = -90.0, days_late: int = 0) -> None:
        self.where, self.calendar, self.days_late, self.steps = address, calendar, days_late, calendar.n_days
        self._data = open_store(address)
        try:
            self._lat, self._lon, self._time = (_coordinate(self._data, names, address) for names in _COORDINATES)
            times = self._data[self._time].values
            if times.dtype.kind != "M":
                raise SourceError(f"{address} has a time axis {self._time} without dates; daily fields need one.")
            self.days = pd.DatetimeIndex(times).floor("D")
            names = {field_of(str(n), "sum" if _is_sum(str(n)) else _statistic(str(n))): str(n) for n in self._data}
            self._names = {field: name for field, name in names.items() if field is not None}
            self.fields = frozenset(self._names)
            latitude = np.asarray(self._data[self._lat].values, dtype=np.float64)
            self._kept = np.flatnonzero(latitude >= south)
            if self._kept.size < 2:
                raise SourceError(f"{address} has {self._kept.size} rows north of {south:g} N; it lies elsewhere.")
            self._kept = np.arange(self._kept.min(), self._kept.max() + 1)
            longitude = np.asarray(self._data[self._lon].values, dtype=np.float64)
            self.layout = RasterLayout.from_centres(longitude, latitude[self._kept], CRS("EPSG:4326"))
            self._check_days()
        except BaseException:
            self._data.close()
            raise
        self.provisional_months = self._provisional()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._data.close()

    def _check_days(self) -> None:
        if self.days.has_duplicates or not self.days.is_monotonic_increasing:
            raise SourceError(f"{self.where} has days twice or out of order along {self._time}; it is damaged.")
        late = self.days_late if any(statistic == "sum" for _, statistic in self.fields) else 0
        wanted = self.calendar.days.union(self.calendar.days + pd.Timedelta(late, "D"))
        lacking = wanted.difference(self.days)
        if len(lacking):
            held = f"from {self.days[0]:%Y-%m-%d} to {self.days[-1]:%Y-%m-%d}" if len(self.days) else "nothing"
            raise SourceError(
                f"{self.where} lacks {len(lacking)} of the {len(wanted)} days of Arctic year {self.calendar.year}, the "
                f"first is {lacking[0]:%Y-%m-%d}; it holds {held}. Change the years of the study, or wait."
            )

    def _provisional(self) -> tuple[str, ...]:
        """Months that were not final when the store ended, and those that its expver calls preliminary."""
        newest = self.days[-1]
        ends = {f"{y}-{m:02d}": pd.Timestamp(y, m, 1) + pd.offsets.MonthEnd() for y, m in self.calendar.months}
        marked = {month for month, end in ends.items() if newest < end + _FINAL_AFTER}
        if "expver" in self._data.variables and self._data["expver"].dims == (self._time,):
            versions = pd.Series(self._data["expver"].values.astype(str), index=self.days)
            marked |= {f"{day:%Y-%m}" for day in versions[versions.str.lstrip("0") == "5"].index}
        return tuple(sorted(marked & set(ends)))

    def units(self, field: Daily) -> str:
        """Unit of a field."""
        return str(self._data[self._names[field]].attrs.get("units", ""))

    def bands(self) -> list[slice]:
        """Rows in whole chunks, as many as fill the allowed memory and at least one."""
        n_rows, n_columns = self.layout.shape
        chunk = self._chunk_rows()
        rows_allowed = BAND_BYTES // (4 * n_columns * self.calendar.n_days)
        height = max(chunk, rows_allowed // chunk * chunk)
        position = self._kept[0] + np.arange(n_rows)
        number = position // chunk // (height // chunk)
        if self.layout.y.order[0] > self.layout.y.order[-1]:
            number = number[::-1]
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), n_rows]
        return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def _chunk_rows(self) -> int:
        """Rows of a chunk; the largest of all fields."""
        chunks = []
        for name in self._names.values():
            sizes = self._data[name].encoding.get("preferred_chunks") or {}
            chunks.append(int(sizes.get(self._lat, self._data.sizes[self._lat])))
        return max(chunks)

    def read(self, field: Daily, rows: slice, out: Float32) -> None:
        """Read some rows of a field as stored."""
        order = self.layout.y.order[rows]
        low = int(order.min())
        late = self.days_late if field[1] == "sum" else 0
        first = int(self.days.get_indexer(self.calendar.days[:1] + pd.Timedelta(late, "D"))[0])
        window: dict[str, Any] = {
            self._time: slice(first, first + self.calendar.n_days),
            self._lat: slice(self._kept[0] + low, self._kept[0] + int(order.max()) + 1),
        }
        variable = self._data[self._names[field]].isel(window)
        variable = variable.isel({dim: 0 for dim in variable.dims if dim not in (self._time, self._lat, self._lon)})
        values = _load(variable.transpose(self._time, self._lat, self._lon), self.where)
        out[...] = values[:, as_slice((order - low).tolist())][:, :, as_slice(self.layout.x.order.tolist())]

    def check_days(self, hourly: Path, since: Accumulation) -> Shift:
        """Compare accumulated days with hourly values of some pixels of the same grid, after ``days_late`` was applied.

        Raises
        ------
        SourceError
            When the days of the store do not follow the hourly definition; says which ``days_late`` would.
        """
        file = open_fields(hourly)
        shorts = [name for name in file.units if (name, "sum") in self.fields]
        if not shorts:
            raise SourceError(f"{hourly} has no accumulated variable of {self.where}; give one with tp or ssrd.")
        short = shorts[0]
        values = to_unit(file.read(short, slice(None), slice(None)), short, file.units[short], str(hourly))
        points = values.reshape(len(values), -1).astype(np.float64)
        days, totals = day_totals(points, file.times, since, str(hourly))
        places = {"latitude": file.latitude, "longitude": file.longitude}
        if len(days) < 5:
            raise SourceError(f"{hourly} has {len(days)} whole days; at least 5 are needed to see a shift.")
        daily_days, daily = self._at(short, places, days)
        shift = find_shift(daily_days, daily, days, totals, self.where)
        if shift.days_late != self.days_late:
            raise SourceError(
                f"{self.where} has the day totals of {short} {shift.days_late:+d} day(s) late by the hourly values of "
                f"{hourly.name} ({shift.compared} days), and days_late = {self.days_late} is declared: set "
                f"days_late = {shift.days_late}."
            )
        return shift

    def _at(
        self, short: str, places: dict[str, Any], days: pd.DatetimeIndex
    ) -> tuple[pd.DatetimeIndex, np.ndarray[Any, np.dtype[np.float64]]]:
        """Daily values of a variable at the pixels and around the days of hourly values."""
        variable = self._data[self._names[short, "sum"]]
        pad = pd.Timedelta(2, "D")
        steps = np.flatnonzero((self.days >= days.min() - pad) & (self.days <= days.max() + pad))
        own_lon = np.asarray(self._data[self._lon].values) % 360.0
        own_lat = np.asarray(self._data[self._lat].values)
        rows = [int(np.abs(own_lat - each).argmin()) for each in places["latitude"]]
        columns = [int(np.abs((own_lon - each + 180.0) % 360.0 - 180.0).argmin()) for each in places["longitude"]]
        off = max(
            float(np.abs(own_lat[rows] - places["latitude"]).max()),
            float(np.abs((own_lon[columns] - places["longitude"] + 180.0) % 360.0 - 180.0).max()),
        )
        if off > 0.1 or not len(steps):
            raise SourceError(
                f"{self.where} has no pixels (nearest {off:g} degrees off) or days ({len(steps)}) of the hourly values."
            )
        part = variable.isel({self._time: steps, self._lat: rows, self._lon: columns})
        values = _load(part.transpose(self._time, self._lat, self._lon), self.where)
        unit = str(variable.attrs.get("units", ""))
        values = to_unit(values, short, unit, self.where).reshape(len(values), -1)
        return self.days[steps], values.astype(np.float64)


_COORDINATES = (("latitude", "lat"), ("longitude", "lon"), _TIMES)


def open_store(address: str) -> xr.Dataset:
    """Open a Zarr store lazily; the password of an address comes from ``~/.netrc``.

    Raises
    ------
    RetryableSourceError
        When an address does not answer.
    SourceError
        When what is there is no Zarr store, or access is denied.
    """
    # A server does not list a folder: the metadata of a store at an address must stand in one document.
    options: dict[str, Any] = {"consolidated": is_address(address)}
    if is_address(address):
        options["storage_options"] = {"client_kwargs": {"trust_env": True}}
    try:
        data: xr.Dataset = xr.open_dataset(address, engine="zarr", chunks=None, decode_timedelta=False, **options)
    except _ERRORS as error:
        raise _unreachable(address, error) from error
    return data


def _unreachable(address: str, error: BaseException) -> SourceError:
    said = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
    if isinstance(error, ImportError):
        return SourceError(f"{address} needs packages that are not installed ({said}): install entropice[fetch].")
    if any(code in said for code in ("401", "403", "Unauthorized", "Forbidden")):
        return SourceError(
            f"{address} denies access ({said}): put machine and password (an access token) into ~/.netrc."
        )
    if is_address(address) and not isinstance(error, (FileNotFoundError, KeyError, ValueError)):
        return RetryableSourceError(f"{address} does not answer as a Zarr store ({said}); try again later.")
    return SourceError(f"{address} is no Zarr store that can be read ({said}); check the address.")


def _load(variable: xr.DataArray, where: str) -> Float32:
    try:
        return np.ascontiguousarray(variable.values, dtype=np.float32)
    except _ERRORS as error:
        raise RetryableSourceError(
            f"{where} could not be read ({type(error).__name__}: {error}): a chunk is damaged or the service failed; "
            "try again."
        ) from error


def _coordinate(data: xr.Dataset, names: tuple[str, ...], where: str) -> str:
    found = next((name for name in names if name in data.coords), None)
    if found is None:
        raise SourceError(f"{where} has no coordinate {' or '.join(names)}; it has {', '.join(map(str, data.coords))}.")
    return found


def _is_sum(name: str) -> bool:
    return name in QUANTITIES and QUANTITIES[name].is_sum


def _statistic(name: str) -> str:
    """Statistic of the day of an instant variable: daily stores hold means, and extremes under names of their own."""
    return {"mx2t": "max", "mn2t": "min"}.get(name, "mean")
