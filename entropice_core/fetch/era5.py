"""Fetch an Arctic year of ERA5: ask only for what is missing, a few jobs at a time, and leave nothing half there.

A run that is killed at any moment goes on with the same jobs (`jobs`), the same bytes (`download`) and the same
results (`year`) when the command is given again.
"""

import os
import shutil
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from entropice_core.errors import RetryableSourceError, SourceError
from entropice_core.fetch.cds import Asset, ClimateDataStore, JobGoneError, TooLargeError
from entropice_core.fetch.check import inspect
from entropice_core.fetch.download import download, unpack
from entropice_core.fetch.jobs import Journal
from entropice_core.fetch.plan import (
    ARCTIC,
    STATISTICS,
    Area,
    Product,
    Request,
    arctic_months,
    check_area,
    check_year,
    plan,
)
from entropice_core.fetch.variables import DEFAULTS, find_variables
from entropice_core.fetch.year import (
    Receipt,
    describe_files,
    holders,
    merge_monthly,
    publish,
    read_year,
    year_summary,
)
from entropice_core.storage.durable import require_space, write_json
from entropice_core.storage.locking import hold

PARALLEL = 4
"""Jobs in the queue at a time: the service lowers the priority of who has many."""
_RESUBMISSIONS = 2
_POLL_FIRST_S, _POLL_LONGEST_S = 1.0, 120.0
_QUEUE_BUDGET_S = 48 * 3600.0
_HOPELESS = ("no data", "invalid", "not available")


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
class Progress:
    """How far a year is. ``queued_s`` is the time spent waiting for the service so far."""

    months_done: int
    results_done: int
    results_open: int
    bytes: int
    queued_s: float
    text: str
    is_event: bool = True


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


def year_folder(data: Path, product: Product, year: int) -> Path:
    """Return the folder of a year's results."""
    return data / "era5" / product / str(year)


def monthly_file(data: Path, year: int) -> Path:
    """Return the file that a raster source reads: ``{data}/era5/era5_monthly_{year}.nc``."""
    return data / "era5" / f"era5_monthly_{year}.nc"


def plan_year(
    wish: Wish, data: Path, today: date | None = None, *, set_aside: bool = False
) -> tuple[list[Request], list[Receipt], list[str]]:
    """List the requests that are missing, the receipts of what is there, and what was found damaged.

    With ``set_aside`` what is damaged is moved out of the way; otherwise nothing on the disk changes.

    Raises
    ------
    ConfigError
        For years, variables, areas and statistics that ERA5 does not have.
    """
    today = today or datetime.now(UTC).date()
    check_year(wish.product, wish.year, today, wish.allow_provisional)
    area = check_area(wish.area)
    variables = find_variables(wish.variables)
    receipts, told = read_year(year_folder(data, wish.product, wish.year), set_aside=set_aside)
    receipts = [r for r in receipts if r.request.area == area]
    have = {key for receipt in receipts for key in receipt.keys(today, wish.allow_gaps)}
    return plan(wish.product, wish.year, variables, area, wish.statistics, have), receipts, told


