"""The jobs of one Arctic year on their way: a few at a time in the service's queue, fetched, checked, published."""

import os
import shutil
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from entropice_core.errors import RetryableSourceError, SourceError
from entropice_core.fetch.calendar import arctic_months
from entropice_core.fetch.cds import Asset, ClimateDataStore, JobGoneError, RefusedError, TooLargeError
from entropice_core.fetch.check import inspect
from entropice_core.fetch.download import DamagedError, download, unpack
from entropice_core.fetch.jobs import Journal
from entropice_core.fetch.patience import UnreachableError
from entropice_core.fetch.plan import Request, Wish
from entropice_core.fetch.receipts import Receipt, describe_files, publish

PARALLEL = 4
"""Jobs in the queue at a time: the service lowers the priority of who has many."""
_RESUBMISSIONS = 2
_POLL_FIRST_S, _POLL_LONGEST_S = 1.0, 120.0
_QUEUE_BUDGET_S = 48 * 3600.0
_TOLD = 3
_HOPELESS = ("no data", "invalid", "not available")


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
class Run:
    """The jobs of one year on their way: waiting to be submitted, in the service's queue, fetched.

    What is wrong with one request does not stop the others: it is told when they are done. What would be wrong with
    any request (the key, a licence, a service that does not answer, a full disk) stops at once.
    """

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
    failures: list[tuple[Request, SourceError]] = field(default_factory=list)
    final: str = ""
    queue_budget_s: float = _QUEUE_BUDGET_S
    bytes: int = 0
    queued_s: float = 0.0

    def finish(self) -> None:
        """Work until nothing is pending or active.

        Raises
        ------
        SourceError
            When requests failed, after the others are done; a ``RetryableSourceError`` where trying again may help.
        """
        pause, idle = _POLL_FIRST_S, 0.0
        while self.pending or self.active:
            before = self._moved()
            while self.pending and len(self.active) < self.parallel:
                self._guard(self._begin, self.pending.popleft())
            for request in list(self.active):
                self._guard(self._look, request)
            if self._moved() > before or not self.active:
                pause, idle = _POLL_FIRST_S, 0.0
                continue
            if idle >= self.queue_budget_s:
                raise UnreachableError(
                    f"The Climate Data Store has had {', '.join(self.active.values())} in its queue for "
                    f"{idle / 3600:.1f} hours: run the same command again later, it goes on with the same jobs."
                )
            self._say(f"{len(self.active)} in the queue", is_event=False)
            self.store.patience.sleep(pause)
            idle, self.queued_s = idle + pause, self.queued_s + pause
            pause = min(1.5 * pause, _POLL_LONGEST_S)
        if self.failures:
            raise _sum_up(self.failures, len(self.fetched))

    def _moved(self) -> int:
        """Count what has happened; while it grows there is no reason to wait."""
        return len(self.fetched) + len(self.failures) + sum(self.tries.values())

    def _guard(self, step: Callable[[Request], None], request: Request) -> None:
        """Do a step of one request, and go on with the others when it fails."""
        try:
            step(request)
        except (RefusedError, UnreachableError):
            raise
        except SourceError as error:
            self.active.pop(request, None)
            self.failures.append((request, error))
            self._say(f"failed: {request}: {error}")

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
        queued_s = self._queued_since(request)
        self._say(f"fetching {request} ({asset.size:,} bytes)")
        try:
            download(asset, transfer, self.store.session, self.store.patience, self._count)
        except DamagedError:
            self.journal.forget(request)  # the file of this job is damaged where it lies: another job makes another
            raise
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
                asset.md5, said, self.final, queued_s,
            ),
            files,
            self.folder,
        )  # fmt: skip
        self.journal.forget(request)
        shutil.rmtree(staging)
        del self.active[request]
        self.fetched.append(request.name)
        self._say(f"fetched {request}")

    def _queued_since(self, request: Request) -> float:
        """Seconds since a job was submitted, by this run or an earlier one."""
        job = self.journal.find(request, self.store.url)
        if job is None:
            return 0.0
        return round((datetime.now(UTC) - datetime.fromisoformat(job.submitted)).total_seconds(), 1)

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


def _sum_up(failures: list[tuple[Request, SourceError]], fetched: int) -> SourceError:
    """Make one error of all; a single one stays as it is."""
    if len(failures) == 1:
        return failures[0][1]
    kind = RetryableSourceError if any(isinstance(e, RetryableSourceError) for _, e in failures) else SourceError
    told = " ".join(str(error) for _, error in failures[:_TOLD])
    more = f" And {len(failures) - _TOLD} more." if len(failures) > _TOLD else ""
    return kind(
        f"{len(failures)} requests failed and {fetched} results were fetched, which are kept: run again to ask for the "
        f"rest. {told}{more}"
    )
