"""The days, months and seasons of an Arctic year: 1 October Y-1 to 30 September Y."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

SEASONS: dict[str, tuple[int, ...]] = {
    "year": tuple(range(1, 13)),
    "son": (9, 10, 11),
    "djf": (12, 1, 2),
    "mam": (3, 4, 5),
    "jja": (6, 7, 8),
}
"""Calendar months of each season. All lie in one Arctic year: SON is its October, November and last September, so
that sums of the four seasons are the sum of the year and no day of another year is needed."""


@dataclass(frozen=True)
class ArcticCalendar:
    """Days of one Arctic year.

    Examples
    --------
    >>> calendar = ArcticCalendar(2020)
    >>> calendar.n_days, str(calendar.days[0].date()), str(calendar.days[-1].date())
    (366, '2019-10-01', '2020-09-30')
    """

    year: int

    @cached_property
    def days(self) -> pd.DatetimeIndex:
        """Days at 00 UTC, 29 February included: (365 or 366,)."""
        return pd.date_range(f"{self.year - 1}-10-01", f"{self.year}-09-30", freq="D")

    @property
    def n_days(self) -> int:
        """Number of days, 365 or 366."""
        return len(self.days)

    @cached_property
    def months(self) -> list[tuple[int, int]]:
        """Calendar year and month of the twelve months, October first."""
        return [(self.year - 1, m) for m in (10, 11, 12)] + [(self.year, m) for m in range(1, 10)]

    @cached_property
    def month_of_day(self) -> npt.NDArray[np.int64]:
        """Position among the twelve months of each day, 0 is October: (days,)."""
        return (np.asarray(self.days.month, dtype=np.int64) - 10) % 12

    @cached_property
    def month_slices(self) -> list[slice]:
        """Days of each of the twelve months."""
        ends = np.cumsum(self.days_in_month)
        return [slice(int(end - n), int(end)) for n, end in zip(self.days_in_month, ends, strict=True)]

    @cached_property
    def days_in_month(self) -> npt.NDArray[np.int64]:
        """Days of the twelve months, October first: (12,)."""
        return np.bincount(self.month_of_day, minlength=12)

    def months_of(self, season: str) -> list[int]:
        """Positions of a season's months.

        >>> ArcticCalendar(2021).months_of("son")
        [0, 1, 11]
        """
        return [i for i, (_, month) in enumerate(self.months) if month in SEASONS[season]]

    @cached_property
    def new_year(self) -> int:
        """Position of 1 January: 92."""
        return int(self.days_in_month[:3].sum())
