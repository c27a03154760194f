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
"""

import hashlib
import json
from calendar import monthrange
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal, TypeAlias

from entropice_core.errors import ConfigError
from entropice_core.fetch.variables import DEFAULTS, VARIABLES, Variable

Product = Literal["monthly", "daily"]
Month: TypeAlias = tuple[int, int]
Area: TypeAlias = tuple[float, float, float, float]
Key: TypeAlias = tuple[str, str, Month]
"""What a request is made of: CDS name of the variable, statistic (``month`` for monthly means), month."""

DATASETS: dict[Product, str] = {
    "monthly": "reanalysis-era5-single-levels-monthly-means",
    "daily": "derived-era5-single-levels-daily-statistics",
}
ARCTIC: Area = (90.0, -180.0, 50.0, 180.0)
FIRST_ARCTIC_YEAR = 1941
"""ERA5 begins on 1 January 1940, and Arctic year 1941 with October 1940."""
STATISTICS = ("mean", "min", "max")
VARIABLES_PER_REQUEST = 4
GRID_STEP_DEG = 0.25
_DAYS_LATE = 6  # ERA5T comes about 5 days late
_MONTHS_TO_FINAL = 3  # after the month's end; ECMWF says two to three
_SERVED_AS = {"mean": "daily_mean", "min": "daily_minimum", "max": "daily_maximum", "sum": "daily_sum"}


@dataclass(frozen=True)
class Wish:
    """What somebody wants of ERA5: one Arctic year of one product."""

    product: Product
    year: int
    variables: tuple[str, ...] = DEFAULTS
    area: Area = ARCTIC
    statistics: tuple[str, ...] = STATISTICS
    allow_provisional: bool = False
    allow_gaps: bool = False


@dataclass(frozen=True)
class Request:
    """One request to the CDS: variables of one statistic in months of one calendar year."""

    product: Product
    variables: tuple[str, ...]
    statistic: str
    months: tuple[Month, ...]
    area: Area

    @property
    def dataset(self) -> str:
        """Name of the data set in the CDS."""
        return DATASETS[self.product]

    @property
    def inputs(self) -> dict[str, Any]:
        """Return the body that is sent."""
        year = f"{self.months[0][0]}"
        months = [f"{month:02d}" for _, month in self.months]
        common = {"variable": list(self.variables), "month": months, "area": list(self.area)}
        if self.product == "monthly":
            kind = {"product_type": ["monthly_averaged_reanalysis"], "year": [year], "time": ["00:00"]}
            return {**common, **kind, "data_format": "netcdf", "download_format": "unarchived"}
        days = [f"{day:02d}" for day in range(1, max(monthrange(*m)[1] for m in self.months) + 1)]
        how = {"daily_statistic": _SERVED_AS[self.statistic], "time_zone": "utc+00:00", "frequency": "1_hourly"}
        return {**common, "product_type": "reanalysis", "year": year, "day": days, **how}

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
        return len(self.months) if self.product == "monthly" else sum(monthrange(*m)[1] for m in self.months)

    @property
    def bytes(self) -> int:
        """Bytes of the fields as float32, before compression."""
        north, west, south, east = self.area
        points = (round((north - south) / GRID_STEP_DEG) + 1) * (round((east - west) / GRID_STEP_DEG) + 1)
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
        return f"{what} of {', '.join(VARIABLES[v].short for v in self.variables)}, {span}"


def arctic_months(year: int) -> list[Month]:
    """List the months of an Arctic year, October first.

    >>> arctic_months(2021)[:4]
    [(2020, 10), (2020, 11), (2020, 12), (2021, 1)]
    """
    return [(year - 1, m) for m in (10, 11, 12)] + [(year, m) for m in range(1, 10)]


def final_on(month: Month) -> date:
    """Give the day from which the final ERA5 of a month can be expected; before it the service may send ERA5T.

    >>> final_on((2021, 9)).isoformat()
    '2022-01-01'
    """
    count = month[0] * 12 + month[1] + _MONTHS_TO_FINAL
    return date(count // 12, count % 12 + 1, 1)


def complete_on(product: Product, year: int) -> date:
    """Give the day from which all of an Arctic year can be expected, as ERA5T at least."""
    last_needed = date(year, 10, 1) if product == "daily" else date(year, 9, 30)
    return last_needed + timedelta(days=_DAYS_LATE)


def check_year(product: Product, year: int, today: date, allow_provisional: bool = False) -> None:
    """Refuse years that ERA5 does not have, has not yet, or has not in its final form."""
    if year < FIRST_ARCTIC_YEAR:
        raise ConfigError(
            f"Arctic year {year} begins in October {year - 1}, and ERA5 begins in January 1940: "
            f"the first Arctic year is {FIRST_ARCTIC_YEAR}."
        )
    complete = complete_on(product, year)
    if today < complete:
        raise ConfigError(
            f"Arctic year {year} ends on 30 September {year}, and ERA5 comes about five days late: it can be fetched "
            f"from {complete} on (today is {today})."
        )
    final = final_on((year, 9))
    if today < final and not allow_provisional:
        raise ConfigError(
            f"Arctic year {year} is not final before {final}: until then the service sends ERA5T, which may change; "
            "wait, or allow it with --provisional (the months are marked, and fetched again when they are final)."
        )


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


def plan(
    product: Product,
    year: int,
    variables: Iterable[Variable],
    area: Area = ARCTIC,
    statistics: Sequence[str] = STATISTICS,
    have: Collection[Key] = (),
) -> list[Request]:
    """List the requests of an Arctic year, without what is there already (``have``)."""
    wanted = list(variables)
    if product == "monthly":
        months = arctic_months(year)
        groups = [(wanted, "month", tuple(months[:3])), (wanted, "month", tuple(months[3:]))]
    else:
        _check_statistics(statistics)
        groups = [
            (group, statistic, (month,))
            for month in arctic_months(year)
            for statistic, group in _by_statistic(wanted, statistics)
        ]
    held = set(have)
    return [
        request
        for group, statistic, span in groups
        for request in _requests(product, group, statistic, span, area, held)
    ]


def _requests(
    product: Product, group: list[Variable], statistic: str, months: tuple[Month, ...], area: Area, held: set[Key]
) -> list[Request]:
    """Requests for one statistic: variables that lack the same months share one, up to the number for a request."""
    lacking: dict[tuple[Month, ...], list[str]] = {}
    for variable in group:
        missing = tuple(m for m in months if (variable.name, statistic, m) not in held)
        if missing:
            lacking.setdefault(missing, []).append(variable.name)
    size = VARIABLES_PER_REQUEST if product == "daily" else max(1, len(group))
    return [
        Request(product, tuple(names[i : i + size]), statistic, missing, area)
        for missing, names in lacking.items()
        for i in range(0, len(names), size)
    ]


def _by_statistic(variables: list[Variable], statistics: Sequence[str]) -> list[tuple[str, list[Variable]]]:
    kinds = {s: [v for v in variables if v.step_type == "instant"] for s in STATISTICS if s in statistics}
    kinds.setdefault("max", []).extend(v for v in variables if v.step_type == "max")
    kinds.setdefault("min", []).extend(v for v in variables if v.step_type == "min")
    kinds["sum"] = [v for v in variables if v.step_type == "accum"]
    return [(statistic, sorted(group, key=lambda v: v.name)) for statistic, group in kinds.items() if group]


def _check_statistics(statistics: Sequence[str]) -> None:
    unknown = [s for s in statistics if s not in STATISTICS]
    if unknown or not statistics:
        raise ConfigError(
            f"Daily statistics of instant variables are mean, min and max; got {list(statistics)} "
            "(sums of accumulated variables always come along)."
        )
