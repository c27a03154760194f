"""Pieces of an elevation model -> partial statistics of cells, kept in files and used again.

A unit's file (``features.kept``) is named by everything that made it: its place, the checksums of the files in reach,
quantities, cells, code versions. So a run that was killed goes on where it was, on any number of workers, and nothing
stale is ever used.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from entropice_core.features import streaming
from entropice_core.features.kept import KeptFiles, read_kept
from entropice_core.features.partials import Partials
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile
from entropice_core.grids.base import UInt64
from entropice_core.storage.digest import file_sha256
from entropice_core.storage.recipe import canonical_json, text_digest
from entropice_core.terrain import derivatives
from entropice_core.terrain.mosaic import Mosaic

Say = Callable[[str], None]
_NAME = 24  # hexadecimal digits of a checksum in a file name


@dataclass(frozen=True)
class Work:
    """What is done to every unit.

    ``tpi_radii_m``, ``pixel_m`` : see ``derivatives.layers``; ``water_values`` : what means water in the water mask.
    """

    mosaic: Mosaic
    reducer: Reducer
    tpi_radii_m: tuple[float, ...]
    pixel_m: float
    water_values: tuple[int, ...] = ()

    @property
    def halo(self) -> int:
        """Pixels read beyond a unit's edge."""
        return derivatives.halo_pixels(self.tpi_radii_m, self.pixel_m)

    def reach(self, unit: Tile) -> Tile:
        """The unit with its halo."""
        n = self.halo
        return unit.window(-n, -n, (unit.shape[0] + 2 * n, unit.shape[1] + 2 * n))

    def process(self, unit: Tile, only: Collection[str] | None = None) -> dict[str, Partials]:
        """Partial statistics of one unit, by grid key: one pass for all grids, or only for some."""
        outer = self.reach(unit)
        z = self.mosaic.heights(outer)
        water = self.mosaic.water(unit, self.water_values) if self.water_values else None
        made = derivatives.layers(z, outer, self.halo, self.tpi_radii_m, self.pixel_m, water)
        return self.reducer.reduce(unit, made, only=only)


class UnitFiles(KeptFiles):
    """The folder of partial statistics of one piece of work."""

    def __init__(self, folder: Path, work: Work) -> None:
        super().__init__(folder)
        self.work = work

    def key(self, unit: Tile, grid: str) -> str:
        """Name of what would be computed now for a unit and grid."""
        work = self.work
        files = work.mosaic.within(work.reach(unit))
        index = work.reducer.index[grid]
        near = index.cell_ids[index.near(unit)]
        masks = [file.water for file in files if file.water is not None] if work.water_values else []
        recipe = {
            "versions": [streaming.VERSION, derivatives.VERSION],
            "place": [*unit.origin, *unit.shape, unit.step_x, unit.step_y, *unit.phase, unit.crs.to_wkt()],
            "files": [[each.name, sha256_of(each)] for each in [*(file.path for file in files), *masks]],
            "quantities": [quantity.to_dict() for quantity in work.reducer.quantities],
            "unit_m2": work.reducer.unit_m2,
            "method": work.reducer.methods[grid],
            "tpi": [list(work.tpi_radii_m), work.pixel_m],
            "water": list(work.water_values),
            "cells": [grid, hashlib.sha256(near.tobytes()).hexdigest()],
        }
        return text_digest(canonical_json(recipe))[:_NAME]

    def grids_near(self, unit: Tile) -> list[str]:
        """Grids of which a cell may have a pixel in a unit."""
        return [grid for grid, index in self.work.reducer.index.items() if index.near(unit).size]

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


def process_all(work: Work, folder: Path, workers: int, say: Say = lambda _: None) -> dict[str, list[Path]]:
    """Bring the files of all units up to date and list them by grid key, in the order of the units.

    Units whose files are there and whole are not computed again; the others are computed for all grids that lack them
    in one pass. ``workers`` threads work side by side; what one unit needs is a few hundred MB.
    """
    files = UnitFiles(folder, work)
    wanted = [(unit, grids) for unit in work.mosaic.units() if (grids := files.grids_near(unit))]
    lock, done = Lock(), 0

    def bring(unit: Tile, grids: list[str]) -> dict[str, Path]:
        nonlocal done
        keys = {grid: files.key(unit, grid) for grid in grids}
        found = {grid: path for grid in grids if (path := files.find(keys[grid])) is not None}
        missing = [grid for grid in grids if grid not in found]
        if missing:
            made = work.process(unit, missing)
            found |= {grid: files.save(keys[grid], made[grid]) for grid in missing}
        with lock:
            done += 1
            how = f"computed for {', '.join(missing)}" if missing else "was there"
            say(f"{unit.name}: {how} ({done} of {len(wanted)} units)")
        return found

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        results = list(pool.map(lambda each: bring(*each), wanted))
    return {grid: [result[grid] for result in results if grid in result] for grid in work.reducer.cells}


def finished(paths: Sequence[Path]) -> Iterator[Partials]:
    """Add up the files of a grid and give cells as soon as no later file has pixels of them.

    Only cells on the edges of units wait in memory, so that a continent needs little more than a row of units.
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
