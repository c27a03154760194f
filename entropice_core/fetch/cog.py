"""A raster file of somebody's server on disk, whole, checked and with a receipt.

Bytes come in ranges of 8 MB into a ``.part`` file. A range that is cut, a killed process and a busy server cost what
was on the line, not the file: the next run asks for what is missing, and only if the file is still the same one
(``If-Range``). A server that does not know ranges sends the whole. Then size, checksum (where the catalogue states
one), place and every block are checked; a file that fails goes to ``quarantine`` with the reason beside it.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropice_core.errors import SourceError
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.stac import TileRef
from entropice_core.storage.digest import file_sha256
from entropice_core.storage.durable import FULL, flush_file, flush_folder, no_space, require_space, write_json

if TYPE_CHECKING:
    import requests

RANGE_BYTES = 8 << 20
_CHUNK = 1 << 16
_PLAIN = {"Accept-Encoding": "identity"}  # the bytes on the line are the bytes of the file
_SAME_PLACE = 1e-6


class MissingTileError(SourceError):
    """The catalogue lists the file, and the server does not have it."""


class DamagedTileError(SourceError):
    """The file came whole but is not what the catalogue describes, or cannot be read."""


@dataclass(frozen=True)
class Fetched:
    """A file that is there: where, its size and checksum, and how many bytes and requests this run needed for it."""

    path: Path
    size: int
    sha256: str
    bytes: int = 0
    requests: int = 0


def fetch_file(
    ref: TileRef,
    target: Path,
    session: "requests.Session",
    patience: Patience,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Fetched:
    """Bring one file to ``target``; one that is there with a fitting receipt is left as it is.

    Raises
    ------
    MissingTileError
        When the server does not have it (404 or 410).
    DamagedTileError
        When what came is not what it should be, twice; it lies in quarantine then.
    """
    there = _from_receipt(ref, target)
    if there is not None:
        return there
    target.parent.mkdir(parents=True, exist_ok=True)
    part, problem, total, calls = target.with_name(target.name + ".part"), "", 0, 0
    for _ in range(2):  # damage on the way is cured by fetching it once more
        received = _Transfer(ref, part, session, patience, on_bytes)
        received.run()
        total, calls = total + received.bytes, calls + received.calls
        problem = _problem(ref, part)
        if not problem:
            return _publish(ref, part, target, total, calls)
        kept = _quarantine(part, target, problem)
        patience.tell(f"{ref.id} came damaged ({problem}); it lies in {kept}")
    raise DamagedTileError(
        f"Tile {ref.id} of {ref.href} came damaged twice: {problem}; what came lies in {kept}. Run the same command "
        "again later, and tell the provider if it stays so."
    )


@dataclass
class _Transfer:
    """One file on its way into its part."""

    ref: TileRef
    part: Path
    session: "requests.Session"
    patience: Patience
    on_bytes: Callable[[int], None]
    bytes: int = 0
    calls: int = 0

    def run(self) -> None:
        """Ask for ranges until all bytes are there."""
        import requests

        state = self._state()
        total: int | None = state.get("size")
        waits = self.patience.begin()
        while total is None or self._have() < total:
            before = self._have()
            try:
                total = self._ask(before, state.get("etag"))
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                if self._have() == before:
                    waits.again(f"The transfer of {self.ref.href} was cut ({type(error).__name__})")
                else:
                    waits = self.patience.begin()  # it goes on, if slowly
                state = self._state()
                total = state.get("size")
            else:
                state = self._state()

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _notes(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    def _state(self) -> dict[str, Any]:
        """What is known of the half file; nothing when it is of another address or its notes are gone."""
        try:
            state = json.loads(self._notes().read_text())
        except (OSError, ValueError):
            state = {}
        if not isinstance(state, dict) or state.get("href") != self.ref.href:
            self.part.unlink(missing_ok=True)
            return {}
        return state

    def _ask(self, have: int, etag: str | None) -> int:
        """Ask for the next range and write it; gives the size of the whole file."""
        headers = {**_PLAIN, "Range": f"bytes={have}-{have + RANGE_BYTES - 1}"}
        if have and etag:
            headers["If-Range"] = etag
        self.calls += 1
        with self.session.get(self.ref.href, headers=headers, stream=True, timeout=(20.0, 60.0)) as answer:
            if answer.status_code == 416 and have:  # the file became shorter than what is here
                self.part.unlink(missing_ok=True)
                self._notes().unlink(missing_ok=True)
                return 1 << 62
            self._check(answer)
            start, total = self._place(answer)
            if start != have:
                self.part.unlink(missing_ok=True)
            if start not in (0, have):
                raise SourceError(f"{self.ref.href} sent bytes from {start} when {have} were asked for.")
            require_space(self.part.parent, total - start)
            write_json(self._notes(), {"href": self.ref.href, "etag": answer.headers.get("ETag"), "size": total})
            self._write(answer, total)
        return total

    def _check(self, answer: "requests.Response") -> None:
        if answer.status_code in (404, 410):
            raise MissingTileError(
                f"Tile {self.ref.id} is in the catalogue, but {self.ref.href} is not there ({answer.status_code})."
            )
        if not answer.ok:
            raise SourceError(f"{self.ref.href} cannot be fetched: {answer.status_code} {answer.reason}.")

    def _place(self, answer: "requests.Response") -> tuple[int, int]:
        """First byte that comes and size of the whole: of ``Content-Range``, or the whole file from a simple server."""
        if answer.status_code == 206:
            try:
                unit, _, rest = answer.headers["Content-Range"].partition(" ")
                span, _, total = rest.partition("/")
                if unit == "bytes":
                    return int(span.split("-")[0]), int(total)
            except (KeyError, ValueError):
                pass
            raise SourceError(f"{self.ref.href} sent a part without saying which (Content-Range is missing or odd).")
        if "Content-Length" not in answer.headers:
            raise SourceError(f"{self.ref.href} does not say how long it is: what came could not be checked.")
        return 0, int(answer.headers["Content-Length"])

    def _write(self, answer: "requests.Response", total: int) -> None:
        try:
            with self.part.open("ab") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    self.bytes += len(chunk)
                    self.on_bytes(len(chunk))
        except OSError as error:
            if error.errno in FULL:
                raise no_space(self.part, total, str(error.strerror)) from error
            raise


def _problem(ref: TileRef, path: Path) -> str:
    """What is wrong with a file; empty when nothing is."""
    size = path.stat().st_size
    if ref.size not in (None, size):
        return f"{size:,} bytes, the catalogue says {ref.size:,}"
    if ref.sha256 not in (None, file_sha256(path)):
        return "its SHA-256 is not the catalogue's"
    return raster_problem(ref, path)


def raster_problem(ref: TileRef, path: Path) -> str:
    """Open a file, compare its place with the catalogue's and decode every block; empty when all is well."""
    import rasterio
    from pyproj import CRS

    with path.open("rb") as head:
        begin = head.read(4)
    if begin not in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return f"it is no TIFF (it begins with {begin!r})"
    try:
        with rasterio.open(path) as file:
            if file.crs is None or (
                ref.crs and not CRS(file.crs.to_wkt()).equals(CRS(ref.crs), ignore_axis_order=True)
            ):
                return f"its coordinate system is {file.crs}, the catalogue says {ref.crs}"
            if ref.shape not in (None, file.shape):
                return f"it has {file.shape} pixels, the catalogue says {ref.shape}"
            if (
                ref.transform
                and max(abs(a - b) for a, b in zip(ref.transform, file.transform, strict=False)) > _SAME_PLACE
            ):
                return f"it lies at {tuple(file.transform)[:6]}, the catalogue says {ref.transform}"
            for _, window in file.block_windows(1):
                file.read(1, window=window)
    except rasterio.errors.RasterioError as error:
        return f"it cannot be read ({error})"
    return ""


