"""An Arctic year as requests to the Climate Data Store (CDS). Nothing is asked of the network here.

Arctic year Y runs from 1 October Y-1 to 30 September Y, and the CDS takes sets of years and months whose product is
meant; so a year of monthly means is two requests (October to December, January to September) and never one, which
would fetch 24 months.

``monthly``  ``reanalysis-era5-single-levels-monthly-means``: small, the laptop's way; accumulated variables are means
             of a day (m per day). Degree days from monthly means are too low in the months in which the temperature
             crosses 0 degC.
``daily``    ``derived-era5-single-levels-daily-statistics``: mean, minimum and maximum of instant variables, sums of
             accumulated ones. The service computes one statistic a request, drops variables for which it has none,
             and is slow for dates that do not follow each other: so a request is one month, one statistic and a few
             variables of one kind. The total of 30 September needs the hour that ends at 00 UTC of 1 October; the
             service reads it itself, so no further day is asked for, but a year is not complete before it is there.

ERA5-Land has the same two products. Its daily statistics know instant variables only; its accumulated variables count
up from 00 UTC, so that the value at 00 UTC is the total of the day before. That one hour of a day is asked for
(``reanalysis-era5-land``, statistic ``midnight``): 00 UTC of every day from 1 October to 1 October.
"""

import hashlib
import json
from calendar import monthrange
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from entropice_core.errors import ConfigError
from entropice_core.fetch.calendar import Family, Month, Product, arctic_months
from entropice_core.fetch.variables import CATALOGUES, Variable, find_variables

Area: TypeAlias = tuple[float, float, float, float]
Key: TypeAlias = tuple[str, str, Month]
"""What a request is made of: CDS name of the variable, statistic (``month`` for monthly means), month."""

DATASETS: dict[tuple[Family, Product], str] = {
    ("era5", "monthly"): "reanalysis-era5-single-levels-monthly-means",
    ("era5", "daily"): "derived-era5-single-levels-daily-statistics",
    ("era5-land", "monthly"): "reanalysis-era5-land-monthly-means",
    ("era5-land", "daily"): "derived-era5-land-daily-statistics",
}
LAND_HOURLY = "reanalysis-era5-land"
ARCTIC: Area = (90.0, -180.0, 50.0, 180.0)
STATISTICS = ("mean", "min", "max")
VARIABLES_PER_REQUEST = 4
MIDNIGHT = "midnight"
"""Statistic of values at 00 UTC, which of ERA5-Land's accumulated variables are totals of the day before."""
GRID_STEPS_DEG: dict[Family, float] = {"era5": 0.25, "era5-land": 0.1}
_SERVED_AS = {"mean": "daily_mean", "min": "daily_minimum", "max": "daily_maximum", "sum": "daily_sum"}


@dataclass(frozen=True)
class Wish:
    """What somebody wants of ERA5 or ERA5-Land: one Arctic year of one product."""

    product: Product
    year: int
    variables: tuple[str, ...] = ()
    area: Area = ARCTIC
    statistics: tuple[str, ...] = STATISTICS
    allow_provisional: bool = False
    allow_gaps: bool = False
    family: Family = "era5"

    def __str__(self) -> str:
        """Name it in a few words."""
        return f"{'ERA5-Land' if self.family == 'era5-land' else 'ERA5'} {self.product} {self.year}"


