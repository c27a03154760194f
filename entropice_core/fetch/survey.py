"""What lies in the data folder of ERA5, year by year: how much is there, and what of it is not final.

For people (``entropice fetch status``, Dagster) and for the features that are made from the files: a feature is
provisional when one of the files it was made from is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from entropice_core.errors import SourceError
from entropice_core.fetch.calendar import Calendar, Family, Month, Product, month_key
from entropice_core.fetch.check import open_netcdf
from entropice_core.fetch.receipts import RECEIPT, Receipt, read_receipt, read_year
from entropice_core.fetch.year import holders, year_folder

_MERGED = "entropice_provisional_months"


@dataclass(frozen=True)
class FetchedYear:
    """What is there of one Arctic year. Months are written ``2021-08``; ``bytes`` are those of the files."""

    family: Family
    product: Product
    year: int
    results: int
    variables: tuple[str, ...]
    provisional: tuple[str, ...]
    stale: tuple[str, ...]
    bytes: int
    damaged: tuple[str, ...]


def survey(data: Path, calendars: dict[Family, Calendar]) -> list[FetchedYear]:
    """List the fetched years below a data folder.

    Parameters
    ----------
    data : Path
        The data folder.
    calendars : dict
        How far each family has come: provisional months that are final by now are stale.
    """
    found = []
    for family, product in ((f, p) for f in get_args(Family) for p in get_args(Product)):
        for folder in sorted((data / family / product).glob("[12][0-9][0-9][0-9]")):
            found.append(look_at_year(data, family, product, int(folder.name), calendars.get(family)))
    return found


def look_at_year(data: Path, family: Family, product: Product, year: int, calendar: Calendar | None) -> FetchedYear:
    """Say what is there of one year, by receipts and sizes."""
    receipts, told = read_year(year_folder(data, product, year, family), with_md5=False)
    held = holders(receipts)
    months = sorted({month for (_, _, month), receipt in held.items() if month in receipt.provisional()})
    stale = [month for month in months if calendar is not None and month <= calendar.final]
    names = sorted({receipt.request.variable(key[0]).short for key, receipt in held.items()})
    size = sum(int(about["bytes"]) for receipt in receipts for about in receipt.files.values())
    return FetchedYear(
        family, product, year, len(receipts), tuple(names), _keys(months), _keys(stale), size, tuple(told)
    )


def provisional_months(files: Iterable[Path]) -> list[str]:
    """List the months of files that are not final; files that were not fetched by Entropice say nothing.

    A result is judged by the receipt beside it, a yearly file by what it says of itself.
    """
    found: set[str] = set()
    receipts: dict[Path, Receipt] = {}
    for file in files:
        beside = file.parent / RECEIPT
        if beside.is_file():
            if file.parent not in receipts:
                receipts[file.parent] = read_receipt(file.parent, with_md5=False)
            found |= {month_key(month) for month in receipts[file.parent].provisional()}
        elif file.is_file() and file.parent.name in get_args(Family) and "_monthly_" in file.name:
            found |= _said_by(file)
    return sorted(found)


def _said_by(file: Path) -> set[str]:
    try:
        with open_netcdf(file) as data:
            return set(str(data.attrs.get(_MERGED, "")).split())
    except SourceError:
        return set()  # the source that reads it says what is wrong with it


def _keys(months: Iterable[Month]) -> tuple[str, ...]:
    return tuple(month_key(month) for month in months)
