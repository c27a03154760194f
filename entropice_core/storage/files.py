"""Checksums of source files, taken once per file and remembered.

A recipe names its source files by checksum, so that a file which changes under the same name makes its partitions
stale. Reading hundreds of gigabytes on every run would make that too dear: a checksum is remembered for (path, size,
time of change), the same three that ``make`` and ``rsync`` trust.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from entropice_core.errors import SourceError
from entropice_core.storage.digest import file_sha256
from entropice_core.storage.durable import write_json
from entropice_core.storage.recipe import SourceFile, text_digest

SETTLED_S = 2.0
"""A file changed less than this ago is not remembered: a second change may carry the same time stamp."""

Entry = dict[str, int | str]


def fingerprint(path: Path, data_root: Path, store_root: Path | None = None) -> SourceFile:
    """Size and checksum of one source file, or of a folder that is one source (a Zarr store).

    Parameters
    ----------
    path : the file
    data_root : the data folder; the name in the result is relative to it
    store_root : the store whose ``.cache/fingerprints.json`` remembers checksums, or ``None`` to read every byte
    """
    return fingerprint_all([path], data_root, store_root)[0]


def fingerprint_all(paths: Iterable[Path], data_root: Path, store_root: Path | None = None) -> tuple[SourceFile, ...]:
    """Size and checksum of many source files, in the order given."""
    cache = None if store_root is None else Path(store_root) / ".cache" / "fingerprints.json"
    known = _load(cache)
    fresh: dict[str, Entry] = {}
    found = tuple(_fingerprint(Path(path), Path(data_root), known, fresh) for path in paths)
    if cache is not None and fresh:
        cache.parent.mkdir(parents=True, exist_ok=True)
        # read again: what another process remembered meanwhile is kept; a lost entry only costs a second reading
        write_json(cache, {name: item for name, item in (_load(cache) | fresh).items() if Path(name).exists()})
    return found


def _fingerprint(path: Path, data_root: Path, known: dict[str, Entry], fresh: dict[str, Entry]) -> SourceFile:
    name = _relative(path, data_root)
    if path.is_dir():
        parts = [_fingerprint(item, path, known, fresh) for item in sorted(path.rglob("*")) if item.is_file()]
        listing = "\n".join(f"{part.sha256} {part.name}" for part in parts)
        return SourceFile(name, sum(part.size for part in parts), text_digest(listing))
    before = _stat(path)
    key = str(path.absolute())
    entry = known.get(key, {})
    if (entry.get("size"), entry.get("mtime_ns")) == (before.st_size, before.st_mtime_ns):
        return SourceFile(name, before.st_size, str(entry["sha256"]))
    digest = file_sha256(path)
    after = _stat(path)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise SourceError(
            f"The source file {path} changed while it was read; wait until it is complete, then run again."
        )
    if time.time() - before.st_mtime > SETTLED_S:
        fresh[key] = {"size": before.st_size, "mtime_ns": before.st_mtime_ns, "sha256": digest}
    return SourceFile(name, before.st_size, digest)


def _relative(path: Path, data_root: Path) -> str:
    try:
        return Path(os.path.normpath(path.absolute())).relative_to(os.path.normpath(data_root.absolute())).as_posix()
    except ValueError as error:
        raise SourceError(
            f"The source file {path} is not below the data folder {data_root}; put it there, or set ENTROPICE_DATA."
        ) from error


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise SourceError(f"The source file {path} cannot be read ({error.strerror}); fetch it again.") from error


def _load(cache: Path | None) -> dict[str, Entry]:
    try:
        entries = json.loads(cache.read_text()) if cache is not None else {}
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
