"""Partial statistics of the pieces of a raster, kept in files and used again, and added up to those of cells.

A piece is a unit of an elevation model or a tile of embeddings. Its file (``features.kept``) is named by everything
that made it, which its room says, so that a run that was killed goes on where it was, on any number of workers, and
nothing stale is ever used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from entropice_core.features.kept import KeptFiles, read_kept
from entropice_core.features.partials import Partials
from entropice_core.grids.base import UInt64
from entropice_core.storage.digest import file_sha256

Say = Callable[[str], None]


class PartialFiles(KeptFiles):
    """A folder of partial statistics."""

    def save(self, key: str, partials: Partials) -> Path:
        """Write a file in one step."""
        arrays = partials.arrays()
        arrays["bin_keys"] = np.diff(arrays["bin_keys"], prepend=np.uint64(0))  # small numbers pack well
        return self.write(key, partials.header(), arrays)


def load(path: Path) -> Partials:
    """Read a file back."""
    header, arrays = read_kept(path)
    arrays["bin_keys"] = np.cumsum(arrays["bin_keys"], dtype=np.uint64)
    return Partials.from_arrays(header, arrays)


@dataclass(frozen=True)
class Piece:
    """A piece, as ``bring_all`` sees it.

    ``grids`` : those of which a cell may have a pixel in it. ``key`` : name of what would be computed now for a grid.
    ``make`` : partial statistics for some grids, in one pass.
    """

    name: str
    grids: Sequence[str]
    key: Callable[[str], str]
    make: Callable[[list[str]], Mapping[str, Partials]]


def bring_all(pieces: Sequence[Piece], files: PartialFiles, workers: int, what: str, say: Say) -> list[dict[str, Path]]:
    """Bring the files of all pieces up to date; for each piece its files by grid key.

    Pieces whose files are there and whole are not computed again; the others are computed for all grids that lack them
    in one pass. ``workers`` threads work side by side; what one piece needs is a few hundred MB. ``what`` names pieces.

    Pieces are taken in an order of chance: processes that build several grids at a time find each other's files instead
    of making all of them in step. The order of the result is that of the pieces.
    """
    lock, done = Lock(), 0

    def bring(piece: Piece) -> dict[str, Path]:
        nonlocal done
        keys = {grid: piece.key(grid) for grid in piece.grids}
        found = {grid: path for grid in keys if (path := files.find(keys[grid])) is not None}
        missing = [grid for grid in keys if grid not in found]
        if missing:
            made = piece.make(missing)
            found |= {grid: files.save(keys[grid], made[grid]) for grid in missing}
        with lock:
            done += 1
            how = f"computed for {', '.join(missing)}" if missing else "was there"
            say(f"{piece.name}: {how} ({done} of {len(pieces)} {what})")
        return found

    order = np.random.default_rng().permutation(len(pieces)).tolist()
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        made = dict(zip(order, pool.map(lambda number: bring(pieces[number]), order), strict=True))
    return [made[number] for number in range(len(pieces))]


def finished(paths: Sequence[Path]) -> Iterator[Partials]:
    """Add up the files of a grid and give cells as soon as no later file has pixels of them.

    Only cells on the edges of pieces wait in memory, so that a continent needs little more than a row of pieces.
    """
    left: dict[int, int] = {}
    for path in paths:
        for cell in _cells_in(path).tolist():
            left[cell] = left.get(cell, 0) + 1
    waiting: Partials | None = None
    for path in paths:
        part = load(path)
        waiting = part if waiting is None else waiting.merge(part)
        for cell in part.cell_ids.tolist():
            left[cell] -= 1
        complete = np.array([left[cell] == 0 for cell in waiting.cell_ids.tolist()], dtype=bool)
        if complete.any() or path == paths[-1]:
            yield waiting.take(waiting.cell_ids[complete])
            counts = np.zeros_like(waiting.counts)
            waiting = Partials(**{**waiting.take(waiting.cell_ids[~complete]).__dict__, "counts": counts})


def _cells_in(path: Path) -> UInt64:
    with np.load(path, allow_pickle=False) as archive:
        ids: UInt64 = archive["cell_ids"]
    return ids


def sha256_of(path: Path) -> str:
    """Checksum of a file, computed once while its size and time of change stay."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return file_sha256(path)
