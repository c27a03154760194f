"""The service's calls over HTTP: messages, processes, costing, constraints, jobs, results, files."""

import json
import re
import sys
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.cds.catalogue import DATASETS
from tests.servers.cds.model import Asset, Job, Seen

if TYPE_CHECKING:
    from tests.servers.cds.server import CdsServer

_LICENCE = (
    "Not all the required licences have been accepted; please visit "
    "{base}/datasets/{id}?tab=download#manage-licences to accept the required licence(s)."
)


class Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no fault of the service; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    cds: "CdsServer"
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
        if process not in DATASETS:
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
        elif reason := self.cds.catalogue.invalid(process, inputs, self.cds.newest):
            self._error(400, "invalid request", reason)
        elif self.cds.cost(process, inputs) > self.cds.cost_limit:
            self._error(403, "cost limits exceeded", "Your request is too large, please reduce your selection.")
        else:
            self._json(201, self.cds.status_info(self.cds.submit(process, inputs)))

    def _costing(self, process: str, body: Any) -> None:
        cost, limit = self.cds.cost(process, body["inputs"]), self.cds.cost_limit
        reason = self.cds.catalogue.invalid(process, body["inputs"], self.cds.newest)
        is_valid = reason is None and cost <= limit
        self._json(200, {
            "id": "size", "cost": cost, "limit": limit, "cost_bar_steps": None, "request_is_valid": is_valid,
            "invalid_reason": reason,
        })  # fmt: skip

    def _constraints(self, process: str, body: Any) -> None:
        self._json(200, self.cds.catalogue.constraints(process, body["inputs"], self.cds.newest))

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
    (r"/api/catalogue/v1/messages", "GET", Handler._messages),
    (r"/api/retrieve/v1/processes/([\w-]+)", "GET", Handler._process),
    (r"/api/retrieve/v1/processes/([\w-]+)/execution", "POST", Handler._execution),
    (r"/api/retrieve/v1/processes/([\w-]+)/costing", "POST", Handler._costing),
    (r"/api/retrieve/v1/processes/([\w-]+)/constraints", "POST", Handler._constraints),
    (r"/api/retrieve/v1/jobs", "GET", Handler._jobs),
    (r"/api/retrieve/v1/jobs/delete", "POST", Handler._delete_many),
    (r"/api/retrieve/v1/jobs/([\w-]+)", "GET", Handler._job),
    (r"/api/retrieve/v1/jobs/([\w-]+)", "DELETE", Handler._delete),
    (r"/api/retrieve/v1/jobs/([\w-]+)/results", "GET", Handler._results),
    (r"/api/retrieve/v1/jobs/([\w-]+)/receipt", "GET", Handler._receipt),
    (r"/api/profiles/v1/account/verification/pat", "POST", Handler._verification),
    (r"/api/profiles/v1/account/licences", "GET", Handler._licences),
    (r"/api/profiles/v1/account/licences/([\w-]+)", "PUT", Handler._accept),
]
