"""Fetch an Arctic year of ERA5: ask only for what is missing, and leave nothing half there.

A run that is killed at any moment goes on with the same jobs (`jobs`), the same bytes (`download`) and the same
results (`year`) when the command is given again.
"""

import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from entropice_core.fetch.calendar import Calendar, check_year, month_key
from entropice_core.fetch.cds import ClimateDataStore
from entropice_core.fetch.jobs import Journal
from entropice_core.fetch.merge import merge_monthly
from entropice_core.fetch.plan import Request, Wish, check_area, plan
from entropice_core.fetch.receipts import Receipt, read_year
from entropice_core.fetch.run import PARALLEL, Progress, Run
from entropice_core.fetch.year import holders, monthly_file, year_folder, year_summary
from entropice_core.storage.durable import require_space, write_json
from entropice_core.storage.locking import hold


@dataclass
class YearReport:
    """What a run did: results fetched and already there, jobs taken over from an earlier run, the year's summary."""

    folder: Path
    file: Path | None
    summary: dict[str, Any]
    fetched: list[str]
    already: int
    resumed: list[str]
    bytes: int
    queued_s: float
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say what was done, what is not final, and where it is."""
        marked = self.summary["provisional_months"]
        lines = [
            f"{len(self.fetched)} results fetched, {self.already} already there, {len(self.resumed)} jobs taken over, "
            f"{self.bytes / 1e6:,.1f} MB, {self.queued_s:,.0f} s in the queue",
            *(["ERA5T, not final yet: " + ", ".join(marked)] if marked else []),
            *(["not served: " + ", ".join(self.summary["gaps"])] if self.summary["gaps"] else []),
            *self.notes,
            str(self.file or self.folder),
        ]
        return "\n".join(lines)


def journal_of(home: Path) -> Journal:
    """Return the journal of open jobs below ENTROPICE_HOME."""
    return Journal(home / "fetch" / "jobs")


def plan_year(
    wish: Wish,
    data: Path,
    today: date | None = None,
    calendar: Calendar | None = None,
    *,
    set_aside: bool = False,
    with_md5: bool = True,
) -> tuple[list[Request], list[Receipt], list[str]]:
    """List the requests that are missing, the receipts of what is there, and what was found damaged.

    With ``set_aside`` what is damaged is moved out of the way; otherwise nothing on the disk changes. Without
    ``with_md5`` damage is seen by the sizes of files only. ``calendar`` is what the service said of itself.

    Raises
    ------
    ConfigError
        For years, variables, areas and statistics that ERA5 does not have.
    """
    today = today or datetime.now(UTC).date()
    check_year(wish.product, wish.year, today, wish.allow_provisional, calendar, wish.family)
    folder = year_folder(data, wish.product, wish.year, wish.family)
    receipts, told = read_year(folder, set_aside=set_aside, with_md5=with_md5)
    receipts = [r for r in receipts if r.request.area == check_area(wish.area)]
    known = calendar or Calendar.expected(today)
    have = {key for receipt in receipts for key in receipt.keys(known, wish.allow_gaps)}
    return plan(wish, have), receipts, told


def fetch_year(
    wish: Wish,
    store: ClimateDataStore,
    *,
    data: Path,
    home: Path,
    today: date | None = None,
    calendar: Calendar | None = None,
    parallel: int = PARALLEL,
    tell: Callable[[Progress], None] = lambda _: None,
) -> YearReport:
    """Bring an Arctic year of ERA5 into the data folder.

    Parameters
    ----------
    wish : Wish
        Product, Arctic year, variables, area.
    store : ClimateDataStore
        The service, with its credentials and patience.
    data, home : Path
        Where the files go (ENTROPICE_DATA), and where the journal of jobs is kept (ENTROPICE_HOME).
    today : date, optional
        Decides what is complete and final; the day in UTC when not given.
    calendar : Calendar, optional
        What the service said is complete and final (`newest.ask_newest`), believed more than the day.
    parallel : int
        Jobs in the service's queue at a time.
    tell : callable
        Called with the progress whenever something happens.
    """
    lock = home / "fetch" / f"{wish.family}-{wish.product}-{wish.year}.lock"
    with hold(lock, str(wish), 0.0):
        today = today or datetime.now(UTC).date()
        requests, receipts, notes = plan_year(wish, data, today, calendar, set_aside=True)
        folder = year_folder(data, wish.product, wish.year, wish.family)
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, 3 * sum(r.bytes for r in requests))  # the transfer, what it unpacks to, the yearly file
        _tidy(receipts, journal_of(home), store.url, folder)
        run = Run(wish, store, journal_of(home), folder, today, parallel, tell, deque(requests))
        run.final = month_key(calendar.final) if calendar else ""
        run.finish()
        return _conclude(run, data, len(receipts), notes)


def _tidy(receipts: list[Receipt], journal: Journal, url: str, folder: Path) -> None:
    """Finish what a kill between a result's publication and the end of its job left undone."""
    for receipt in receipts:
        job = journal.find(receipt.request, url)
        if job is not None and job.job_id == receipt.job_id:
            journal.forget(receipt.request)
            shutil.rmtree(folder / f".{receipt.request.name}.part", ignore_errors=True)


def _conclude(run: Run, data: Path, already: int, notes: list[str]) -> YearReport:
    """All results are there: write the summary and, for monthly means, the year's file."""
    wish = run.wish
    receipts = [r for r in read_year(run.folder)[0] if r.request.area == wish.area]
    target = None
    if wish.product == "monthly" and holders(receipts):
        target = monthly_file(data, wish.year, wish.family)
        merge_monthly(run.folder, wish.year, wish.area, receipts, target)
    summary = year_summary(wish, receipts)
    write_json(run.folder / "year.json", summary)
    return YearReport(
        run.folder, target, summary, run.fetched, already, run.resumed, run.bytes, run.queued_s, notes
    )  # fmt: skip


def abandon_jobs(store: ClimateDataStore, home: Path) -> list[str]:
    """Take the open jobs of earlier runs out of the service's queue and out of the journal; list their ids."""
    journal = journal_of(home)
    jobs = [job for job in journal.open_jobs() if job.url == store.url]
    for job in jobs:
        store.delete(job.job_id)
        journal.strike(job)
    return [job.job_id for job in jobs]
