"""Whether a file holds the year that its name promises.

A file of one year that was copied under the name of another gives features that look right and are not. Only files
whose own time axis contradicts are refused; a file without one is taken at its name.
"""

from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from entropice_core.errors import SourceError

TIME_NAMES = ("time", "valid_time")


def read_days(data: xr.Dataset, dims: Iterable[str | None]) -> list[str]:
    """Days of the time axes of a file that was opened without decoding times, as ISO text, sorted.

    An axis is one of ``dims`` or is called time or valid_time, and has units such as "days since 2000-01-01". Axes of a
    climatology (CF conventions 7.4) stand for many years and are left out, as are those whose units mean nothing.
    """
    names = sorted({name for name in (*dims, *TIME_NAMES) if name is not None and name in data.variables})
    return sorted({day for name in names for day in _days(data[name].variable)})


def read_months(axis: xr.Variable) -> tuple[int, ...]:
    """Month of the year (1-12) of each step of an axis that was opened without decoding times; empty where it has none.

    A climatology has months too, although it is of no year.
    """
    days = _days(xr.Variable(axis.dims, axis.values, {k: v for k, v in axis.attrs.items() if k != "climatology"}))
    return tuple(int(day[5:7]) for day in days) if len(days) == axis.size else ()


def _days(axis: xr.Variable) -> list[str]:
    if " since " not in str(axis.attrs.get("units", "")) or "climatology" in axis.attrs:
        return []
    read = xr.Variable(axis.dims, axis.values, axis.attrs)  # not below try, as a damaged file must be told
    try:
        decoded = xr.decode_cf(xr.Dataset({"axis": read}))["axis"]
        text = decoded.dt.strftime("%Y-%m-%d")
    except (ValueError, OverflowError, AttributeError, TypeError):
        return []
    return [str(day) for day in text.where(decoded.notnull(), "").values.ravel() if day]


def check_year(path: Path, days: list[str], year: int) -> None:
    """Raise ``SourceError`` when a file has days, and most of them are of another year than it should be of.

    A year's file runs through the calendar year, or through the Arctic year from October before it: so its days lie
    between 1 October before the year and 31 December of it. The file of the next Arctic year begins in there, and has
    three quarters of its days behind.

    >>> check_year(Path("t_2022.nc"), ["2021-10-01", "2022-09-01"], 2022)
    """
    first, last = f"{year - 1:04d}-10-01", f"{year:04d}-12-31"
    inside = sum(first <= day[:10] <= last for day in days)
    is_in_year = any(day.startswith(f"{year:04d}-") for day in days)
    if days and (not is_in_year or 2 * inside <= len(days)):
        raise SourceError(
            f"{path} should be the file of {year}, but its own time axis runs from {days[0]} to {days[-1]}: put the "
            f"file of {year} there, or correct path or lag of the source."
        )
