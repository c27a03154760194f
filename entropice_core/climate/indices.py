"""The one table of all climate indices: what each is called, its unit, what it needs and by which formula it is made.

Names follow one scheme, ``<quantity>_<season>_<statistic>_<unit>``:

* season: ``year`` is the Arctic year, ``son``, ``djf``, ``mam``, ``jja`` its seasons (``calendar.SEASONS``);
* statistic: ``mean``, ``min``, ``max``, ``sum`` and ``count`` of days are taken over the season's days; ``day`` is a
  day of the Arctic year, 1 is 1 October; ``length`` counts days from one to another; ``ratio`` is of two others;
* unit: ``degC``, ``K_d``, ``K_month``, ``d``, ``mm``, ``MJ_m2``, ``m3_m3``, ``1``. A millimetre of water is 1 kg m-2.

**Indices are computed on pixels, then averaged over cells.** The other order would lose thaw in cells where only the
valley thaws: max(mean T, 0) is less than mean(max(T, 0)). It costs one pass over the fields whatever the number of
grids and levels. Ratios alone are formed of the cell's averages, as small denominators of single pixels would rule.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from entropice_core.climate import formulae as f
from entropice_core.climate.calendar import SEASONS, ArcticCalendar
from entropice_core.climate.quantities import QUANTITIES, Daily
from entropice_core.errors import ConfigError, nearest_hint

Statistic = Literal["mean", "min", "max", "sum", "count", "day", "length", "ratio"]

UNIT_WORDS = {"degC": "degC", "K d": "K_d", "K month": "K_month", "d": "d", "mm": "mm", "MJ m-2": "MJ_m2"} | {
    "m3 m-3": "m3_m3",
    "1": "1",
}


@dataclass(frozen=True)
class Index:
    """One index: one feature of a cell.

    ``unit``: as UDUNITS reads it. ``standard_name``: of CF, empty where CF has none. ``formula`` is the function whose
    docstring states formula and source.
    """

    quantity: str
    season: str
    statistic: Statistic
    unit: str
    long_name: str
    needs: tuple[Daily, ...]
    formula: Callable[..., object]
    standard_name: str = ""

    @property
    def name(self) -> str:
        """Name by the scheme."""
        return f"{self.quantity}_{self.season}_{self.statistic}_{UNIT_WORDS[self.unit]}"

    @property
    def cell_methods(self) -> str:
        """How CF says what was done along time and over the cell."""
        over = {"mean": "mean", "min": "minimum", "max": "maximum", "sum": "sum", "count": "sum"}.get(self.statistic)
        return "area: mean" if over is None else f"time: {over} area: mean"


@dataclass(frozen=True)
class BySeason:
    """Indices that reduce a daily series over each season.

    ``daily`` makes the series (days, points) from the fields; ``reduce`` is the statistic over the season's days.
    """

    quantity: str
    unit: str
    reduce: Literal["mean", "min", "max", "sum", "count"]
    needs: tuple[Daily, ...]
    daily: Callable[..., f.Series]
    long_name: str
    standard_name: str = ""

    @property
    def indices(self) -> list[Index]:
        """One index a season."""
        return [
            Index(self.quantity, season, self.reduce, self.unit, f"{self.long_name}, {_WORDS[season]}", self.needs,
                  self.daily, self.standard_name)
            for season in SEASONS
        ]  # fmt: skip

    def compute(self, calendar: ArcticCalendar, *fields: f.Array) -> list[f.Float64]:
        """Fields (days, points) -> one (points,) an index."""
        series = self.daily(*fields)
        if self.reduce in ("min", "max"):
            best = np.minimum if self.reduce == "min" else np.maximum
            monthly = np.stack([best.reduce(series[days], axis=0) for days in calendar.month_slices])
            found = [best.reduce(monthly[calendar.months_of(s)], axis=0).astype(np.float64) for s in SEASONS]
            return [np.where(np.isinf(values), np.nan, values) for values in found]
        monthly = np.stack([series[days].sum(axis=0, dtype=np.float64) for days in calendar.month_slices])
        sums = [(calendar.months_of(season), season) for season in SEASONS]
        divide = calendar.days_in_month if self.reduce == "mean" else None
        return [
            monthly[months].sum(axis=0) / (1 if divide is None else divide[months].sum()) for months, _ in sums
        ]  # fmt: skip


@dataclass(frozen=True)
class OfYear:
    """Indices that need the whole year at once: first days, spells, maxima of a year."""

    needs: tuple[Daily, ...]
    formula: Callable[..., tuple[f.Float64, ...]]
    outputs: tuple[tuple[str, Statistic, str, str, str], ...]

    @property
    def indices(self) -> list[Index]:
        """One index an output: quantity, statistic, unit, long name, standard name."""
        return [
            Index(quantity, "year", statistic, unit, long_name, self.needs, self.formula, standard_name)
            for quantity, statistic, unit, long_name, standard_name in self.outputs
        ]

    def compute(self, calendar: ArcticCalendar, *fields: f.Array) -> list[f.Float64]:
        """Fields (days, points) -> one (points,) an index."""
        return list(self.formula(calendar, *fields))


@dataclass(frozen=True)
class Ratio:
    """A ratio of two other indices, formed of the cell's averages; NaN where the denominator is below ``least``."""

    index: Index
    numerator: str
    denominator: str
    least: float

    def compute(self, columns: Mapping[str, f.Array]) -> f.Array:
        """Averages of the cells by name, each (cells,) -> (cells,)."""
        above, below = columns[self.numerator], columns[self.denominator]
        enough = below >= self.least
        return np.where(enough, above / np.where(enough, below, 1.0), np.nan)


