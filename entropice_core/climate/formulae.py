"""The formulae of the climate indices, on arrays (days, points); the last axis is free.

Units at this door: temperatures degC, water mm (kg m-2) a day, snow water equivalent mm, energy MJ m-2 a day. Each
docstring has a line ``Formula:`` and a line ``Source:``, from which the table of docs/era5.md is written. NaN of a
pixel is dealt with by the caller.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from entropice_core.climate.calendar import ArcticCalendar

Array: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Series: TypeAlias = Array | npt.NDArray[np.bool_]
Float64: TypeAlias = npt.NDArray[np.float64]

THAW_SPELL_DAYS = 5
SNOW_SPELL_DAYS = 14
SNOW_COVER_MM = 4.0
HEAVY_RAIN_MM = 10.0
WET_DAY_MM = 1.0
ROS_RAIN_MM = 1.0
ROS_SNOW_MM = 3.0


def as_is(x: Array) -> Array:
    """Give the daily value itself.

    Formula: x(d)
    Source: ERA5 documentation (Hersbach et al. 2020, doi:10.1002/qj.3803)
    """
    return x


def thawing(t: Array) -> Array:
    """Give the warmth above freezing, which thaws the active layer.

    Formula: max(T(d) - 0 degC, 0), T the daily mean
    Source: Boyd 1976, Canadian Geotechnical Journal 13(2)
    """
    return np.maximum(t, 0)


def freezing(t: Array) -> Array:
    """Give the cold below freezing, which cools permafrost.

    Formula: max(0 degC - T(d), 0), T the daily mean
    Source: Boyd 1976, Canadian Geotechnical Journal 13(2)
    """
    return np.maximum(-t, 0)


def is_thaw_day(t: Array) -> npt.NDArray[np.bool_]:
    """Tell whether a day thaws.

    Formula: T(d) > 0 degC, T the daily mean
    Source: ERA5 documentation (Hersbach et al. 2020, doi:10.1002/qj.3803)
    """
    return t > 0


def freezes_and_thaws(low: Array, high: Array) -> npt.NDArray[np.bool_]:
    """Tell whether temperature crosses freezing within a day, which loosens slopes and headwalls.

    Formula: Tmin(d) < 0 degC < Tmax(d)
    Source: Schmidlin et al. 1987, J. Climate Appl. Meteor. 26; strict on both sides
    """
    return (low < 0) & (high > 0)


def rain(tp: Array, sf: Array) -> Array:
    """Give the liquid part of precipitation.

    Formula: max(tp(d) - sf(d), 0)
    Source: Hersbach et al. 2020, doi:10.1002/qj.3803; snowfall is part of total precipitation
    """
    return np.maximum(tp - sf, 0)


def is_heavy_rain(tp: Array, sf: Array) -> npt.NDArray[np.bool_]:
    """Tell whether a day has heavy rain, which starts mass movements.

    Formula: rain(d) >= 10 mm
    Source: the threshold of R10mm, Zhang et al. 2011, doi:10.1002/wcc.147, on rain
    """
    return rain(tp, sf) >= HEAVY_RAIN_MM


def is_wet(tp: Array) -> npt.NDArray[np.bool_]:
    """Tell whether a day is wet.

    Formula: tp(d) >= 1 mm
    Source: R1mm, Zhang et al. 2011, doi:10.1002/wcc.147
    """
    return tp >= WET_DAY_MM


def five_day_sum(tp: Array) -> Array:
    """Give the precipitation of five days, put down at the last of them; none before the fifth day of the year.

    Formula: tp(d-4) + ... + tp(d)
    Source: Rx5day, Zhang et al. 2011, doi:10.1002/wcc.147; windows lie within the Arctic year
    """
    total = np.full(tp.shape, -np.inf)
    total[4:] = sum(tp[i : len(tp) - 4 + i].astype(np.float64) for i in range(5))
    return total


def rain_on_snow(tp: Array, sf: Array, swe: Array) -> Array:
    """Give the rain that falls on snow: ice crusts, floods, heat into the ground.

    Formula: rain(d) where rain(d) >= 1 mm and SWE(d) >= 3 mm, else 0
    Source: the concept of Cohen et al. 2015, doi:10.1002/2015GL065320; thresholds chosen here
    """
    fallen = rain(tp, sf)
    return np.where((fallen >= ROS_RAIN_MM) & (swe >= ROS_SNOW_MM), fallen, np.zeros((), fallen.dtype))


def is_rain_on_snow(tp: Array, sf: Array, swe: Array) -> npt.NDArray[np.bool_]:
    """Tell whether rain falls on snow.

    Formula: rain(d) >= 1 mm and SWE(d) >= 3 mm
    Source: the concept of Cohen et al. 2015, doi:10.1002/2015GL065320; thresholds chosen here
    """
    return (rain(tp, sf) >= ROS_RAIN_MM) & (swe >= ROS_SNOW_MM)


def has_snow_cover(swe: Array) -> npt.NDArray[np.bool_]:
    """Tell whether snow covers the ground.

    Formula: SWE(d) >= 4 mm
    Source: Chaumont et al. 2017 as in xclim (snw_days_above)
    """
    return swe >= SNOW_COVER_MM


def loss(e: Array) -> Array:
    """Turn a downward flux into a loss: ECMWF counts evaporation negative.

    Formula: -e(d)
    Source: Hersbach et al. 2020, doi:10.1002/qj.3803; fluxes are positive downwards
    """
    return -e


def thaw_season(calendar: ArcticCalendar, t: Array) -> tuple[Float64, Float64, Float64]:
    """Find the season in which the ground thaws: first day, last day, length.

    The search begins on 1 January, as the first days of October still belong to the thaw of the summer before. A
    season that goes on in October ends on 30 September here.

    Formula: onset: first day of the first 5 days in a row with T > 0 degC; end: last day of the last such spell; length = end - onset + 1, 0 without a spell
    Source: xclim first_day_temperature_above(window=5, after_date="01-01") for the onset
    """  # noqa: E501 - a formula is one line of the table
    late = is_thaw_day(t)[calendar.new_year :]
    first, last = _spells(late, THAW_SPELL_DAYS)
    onset, end = (x + calendar.new_year + 1.0 for x in (first, last + THAW_SPELL_DAYS - 1))
    return onset, end, np.where(np.isnan(onset), 0.0, end - onset + 1.0)


def snow_season(calendar: ArcticCalendar, swe: Array) -> tuple[Float64, Float64, Float64, Float64]:
    """Find the snow season: the largest water equivalent and its day, first day of lasting snow, melt-out.

    Melt-out is looked for after the maximum, so that snow that comes and goes in autumn does not end the season. It
    is missing (NaN) where snow lasts to 30 September; the onset is 1 where it already lies on 1 October.

    Formula: maximum: max SWE(d); day: the first with it; onset: first day of the first 14 days in a row with SWE >= 4 mm; melt-out: first day after the maximum of 14 days in a row, or of all days to 30 September, with less
    Source: xclim snw_season_start(window=14, thresh="4 kg m-2") for the onset
    """  # noqa: E501 - a formula is one line of the table
    most = swe.max(axis=0).astype(np.float64)
    day_of_most = swe.argmax(axis=0)
    cover = has_snow_cover(swe)
    onset, _ = _spells(cover, SNOW_SPELL_DAYS)
    day = np.arange(calendar.n_days)[:, None]
    # Days after the end of the year count as bare: a shorter bare spell that reaches 30 September is a melt-out too.
    bare = np.concatenate([~cover & (day > day_of_most), np.ones((SNOW_SPELL_DAYS, *swe.shape[1:]), dtype=bool)])
    melted, _ = _spells(bare, SNOW_SPELL_DAYS)
    melted = np.where((melted >= calendar.n_days) | np.isnan(onset), np.nan, melted)
    day_of_most = np.where(most >= SNOW_COVER_MM, day_of_most + 1.0, np.nan)
    return most, day_of_most, onset + 1.0, melted + 1.0


def warm_months(calendar: ArcticCalendar, t: Array) -> tuple[Float64]:
    """Add up how warm the warm months are, to which tundra plants respond.

    Formula: sum over months of max(monthly mean T - 0 degC, 0)
    Source: Young 1971; Walker et al. 2005, doi:10.1111/j.1654-1103.2005.tb02365.x
    """
    means = np.stack([t[days].mean(axis=0, dtype=np.float64) for days in calendar.month_slices])
    return (np.maximum(means, 0.0).sum(axis=0),)


def _spells(holds: npt.NDArray[np.bool_], length: int) -> tuple[Float64, Float64]:
    """First and last position at which ``length`` days in a row begin: (days, points) -> two (points,), NaN if none.

    >>> first, last = _spells(np.array([0, 1, 1, 0, 1, 1, 1], dtype=bool)[:, None], 2)
    >>> first.tolist(), last.tolist()
    ([1.0], [5.0])
    """
    count = np.zeros((len(holds) + 1, *holds.shape[1:]), dtype=np.int16)
    np.cumsum(holds, axis=0, dtype=np.int16, out=count[1:])
    begins = count[length:] - count[:-length] == length
    found = begins.any(axis=0)
    first = np.where(found, begins.argmax(axis=0), np.nan)
    last = np.where(found, len(begins) - 1 - begins[::-1].argmax(axis=0), np.nan)
    return first, last
