"""One Arctic year in the data folder: where it lies, what is there of it, and what of that is not final.

::

    era5/monthly/2021/                 the results of a year (`receipts`)
    era5/monthly/2021/year.json        what the year holds, month by month final or ERA5T
    era5/era5_monthly_2021.nc          the twelve months of all variables in one file, for a raster source (`merge`)
    era5-land/daily/2021/              the same of ERA5-Land
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from entropice_core.fetch.calendar import Family, Product, arctic_months, month_key
from entropice_core.fetch.plan import Key, Wish
from entropice_core.fetch.receipts import RECEIPT as RECEIPT
from entropice_core.fetch.receipts import Receipt
from entropice_core.fetch.receipts import read_receipt as read_receipt
from entropice_core.fetch.variables import CATALOGUES


def year_folder(data: Path, product: Product, year: int, family: Family = "era5") -> Path:
    """Return the folder of a year's results."""
    return data / family / product / str(year)


def monthly_file(data: Path, year: int, family: Family = "era5") -> Path:
    """Return the file that a raster source reads: ``{data}/era5/era5_monthly_{year}.nc``."""
    return data / family / f"{family}_monthly_{year}.nc"


def holders(receipts: Iterable[Receipt]) -> dict[Key, Receipt]:
    """Say which receipt holds a variable, statistic and month: the newest."""
    return {k: r for r in receipts for k in r.request.keys if k[0] not in r.received.missing}


def year_summary(wish: Wish, receipts: list[Receipt]) -> dict[str, Any]:
    """Sum up a year for people and for those who read the files."""
    held = holders(receipts)
    provisional = sorted({m for (_, _, m), r in held.items() if m in r.provisional()})
    expver = {
        month_key(m): sorted({v for k, r in held.items() if k[2] == m for v in r.received.expver.get(month_key(m), [])})
        for m in arctic_months(wish.year)
    }
    variables = sorted({(k[0], k[1]) for k in held})
    return {
        "family": wish.family,
        "product": wish.product,
        "year": wish.year,
        "area": list(wish.area),
        "variables": [{"name": n, "short": CATALOGUES[wish.family][n].short, "statistic": s} for n, s in variables],
        "gaps": sorted({k[0] for r in receipts for k in r.request.keys if k not in held}),
        "expver": expver,
        "months_missing": [month_key(m) for m in arctic_months(wish.year) if not any(k[2] == m for k in held)],
        "is_provisional": bool(provisional),
        "provisional_months": [month_key(m) for m in provisional],
        "results": sorted({r.request.name for r in held.values()}),
        "bytes": sum(about["bytes"] for r in receipts for about in r.files.values()),
    }