Spec = BySeason | OfYear

_WORDS = {
    "year": "Arctic year",
    "son": "autumn (SON of the Arctic year)",
    "djf": "winter (DJF)",
    "mam": "spring (MAM)",
    "jja": "summer (JJA)",
}
_T, _TMIN, _TMAX = ("t2m", "mean"), ("t2m", "min"), ("t2m", "max")
_SOIL, _TP, _SF, _SD = ("stl1", "mean"), ("tp", "sum"), ("sf", "sum"), ("sd", "mean")
_EXCESS, _DEFICIT = (f"integral_wrt_time_of_air_temperature_{what}" for what in ("excess", "deficit"))


def _means(short: str, standard_name: str) -> BySeason:
    quantity = QUANTITIES[short]
    name = f"mean {quantity.long_name}"
    return BySeason(short, quantity.unit, "mean", ((short, "mean"),), f.as_is, name, standard_name)


def _sums(short: str, standard_name: str = "", name: str = "", daily: Callable[..., f.Array] = f.as_is) -> BySeason:
    quantity = QUANTITIES[short]
    needs = ((short, "sum"),)
    return BySeason(name or short, quantity.unit, "sum", needs, daily, f"sum of {quantity.long_name}", standard_name)


SPECS: tuple[Spec, ...] = (
    _means("t2m", "air_temperature"),
    BySeason("thawing_degree_days", "K d", "sum", (_T,), f.thawing, "thawing degree days of the air", _EXCESS),
    BySeason("freezing_degree_days", "K d", "sum", (_T,), f.freezing, "freezing degree days of the air", _DEFICIT),
    BySeason("thaw_days", "d", "count", (_T,), f.is_thaw_day, "days with a mean above 0 degC"),
    OfYear(
        (_T,),
        f.thaw_season,
        (
            ("thaw_onset", "day", "d", "first day of the thaw season, counted from 1 October as 1", ""),
            ("thaw_end", "day", "d", "last day of the thaw season, counted from 1 October as 1", ""),
            ("thaw_season", "length", "d", "length of the thaw season", ""),
        ),
    ),
    OfYear((_T,), f.warm_months, (("summer_warmth_index", "sum", "K month", "summer warmth index", ""),)),
    BySeason("t2m", "degC", "min", (_TMIN,), f.as_is, "lowest 2 m temperature", "air_temperature"),
    BySeason("freeze_thaw_days", "d", "count", (_TMIN, _TMAX), f.freezes_and_thaws, "days that freeze and thaw"),
    BySeason("t2m", "degC", "max", (_TMAX,), f.as_is, "highest 2 m temperature", "air_temperature"),
    _means("d2m", "dew_point_temperature"),
    _means("skt", "surface_temperature"),
    _means("stl1", "soil_temperature"),
    BySeason("soil_thawing_degree_days", "K d", "sum", (_SOIL,), f.thawing, "thawing degree days, soil 0-7 cm"),
    BySeason("soil_freezing_degree_days", "K d", "sum", (_SOIL,), f.freezing, "freezing degree days, soil 0-7 cm"),
    *(_means(f"stl{level}", "soil_temperature") for level in (2, 3, 4)),
    *(_means(f"swvl{level}", "volume_fraction_of_condensed_water_in_soil") for level in (1, 2, 3, 4)),
    _sums("tp", "precipitation_amount", "precipitation"),
    BySeason("wet_days", "d", "count", (_TP,), f.is_wet, "days with 1 mm of precipitation or more"),
    BySeason("rx1day", "mm", "max", (_TP,), f.as_is, "largest precipitation of 1 day", "precipitation_amount"),
    BySeason("rx5day", "mm", "max", (_TP,), f.five_day_sum, "largest precipitation of 5 days", "precipitation_amount"),
    BySeason("rain", "mm", "sum", (_TP, _SF), f.rain, "sum of rain", "rainfall_amount"),
    BySeason("heavy_rain_days", "d", "count", (_TP, _SF), f.is_heavy_rain, "days with 10 mm of rain or more"),
    BySeason("rain_on_snow", "mm", "sum", (_TP, _SF, _SD), f.rain_on_snow, "sum of rain on snow", "rainfall_amount"),
    BySeason("rain_on_snow_days", "d", "count", (_TP, _SF, _SD), f.is_rain_on_snow, "days with rain on snow"),
    _sums("sf", "snowfall_amount", "snowfall"),
    BySeason("snow_days", "d", "count", (_SD,), f.has_snow_cover, "days with snow cover"),
    BySeason("swe", "mm", "mean", (_SD,), f.as_is, "mean snow water equivalent", "surface_snow_amount"),
    OfYear(
        (_SD,),
        f.snow_season,
        (
            ("swe", "max", "mm", "largest snow water equivalent", "surface_snow_amount"),
            ("swe_maximum", "day", "d", "day of the largest snow water equivalent, counted from 1 October as 1", ""),
            ("snow_onset", "day", "d", "first day of lasting snow, counted from 1 October as 1", ""),
            ("snow_melt_out", "day", "d", "first day without snow after the maximum, counted from 1 October as 1", ""),
        ),
    ),
    _sums("smlt", "surface_snow_melt_amount", "snowmelt"),
    _sums("ssrd", "integral_wrt_time_of_surface_downwelling_shortwave_flux_in_air"),
    _sums("strd", "integral_wrt_time_of_surface_downwelling_longwave_flux_in_air"),
    _sums("ssr", "integral_wrt_time_of_surface_net_downward_shortwave_flux"),
    _sums("str", "integral_wrt_time_of_surface_net_downward_longwave_flux"),
    _sums("sshf"),
    _sums("slhf"),
    _sums("e", "water_evapotranspiration_amount", "evaporation", f.loss),
    _sums("pev", "water_potential_evaporation_amount", "potential_evaporation", f.loss),
    _sums("ro", "runoff_amount", "runoff"),
    _sums("sro", "surface_runoff_amount", "surface_runoff"),
    _sums("ssro", "subsurface_runoff_amount", "subsurface_runoff"),
)
"""In an order in which fields that are needed together follow each other, so that three are in memory at a time."""