@dataclass(frozen=True)
class Request:
    """One request to the CDS: variables of one statistic in months of one calendar year; all days, or the first."""

    product: Product
    variables: tuple[str, ...]
    statistic: str
    months: tuple[Month, ...]
    area: Area
    family: Family = "era5"
    first_day_only: bool = False

    @property
    def dataset(self) -> str:
        """Name of the data set in the CDS."""
        return LAND_HOURLY if self.statistic == MIDNIGHT else DATASETS[self.family, self.product]

    def variable(self, name: str) -> Variable:
        """Look up one of its variables."""
        return CATALOGUES[self.family][name]

    def days_of(self, month: Month) -> range:
        """List the days of a month that are asked for."""
        return range(1, 2 if self.first_day_only else monthrange(*month)[1] + 1)

    @property
    def inputs(self) -> dict[str, Any]:
        """Return the body that is sent."""
        year = f"{self.months[0][0]}"
        months = [f"{month:02d}" for _, month in self.months]
        common: dict[str, Any] = {"variable": list(self.variables), "month": months, "area": list(self.area)}
        if self.product == "monthly":
            common |= {"product_type": ["monthly_averaged_reanalysis"], "year": [year], "time": ["00:00"]}
            return {**common, "data_format": "netcdf", "download_format": "unarchived"}
        days = [f"{day:02d}" for day in range(1, max(len(self.days_of(m)) for m in self.months) + 1)]
        if self.statistic == MIDNIGHT:
            form = {"data_format": "netcdf", "download_format": "unarchived"}
            return {**common, "year": [year], "day": days, "time": ["00:00"], **form}
        kind = {"product_type": "reanalysis"} if self.family == "era5" else {}
        how = {"daily_statistic": _SERVED_AS[self.statistic], "time_zone": "utc+00:00", "frequency": "1_hourly"}
        return {**common, **kind, "year": year, "day": days, **how}

    @property
    def digest(self) -> str:
        """SHA-256 of data set and body: equal wishes have equal digests, in whatever order they were named."""
        text = json.dumps([self.dataset, self.inputs], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """Name of the folder of the result, such as ``2020_10-12_month_1f0c9a2b``."""
        first, last = self.months[0][1], self.months[-1][1]
        span = f"{first:02d}" if first == last else f"{first:02d}-{last:02d}"
        return f"{self.months[0][0]}_{span}_{self.statistic}_{self.digest[:8]}"

    @property
    def keys(self) -> list[Key]:
        """List what the request is made of."""
        return [(v, self.statistic, m) for v in self.variables for m in self.months]

    @property
    def steps(self) -> int:
        """Count the time steps of the result: months, or days."""
        return len(self.months) if self.product == "monthly" else sum(len(self.days_of(m)) for m in self.months)

    @property
    def bytes(self) -> int:
        """Bytes of the fields as float32, before compression."""
        north, west, south, east = self.area
        step = GRID_STEPS_DEG[self.family]
        points = (round((north - south) / step) + 1) * (round((east - west) / step) + 1)
        return 4 * points * self.steps * len(self.variables)

    def halves(self) -> list["Request"]:
        """Split it in two, by variables while there are several, then by months; [] for what cannot be split."""
        if len(self.variables) > 1:
            middle = len(self.variables) // 2
            return [replace(self, variables=part) for part in (self.variables[:middle], self.variables[middle:])]
        if len(self.months) > 1:
            middle = len(self.months) // 2
            return [replace(self, months=part) for part in (self.months[:middle], self.months[middle:])]
        return []

    def __str__(self) -> str:
        """Say what is asked for, in words."""
        (year, first), (_, last) = self.months[0], self.months[-1]
        span = f"{year}-{first:02d}" if first == last else f"{year}-{first:02d} to {year}-{last:02d}"
        what = "monthly means" if self.product == "monthly" else f"daily {self.statistic}"
        land = " of ERA5-Land" if self.family == "era5-land" else ""
        return f"{what} of {', '.join(self.variable(v).short for v in self.variables)}{land}, {span}"


def check_area(area: Sequence[float]) -> Area:
    """Check north, west, south, east in degrees; the CDS takes no box across 180 degrees."""
    if len(area) != 4:
        raise ConfigError(f"An area is north, west, south, east in degrees; got {list(area)}.")
    north, west, south, east = (float(a) for a in area)
    if not -90 <= south < north <= 90:
        raise ConfigError(f"The area's south ({south:g}) must be less than its north ({north:g}), within -90 to 90.")
    if not -180 <= west < east <= 180:
        raise ConfigError(
            f"The area's west ({west:g}) must be less than its east ({east:g}), within -180 to 180; for a box across "
            "180 degrees ask for the whole circle: -180 to 180."
        )
    return north, west, south, east


def plan(wish: Wish, have: Collection[Key] = ()) -> list[Request]:
    """List the requests of an Arctic year, without what is there already (``have``)."""
    _check_statistics(wish.statistics)
    area, held = check_area(wish.area), set(have)
    wanted = find_variables(wish.variables, wish.family)
    return [
        Request(wish.product, names, statistic, months, area, wish.family, first_day_only)
        for statistic, variables, span, first_day_only in _groups(wish, wanted)
        for names, months in _lacking(wish.product, variables, statistic, span, held)
    ]


def _groups(wish: Wish, wanted: list[Variable]) -> Iterator[tuple[str, list[Variable], tuple[Month, ...], bool]]:
    """Yield what may share a request: a statistic, its variables, months, and whether only their first day is meant."""
    months = arctic_months(wish.year)
    if wish.product == "monthly":
        yield "month", wanted, tuple(months[:3]), False
        yield "month", wanted, tuple(months[3:]), False
        return
    kinds = _by_statistic(wanted, wish.statistics, wish.family)
    for month in months:
        for statistic, variables in kinds:
            yield statistic, variables, (month,), False
    for statistic, variables in kinds:
        if statistic == MIDNIGHT:
            yield statistic, variables, ((wish.year, 10),), True


def _lacking(
    product: Product, group: list[Variable], statistic: str, months: tuple[Month, ...], held: set[Key]
) -> Iterator[tuple[tuple[str, ...], tuple[Month, ...]]]:
    """Yield variables and months of requests: variables that lack the same months share one, up to a number."""
    lacking: dict[tuple[Month, ...], list[str]] = {}
    for variable in group:
        missing = tuple(m for m in months if (variable.name, statistic, m) not in held)
        if missing:
            lacking.setdefault(missing, []).append(variable.name)
    size = VARIABLES_PER_REQUEST if product == "daily" else max(1, len(group))
    for missing, names in lacking.items():
        for i in range(0, len(names), size):
            yield tuple(names[i : i + size]), missing


def _by_statistic(
    variables: list[Variable], statistics: Sequence[str], family: Family
) -> list[tuple[str, list[Variable]]]:
    kinds = {s: [v for v in variables if v.step_type == "instant"] for s in STATISTICS if s in statistics}
    kinds.setdefault("max", []).extend(v for v in variables if v.step_type == "max")
    kinds.setdefault("min", []).extend(v for v in variables if v.step_type == "min")
    kinds["sum" if family == "era5" else MIDNIGHT] = [v for v in variables if v.step_type == "accum"]
    return [(statistic, sorted(group, key=lambda v: v.name)) for statistic, group in kinds.items() if group]


def _check_statistics(statistics: Sequence[str]) -> None:
    unknown = [s for s in statistics if s not in STATISTICS]
    if unknown or not statistics:
        raise ConfigError(
            f"Daily statistics of instant variables are mean, min and max; got {list(statistics)} "
            "(sums of accumulated variables always come along)."
        )
