"""Months and Arctic years of ERA5: which there are, which are final, and which are not yet.

Two clocks can say how far ERA5 has come. The rule of thumb (`Calendar.expected`) knows the day only: a month comes
about five days after its end as ERA5T and is final two to three months later. The service itself knows better
(`newest`): it is asked where a schedule acts on the answer.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, Self, TypeAlias

from entropice_core.errors import ConfigError

Family = Literal["era5", "era5-land"]
Product = Literal["monthly", "daily"]
Month: TypeAlias = tuple[int, int]

FIRST_ARCTIC_YEARS: dict[Family, int] = {"era5": 1941, "era5-land": 1951}
"""ERA5 begins on 1 January 1940 and ERA5-Land on 1 January 1950; an Arctic year begins in October."""
_NAMES: dict[Family, str] = {"era5": "ERA5", "era5-land": "ERA5-Land"}
_DAYS_LATE = 6  # ERA5T comes about 5 days late
_MONTHS_TO_FINAL = 3  # after the month's end; ECMWF says two to three


def month_key(month: Month) -> str:
    """Write a month as text.

    >>> month_key((2021, 3))
    '2021-03'
    """
    return f"{month[0]}-{month[1]:02d}"


def read_month(text: str) -> Month:
    """Read a month from text.

    >>> read_month("2021-03")
    (2021, 3)
    """
    year, _, month = text.partition("-")
    return int(year), int(month)


def add_months(month: Month, count: int) -> Month:
    """Give the month that lies a number of months later.

    >>> add_months((2021, 11), 3), add_months((2021, 1), -1)
    ((2022, 2), (2020, 12))
    """
    years, rest = divmod(month[0] * 12 + month[1] - 1 + count, 12)
    return years, rest + 1


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
    return date(*add_months(month, _MONTHS_TO_FINAL + 1), 1)


def complete_on(product: Product, year: int) -> date:
    """Give the day from which all of an Arctic year can be expected, as ERA5T at least."""
    last_needed = date(year, 10, 1) if product == "daily" else date(year, 9, 30)
    return last_needed + timedelta(days=_DAYS_LATE)


@dataclass(frozen=True)
class Calendar:
    """How far ERA5 has come: the newest month that is there, and the newest that is final, with all before it.

    ``asked`` is when the service said so (ISO, UTC); it is empty where the day alone is known.
    """

    newest: Month
    final: Month
    asked: str = ""

    @classmethod
    def expected(cls, today: date) -> Self:
        """Say by the rule of thumb what should be there on a day.

        >>> Calendar.expected(date(2022, 1, 7))
        Calendar(newest=(2021, 12), final=(2021, 9), asked='')
        >>> Calendar.expected(date(2021, 10, 5)).newest
        (2021, 8)
        """
        late = today - timedelta(days=_DAYS_LATE - 1)  # the last day that is there is the one before
        this = (today.year, today.month)
        return cls(add_months((late.year, late.month), -1), add_months(this, -_MONTHS_TO_FINAL - 1))

    def has(self, year: int) -> bool:
        """Say whether all months of an Arctic year are there."""
        return self.newest >= (year, 9)

    def is_final(self, year: int) -> bool:
        """Say whether all months of an Arctic year are final."""
        return self.final >= (year, 9)

    def __str__(self) -> str:
        """Say it in words."""
        return f"the newest month is {month_key(self.newest)}, final up to {month_key(self.final)}"


def check_year(
    product: Product,
    year: int,
    today: date,
    allow_provisional: bool = False,
    calendar: Calendar | None = None,
    family: Family = "era5",
) -> None:
    """Refuse years that ERA5 does not have, has not yet, or has not in its final form.

    Parameters
    ----------
    product, year, family : what is wanted
    today : the day in UTC, by which the rule of thumb goes
    allow_provisional : take months that are not final
    calendar : what the service said of itself, which is believed more than the rule of thumb
    """
    first, name = FIRST_ARCTIC_YEARS[family], _NAMES[family]
    if year < first:
        raise ConfigError(
            f"Arctic year {year} begins in October {year - 1}, and {name} begins in January {first - 1}: "
            f"the first Arctic year is {first}."
        )
    is_there = today >= complete_on(product, year) if calendar is None else calendar.has(year)
    if not is_there:
        raise ConfigError(
            f"Arctic year {year} ends on 30 September {year}, and {_later(product, year, today, calendar)}."
        )
    is_final = today >= final_on((year, 9)) if calendar is None else calendar.is_final(year)
    if not is_final and not allow_provisional:
        known = f"before {final_on((year, 9))}" if calendar is None else f"yet: {calendar}"
        raise ConfigError(
            f"Arctic year {year} is not final {known}; until then the service sends ERA5T, which may change; "
            "wait, or allow it with --provisional (the months are marked, and fetched again when they are final)."
        )


def _later(product: Product, year: int, today: date, calendar: Calendar | None) -> str:
    if calendar is not None:
        return f"the service says that {calendar}"
    return f"ERA5 comes about five days late: it can be fetched from {complete_on(product, year)} on (today is {today})"
