"""Arrays that took long to make, kept in files and used again after a kill.

A file is named by everything that made its arrays (``key``) and by the checksum of its own bytes. It appears whole by a
rename, and is read only when its bytes have that checksum. So a run that was killed goes on where it was, and nothing
stale or damaged is ever used. What the key is made of is the business of the caller.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.storage.digest import file_sha256
from entropice_core.storage.durable import flush_folder

_DIGITS = 24  # hexadecimal digits of a checksum in a file name

Arrays = dict[str, npt.NDArray[Any]]


class KeptFiles:
    """A folder of kept arrays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Path | None:
        """The verified file of a key; a damaged one is removed, as it can be made again."""
        for path in sorted(self.folder.glob(f"{key}-*.npz")):
            if is_whole(path):
                mark_used(path)
                return path
            path.unlink(missing_ok=True)
        return None

    def keys(self) -> set[str]:
        """Keys of all files, looked up once; whether they are whole is not looked at."""
        return {path.stem.split("-")[0] for path in self.folder.glob("*-*.npz")}

    def write(self, key: str, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
        """Write a file in one step."""
        buffer = io.BytesIO()
        told = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
        np.savez_compressed(buffer, header=told, **arrays)  # type: ignore[arg-type]
        data = buffer.getvalue()
        target = self.folder / f"{key}-{hashlib.sha256(data).hexdigest()[:_DIGITS]}.npz"
        unfinished = target.with_suffix(f".{uuid.uuid4().hex}.tmp")  # process numbers repeat on other machines
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
        flush_folder(self.folder)
        return target


def mark_used(path: Path) -> None:
    """Date a file or folder of work to now, so that ``entropice gc`` leaves it."""
    with suppress(OSError):  # of another user, or on a disk that may only be read
        os.utime(path)


def is_whole(path: Path) -> bool:
    """Whether a file has the checksum that its name says."""
    return path.is_file() and path.stem.split("-")[-1] == file_sha256(path)[:_DIGITS]


def read_kept(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Read a file back: header and arrays."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header: dict[str, Any] = json.loads(arrays.pop("header").tobytes())
    return header, arrays
