"""A Climate Data Store on 127.0.0.1 that speaks the protocol of the real one, and misbehaves when told to.

Addresses, messages and states are those that the service's own clients expect (catalogue messages, processes, costing,
constraints, execution, jobs, results, receipts, deletion, licences). What may be asked for comes from real catalogue
files when a folder of them is given. Results are generated fields in the layouts that the service serves since 2024:
NetCDF split by step type, zipped when there are several, ``valid_time``, ``number``, ``expver``, GRIB attributes.
"""

import hashlib
import io
import json
import re
import sys
import threading
import uuid
import zipfile
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import xarray as xr

KEY = "6f0d3c1e-good-token"
MONTHLY = "reanalysis-era5-single-levels-monthly-means"
DAILY = "derived-era5-single-levels-daily-statistics"
FIELDS = {  # CDS name: NetCDF name, GRIB short name, GRIB number, units, is accumulated, mean, amplitude
    "2m_temperature": ("t2m", "2t", 167, "K", False, 262.0, 22.0),
    "skin_temperature": ("skt", "skt", 235, "K", False, 261.0, 23.0),
    "snow_depth": ("sd", "sd", 141, "m of water equivalent", False, 0.1, 0.1),
    "soil_temperature_level_1": ("stl1", "stl1", 139, "K", False, 265.0, 12.0),
    "total_precipitation": ("tp", "tp", 228, "m", True, 0.002, 0.001),
    "snowfall": ("sf", "sf", 144, "m of water equivalent", True, 0.001, 0.0005),
    "surface_solar_radiation_downwards": ("ssrd", "ssrd", 169, "J m**-2", True, 1e7, 9e6),
}
_LICENCE = (
    "Not all the required licences have been accepted; please visit "
    "{base}/datasets/{id}?tab=download#manage-licences to accept the required licence(s)."
)
_INVALID = "Request has not produced a valid combination of values, please check your selection"
_STATISTICS = ("daily_mean", "daily_minimum", "daily_maximum", "daily_sum")


@dataclass
class Fault:
    """The next ``times`` calls of ``method`` whose path matches ``path`` are answered with this, after ``after``."""

    method: str
    path: str
    status: int
    title: str
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: int = 0


