"""The result of a job as verified files in a folder of its own.

The service's client overwrites its target in place, begins again at zero when cut, and ignores the checksum. Here the
bytes go to a ``.part`` file, a cut transfer goes on where it ended, size and MD5 must be those that the service named,
and what a file is is told from its first bytes: with several step types a NetCDF comes as a zip whatever was asked,
and servers send error pages with status 200. Nothing of the caller's key is sent: results have addresses of their own.
"""

import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from entropice_core.errors import RetryableSourceError, SourceError
from entropice_core.fetch.cds import Asset, JobGoneError
from entropice_core.fetch.patience import Patience, Waits, retry_after_seconds
from entropice_core.storage.durable import FULL, flush_file, no_space, require_space

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 16  # what a cut transfer loses at most
_TIMEOUT_S = (20.0, 60.0)
_AGAIN = {408, 429, 500, 502, 503, 504}
_TRIES_FOR_BYTES = 3
_MAGIC = ((b"PK\x03\x04", "zip"), (b"\x89HDF\r\n\x1a\n", "netcdf"), (b"CDF\x01", "netcdf"), (b"CDF\x02", "netcdf"))


class DamagedError(RetryableSourceError):
    """The bytes are not those that the service promised."""


def download(
    asset: Asset,
    part: Path,
    session: "requests.Session",
    patience: Patience,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring an asset to ``part``, whole and verified; what an earlier try left there is continued.

    Raises
    ------
    DamagedError
        After several transfers whose size or MD5 is not the promised one; the file is gone then.
    JobGoneError
        When the service no longer has the file: the job must be submitted again.
    """
    require_space(part.parent, asset.size)
    for _ in range(_TRIES_FOR_BYTES):
        _transfer(asset, part, session, patience.begin(), on_bytes)
        problem = _difference(asset, part)
        if problem is None:
            flush_file(part)
            return
        part.unlink()
        patience.tell(f"{asset.href} came damaged: {problem}; fetching it again")
    raise DamagedError(
        f"{asset.href} came damaged {_TRIES_FOR_BYTES} times ({problem}); nothing of it was kept: run the same command "
        "again later."
    )


def _transfer(
    asset: Asset, part: Path, session: "requests.Session", waits: Waits, on_bytes: Callable[[int], None]
) -> None:
    """Receive until the promised number of bytes is there or the server sends no more."""
    import requests

    while True:
        have = part.stat().st_size if part.exists() else 0
        if have >= asset.size:
            return
        try:
            with session.get(asset.href, headers=_range(have), stream=True, timeout=_TIMEOUT_S) as answer:
                if answer.status_code in _AGAIN:
                    reason = f"{asset.href} answered {answer.status_code}"
                    waits.again(reason, retry_after_seconds(answer.headers))
                    continue
                _check_status(answer, asset)
                is_continued = answer.status_code == 206
                _write(answer, part, have if is_continued else 0, asset, on_bytes)
                return  # a short transfer without an error has no more to give: the size check says so
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            waits.again(f"The transfer of {asset.href} was cut ({type(error).__name__})")


def _range(have: int) -> dict[str, str]:
    plain = {"Accept-Encoding": "identity"}  # so that the bytes on the line are the bytes of the file
    return {**plain, "Range": f"bytes={have}-"} if have else plain


def _check_status(answer: "requests.Response", asset: Asset) -> None:
    if answer.status_code in (404, 410):
        raise JobGoneError(f"{asset.href} is no longer there ({answer.status_code}): results are kept for a few days.")
    if not answer.ok:
        raise SourceError(f"{asset.href} cannot be fetched: {answer.status_code} {answer.reason}.")


def _write(answer: "requests.Response", part: Path, start: int, asset: Asset, on_bytes: Callable[[int], None]) -> None:
    written = start
    with part.open("ab" if start else "wb", buffering=0) as file:
        for chunk in answer.iter_content(_CHUNK):
            written += len(chunk)
            if written > asset.size:
                raise SourceError(f"{asset.href} sends more than the {asset.size:,} bytes that were promised.")
            try:
                _write_all(file, chunk)
            except OSError as error:
                if error.errno in FULL:
                    raise no_space(part, asset.size, str(error.strerror)) from error
                raise
            on_bytes(len(chunk))


def _write_all(file: RawIOBase, chunk: bytes) -> None:
    """Write every byte: a nearly full disk takes a part first, and says so at the next write only."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _difference(asset: Asset, part: Path) -> str | None:
    size = part.stat().st_size
    if size != asset.size:
        with part.open("rb") as file:
            what = _describe(file.read(512))
        return f"{size:,} bytes of {asset.size:,}" + (f", {what}" if what else "")
    found = md5_of(part)
    return None if asset.md5 in (None, found) else f"MD5 {found}, promised {asset.md5}"


def md5_of(path: Path) -> str:
    """Compute the MD5 of a file: the service's checksum, which protects against damage and not against malice."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(part: Path, folder: Path, largest: int) -> list[Path]:
    """Make the NetCDF files of a result out of it, in ``folder``; a zip is opened, a NetCDF is taken as it is.

    Parameters
    ----------
    part : Path
        The verified transfer. It is gone afterwards.
    folder : Path
        Exists and is empty.
    largest : int
        Bytes that the unpacked files may have together; more is refused before it is written.

    Raises
    ------
    SourceError
        For web pages, GRIB, JSON, and for zip files whose members have paths, are links or are too large.
    """
    kind = sniff(part)
    if kind == "netcdf":
        target = folder / "data.nc"
        os.replace(part, target)
        return [target]
    try:
        with zipfile.ZipFile(part) as archive:
            members = archive.infolist()
            _check_members(part, members, largest)
            require_space(folder, sum(m.file_size for m in members))
            paths = [_unpack_member(archive, member, folder) for member in members]
    except zipfile.BadZipFile as error:
        raise SourceError(f"{part} is a zip file that cannot be read ({error}); fetch it again.") from error
    part.unlink()
    return paths


def sniff(path: Path) -> str:
    """Tell ``zip`` or ``netcdf`` from the first bytes of a file; anything else is refused with what it is."""
    with path.open("rb") as file:
        head = file.read(512)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    what = _describe(head) or f"no NetCDF and no zip (it begins with {head[:8]!r})"
    raise SourceError(f"{path} came as {what}; run the same command again, and look at the file if this happens again.")


def _describe(head: bytes) -> str:
    """Say what the first bytes of a wrong file are; empty when they are not known."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page (a login, a proxy or an error page), not data"
    if head.startswith(b"GRIB"):
        return "a GRIB file, though NetCDF was asked for"
    return "JSON, probably an error message" if text.startswith((b"{", b"[")) else ""


def _check_members(part: Path, members: list[zipfile.ZipInfo], largest: int) -> None:
    if not members:
        raise SourceError(f"{part} is an empty zip file; fetch it again.")
    for member in members:
        name = member.filename
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if is_link or name != Path(name).name or "\\" in name or name in ("", ".", "..") or not name.endswith(".nc"):
            raise SourceError(
                f"{part} has the member {name!r}{' (a link)' if is_link else ''}; only plain names of NetCDF files are "
                "unpacked: nothing of it was."
            )
    if len({m.filename for m in members}) != len(members):
        raise SourceError(f"{part} has two members of one name; nothing of it was unpacked.")
    total = sum(m.file_size for m in members)
    if total > largest:
        raise SourceError(
            f"{part} would unpack to {total:,} bytes, and what was asked for has at most {largest:,}: nothing was."
        )


def _unpack_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    target = folder / member.filename
    try:
        with archive.open(member) as packed, target.open("xb") as file:
            shutil.copyfileobj(packed, file, _CHUNK)
    except OSError as error:
        if error.errno in FULL:
            raise no_space(target, member.file_size, str(error.strerror)) from error
        raise
    if sniff(target) != "netcdf":
        raise SourceError(f"{target} is a zip file inside a zip file, not NetCDF.")
    flush_file(target)
    return target
