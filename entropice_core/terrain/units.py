"""Pieces of an elevation model -> partial statistics of cells, kept in files and used again.

A unit's file (``features.pieces``) is named by everything that made it: its place, the checksums of the files in reach,
quantities, cells, code versions.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from entropice_core.features import streaming
from entropice_core.features.partials import Partials
from entropice_core.features.pieces import PartialFiles, Piece, Say, bring_all, sha256_of
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile
from entropice_core.storage.recipe import canonical_json, text_digest
from entropice_core.terrain import derivatives
from entropice_core.terrain.mosaic import Mosaic

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


class UnitFiles(PartialFiles):
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


def process_all(work: Work, folder: Path, workers: int, say: Say = lambda _: None) -> dict[str, list[Path]]:
    """Bring the files of all units up to date and list them by grid key, in the order of the units."""
    files = UnitFiles(folder, work)
    wanted = [(unit, grids) for unit in work.mosaic.units() if (grids := files.grids_near(unit))]
    pieces = [Piece(unit.name, grids, partial(files.key, unit), partial(work.process, unit)) for unit, grids in wanted]
    results = bring_all(pieces, files, workers, "units", say)
    return {grid: [result[grid] for result in results if grid in result] for grid in work.reducer.cells}
