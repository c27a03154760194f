"""Data packages of a DataONE member node, such as the Arctic Data Center: what is in them, and their files verified.

A package is a metadata document whose identifier is the DOI, a resource map that ties it together, and data objects
with identifiers of their own. Four calls of the node's API (DataONE architecture 2.0) are enough: ``query/solr`` says
what belongs to a package, ``meta`` gives size, checksum and successor of an object, ``object`` its bytes; a DOI whose
metadata were ``obsoletedBy`` others has a newer release. No account is needed. Waiting and transfers are those of
``patience`` and ``download``; which files of a package matter is decided by others.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree

from entropice_core.errors import ConfigError, RetryableSourceError, SourceError
from entropice_core.fetch.cds import Asset, JobGoneError
from entropice_core.fetch.download import DamagedError, download
from entropice_core.fetch.patience import Patience, retry_after_seconds
from entropice_core.storage.durable import flush_folder

if TYPE_CHECKING:
    import requests

ARCTIC_DATA_CENTER = "https://arcticdata.io/metacat/d1/mn/v2"
DOI_PREFIX = "10.18739/"
"""DOIs of the Arctic Data Center."""

_FIELDS = "id,title,formatType,formatId,fileName,size,checksum,checksumAlgorithm,dateUploaded,obsoletedBy,resourceMap"
_ROWS = 500
_AGAIN = {408, 429, 500, 502, 503, 504}
_TIMEOUT_S = (20.0, 60.0)
_MAX_XML = 1_000_000
_ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA1": "sha1", "SHA-256": "sha256", "SHA256": "sha256"}
_TRIES_FOR_BYTES = 3
_MAX_VERSIONS = 100


@dataclass(frozen=True)
class DataObject:
    """One file of a package, as its system metadata describe it."""

    identifier: str
    file_name: str
    size: int
    checksum: str
    algorithm: str
    format_id: str = ""
    uploaded: str = ""
    obsoleted_by: str = ""


@dataclass(frozen=True)
class Package:
    """A data package: the identifier of its metadata, and the files that belong to it, by name."""

    identifier: str
    title: str
    uploaded: str
    obsoleted_by: str
    objects: tuple[DataObject, ...]


def normalise_identifier(text: str) -> str:
    """Bring a DOI or UUID to the form that the node knows.

    >>> normalise_identifier("https://doi.org/10.18739/A22B8VD7C"), normalise_identifier("10.18739/A22B8VD7C")
    ('doi:10.18739/A22B8VD7C', 'doi:10.18739/A22B8VD7C')
    >>> normalise_identifier("f1169dfd-0b3e-405f-9c56-4ff3c4827316")
    'urn:uuid:f1169dfd-0b3e-405f-9c56-4ff3c4827316'
    """
    bare = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", text.strip(), flags=re.IGNORECASE)
    if re.fullmatch(r"10\.\d{4,9}/\S+", bare):
        return f"doi:{bare}"
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bare.lower()):
        return f"urn:uuid:{bare.lower()}"
    if re.fullmatch(r"(urn:uuid:|resource_map_)\S+", bare):
        return bare
    raise ConfigError(f"{text!r} is neither a DOI (10.18739/...) nor a UUID; take it from the page of the data set.")


class DataOne:
    """One member node. ``node`` is the address of its API, which a test or a mirror may replace."""

    def __init__(self, node: str = ARCTIC_DATA_CENTER, patience: Patience | None = None) -> None:
        import requests

        if not re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", node):
            raise ConfigError(f"The address of a DataONE node must begin with https://, but is {node!r}.")
        self.node = node.rstrip("/")
        self.patience = patience or Patience()
        self.session = requests.Session()
        self.session.headers["User-Agent"] = "entropice"

    def package(self, identifier: str) -> Package:
        """List the files of a package.

        Parameters
        ----------
        identifier : str
            DOI, or UUID of the metadata, of a resource map, or of one data object.

        Raises
        ------
        SourceError
            When the node does not know it, or no data belong to it.
        """
        pid = normalise_identifier(identifier)
        documents = list(self._query(f'id:"{pid}"'))
        if not documents:
            raise SourceError(f"{self._host()} does not know {pid}: check the identifier on the page of the data set.")
        head = documents[0]
        kind = head.get("formatType", "")
        if kind == "DATA":
            found = [head]
        elif kind == "RESOURCE":
            found = list(self._query(f'resourceMap:"{pid}" AND formatType:DATA'))
        else:
            belongs = [f'isDocumentedBy:"{pid}"', *(f'resourceMap:"{n}"' for n in _listed(head.get("resourceMap")))]
            found = list(self._query(f"({' OR '.join(belongs)}) AND formatType:DATA"))
        if not found:
            raise SourceError(f"{self._host()} lists no data file for {pid}: it may be private, or described only.")
        objects = tuple(sorted((_from_index(doc) for doc in found), key=lambda each: (each.file_name, each.identifier)))
        title, uploaded, successor = (str(head.get(key) or "") for key in ("title", "dateUploaded", "obsoletedBy"))
        return Package(pid, title, uploaded, successor, objects)

    def meta(self, pid: str) -> DataObject:
        """Read the system metadata of an object: its size and checksum, and what replaced it."""
        answer = self._get(f"meta/{quote(pid, safe='')}")
        if answer is None:
            raise SourceError(f"{self._host()} does not have {pid} any more.")
        return _from_xml(answer.content, pid)

    def newest(self, identifier: str) -> str:
        """Follow a package to its newest release; the identifier itself when it was never replaced."""
        pid = normalise_identifier(identifier)
        for _ in range(_MAX_VERSIONS):
            successor = self.meta(pid).obsoleted_by
            if not successor:
                return pid
            pid = successor
        raise SourceError(
            f"{self._host()}: {identifier} has more than {_MAX_VERSIONS} successors, or they go in a ring."
        )

    def fetch(self, wanted: DataObject, target: Path, on_bytes: Callable[[int], None] = lambda _: None) -> bool:
        """Bring an object to ``target``, whole and verified; tell whether bytes had to be moved.

        An unfinished transfer is kept as ``.<name>.part`` and continued by the next call.
        """
        if target.is_file() and _is_same(wanted, target):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        asset = Asset(f"{self.node}/object/{quote(wanted.identifier, safe='')}", wanted.size, None, wanted.format_id)
        for _ in range(_TRIES_FOR_BYTES):
            try:
                download(asset, part, self.session, self.patience, on_bytes)
            except JobGoneError as error:
                raise SourceError(
                    f"{self._host()} no longer has the file {wanted.file_name} ({wanted.identifier})."
                ) from error
            if _is_same(wanted, part):
                os.replace(part, target)
                flush_folder(target.parent)
                return True
            part.unlink()
            self.patience.tell(f"{wanted.file_name} came with another {wanted.algorithm} checksum; fetching it again")
        raise DamagedError(
            f"{wanted.file_name} came {_TRIES_FOR_BYTES} times with another {wanted.algorithm} checksum than "
            f"{wanted.checksum}; nothing of it was kept: run the same command again later."
        )

    def _host(self) -> str:
        return self.node.split("/")[2]

    def _query(self, query: str) -> Iterator[dict[str, Any]]:
        """Ask the node's index; every page is read, and a listing that ends early is an error."""
        start, found = 0, 1
        while start < found:
            params = {
                "q": query,
                "fl": _FIELDS,
                "rows": str(_ROWS),
                "start": str(start),
                "sort": "id asc",
                "wt": "json",
            }
            answer = self._get("query/solr/", params)
            body = {} if answer is None else answer.json()["response"]
            found, documents = int(body.get("numFound", 0)), body.get("docs", [])
            if start < found and not documents:
                raise RetryableSourceError(f"{self._host()} lists {start} of {found} files and then none; try later.")
            yield from documents
            start += len(documents)

    def _get(self, path: str, params: dict[str, str] | None = None) -> "requests.Response | None":
        """Make one call, again where that may help; None when there is no such thing."""
        import requests

        waits, what = self.patience.begin(), f"{self._host()} ({path.split('/')[0]})"
        while True:
            try:
                answer = self.session.get(f"{self.node}/{path}", params=params, timeout=_TIMEOUT_S)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                waits.again(f"{what} cannot be reached ({type(error).__name__})")
                continue
            if answer.status_code in _AGAIN:
                waits.again(f"{what} answered {answer.status_code}", retry_after_seconds(answer.headers))
            elif answer.status_code in (404, 410):
                return None
            elif not answer.ok:
                raise SourceError(f"{what} refuses the call: {answer.status_code} {answer.reason}; it may be private.")
            elif not _is_understood(answer, params is not None):
                waits.again(f"{what} answered with something else than data (a web page of a proxy or of maintenance?)")
            else:
                return answer


