"""Ask the Climate Data Store how far ERA5 has come: the newest month there is, and the newest that is final.

The service's constraints say which months can be asked for, but not which of them are final: that stands in the data
only, as experiment version (``expver``). So one variable of one pixel is asked for, of the monthly means of the last
months, which is the smallest request there is; a day's answer is kept below ENTROPICE_HOME, so that forty runs do not
ask forty times.
"""

import json
from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from entropice_core.errors import RetryableSourceError
from entropice_core.fetch.calendar import Calendar, Family, Month, add_months, final_on, month_key
from entropice_core.fetch.cds import ClimateDataStore
from entropice_core.fetch.check import PRELIMINARY
from entropice_core.fetch.jobs import Journal
from entropice_core.fetch.plan import DATASETS, Request, Wish
from entropice_core.fetch.receipts import read_year
from entropice_core.fetch.run import PARALLEL, Run
from entropice_core.storage.durable import write_json
from entropice_core.storage.locking import hold

PIXEL = (70.25, 130.0, 70.0, 130.25)
"""On land (lower Lena), so that ERA5-Land has values there."""
LOOK_BACK_MONTHS = 6
"""Final data come two to three months late, and the newest month is one; older months are taken to be final."""


def ask_newest(
    store: ClimateDataStore,
    family: Family,
    home: Path,
    *,
    queue_budget_s: float = 3600.0,
    today: datetime | None = None,
) -> Calendar:
    """Ask the service, and keep the answer.

    Parameters
    ----------
    store : ClimateDataStore
        The service.
    family : str
        ERA5 and ERA5-Land come at their own pace.
    home : Path
        ENTROPICE_HOME: the answer, and the job while it is in the queue, are kept below it.
    queue_budget_s : float
        How long the tiny job may wait in the queue before this gives up; the next call goes on with the same job.

    Raises
    ------
    RetryableSourceError
        When the service does not answer in time.
    """
    now = today or datetime.now(UTC)
    newest = _newest_month(store, family)
    folder = home / "fetch" / "newest" / family
    with hold(folder.with_suffix(".lock"), f"the newest month of {family}", 60.0):
        requests = _requests(family, newest)
        run = Run(
            Wish("monthly", newest[0], ("t2m",), PIXEL, family=family), store, Journal(home / "fetch" / "jobs"), folder,
            now.date(), PARALLEL, lambda _: None, deque(requests), queue_budget_s=queue_budget_s,
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        run.finish()
        calendar = Calendar(newest, _final_month(folder, requests, now), now.isoformat(timespec="seconds"))
        write_json(_answer(home, family), asdict(calendar))
    return calendar


def known_newest(home: Path, family: Family, max_age: timedelta = timedelta(days=1)) -> Calendar | None:
    """Give the answer that was kept, if there is one that is not too old."""
    path = _answer(home, family)
    if not path.is_file():
        return None
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    asked = datetime.fromisoformat(stored["asked"])
    if datetime.now(UTC) - asked > max_age:
        return None
    return Calendar(_month(stored["newest"]), _month(stored["final"]), stored["asked"])


def _month(pair: list[int]) -> Month:
    year, month = pair
    return int(year), int(month)


def _answer(home: Path, family: Family) -> Path:
    return home / "fetch" / "newest" / f"{family}.json"


def _newest_month(store: ClimateDataStore, family: Family) -> Month:
    """Ask for the last month of the last year that may be chosen."""
    dataset = DATASETS[family, "monthly"]
    kind = {"product_type": ["monthly_averaged_reanalysis"], "variable": ["2m_temperature"]}
    years = store.constraints(dataset, kind).get("year", [])
    if not years:
        raise RetryableSourceError(f"The Climate Data Store lists no year of {dataset}: try again later.")
    year = max(years)
    months = store.constraints(dataset, {**kind, "year": [year]}).get("month", [])
    if not months:
        raise RetryableSourceError(f"The Climate Data Store lists no month of {year} of {dataset}: try again later.")
    return int(year), max(int(month) for month in months)


def _requests(family: Family, newest: Month) -> list[Request]:
    """List the requests for the last months, one for each calendar year."""
    months = [add_months(newest, -i) for i in reversed(range(LOOK_BACK_MONTHS))]
    return [
        Request("monthly", ("2m_temperature",), "month", tuple(group), PIXEL, family)
        for _, group in groupby(months, key=lambda month: month[0])
    ]


def _final_month(folder: Path, requests: list[Request], now: datetime) -> Month:
    """Read from the results the newest month up to which all are final; by the day where the files do not say."""
    names = {request.name for request in requests}
    receipts = [receipt for receipt in read_year(folder)[0] if receipt.request.name in names]
    versions = {m: r.received.expver.get(month_key(m), []) for r in receipts for m in r.request.months}
    months = sorted(versions)
    final = add_months(months[0], -1)
    for month in months:
        is_final = PRELIMINARY not in versions[month] if versions[month] else now.date() >= final_on(month)
        if not is_final:
            break
        final = month
    return final
