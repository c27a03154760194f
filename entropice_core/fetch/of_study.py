"""What a study's [fetch.<source>] table asks for: one Arctic year brought in, and the years that are due.

Dagster and scripts call these; the command line names everything itself and calls `era5.fetch_year`.
"""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from entropice_core.config import Era5Fetch, Settings, Study
from entropice_core.errors import ConfigError
from entropice_core.fetch.calendar import Calendar, final_on, month_key
from entropice_core.fetch.cds import ClimateDataStore, read_credentials
from entropice_core.fetch.era5 import YearReport, fetch_year, plan_year
from entropice_core.fetch.newest import ask_newest, known_newest
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.plan import Wish
from entropice_core.fetch.receipts import Receipt, read_year
from entropice_core.fetch.run import Progress
from entropice_core.fetch.survey import look_at_year
from entropice_core.fetch.year import holders

TICK_WAIT_S, TICK_QUEUE_S = 10.0, 20.0
"""What the schedule may wait for an answer: a tick that takes a minute is cut off."""
_EVERYTHING = Calendar((9999, 12), (9999, 12))


@dataclass(frozen=True)
class Brought:
    """One year in the data folder: what the run did, the results that are there, and a digest of their files."""

    wish: Wish
    report: YearReport
    results: tuple[Receipt, ...]
    digest: str

    def rows(self) -> list[dict[str, Any]]:
        """List the results for a person: what, from which data set and job, how large, how final.

        Of a result that a newer one has replaced for some months, only the others are told.
        """
        held = holders(self.results)
        return [
            {
                "result": receipt.request.name,
                "variables": " ".join(receipt.request.variable(name).short for name in receipt.received.variables),
                "data set": receipt.request.dataset,
                "job": receipt.job_id,
                "not final": " ".join(
                    month_key(month)
                    for month in receipt.provisional()
                    if any(held[key] is receipt for key in receipt.request.keys if key[2] == month and key in held)
                ),
                "MB": round(receipt.bytes / 1e6, 2),
                "queued_s": receipt.queued_s,
                "fetched": receipt.fetched,
            }
            for receipt in self.results
        ]


@dataclass(frozen=True)
class Due:
    """Years that should be fetched now, each with the reason, and what to say when there is none."""

    years: dict[int, str] = field(default_factory=dict)
    sentence: str = ""


def wish_of(config: Era5Fetch, year: int) -> Wish:
    """Say what is wanted of one Arctic year."""
    c = config
    return Wish(c.product, year, c.variables, c.area, c.statistics, c.provisional, family=c.dataset)


def years_of(study: Study, name: str) -> list[int]:
    """List the Arctic years of files of a source: from its first to the last that the study offers."""
    offered = study.study.years.offered()
    return list(range(study.fetch[name].first or offered[0], offered[-1] + 1))


def bring_year(settings: Settings, study: Study, name: str, year: int, say: Callable[[str], None]) -> Brought:
    """Bring the files of a source's year into the data folder; what is there is not asked for again.

    Parameters
    ----------
    settings, study, name : the machine, the study, the source
    year : int
        Arctic year of the files.
    say : callable
        Told what happens, with the months done, the bytes and the time in the queue.
    """
    wish, data = wish_of(study.fetch[name], year), settings.data_root(study)
    store = ClimateDataStore(read_credentials(), Patience(tell=say))
    calendar = _calendar_for(wish, store, settings.home, data)
    report = fetch_year(wish, store, data=data, home=settings.home, calendar=calendar, tell=_teller(say))
    receipts = [r for r in read_year(report.folder, with_md5=False)[0] if r.request.area == wish.area]
    return Brought(wish, report, tuple(receipts), _digest(receipts))


def _calendar_for(wish: Wish, store: ClimateDataStore, home: Path, data: Path) -> Calendar | None:
    """Ask the service how far it is where that matters: for a year that may not be final."""
    known = known_newest(home, wish.family)
    there = look_at_year(data, wish.family, wish.product, wish.year, None)
    is_recent = datetime.now(UTC).date() < final_on((wish.year, 12))
    if known is None and (is_recent or there.provisional):
        return ask_newest(store, wish.family, home)
    return known


def _teller(say: Callable[[str], None]) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        if progress.is_event:
            far = f"{progress.months_done} of 12 months, {progress.bytes / 1e6:,.1f} MB, "
            say(f"{progress.text} ({far}{progress.queued_s:,.0f} s in the queue)")

    return tell


def _digest(receipts: Collection[Receipt]) -> str:
    """Digest of the files of a year and of what in them is not final."""
    parts = sorted((r.request.digest, sorted(f["md5"] for f in r.files.values()), r.provisional()) for r in receipts)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def due_years(settings: Settings, study: Study, name: str, known: Collection[int], moment: datetime) -> Due:
    """Say which years of a source are complete and missing, or were provisional and are final now.

    The service is asked how far it is, but only when there is a year that it could have news of.

    Parameters
    ----------
    settings, study, name : the machine, the study, the source
    known : years that somebody has heard of; others are due even when their files are there
    moment : when this is asked

    Raises
    ------
    ConfigError, SourceError
        When the service cannot be asked; a ``RetryableSourceError`` when it does not answer in time.
    """
    config, data = study.fetch[name], settings.data_root(study)
    begun = [year for year in years_of(study, name) if date(year, 10, 1) <= moment.date()]
    open_years = [y for y in begun if y not in known or _lacks(wish_of(config, y), data, _EVERYTHING)]
    if not open_years:
        return Due(sentence=f"All years to {begun[-1]} are there and final." if begun else "No year is complete yet.")
    store = ClimateDataStore(read_credentials(), Patience(budget_s=TICK_WAIT_S))
    calendar = ask_newest(store, config.dataset, settings.home, queue_budget_s=TICK_QUEUE_S)
    due = {y: _reason(calendar, y) for y in open_years if _is_due(config, y, data, calendar, y in known)}
    waiting = ", ".join(str(y) for y in open_years if y not in due)
    return Due(due, f"{str(calendar).capitalize()}; waiting for {waiting}." if waiting else f"{calendar}.")


def _is_due(config: Era5Fetch, year: int, data: Path, calendar: Calendar, is_known: bool) -> bool:
    if not calendar.has(year) or not (config.provisional or calendar.is_final(year)):
        return False
    return not is_known or _lacks(wish_of(config, year), data, calendar)


def _reason(calendar: Calendar, year: int) -> str:
    return "final" if calendar.is_final(year) else "provisional"


def _lacks(wish: Wish, data: Path, calendar: Calendar) -> bool:
    """Say whether something of a year would be asked for, by receipts and sizes."""
    try:
        return bool(plan_year(wish, data, calendar=calendar, with_md5=False)[0])
    except ConfigError as error:
        raise ConfigError(f"[fetch] of {wish}: {error}") from error
