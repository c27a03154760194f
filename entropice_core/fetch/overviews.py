"""One overview of a large GeoTIFF on a server: its header and its blocks travel, the rest of the file does not.

The file is read through GDAL, which asks this module for bytes. The header comes in pages of 64 KB; then the places of
the overview's blocks are known, and they come in few ranges, as the blocks of an overview lie one behind the other.
All requests go through one session, which waits for a busy server; a range that is cut goes on where it ended.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from entropice_core.errors import EntropiceError, SourceError
from entropice_core.fetch.cog import MissingTileError
from entropice_core.fetch.patience import Patience

if TYPE_CHECKING:
    from requests import Response, Session

PAGE = 1 << 16
_GAP = PAGE  # ranges that are closer are asked for together
_MOST = 8 << 20
_CHUNK = 1 << 14


class ChangedFileError(SourceError):
    """The file at the server became another one while it was read."""


@dataclass
class RemoteBytes:
    """Bytes of one file at a server, those that were needed so far. ``received`` and ``requests`` count the traffic."""

    href: str
    session: "Session"
    patience: Patience
    on_bytes: Callable[[int], None] = lambda _: None
    size: int | None = None
    etag: str | None = None
    received: int = 0
    requests: int = 0
    pages: dict[int, bytes] = field(default_factory=dict)
    failure: EntropiceError | None = None

    def read(self, start: int, stop: int) -> bytes:
        """Give bytes, from memory where they came before."""
        if self.size is None:
            self._bring(0, PAGE)
        stop = min(stop, self.size or 0)
        if stop <= start:
            return b""
        first, last = start // PAGE, (stop - 1) // PAGE
        self.want([(start, stop)])
        joined = b"".join(self.pages[page] for page in range(first, last + 1))
        return joined[start - first * PAGE : stop - first * PAGE]

    def want(self, ranges: list[tuple[int, int]]) -> None:
        """Bring ranges, whole pages of them, joined where they are close."""
        pages = {page for start, stop in ranges for page in range(start // PAGE, (stop - 1) // PAGE + 1)}
        missing = sorted(pages - self.pages.keys())
        while missing:
            upto = 1
            while (
                upto < len(missing)
                and (missing[upto] - missing[upto - 1] - 1) * PAGE <= _GAP
                and (missing[upto] + 1 - missing[0]) * PAGE <= _MOST
            ):
                upto += 1
            self._bring(missing[0] * PAGE, (missing[upto - 1] + 1) * PAGE)
            missing = [page for page in missing[upto:] if page not in self.pages]

    def _bring(self, start: int, stop: int) -> None:
        """Ask for a range that begins at a page; what is cut off is asked for again."""
        from requests import ConnectionError as Broken
        from requests import Timeout
        from requests.exceptions import ChunkedEncodingError

        got, waits = bytearray(), self.patience.begin()
        while (wanted := min(stop, self.size or stop) - start) > len(got):
            before = len(got)
            try:
                self._ask(start + before, start + wanted, got)
            except (Broken, Timeout, ChunkedEncodingError) as error:
                if len(got) == before:
                    waits.again(f"The transfer of {self.href} was cut ({type(error).__name__})")
                else:
                    waits = self.patience.begin()  # it goes on, if slowly
        for offset in range(0, len(got), PAGE):
            self.pages[(start + offset) // PAGE] = bytes(got[offset : offset + PAGE])

    def _ask(self, start: int, stop: int, got: bytearray) -> None:
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        self.requests += 1
        with self.session.get(self.href, headers=headers, stream=True, timeout=(20.0, 60.0)) as answer:
            self._check(answer, start)
            for chunk in answer.iter_content(_CHUNK):
                got += chunk[: stop - start]
                self.received += len(chunk)
                self.on_bytes(len(chunk))

    def _check(self, answer: "Response", start: int) -> None:
        """The answer is the range that was asked for, of the file that it was before."""
        if answer.status_code in (404, 410):
            raise MissingTileError(f"{self.href} is not there ({answer.status_code}).")
        if not answer.ok:
            raise SourceError(f"{self.href} cannot be fetched: {answer.status_code} {answer.reason}.")
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if answer.status_code != 206 or told is None or int(told[1]) != start:
            raise SourceError(
                f"{self.href} does not give the range that was asked for (status {answer.status_code}): a file has "
                "2 to 3 GB and is read in parts only; use a server that knows byte ranges."
            )
        size, etag = int(told[2]), answer.headers.get("ETag")
        if self.size is not None and (size, etag) != (self.size, self.etag):
            raise ChangedFileError(f"{self.href} changed while it was read: run the same command again.")
        self.size, self.etag = size, etag


class _Reader(io.RawIOBase):
    """A file of the bytes, for GDAL."""

    def __init__(self, remote: RemoteBytes) -> None:
        super().__init__()
        self._remote, self._at = remote, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 2:
            self._remote.read(0, 1)
        base = (0, self._at, self._remote.size or 0)[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        stop = (1 << 62) if size is None or size < 0 else self._at + size
        try:
            found = self._remote.read(self._at, stop)
        except EntropiceError as error:  # GDAL would lose it: it is kept, and raised by read_overview
            self._remote.failure = error
            return b""
        self._at += len(found)
        return found


@dataclass(frozen=True)
class Overview:
    """All bands of one level of a file as stored: ``values`` (bands, rows, columns), rows in the order of the file."""

    values: npt.NDArray[np.int8]
    transform: tuple[float, ...]
    crs: str
    nodata: float | None


def read_overview(remote: RemoteBytes, factor: int) -> Overview:
    """Read the level whose pixels are ``factor`` times as wide as those of the file; 1 is the file itself.

    Raises
    ------
    SourceError
        When the file has no such level, or is no GeoTIFF of signed bytes.
    rasterio.errors.RasterioError
        When it cannot be decoded.
    """
    import rasterio.errors

    name = Path(remote.href.split("?")[0]).name

    def opener(path: str, mode: str = "rb") -> io.RawIOBase:  # noqa: ARG001 - GDAL asks for files beside, too
        if Path(path).name != name:
            raise FileNotFoundError(path)
        return _Reader(remote)

    remote.read(0, 1)  # errors of the server come here, as themselves
    try:
        return _decoded(remote, factor, name, opener)
    except rasterio.errors.RasterioError as error:
        if remote.failure is not None:
            raise remote.failure from error
        raise


def _decoded(remote: RemoteBytes, factor: int, name: str, opener: Callable[..., io.RawIOBase]) -> Overview:
    import rasterio

    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        with rasterio.open(name, opener=opener) as file:
            factors = [1, *file.overviews(1)]
            kinds, nodata, crs = set(file.dtypes), file.nodata, file.crs
        if factor not in factors:
            raise SourceError(f"{remote.href} has no level {factor} times as coarse; it has {factors}.")
        if kinds != {"int8"}:
            raise SourceError(f"{remote.href} holds {', '.join(sorted(kinds))}; signed bytes (int8) were expected.")
        options = {"overview_level": factors.index(factor) - 1} if factor > 1 else {}
        with rasterio.open(name, opener=opener, **options) as file:
            remote.want(_blocks(file))
            values: npt.NDArray[np.int8] = file.read()
            return Overview(values, tuple(file.transform)[:6], crs.to_wkt() if crs else "", nodata)


def _blocks(file: Any) -> list[tuple[int, int]]:
    """Where the blocks of an opened level are in the file; none for blocks that are not stored."""
    found = []
    (rows, columns), pixel = file.block_shapes[0], str(file.interleaving).endswith("pixel")
    for band in range(1, 2 if pixel else file.count + 1):
        for y in range(-(-file.height // rows)):
            for x in range(-(-file.width // columns)):
                start = file.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
                size = file.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band)
                if start and size:
                    found.append((int(start), int(start) + int(size)))
    return found
