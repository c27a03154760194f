"""A DataONE member node on 127.0.0.1 that speaks the calls of the real one, and misbehaves when told to.

``query/solr``, ``meta`` and ``object`` answer in the forms of the Arctic Data Center: a Solr response in JSON, system
metadata as XML of version 2.0, bytes with ``Range``; errors are DataONE's XML. What is published is put in by tests.
"""

import hashlib
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

API = "/metacat/d1/mn/v2"
_HTML = b"<!DOCTYPE html><html><body>Scheduled maintenance</body></html>"


@dataclass
class Held:
    """An object that the node holds; ``content`` is what it sends, the rest what it says."""

    pid: str
    kind: str  # DATA, METADATA or RESOURCE
    content: bytes = b""
    file_name: str = ""
    title: str = ""
    algorithm: str = "SHA-256"
    checksum: str = ""
    format_id: str = ""
    documented_by: list[str] = field(default_factory=list)
    maps: list[str] = field(default_factory=list)
    obsoleted_by: str = ""
    uploaded: str = "2025-03-01T00:00:00Z"

    def sum(self) -> str:
        name = {"SHA-256": "sha256", "MD5": "md5", "SHA-1": "sha1"}.get(self.algorithm)
        return self.checksum or (hashlib.new(name, self.content).hexdigest() if name else "0")


@dataclass
class Seen:
    """A call that was received."""

    call: str
    query: str
    headers: dict[str, str]


