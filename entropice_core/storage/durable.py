"""Writes that survive a crash: flushed to the disk, then renamed into place in one step."""

import errno
import json
import os
import shutil
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from entropice_core.errors import StoreError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The ways in which an operating system says that there is no room: disk, quota, size of one file."""


def flush_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


flush_folder = flush_file
"""A folder's entries are flushed by the same call; without it a rename can be lost in a power cut."""


def flush_tree(folder: Path) -> None:
    """Flush every file and folder below a folder; several at once, which the disk joins into few writes."""
    paths = [Path(parent) / name for parent, _, files in os.walk(folder) for name in [*files, ""]]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(flush_file, paths))


def make_folder(folder: Path, root: Path) -> None:
    """Create a folder below ``root`` and flush the folders that gained an entry."""
    missing = [folder, *folder.parents]
    missing = missing[: missing.index(root) + 1] if root in missing else missing[:1]
    new = [path for path in missing if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(new):
        flush_folder(path.parent)


def write_text(path: Path, text: str, unfinished: Path | None = None) -> None:
    """Replace a file in one step: a reader sees the old text or the new, never a part.

    ``unfinished`` is where the text is written first, on the same file system; beside the file when not given.
    """
    unfinished = unfinished or path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        with unfinished.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    flush_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1) + "\n")


def clock_of(folder: Path) -> float:
    """Seconds since 1970 by the clock that dates the files of a folder: a server's, where it is on a network.

    Raises
    ------
    OSError
        When no file can be written there.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as probe:
        return os.stat(probe.name).st_mtime


def free_bytes(path: Path) -> int:
    """Bytes free on the file system of a path that may not exist yet."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(existing).free


def require_space(path: Path, needed: int) -> None:
    """Refuse to start a write that cannot fit."""
    if free_bytes(path) < needed:
        raise no_space(path, needed, "there is not enough room")


def no_space(path: Path, needed: int, reason: str) -> StoreError:
    """The error of a full disk, with what a person needs to act."""
    return StoreError(
        f"Cannot write to {path}: {reason}; up to {needed:,} bytes are needed and {free_bytes(path):,} are free; "
        f"make room (`entropice gc` removes old versions) and run the step again."
    )