def digest_of(path: Path, algorithm: str) -> str:
    """Compute the checksum of a file by the name that DataONE gives to the algorithm."""
    name = _ALGORITHMS.get(algorithm.upper())
    if name is None:
        raise SourceError(f"{path.name} has a checksum by {algorithm!r}; known are {', '.join(sorted(_ALGORITHMS))}.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


def _is_same(wanted: DataObject, path: Path) -> bool:
    return path.stat().st_size == wanted.size and digest_of(path, wanted.algorithm) == wanted.checksum.lower()


def _is_understood(answer: "requests.Response", is_query: bool) -> bool:
    if not is_query:
        return b"systemMetadata" in answer.content[:2000]
    try:
        body = answer.json()
    except ValueError:
        return False
    return isinstance(body, dict) and isinstance(body.get("response"), dict)


def _from_index(document: dict[str, Any]) -> DataObject:
    pid = str(document["id"])
    return DataObject(
        identifier=pid,
        file_name=_safe_name(str(document.get("fileName") or ""), pid),
        size=int(document.get("size") or 0),
        checksum=str(document.get("checksum") or ""),
        algorithm=str(document.get("checksumAlgorithm") or ""),
        format_id=str(document.get("formatId") or ""),
        uploaded=str(document.get("dateUploaded") or ""),
        obsoleted_by=str(document.get("obsoletedBy") or ""),
    )


def _from_xml(content: bytes, pid: str) -> DataObject:
    """Read system metadata; a document type, which could hold entities that expand, is refused."""
    if len(content) > _MAX_XML or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise SourceError(f"The system metadata of {pid} are no plain XML; report this to the data centre.")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - small, and without a document type
        found = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in root}
        algorithm = next(c.get("algorithm", "") for c in root if c.tag.rpartition("}")[2] == "checksum")
        size = int(found["size"])
    except (ElementTree.ParseError, KeyError, ValueError, StopIteration) as error:
        raise SourceError(f"The system metadata of {pid} lack size or checksum ({error!r}).") from error
    return DataObject(
        identifier=found.get("identifier", pid),
        file_name=_safe_name(found.get("fileName", ""), pid),
        size=size,
        checksum=found["checksum"].lower(),
        algorithm=algorithm,
        format_id=found.get("formatId", ""),
        uploaded=found.get("dateUploaded", ""),
        obsoleted_by=found.get("obsoletedBy", ""),
    )


def _safe_name(name: str, pid: str) -> str:
    """Take a plain file name as it is; a name with folders in it is refused, none becomes the identifier."""
    if not name:
        return re.sub(r"[^A-Za-z0-9._-]", "_", pid)
    if name != Path(name).name or "\\" in name or name.startswith("."):
        raise SourceError(f"The data object {pid} is called {name!r}, which is no plain file name: it is not fetched.")
    return name


def _listed(value: Any) -> list[str]:
    return [] if value is None else [str(v) for v in (value if isinstance(value, list) else [value])]