@dataclass
class Seen:
    """A call that was received."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Job:
    """A job in the queue: how often it was looked at decides its state."""

    job_id: str
    process: str
    inputs: dict[str, Any]
    created: str
    looks: int = 0
    fate: str = "successful"
    trace: str = ""
    gone: bool = False
    log: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Asset:
    """The file of a job."""

    name: str
    content: bytes
    media_type: str
    md5: str
    size: int


class CdsServer:
    """The service. Attributes may be changed while it runs.

    ``queue`` is the number of looks during which a job is accepted, then running; ``fates`` is a list of
    (state, traceback) for the next jobs; ``transfers`` of what happens to the next downloads: ``cut``,
    ``cut_unannounced``, ``html``, ``gone``, ``429``; ``results`` of what is wrong with the next results: ``wrong_md5``,
    ``html``, ``grib``, ``truncated``, ``traversal``, ``link``, ``bomb``, ``missing_step``, ``half_area``, ``all_nan``.
    ``drop`` names variables that are left out without an error; ``expver`` says which months are ERA5T; ``squeeze``
    writes single times without their dimension.
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
        self.expver: Callable[[int, int], str] = lambda year, month: "0001"
        self.faults: list[Fault] = []
        self.fates: list[tuple[str, str]] = []
        self.transfers: list[str] = []
        self.results: list[str] = []
        self.on_call: Callable[[str, str], None] = lambda method, path: None
        self.seen: list[Seen] = []
        self.jobs: dict[str, Job] = {}
        self.assets: dict[str, Asset] = {}
        self.variables = read_variables(protocols)
        self.lock = threading.RLock()
        server = self

        class Handler(_Handler):
            cds = server

        self._http = _Http(("127.0.0.1", port), Handler)
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

    # ---- what the service says --------------------------------------------------------------------------------------

    def cost(self, process: str, inputs: dict[str, Any]) -> float:
        """Count fields, as the real service does."""
        hours = 24 if process == DAILY else 1
        lengths = [len(_list(inputs.get(k, ["-"]))) for k in ("variable", "year", "month", "day", "time")]
        return float(np.prod(lengths) * hours)

    def invalid(self, process: str, inputs: dict[str, Any]) -> str | None:
        """Say why a request is refused."""
        common = {"product_type", "variable", "year", "month", "area"}
        more = {MONTHLY: {"time", "data_format", "download_format"}}.get(
            process, {"day", "daily_statistic", "time_zone", "frequency"}
        )
        if extra := set(inputs) - common - more:
            return (
                f"Request has not produced a valid combination of values, please check your selection: {sorted(extra)}"
            )
        for name, known in (("variable", self.variables), ("month", {f"{m:02d}" for m in range(1, 13)})):
            for value in _list(inputs.get(name, [])):
                if value not in known:
                    return (
                        f"Request has not produced a valid combination of values, please check your selection: {value}"
                    )
        if process == DAILY and any(len(_list(inputs.get(k, []))) != 1 for k in ("daily_statistic", "time_zone")):
            return "Multiple daily statistic values in a single request is not supported."
        if process == DAILY and _list(inputs["daily_statistic"])[0] not in _STATISTICS:
            return f"unknown daily statistic {inputs['daily_statistic']}"
        if not all(1940 <= int(y) <= 2030 for y in _list(inputs.get("year", []))):
            return f"{_INVALID}: year"
        return None

    def submit(self, process: str, inputs: dict[str, Any]) -> Job:
        """Put a job into the queue."""
        with self.lock:
            state, trace = self.fates.pop(0) if self.fates else ("successful", "")
            job = Job(str(uuid.uuid4()), process, inputs, _now(), fate=state, trace=trace)
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
            "created": job.created, "started": None, "finished": None, "updated": _now(), "links": links,
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


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no fault of the service; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    cds: CdsServer
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet: two would wait 40 ms for an acknowledgement
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("HEAD")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        split = urlsplit(self.path)
        self.query = parse_qs(split.query)
        body = json.loads(raw) if raw else None
        self.cds.seen.append(Seen(method, split.path, dict(self.headers), body))
        self.cds.on_call(method, split.path)
        fault = self.cds.fault_for(method, split.path)
        if fault is not None:
            self._error(fault.status, fault.title, fault.detail, fault.headers)
            return
        if split.path.startswith("/cache/"):
            self._file(method, split.path)
            return
        for pattern, verb, answer in _ROUTES:
            found = re.fullmatch(pattern, split.path)
            if found and verb == method:
                if not split.path.startswith("/api/catalogue") and self.headers.get("PRIVATE-TOKEN") != self.cds.key:
                    self._error(401, "permission denied", "operation not allowed")
                else:
                    answer(self, *found.groups(), **({"body": body} if verb in ("POST", "PUT") else {}))
                return
        self._error(404, "not found", f"no such resource {split.path}")

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._bytes(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _bytes(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _error(
        self, status: int, title: str, detail: str = "", headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        instance = f"{self.cds.root}{self.path}"
        body = {"type": title, "title": title, "status": status, "detail": detail, "instance": instance}
        self._json(status, {**body, "trace_id": uuid.uuid4().hex, **more}, headers)

    def _messages(self) -> None:
        self._json(200, {"messages": []})

    def _process(self, process: str) -> None:
        if process not in (MONTHLY, DAILY):
            self._error(404, "process not found", f"process {process} has not been found")
            return
        link = {"href": f"{self.cds.url}/retrieve/v1/processes/{process}/execution", "rel": "execute"}
        control = {"jobControlOptions": ["async-execute"], "outputTransmission": ["reference"]}
        self._json(200, {"id": process, "title": process, "version": "1.0.0", **control, "links": [link]})

    def _execution(self, process: str, body: Any) -> None:
        inputs = body["inputs"]
        if not self.cds.licence_accepted:
            detail = _LICENCE.format(base=self.cds.root, id=process)
            self._error(403, "required licences not accepted", detail)
        elif reason := self.cds.invalid(process, inputs):
            self._error(400, "invalid request", reason)
        elif self.cds.cost(process, inputs) > self.cds.cost_limit:
            self._error(403, "cost limits exceeded", "Your request is too large, please reduce your selection.")
        else:
            self._json(201, self.cds.status_info(self.cds.submit(process, inputs)))

    def _costing(self, process: str, body: Any) -> None:
        cost, limit = self.cds.cost(process, body["inputs"]), self.cds.cost_limit
        reason = self.cds.invalid(process, body["inputs"])
        is_valid = reason is None and cost <= limit
        self._json(200, {
            "id": "size", "cost": cost, "limit": limit, "cost_bar_steps": None, "request_is_valid": is_valid,
            "invalid_reason": reason,
        })  # fmt: skip

    def _constraints(self, process: str, body: Any) -> None:
        months = [f"{m:02d}" for m in range(1, 13)]
        years = [str(y) for y in range(1940, 2027)]
        self._json(200, {"variable": sorted(self.cds.variables), "year": years, "month": months})

    def _job(self, job_id: str) -> None:
        job = self._find(job_id)
        if job:
            if "log" in self.query:
                job.looks += 1
            self._json(200, self.cds.status_info(job))

    def _jobs(self) -> None:
        infos = [self.cds.status_info(j) for j in self.cds.jobs.values() if not j.gone]
        self._json(200, {"jobs": infos, "links": [], "metadata": {"totalCount": len(infos)}})

    def _results(self, job_id: str) -> None:
        job = self._find(job_id)
        if job is None:
            return
        state = self.cds.state(job)
        if state in ("failed", "rejected"):
            been = "failed" if state == "failed" else "been rejected"
            self._error(400, f"The job has {been}", "", traceback=job.trace)
        elif state != "successful":
            self._error(404, "results not ready", f"status of {job_id} is {state!r}")
        else:
            self._json(200, self.cds.asset(job))

    def _receipt(self, job_id: str) -> None:
        job = self._find(job_id)
        if job:
            self._json(200, {"jobID": job_id, "processID": job.process, "request": job.inputs})

    def _delete(self, job_id: str) -> None:
        job = self._find(job_id)
        if job:
            job.gone = True
            self._json(200, {**self.cds.status_info(job), "status": "dismissed"})

    def _delete_many(self, body: Any) -> None:
        jobs = [self.cds.jobs[j] for j in body["job_ids"] if j in self.cds.jobs]
        for job in jobs:
            job.gone = True
        self._json(200, {"jobs": [{**self.cds.status_info(j), "status": "dismissed"} for j in jobs]})

    def _verification(self, body: Any) -> None:
        self._json(200, {"id": 1, "role": "authenticated"})

    def _licences(self) -> None:
        accepted = [{"id": "licence-to-use-copernicus-products", "revision": 12}] * self.cds.licence_accepted
        self._json(200, {"licences": accepted})

    def _accept(self, licence: str, body: Any) -> None:
        self.cds.licence_accepted = True
        self._json(200, {"id": licence, **body})

    def _find(self, job_id: str) -> Job | None:
        job = self.cds.jobs.get(job_id)
        if job is None or job.gone:
            self._error(404, "job not found", f"job {job_id} not found")
            return None
        return job

    # ---- files ------------------------------------------------------------------------------------------------------

    def _file(self, method: str, path: str) -> None:
        asset = self.cds.assets.get(path.split("/")[2])
        trouble = self.cds.transfers.pop(0) if self.cds.transfers and method == "GET" else ""
        if asset is None or trouble == "gone":
            self._bytes(404, b"<html>NoSuchKey</html>", {"Content-Type": "text/html"})
        elif trouble == "html":
            self._bytes(200, b"<html><body>Service under maintenance</body></html>", {"Content-Type": "text/html"})
        elif trouble.isdecimal():
            self._bytes(int(trouble), b"slow down", {"Retry-After": "5"})
        else:
            self._content(asset, trouble)

    def _content(self, asset: Asset, trouble: str) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked.group(1)) if asked else 0
        content = asset.content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", asset.media_type)
        if trouble == "cut_unannounced":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(content)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(asset.content) - 1}/{len(asset.content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        is_cut = trouble.startswith("cut")
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.close_connection = self.close_connection or is_cut


_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    (r"/api/catalogue/v1/messages", "GET", _Handler._messages),
    (r"/api/retrieve/v1/processes/([\w-]+)", "GET", _Handler._process),
    (r"/api/retrieve/v1/processes/([\w-]+)/execution", "POST", _Handler._execution),
    (r"/api/retrieve/v1/processes/([\w-]+)/costing", "POST", _Handler._costing),
    (r"/api/retrieve/v1/processes/([\w-]+)/constraints", "POST", _Handler._constraints),
    (r"/api/retrieve/v1/jobs", "GET", _Handler._jobs),
    (r"/api/retrieve/v1/jobs/delete", "POST", _Handler._delete_many),
    (r"/api/retrieve/v1/jobs/([\w-]+)", "GET", _Handler._job),
    (r"/api/retrieve/v1/jobs/([\w-]+)", "DELETE", _Handler._delete),
    (r"/api/retrieve/v1/jobs/([\w-]+)/results", "GET", _Handler._results),
    (r"/api/retrieve/v1/jobs/([\w-]+)/receipt", "GET", _Handler._receipt),
    (r"/api/profiles/v1/account/verification/pat", "POST", _Handler._verification),
    (r"/api/profiles/v1/account/licences", "GET", _Handler._licences),
    (r"/api/profiles/v1/account/licences/([\w-]+)", "PUT", _Handler._accept),
]


# ---- results ---------------------------------------------------------------------------------------------------------


def make_asset(cds: CdsServer, job: Job, wrong: str) -> Asset:
    """Make the file of a job, right or wrong in one way."""
    files = make_files(cds, job, wrong)
    if wrong == "html":
        content, name, media = b"<!DOCTYPE html><html><body>Please sign in</body></html>", "x.nc", "application/netcdf"
    elif wrong == "grib":
        content, name, media = b"GRIB\x00\x00\x10\x01" + bytes(1000), "x.grib", "application/x-grib"
    elif len(files) > 1 or wrong in ("traversal", "link", "bomb"):
        content, name, media = zip_files(files, wrong), f"{job.job_id}.zip", "application/zip"
    else:
        content, name, media = next(iter(files.values())), f"{job.job_id}.nc", "application/netcdf"
    if wrong == "truncated":
        content = content[: int(len(content) * cds.truncate_at)]
    md5 = hashlib.md5(content).hexdigest()
    return Asset(name, content, media, "0" * 32 if wrong == "wrong_md5" else md5, len(content))


def zip_files(files: dict[str, bytes], wrong: str = "") -> bytes:
    """Zip the files of a result."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if wrong == "traversal":
            archive.writestr("../../evil.nc", b"\x89HDF\r\n\x1a\n")
        if wrong == "bomb":
            archive.writestr("bomb.nc", bytes(30_000_000))
        if wrong == "link":
            link = zipfile.ZipInfo("link.nc")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
    return stream.getvalue()


def make_files(cds: CdsServer, job: Job, wrong: str) -> dict[str, bytes]:
    """Make the NetCDF files of a job, split as the service splits them."""
    names = [v for v in _list(job.inputs["variable"]) if v not in cds.drop]
    statistic = _list(job.inputs.get("daily_statistic", [""]))[0]
    if statistic == "daily_sum":
        names = [v for v in names if FIELDS[v][4]]
    for left_out in set(_list(job.inputs["variable"])) - set(names):
        job.log.append((_now(), f"WARNING Daily sum is not available for this variable, skipping: {left_out}"))
    if job.process == DAILY:
        groups = {f"{v}_0_{statistic.replace('_', '-')}.nc": [v] for v in names}
    else:
        kinds = {"avgua": [v for v in names if not FIELDS[v][4]], "avgad": [v for v in names if FIELDS[v][4]]}
        groups = {f"data_stream-moda_stepType-{kind}.nc": group for kind, group in kinds.items() if group}
    return {name: _netcdf(make_dataset(cds, job, group, wrong)) for name, group in groups.items()}


def make_dataset(cds: CdsServer, job: Job, names: list[str], wrong: str = "") -> xr.Dataset:
    """Fields of some variables in the layout that the service serves since 2024."""
    north, west, south, east = job.inputs.get("area", [90, -180, -90, 180])
    lat = np.arange(north, (north + south) / 2 if wrong == "half_area" else south - 1e-6, -cds.step)
    lon = np.arange(west, min(east + 1e-6, west + 360 - 1e-6), cds.step)
    times = make_times(job, FIELDS[names[0]][4], cds.accumulated_hour)[: -1 if wrong == "missing_step" else None]
    dims = ("valid_time", "latitude", "longitude")
    variables = {}
    for name in names:
        short, grib, param, units, is_accumulated, *_ = FIELDS[name]
        values = np.full((len(times), lat.size, lon.size), np.nan) if wrong == "all_nan" else field_of(
            name, times, lat, lon, _list(job.inputs.get("daily_statistic", ["daily_mean"]))[0]
        )  # fmt: skip
        kind = ("avgad" if is_accumulated else "avgua") if job.process == MONTHLY else "instant"
        variables[short] = (dims, values.astype(np.float32), _grib(name, grib, param, units, kind, values[0].size))
    coords: dict[str, Any] = {
        "number": ((), np.int64(0), {"long_name": "ensemble member numerical id", "units": "1"}),
        "valid_time": ("valid_time", times, {"long_name": "time", "standard_name": "time"}),
        "latitude": ("latitude", lat, {"units": "degrees_north", "standard_name": "latitude",
                                       "long_name": "latitude", "stored_direction": "decreasing"}),
        "longitude": ("longitude", lon, {"units": "degrees_east", "standard_name": "longitude",
                                         "long_name": "longitude"}),
    }  # fmt: skip
    if job.process == MONTHLY:
        coords["expver"] = ("valid_time", np.array([cds.expver(t.year, t.month) for t in times], dtype=object))
    attrs = {"GRIB_centre": "ecmf", "GRIB_subCentre": 0, "Conventions": "CF-1.7",
             "institution": "European Centre for Medium-Range Weather Forecasts"}  # fmt: skip
    made = xr.Dataset(variables, coords, attrs)
    return made.squeeze("valid_time") if cds.squeeze else made


def make_times(job: Job, is_accumulated: bool, hour: int) -> pd.DatetimeIndex:
    """Months, with another hour for means of accumulated variables, or days."""
    months = [(int(y), int(m)) for y in _list(job.inputs["year"]) for m in _list(job.inputs["month"])]
    if job.process == MONTHLY:
        return pd.DatetimeIndex([pd.Timestamp(y, m, 1, hour if is_accumulated else 0) for y, m in sorted(months)])
    days = [int(d) for d in _list(job.inputs["day"])]
    return pd.DatetimeIndex(
        [pd.Timestamp(y, m, d) for y, m in sorted(months) for d in days if d <= monthrange(y, m)[1]]
    )


def field_of(name: str, times: pd.DatetimeIndex, lat: Any, lon: Any, statistic: str = "daily_mean") -> Any:
    """A smooth field whose every value can be told from its place and time: (time, latitude, longitude)."""
    *_, mean, amplitude = FIELDS[name]
    season = -np.cos(2 * np.pi * (np.asarray(times.day_of_year) - 15) / 365.25)[:, None, None]
    south = np.sin(np.radians(90 - lat))[None, :, None]
    east = np.cos(np.radians(lon))[None, None, :]
    shift = {"daily_minimum": -0.2, "daily_maximum": 0.2}.get(statistic, 0.0)
    wave = (
        0.6 * season + 0.2 * south + 0.1 * east * south + shift + 0.001 * (np.asarray(times.year)[:, None, None] - 2020)
    )
    return mean + amplitude * wave


def _grib(name: str, short: str, param: int, units: str, kind: str, points: int) -> dict[str, Any]:
    return {
        "GRIB_paramId": param, "GRIB_dataType": "an", "GRIB_numberOfPoints": points, "GRIB_typeOfLevel": "surface",
        "GRIB_stepUnits": 1, "GRIB_stepType": kind, "GRIB_gridType": "regular_ll", "GRIB_name": name.replace("_", " "),
        "GRIB_shortName": short, "GRIB_units": units, "long_name": name.replace("_", " "), "units": units,
        "standard_name": "unknown", "GRIB_missingValue": 3.4028234663852886e38,
    }  # fmt: skip


def _netcdf(data: xr.Dataset) -> bytes:
    packed = {"zlib": True, "complevel": 1, "shuffle": True, "_FillValue": np.float32(np.nan)}
    stream = data.to_netcdf(engine="h5netcdf", encoding={n: packed for n in data.data_vars})
    return bytes(stream)


def read_variables(protocols: Path | None) -> set[str]:
    """The variables that may be asked for: of real constraints where a folder of catalogue files is given."""
    if protocols is None:
        return set(FIELDS)
    rows = json.loads((protocols / "reanalysis-era5-single-levels" / "constraints.json").read_text())
    return {v for row in rows if "reanalysis" in row["product_type"] for v in row["variable"]}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _now() -> str:
    return datetime.now(UTC).isoformat()