def _publish(ref: TileRef, part: Path, target: Path, total: int, calls: int) -> Fetched:
    """Give a checked file its name; the receipt comes first, as a receipt without its file is harmless."""
    flush_file(part)
    made = Fetched(target, part.stat().st_size, file_sha256(part), total, calls)
    notes = part.with_name(part.name + ".json")
    etag = json.loads(notes.read_text()).get("etag")
    write_json(_receipt(target), {"href": ref.href, "etag": etag, "size": made.size, "sha256": made.sha256})
    os.replace(part, target)
    notes.unlink(missing_ok=True)
    flush_folder(target.parent)
    return made


def _receipt(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _from_receipt(ref: TileRef, target: Path) -> Fetched | None:
    """The file that is there, if it is whole and the one that the catalogue means today."""
    try:
        receipt = json.loads(_receipt(target).read_text())
        size = target.stat().st_size
    except (OSError, ValueError):
        return None
    if not isinstance(receipt, dict) or receipt.get("href") != ref.href or receipt.get("size") != size:
        return None
    if ref.size not in (None, size) or ref.sha256 not in (None, receipt.get("sha256")):
        return None
    found = file_sha256(target)
    return Fetched(target, size, found) if found == receipt.get("sha256") else None


def _quarantine(part: Path, target: Path, reason: str) -> Path:
    folder = target.parent / "quarantine"
    folder.mkdir(exist_ok=True)
    kept = folder / f"{target.stem}.{file_sha256(part)[:8]}{target.suffix}"
    os.replace(part, kept)
    part.with_name(part.name + ".json").unlink(missing_ok=True)
    write_json(kept.with_name(kept.name + ".json"), {"reason": reason})
    return kept