def fetch_year(
    wish: Wish,
    store: ClimateDataStore,
    *,
    data: Path,
    home: Path,
    today: date | None = None,
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
    parallel : int
        Jobs in the service's queue at a time.
    tell : callable
        Called with the progress whenever something happens.
    """
    journal_folder = home / "fetch"
    with hold(journal_folder / f"era5-{wish.product}-{wish.year}.lock", f"ERA5 {wish.product} {wish.year}", 0.0):
        today = today or datetime.now(UTC).date()
        requests, receipts, notes = plan_year(wish, data, today, set_aside=True)
        folder = year_folder(data, wish.product, wish.year)
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, 3 * sum(r.bytes for r in requests))  # the transfer, what it unpacks to, the yearly file
        run = _Run(wish, store, Journal(journal_folder / "jobs"), folder, today, parallel, tell, deque(requests))
        run.finish()
        return _conclude(run, data, len(receipts), notes)


def _conclude(run: "_Run", data: Path, already: int, notes: list[str]) -> YearReport:
    """All results are there: write the summary and, for monthly means, the year's file."""
    wish = run.wish
    receipts = [r for r in read_year(run.folder)[0] if r.request.area == wish.area]
    target = None
    if wish.product == "monthly" and holders(receipts):
        target = monthly_file(data, wish.year)
        merge_monthly(run.folder, wish.year, wish.area, receipts, target)
    summary = year_summary(wish.product, wish.year, wish.area, receipts)
    write_json(run.folder / "year.json", summary)
    return YearReport(
        run.folder, target, summary, run.fetched, already, run.resumed, run.bytes, run.queued_s, notes
    )  # fmt: skip


@dataclass
class _Run:
    """The jobs of one year on their way: waiting to be submitted, in the service's queue, fetched."""

    wish: Wish
    store: ClimateDataStore
    journal: Journal
    folder: Path
    today: date
    parallel: int
    tell: Callable[[Progress], None]
    pending: deque[Request]
    active: dict[Request, str] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    queued_s: float = 0.0

    def finish(self) -> None:
        """Work until nothing is pending or active."""
        pause, idle = _POLL_FIRST_S, 0.0
        while self.pending or self.active:
            while self.pending and len(self.active) < self.parallel:
                self._begin(self.pending.popleft())
            before = len(self.fetched) + sum(self.tries.values())
            for request in list(self.active):
                self._look(request)
            if len(self.fetched) + sum(self.tries.values()) > before:
                pause, idle = _POLL_FIRST_S, 0.0
                continue
            if idle > _QUEUE_BUDGET_S:
                raise RetryableSourceError(
                    f"The Climate Data Store has had {', '.join(self.active.values())} in its queue for "
                    f"{idle / 3600:.0f} hours: run the same command again later, it goes on with the same jobs."
                )
            self._say(f"{len(self.active)} in the queue", is_event=False)
            self.store.patience.sleep(pause)
            idle, self.queued_s = idle + pause, self.queued_s + pause
            pause = min(1.5 * pause, _POLL_LONGEST_S)

    def _begin(self, request: Request) -> None:
        """Take up the job of an earlier run, or submit one; split what is too large."""
        job = self.journal.find(request, self.store.url)
        if job is not None:
            self.active[request] = job.job_id
            self.resumed.append(job.job_id)
            self._say(f"going on with job {job.job_id}: {request}")
            return
        try:
            cost = self.store.cost(request.dataset, request.inputs)
            if cost.is_too_much:
                raise TooLargeError(f"It costs {cost.cost:,.0f} and {cost.limit:,.0f} are allowed.")
            job_id = self.store.submit(request.dataset, request.inputs)
        except TooLargeError as error:
            self._split(request, error)
            return
        self.journal.record(request, self.store.url, job_id)
        self.active[request] = job_id
        self._say(f"submitted {request}")

    def _split(self, request: Request, error: TooLargeError) -> None:
        halves = request.halves()
        if not halves:
            raise SourceError(
                f"{request} is one variable of one month and still too large for the Climate Data Store: {error} "
                "Ask for a smaller area."
            ) from error
        self.pending.extendleft(reversed(halves))
        self._say(f"split {request}: {error}")

    def _look(self, request: Request) -> None:
        """See how far a job is, and fetch its result when it is done."""
        job = self.active[request]
        try:
            state = self.store.state(job)
            if state in ("accepted", "running"):
                return
            if state in ("failed", "rejected"):
                self._failed(request, job, state)
            elif state == "successful":
                self._collect(request, job, self.store.asset(job))
            else:
                self._again(request, f"job {job} is {state}")
        except JobGoneError as error:
            self._again(request, str(error))

    def _failed(self, request: Request, job: str, state: str) -> None:
        error = self.store.failure(job)
        self.journal.forget(request)
        is_hopeless = state == "rejected" or any(word in str(error).lower() for word in _HOPELESS)
        if is_hopeless or self.tries[request.digest] >= _RESUBMISSIONS:
            raise SourceError(f"{request} cannot be had: {error}") from error
        self._again(request, str(error))

    def _again(self, request: Request, why: str) -> None:
        """Submit once more, a few times at most."""
        self.journal.forget(request)
        del self.active[request]
        self.tries[request.digest] += 1
        if self.tries[request.digest] > _RESUBMISSIONS:
            raise RetryableSourceError(f"{request} was submitted {_RESUBMISSIONS + 1} times in vain: {why} Try later.")
        self.pending.appendleft(request)
        self._say(f"submitting again, {why}")

    def _collect(self, request: Request, job: str, asset: Asset) -> None:
        """Fetch, unpack, check and publish one result; what is not right is set aside for a person to look at."""
        staging = self.folder / f".{request.name}.part"
        files = staging / "files"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir(parents=True)
        transfer = staging / f"{job}.part"
        self._say(f"fetching {request} ({asset.size:,} bytes)")
        download(asset, transfer, self.store.session, self.store.patience, self._count)
        said = self.store.messages()
        try:
            paths = unpack(transfer, files, largest=4 * request.bytes + (1 << 24))
            received = inspect(request, paths, allow_gaps=self.wish.allow_gaps, said=said)
        except SourceError as error:
            self.journal.forget(request)
            raise _set_aside(error, staging, self.folder / f".rejected-{request.name}") from error
        publish(
            Receipt(
                request, describe_files(paths), received, job, self.store.url, self.today.isoformat(), asset.size,
                asset.md5, said,
            ),
            files,
            self.folder,
        )  # fmt: skip
        self.journal.forget(request)
        shutil.rmtree(staging)
        del self.active[request]
        self.fetched.append(request.name)
        self._say(f"fetched {request}")

    def _count(self, received: int) -> None:
        self.bytes += received

    def _say(self, text: str, is_event: bool = True) -> None:
        open_requests = [*self.pending, *self.active]
        lacking = {month for request in open_requests for month in request.months}
        done = sum(month not in lacking for month in arctic_months(self.wish.year))
        self.tell(Progress(done, len(self.fetched), len(open_requests), self.bytes, self.queued_s, text, is_event))


def _set_aside(error: SourceError, staging: Path, aside: Path) -> SourceError:
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(staging, aside)
    return SourceError(str(error).replace(str(staging), str(aside)))
