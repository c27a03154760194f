"""Day totals by the hourly definition, and whether the days of a store keep to it.

ERA5 accumulates over the hour that ends at ``valid_time``: the total of a UTC day is the hours 01 to 23 of it and 00
of the next. ERA5-Land accumulates since 00 UTC: the total of a day is the value at 00 UTC of the next. A store whose
daily values stand under the day of that last hour is late by one day, which no value range shows: rain falls on the
day after, and a day of the next year comes in. So days are compared with hourly values of the same place.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from entropice_core.errors import SourceError

Float64 = npt.NDArray[np.float64]
Accumulation = Literal["hour", "day"]
"""``hour``: over the hour that ends (ERA5). ``day``: since 00 UTC (ERA5-Land)."""

FALL_TOLERANCE = 1e-6
"""By how much of the day's total an accumulation may fall from hour to hour: the packing of GRIB."""


def hourly_amounts(values: Float64, times: pd.DatetimeIndex, since: Accumulation, where: str) -> tuple[Float64, int]:
    """Turn accumulations into amounts of the hour that ends at each time.

    Parameters
    ----------
    values : (hours, points) float64
        As served.
    times : (hours,)
        ``valid_time``, hour by hour.
    since : "hour" or "day"
        How the source accumulates.
    where : str
        Named in errors.

    Returns
    -------
    amounts : (hours, points) float64
        NaN in the first hour of an accumulation since 00 UTC unless that is 01 UTC.
    corrected : int
        Falls within the packing that were set to zero.

    Raises
    ------
    SourceError
        When an accumulation falls within a day, or hours are missing.

    Examples
    --------
    >>> hours = pd.date_range("2023-06-01T01:00", periods=3, freq="h")
    >>> hourly_amounts(np.array([[1.0], [1.0], [4.0]]), hours, "day", "x.nc")[0].ravel().tolist()
    [1.0, 0.0, 3.0]
    """
    _check_hours(times, where)
    if since == "hour":
        amounts = values.copy()
    else:
        amounts = np.vstack([np.full_like(values[:1], np.nan), np.diff(values, axis=0)])
        amounts[times.hour == 1] = values[times.hour == 1]
    allowed = FALL_TOLERANCE * max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-12)
    falls = amounts < -allowed
    if falls.any():
        hour, point = (int(each[0]) for each in np.nonzero(falls))
        what = "is negative" if since == "hour" else "falls within the day"
        raise SourceError(
            f"{where} has an accumulation that {what} at {times[hour]} in pixel {point}, by {-amounts[hour, point]:g} "
            f"({int(falls.sum())} such values): it is not accumulated per {since}, or damaged; fetch it again."
        )
    small = amounts < 0.0
    amounts[small] = 0.0
    return amounts, int(small.sum())


def day_totals(
    values: Float64, times: pd.DatetimeIndex, since: Accumulation, where: str
) -> tuple[pd.DatetimeIndex, Float64]:
    """Total of each UTC day of which all 24 hours are there.

    Returns
    -------
    days : (days,)
    totals : (days, points) float64
    """
    amounts, _ = hourly_amounts(values, times, since, where)
    # The hour that ends at 00 UTC belongs to the day before.
    day = (times - pd.Timedelta(1, "h")).floor("D")
    kept = pd.DatetimeIndex([d for d in day.unique() if (day == d).sum() == 24])
    totals = np.stack([amounts[day == d].sum(axis=0) for d in kept]) if len(kept) else np.empty((0, values.shape[1]))
    return kept, totals


def day_statistics(
    values: Float64, times: pd.DatetimeIndex, where: str
) -> tuple[pd.DatetimeIndex, Float64, Float64, Float64]:
    """Mean, minimum and maximum of the 24 hourly values 00 to 23 UTC of each whole day: days, then (days, points)."""
    _check_hours(times, where)
    day = times.floor("D")
    kept = pd.DatetimeIndex([d for d in day.unique() if (day == d).sum() == 24])
    parts = [values[day == d] for d in kept]
    mean, low, high = (np.stack([reduce(part, axis=0) for part in parts]) for reduce in (np.mean, np.min, np.max))
    return kept, mean, low, high


@dataclass(frozen=True)
class Shift:
    """By how many days the days of a store are late, and how well each candidate fits.

    ``misfit`` : root mean square of the difference for -1, 0 and 1 days, in the unit of the values.
    """

    days_late: int
    misfit: dict[int, float]
    compared: int


def find_shift(
    days: pd.DatetimeIndex, daily: Float64, hourly_days: pd.DatetimeIndex, totals: Float64, where: str
) -> Shift:
    """Compare daily values of a store with totals of the hourly definition, one day early, on time and one day late.

    Parameters
    ----------
    days : (days,)
        Days of the store.
    daily : (days, points) float64
        Its daily sums.
    hourly_days, totals : (m,), (m, points)
        What ``day_totals`` made of hourly values at the same points.
    where : str
        Named in errors.

    Raises
    ------
    SourceError
        With fewer than five common days, or when no candidate fits clearly: another place, unit or variable.

    Examples
    --------
    >>> days = pd.date_range("2023-01-01", periods=9)
    >>> rain = np.array([0.0, 5.0, 0.0, 0.0, 7.0, 1.0, 0.0, 2.0, 0.0])[:, None]
    >>> find_shift(days, np.roll(rain, 1, axis=0), days, rain, "store").days_late
    1
    """
    own = pd.Index(days)
    misfit: dict[int, float] = {}
    compared = 0
    for late in (-1, 0, 1):
        position = own.get_indexer(hourly_days + pd.Timedelta(late, "D"))
        found = position >= 0
        # The first and last day have no neighbour: all candidates are judged by the same days.
        found[[0, -1]] = False
        compared = int(found.sum())
        if compared < 5:
            raise SourceError(f"{where} shares {compared} days with the hourly values, at least 5 are needed.")
        difference = daily[position[found]] - totals[found]
        misfit[late] = float(np.sqrt(np.nanmean(difference**2)))
    best = min(misfit, key=lambda late: misfit[late])
    others = min(value for late, value in misfit.items() if late != best)
    if not misfit[best] < 0.2 * others:
        told = ", ".join(f"{late:+d} d: {value:.3g}" for late, value in misfit.items())
        raise SourceError(
            f"{where} does not fit the hourly values at any shift (root mean square difference {told}): "
            "compare the same variable, unit and place over days with weather."
        )
    return Shift(best, misfit, compared)


def _check_hours(times: pd.DatetimeIndex, where: str) -> None:
    steps = np.diff(times.values)
    if len(times) < 2 or (steps != np.timedelta64(1, "h")).any():
        odd = int(np.flatnonzero(steps != np.timedelta64(1, "h"))[0]) if len(times) > 1 else 0
        raise SourceError(f"{where} is not hourly after {times[odd] if len(times) else 'no time'}: fetch all hours.")
