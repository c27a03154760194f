"""The journal of jobs: what was submitted and is not fetched yet, one small file for each request.

A job goes on at the service when the program that submitted it is killed. The journal is written as soon as the
service has given the job's id and removed when the result lies in the data folder; so the next run asks for the same
job instead of queueing again. A kill in the moment between the service's answer and the journal's write costs one
more job, never a wrong file.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from entropice_core.errors import StoreError
from entropice_core.fetch.plan import Request
from entropice_core.storage.durable import make_folder, write_json


@dataclass(frozen=True)
class Job:
    """A job of a service: its id, where, for which request, since when (UTC)."""

    job_id: str
    url: str
    request_digest: str
    request: str
    submitted: str


class Journal:
    """The open jobs below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, request: Request, url: str) -> Job | None:
        """Give the open job of a request at a service, if there is one."""
        path = self._path(request)
        if not path.is_file():
            return None
        try:
            job = Job(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path} is not a journal entry of a job ({error}): remove it and run again.") from error
        return job if job.request_digest == request.digest and job.url == url else None

    def record(self, request: Request, url: str, job_id: str) -> Job:
        """Write down that a job was submitted; on the disk before this returns."""
        job = Job(job_id, url, request.digest, str(request), datetime.now(UTC).isoformat(timespec="seconds"))
        make_folder(self.folder, self.folder.parent)
        write_json(self._path(request), asdict(job))
        return job

    def forget(self, request: Request) -> None:
        """Strike a job off: its result is in the data folder, or will never come."""
        self._path(request).unlink(missing_ok=True)

    def strike(self, job: Job) -> None:
        """Strike off a job whose request is not at hand."""
        for path in self.folder.glob(f"*_{job.request_digest[:8]}.json"):
            path.unlink()

    def open_jobs(self) -> Iterator[Job]:
        """List the open jobs."""
        for path in sorted(self.folder.glob("*.json")):
            yield Job(**json.loads(path.read_text(encoding="utf-8")))

    def _path(self, request: Request) -> Path:
        return self.folder / f"{request.name}.json"
