"""What monthly means can give: the laptop's way.

Means, sums and the summer warmth index come out as from days. Degree days do not: in a month whose mean is 0 degC it
thaws half of the time, which a mean does not show. So they are approximations that are too low, and they have names
of their own (``..._of_months``). Spells, days and extremes cannot be made. Accumulated variables of monthly means are
rates of a day and are multiplied by the days of their month.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from entropice_core.climate import formulae as f
from entropice_core.climate.calendar import SEASONS, ArcticCalendar
from entropice_core.climate.daily_files import layout_of
from entropice_core.climate.field_file import open_fields
from entropice_core.climate.indices import SPECS, BySeason, Index
from entropice_core.climate.quantities import QUANTITIES, Daily, Float32
from entropice_core.errors import SourceError
from entropice_core.fetch.calendar import month_key


@dataclass(frozen=True)
class OfMonths:
    """Indices of monthly values, weighted with the days of the months."""

    quantity: str
    unit: str
    reduce: Literal["mean", "sum"]
    needs: tuple[Daily, ...]
    monthly: Callable[..., f.Series]
    long_name: str
    standard_name: str = ""

    @property
    def indices(self) -> list[Index]:
        """One index a season."""
        like = BySeason(
            self.quantity, self.unit, self.reduce, self.needs, self.monthly, self.long_name, self.standard_name
        )
        return like.indices

    def compute(self, calendar: ArcticCalendar, *fields: f.Array) -> list[f.Float64]:
        """Fields (12, points) -> one (points,) an index."""
        days = calendar.days_in_month[:, None]
        weighted = self.monthly(*fields).astype(np.float64) * days
        months = [calendar.months_of(season) for season in SEASONS]
        total = [weighted[chosen].sum(axis=0) for chosen in months]
        if self.reduce == "sum":
            return total
        return [each / days[chosen].sum() for each, chosen in zip(total, months, strict=True)]


@dataclass(frozen=True)
class WarmMonths:
    """The summer warmth index, which is defined on monthly means."""

    needs: tuple[Daily, ...] = (("t2m", "mean"),)

    @property
    def indices(self) -> list[Index]:
        """The one index."""
        name = "summer warmth index"
        return [Index("summer_warmth_index", "year", "sum", "K month", name, self.needs, f.warm_months)]

    def compute(self, calendar: ArcticCalendar, *fields: f.Array) -> list[f.Float64]:
        """Monthly means (12, points) -> (points,)."""
        del calendar
        return [np.maximum(fields[0].astype(np.float64), 0.0).sum(axis=0)]


def thawing_of_months(t: f.Array) -> f.Array:
    """Approximate thawing degree days from monthly means.

    Formula: max(monthly mean T - 0 degC, 0) x days of the month; approximate, too low in months that cross 0 degC
    Source: Boyd 1976, Canadian Geotechnical Journal 13(2)
    """
    return f.thawing(t)


def freezing_of_months(t: f.Array) -> f.Array:
    """Approximate freezing degree days from monthly means.

    Formula: max(0 degC - monthly mean T, 0) x days of the month; approximate, too low in months that cross 0 degC
    Source: Boyd 1976, Canadian Geotechnical Journal 13(2)
    """
    return f.freezing(t)


_T: tuple[Daily, ...] = (("t2m", "mean"),)
_APPROXIMATE = "degree days of the air, approximate: from monthly means"

MONTHLY_SPECS: tuple[OfMonths | WarmMonths, ...] = (
    WarmMonths(),
    OfMonths("thawing_degree_days_of_months", "K d", "sum", _T, thawing_of_months, f"thawing {_APPROXIMATE}"),
    OfMonths("freezing_degree_days_of_months", "K d", "sum", _T, freezing_of_months, f"freezing {_APPROXIMATE}"),
    OfMonths("rain", "mm", "sum", (("tp", "sum"), ("sf", "sum")), f.rain, "sum of rain", "rainfall_amount"),
    *(
        OfMonths(s.quantity, s.unit, s.reduce, s.needs, s.daily, s.long_name, s.standard_name)
        for s in SPECS
        if isinstance(s, BySeason) and s.reduce in ("mean", "sum") and s.daily in (f.as_is, f.loss)
    ),
)
"""Everything that is linear in the daily values, rain (linear but for rounding below zero), and the three above."""


class MonthlyFile:
    """The twelve monthly means of an Arctic year in one file, as ``entropice fetch era5 --product monthly`` merges."""

    def __init__(self, path: Path, calendar: ArcticCalendar) -> None:
        self.path, self.calendar, self.where, self.steps = path, calendar, str(path), 12
        self._file = open_fields(path)
        months = list(self._file.times.strftime("%Y-%m"))
        wanted = [month_key(month) for month in calendar.months]
        if months != wanted:
            raise SourceError(
                f"{path} should hold the twelve months {wanted[0]} to {wanted[-1]}, but its time axis has "
                f"{len(months)} from {min(months)} to {max(months)}: fetch the year again."
            )
        self.layout = layout_of(self._file)
        names = [name for name in self._file.units if name in QUANTITIES]
        self.fields = frozenset((n, "sum" if QUANTITIES[n].is_sum else "mean") for n in names)
        self.provisional_months = tuple(self._file.attrs.get("entropice_provisional_months", "").split())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing stays open."""

    def units(self, field: Daily) -> str:
        """Unit of a field."""
        return self._file.units[field[0]]

    def bands(self) -> list[slice]:
        """All rows at once: twelve months are small."""
        return [slice(0, self.layout.y.size)]

    def read(self, field: Daily, rows: slice, out: Float32) -> None:
        """Put the monthly values of some rows into ``out`` : (12, rows, columns)."""
        values = self._file.read(field[0], slice(None), slice(None))
        out[...] = values[:, self.layout.y.order[rows]][:, :, self.layout.x.order]
