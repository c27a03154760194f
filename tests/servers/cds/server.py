"""The state of the service: what it is told to do, its jobs, their files."""

import re
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tests.servers.cds.catalogue import DAILY, LAND_DAILY, Catalogue, now
from tests.servers.cds.fields import as_list
from tests.servers.cds.handler import Handler, Http
from tests.servers.cds.model import Asset, Fault, Job, Seen
from tests.servers.cds.results import make_asset

KEY = "6f0d3c1e-good-token"


class CdsServer:
    """The service. Attributes may be changed while it runs.

    ``queue`` is the number of looks during which a job is accepted, then running; ``fates`` is a list of
    (state, traceback) for the next jobs; ``transfers`` of what happens to the next downloads: ``cut``,
    ``cut_unannounced``, ``html``, ``gone``, ``429``; ``results`` of what is wrong with the next results: ``wrong_md5``,
    ``html``, ``grib``, ``truncated``, ``traversal``, ``link``, ``bomb``, ``missing_step``, ``half_area``, ``all_nan``.
    ``drop`` names variables that are left out without an error; ``newest`` is the newest month there is, ``final`` the
    newest that is final (all are when it is None), ``expver`` says it of each month (None: the
    files do not say); ``squeeze`` writes single times
    without their dimension; ``judge`` gives the fate of a job by what it asks for.
    """

    def __init__(self, protocols: Path | None = None, step: float = 2.5, port: int = 0) -> None:
        self.step = step
        self.key = KEY
        self.queue = (0, 0)
        self.cost_limit = 60_000.0
        self.licence_accepted = True
        self.drop: set[str] = set()
        self.truncate_at = 0.6
        self.squeeze = False
        self.accumulated_hour = 6
        self.newest = (2030, 12)
        self.final: tuple[int, int] | None = None
        self.expver: Callable[[int, int], str] | None = self.version_of
        self.judge: Callable[[str, dict[str, Any]], tuple[str, str] | None] = lambda process, inputs: None
        self.faults: list[Fault] = []
        self.fates: list[tuple[str, str]] = []
        self.transfers: list[str] = []
        self.results: list[str] = []
        self.on_call: Callable[[str, str], None] = lambda method, path: None
        self.seen: list[Seen] = []
        self.jobs: dict[str, Job] = {}
        self.assets: dict[str, Asset] = {}
        self.catalogue = Catalogue(protocols)
        self.lock = threading.RLock()
        server = self

        class Here(Handler):
            cds = server

        self._http = Http(("127.0.0.1", port), Here)
        self.root = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.url = f"{self.root}/api"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        """The variables that point the real clients here."""
        return {"CDSAPI_URL": self.url, "CDSAPI_KEY": self.key}

    def calls(self, method: str, path: str) -> list[Seen]:
        """The calls whose path matches."""
        return [s for s in self.seen if s.method == method and re.search(path, s.path)]

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Take the fault that is due for a call."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    if fault.after > 0:
                        fault.after -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    def version_of(self, year: int, month: int) -> str:
        """Experiment version of a month: 0001 is final, 0005 ERA5T."""
        return "0005" if self.final is not None and (year, month) > self.final else "0001"

    @property
    def variables(self) -> set[str]:
        """The variables of ERA5 that may be asked for; may be changed."""
        return self.catalogue.variables["era5"]

    # ---- what the service says --------------------------------------------------------------------------------------

    def cost(self, process: str, inputs: dict[str, Any]) -> float:
        """Count fields, as the real service does."""
        hours = 24 if process in (DAILY, LAND_DAILY) else 1
        lengths = [len(as_list(inputs.get(k, ["-"]))) for k in ("variable", "year", "month", "day", "time")]
        return float(np.prod(lengths) * hours)

    def submit(self, process: str, inputs: dict[str, Any]) -> Job:
        """Put a job into the queue."""
        with self.lock:
            fate = self.judge(process, inputs) or (self.fates.pop(0) if self.fates else ("successful", ""))
            job = Job(str(uuid.uuid4()), process, inputs, now(), fate=fate[0], trace=fate[1])
            self.jobs[job.job_id] = job
            return job

    def state(self, job: Job) -> str:
        """State of a job by how often it was looked at."""
        accepted, running = self.queue
        if job.looks <= accepted:
            return "accepted" if accepted else job.fate
        return "running" if job.looks <= accepted + running else job.fate

    def status_info(self, job: Job) -> dict[str, Any]:
        """The service's StatusInfo."""
        state = self.state(job)
        if state == "successful":
            self.asset(job)  # made before it is asked for, as lines of the log belong to it
        href = f"{self.url}/retrieve/v1/jobs/{job.job_id}"
        links = [{"href": href, "rel": "self"}, {"href": href, "rel": "monitor", "type": "application/json"}]
        if state == "successful":
            links.append({"href": f"{href}/results", "rel": "results"})
        return {
            "processID": job.process, "type": "process", "jobID": job.job_id, "status": state,
            "created": job.created, "started": None, "finished": None, "updated": now(), "links": links,
            "metadata": {
                "origin": "api", "request": {"ids": job.inputs}, "results": {}, "datasetMetadata": {"messages": []},
                "qos": {}, "log": [list(line) for line in job.log],
            },
        }  # fmt: skip

    def asset(self, job: Job) -> dict[str, Any]:
        """The results document; the file is made when it is asked for first."""
        with self.lock:
            if job.job_id not in self.assets:
                wrong = self.results.pop(0) if self.results else ""
                self.assets[job.job_id] = make_asset(self, job, wrong)
            made = self.assets[job.job_id]
        value = {
            "type": made.media_type, "href": f"{self.root}/cache/{job.job_id}/{made.name}",
            "file:checksum": made.md5, "file:size": made.size, "file:local_path": f"s3://cads-cache/{made.name}",
        }  # fmt: skip
        return {"asset": {"value": value}}