class DataOneServer:
    """The node. ``faults`` is what happens to the next calls of a kind (``query``, ``meta``, ``object``): ``503``,
    ``429``, ``404``, ``403``, ``html``, ``cut``, ``cut_unannounced``, ``other_bytes``, ``reset``, ``short_listing``."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.faults: dict[str, list[str]] = {"query": [], "meta": [], "object": []}
        self.seen: list[Seen] = []
        self.rows_at_most = 1000
        node = self

        class Handler(_Handler):
            server_node = node

        self._http = _Http(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}{API}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def publish(self, doi: str, files: dict[str, bytes], title: str = "A release", algorithm: str = "SHA-256") -> str:
        """Put a package in: metadata under the DOI, a resource map, and data objects with UUIDs of their own."""
        pid, mapped = f"doi:{doi}", f"resource_map_doi:{doi}"
        for name, content in files.items():
            digest = hashlib.sha256(f"{doi} {name}".encode() + content).hexdigest()
            uuid = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
            held = Held(f"urn:uuid:{uuid}", "DATA", content, name, algorithm=algorithm)
            held.documented_by, held.maps = [pid], [mapped]
            self.held[held.pid] = held
        eml = f"<eml:eml packageId='{pid}'/>".encode()
        self.held[pid] = Held(pid, "METADATA", eml, "science_metadata.xml", title, maps=[mapped])
        self.held[mapped] = Held(mapped, "RESOURCE", b"<rdf:RDF/>", "map.xml")
        return pid

    def replace(self, old: str, new: str) -> None:
        """Make one package the successor of another."""
        self.held[f"doi:{old}"].obsoleted_by = f"doi:{new}"

    def named(self, file_name: str) -> Held:
        """The newest data object of a name."""
        return [held for held in self.held.values() if held.file_name == file_name][-1]

    def calls(self, call: str) -> list[Seen]:
        return [each for each in self.seen if each.call == call]


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server_node: DataOneServer
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        node, split = self.server_node, urlsplit(self.path)
        call, _, rest = split.path.removeprefix(f"{API}/").partition("/")
        node.seen.append(Seen(call, unquote(split.query or rest), dict(self.headers)))
        trouble = node.faults[call].pop(0) if node.faults.get(call) else ""
        if trouble == "reset":
            self.close_connection = True
        elif trouble.isdecimal():
            wait = {"Retry-After": "7"} if trouble in ("429", "503") else {}
            self._fail(int(trouble), "ServiceFailure", "told to", wait)
        elif trouble == "html":
            self._send(200, _HTML, {"Content-Type": "text/html"})
        elif call == "query":
            self._query(parse_qs(split.query), trouble)
        elif (held := node.held.get(unquote(rest))) is None:
            self._fail(404, "NotFound", f"No system metadata could be found for given PID: {unquote(rest)}")
        elif call == "meta":
            self._send(200, _system_metadata(held), {"Content-Type": "text/xml"})
        else:
            self._object(held, trouble)

    def _query(self, query: dict[str, list[str]], trouble: str) -> None:
        found = sorted(_matching(self.server_node.held.values(), query["q"][0]), key=lambda held: held.pid)
        start, rows = int(query["start"][0]), min(int(query["rows"][0]), self.server_node.rows_at_most)
        page = [] if trouble == "short_listing" and start else found[start : start + rows]
        fields = set(query["fl"][0].split(","))
        documents = [{k: v for k, v in _document(held).items() if k in fields and v not in ("", [])} for held in page]
        body = {
            "responseHeader": {"status": 0},
            "response": {"numFound": len(found), "start": start, "docs": documents},
        }
        self._send(200, json.dumps(body).encode(), {"Content-Type": "text/json"})

    def _object(self, held: Held, trouble: str) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked.group(1)) if asked else 0
        content = (bytes(len(held.content)) if trouble == "other_bytes" else held.content)[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "application/octet-stream")
        if trouble == "cut_unannounced":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        is_cut = trouble.startswith("cut")
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.close_connection = self.close_connection or is_cut

    def _fail(self, status: int, name: str, text: str, headers: dict[str, str] | None = None) -> None:
        told = f"<description>{escape(text)}</description>"
        error = f'<error name="{name}" errorCode="{status}" detailCode="1800">{told}</error>'
        self._send(status, error.encode(), {"Content-Type": "text/xml", **(headers or {})})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _matching(held: Any, query: str) -> list[Held]:
    """Objects that fit ``id:"x"``, or ``(isDocumentedBy:"x" OR resourceMap:"y") AND formatType:DATA``."""
    wanted = re.findall(r'(id|isDocumentedBy|resourceMap):"([^"]+)"', query)
    if not wanted:
        raise ValueError(query)
    fits = {
        "id": lambda each, value: each.pid == value,
        "isDocumentedBy": lambda each, value: value in each.documented_by,
        "resourceMap": lambda each, value: value in each.maps,
    }
    found = [each for each in held if any(fits[name](each, value) for name, value in wanted)]
    return [each for each in found if each.kind == "DATA"] if "formatType:DATA" in query else found


def _document(held: Held) -> dict[str, Any]:
    return {
        "id": held.pid, "title": held.title, "formatType": held.kind, "formatId": held.format_id,
        "fileName": held.file_name, "size": len(held.content), "checksum": held.sum(),
        "checksumAlgorithm": held.algorithm, "dateUploaded": held.uploaded, "obsoletedBy": held.obsoleted_by,
        "resourceMap": held.maps,
    }  # fmt: skip


def _system_metadata(held: Held) -> bytes:
    successor = f"<obsoletedBy>{escape(held.obsoleted_by)}</obsoletedBy>" if held.obsoleted_by else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ns3:systemMetadata xmlns:ns2="http://ns.dataone.org/service/types/v1" '
        'xmlns:ns3="http://ns.dataone.org/service/types/v2.0">'
        f"<serialVersion>2</serialVersion><identifier>{escape(held.pid)}</identifier>"
        f"<formatId>{held.format_id}</formatId><size>{len(held.content)}</size>"
        f'<checksum algorithm="{held.algorithm}">{held.sum()}</checksum>{successor}'
        f"<archived>false</archived><dateUploaded>{held.uploaded}</dateUploaded>"
        f"<fileName>{escape(held.file_name)}</fileName></ns3:systemMetadata>"
    ).encode()
