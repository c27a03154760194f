"""The REST protocol of Earth Engine: discovery, algorithms, value:compute, table:computeFeatures, tokens.

Faults are told as a list for calls that compute: each is answered once, in order. Limits (memory, payload, requests at
a time, page) are those of the server and refuse as the service does.
"""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.earthengine.evaluate import evaluate
from tests.servers.earthengine.images import EeStoredImage
from tests.servers.earthengine.rasters import EeError, Feature

MEMORY = "User memory limit exceeded."


@dataclass(frozen=True)
class EeFault:
    """What one call is answered. ``cut`` : the line is cut after the head of the answer."""

    status: int = 503
    message: str = "The service is currently unavailable."
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


TOO_MANY = EeFault(
    429, "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."
)


@cache
def _shipped(name: str) -> Any:
    import ee

    return json.loads((Path(ee.__file__).parent / "tests" / name).read_text())


@dataclass
class EarthEngineServer:
    """Answers for some images. Use as a context manager."""

    images: Sequence[EeStoredImage] = ()
    faults: list[EeFault] = field(default_factory=list)
    memory: int = 10**12
    payload: int = 10_485_760
    at_a_time: int = 40
    page: int = 1000
    tokens: set[str] | None = None
    give_token: bool = True
    refresh_tokens: set[str] = field(default_factory=set)
    charged: set[str | None] = field(default_factory=set)
    compute_s: float = 0.0
    calls: list[str] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    sent: int = 0
    received: int = 0
    most_at_once: int = 0
    restricted: bool = False
    _now: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def __enter__(self) -> "EarthEngineServer":
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self, b"")

            def do_POST(self) -> None:
                server.answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = urlsplit(request.path).path
        if path == "/token":
            return self._token(request, parse_qs(body.decode()))
        if path == "/$discovery/rest":
            return self._send(request, 200, self._discovery())
        if self.tokens is not None:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in self.tokens:
                return self._refuse(request, 401, "Request had invalid authentication credentials.")
        if path.endswith("/algorithms"):
            return self._send(request, 200, _shipped("algorithms.json"))
        with self._lock:
            self.charged.add(request.headers.get("x-goog-user-project"))
            self.calls.append(f"{path.rsplit('/', 1)[-1]} of {path.split('/')[3]}")
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            busy = self._now > self.at_a_time
            fault = TOO_MANY if busy else self.faults.pop(0) if self.faults else None
        try:
            self._compute(request, path, body, fault)
        finally:
            with self._lock:
                self._now -= 1

    def _compute(self, request: BaseHTTPRequestHandler, path: str, body: bytes, fault: EeFault | None) -> None:
        if fault is not None and not fault.cut:
            return self._refuse(request, fault.status, fault.message, fault.headers)
        if len(body) > self.payload:
            return self._refuse(request, 400, f"Request payload size exceeds the limit: {self.payload} bytes.")
        time.sleep(self.compute_s)
        asked = json.loads(body)
        try:
            value = evaluate(asked["expression"], self.images, self._limit)
        except EeError as error:
            status = 404 if "not found" in str(error) else 400
            return self._refuse(request, status, str(error))
        found = self._page(value, asked) if path.endswith(":computeFeatures") else {"result": _described(value)}
        with self._lock:
            self.sent += len(body)
        return self._send(request, 200, found, cut=fault is not None)

    def _limit(self, cells: int, pixels: int, bands: int, tile_scale: float) -> None:
        with self._lock:
            self.cells.append(cells)
            self.scales.append(tile_scale)
        if cells * bands * pixels / tile_scale > self.memory:
            raise EeError(MEMORY)

    def _page(self, features: list[Feature], asked: dict[str, Any]) -> dict[str, Any]:
        start, size = int(asked.get("pageToken") or 0), min(int(asked.get("pageSize") or 1000), self.page)
        rows = [{"type": "Feature", "geometry": None, "properties": f.properties} for f in features]
        more = {"nextPageToken": str(start + size)} if start + size < len(rows) else {}
        return {"type": "FeatureCollection", "features": rows[start : start + size], **more}

    def _discovery(self) -> dict[str, Any]:
        document = dict(_shipped("cloud_api_discovery_document.json"))
        return {**document, "rootUrl": f"{self.url}/", "baseUrl": f"{self.url}/"}

    def _token(self, request: BaseHTTPRequestHandler, form: dict[str, list[str]]) -> None:
        if not self.give_token:
            said = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
            return self._send(request, 400, said)
        if form["grant_type"] == ["refresh_token"]:
            if form["refresh_token"][0] not in self.refresh_tokens:
                return self._send(request, 400, {"error": "invalid_grant", "error_description": "Bad Request"})
            assert form["client_id"] and form["client_secret"]
        else:
            assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"] and form["assertion"]
        token = f"token-{len(self.calls)}"
        if self.tokens is not None:
            self.tokens.add(token)
        return self._send(request, 200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def _refuse(
        self, request: BaseHTTPRequestHandler, status: int, message: str, headers: dict[str, str] | None = None
    ) -> None:
        names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}
        error = {"code": status, "message": message, "status": names.get(status, "UNAVAILABLE")}
        return self._send(request, status, {"error": error}, headers)

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        content: Any,
        headers: dict[str, str] | None = None,
        cut: bool = False,
    ) -> None:
        body = json.dumps(content).encode()
        request.send_response(status)
        limited = {"x-earth-engine-quota-status": "parallelism_restricted=true"} if self.restricted else {}
        fixed = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**fixed, **limited, **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        with self._lock:
            self.received += len(body)
        request.wfile.write(body[: len(body) // 3] if cut else body)
        if cut:
            request.wfile.flush()
            request.close_connection = True


def _described(value: Any) -> Any:
    """Images of a collection as ``getInfo`` describes them."""
    if isinstance(value, list):
        return {"type": "ImageCollection", "bands": [], "features": [image.described(bands) for image, bands in value]}
    return value


def service_account(path: Path, server: EarthEngineServer) -> Path:
    """Write the key file of a service account whose tokens the server gives."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    content = {
        "type": "service_account",
        "project_id": "of-the-account",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "tester@of-the-account.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{server.url}/token",
    }
    path.write_text(json.dumps(content))
    return path