def _n_factor(which: str) -> Ratio:
    needs = (_T, _SOIL)
    long_name = f"n-factor of {which}: {which} degree days of the soil (0-7 cm) by those of the air"
    index = Index(f"{which}_n_factor", "year", "ratio", "1", long_name, needs, n_factor)
    return Ratio(index, f"soil_{which}_degree_days_year_sum_K_d", f"{which}_degree_days_year_sum_K_d", 10.0)


def n_factor() -> None:
    """Say how far the ground follows the air: snow lowers it in winter, vegetation in summer.

    Formula: degree days of the soil / degree days of the air, of the cell's averages; missing below 10 K d of the air
    Source: Lunardini 1978, Theory of n-factors, 3rd International Conference on Permafrost
    """


RATIOS: tuple[Ratio, ...] = (_n_factor("thawing"), _n_factor("freezing"))

ON_PIXELS: tuple[Index, ...] = tuple(index for spec in SPECS for index in spec.indices)
INDICES: dict[str, Index] = {index.name: index for index in (*ON_PIXELS, *(ratio.index for ratio in RATIOS))}
"""All indices of daily fields by name, in the table's order."""


def choose(patterns: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names that match any of the patterns, in the order of ``known``; all without patterns.

    Raises
    ------
    ConfigError
        For a pattern that matches nothing.

    Examples
    --------
    >>> choose(["t2m_year_*", "rx1day_jja_max_mm"], INDICES)
    ['t2m_year_mean_degC', 't2m_year_min_degC', 't2m_year_max_degC', 'rx1day_jja_max_mm']
    """
    names, wanted = list(known), list(patterns)
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"No climate index is called {pattern!r}; {nearest_hint(pattern, names)}.")
    return [name for name in names if not wanted or any(fnmatchcase(name, pattern) for pattern in wanted)]


def missing_variables(have: Iterable[Daily]) -> dict[str, int]:
    """Count the indices that cannot be made for want of each variable.

    >>> missing_variables([need for index in INDICES.values() for need in index.needs if need[0] != "ro"])
    {'ro sum': 5}
    """
    held = set(have)
    lacking = [need for index in INDICES.values() for need in dict.fromkeys(index.needs) if need not in held]
    return {f"{short} {statistic}": lacking.count((short, statistic)) for short, statistic in dict.fromkeys(lacking)}
