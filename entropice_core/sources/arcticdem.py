"""Terrain of cells from the tiles of an elevation model: ArcticDEM, or another by configuration.

The tiles are fetched before (``fetch.tiles``); here they are read from the data folder, unit by unit. What a unit gave
is kept in the work folder, for all grids that the study has at once, so that a run that was stopped goes on and the
second grid costs next to nothing.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.partials import Partials
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import area_unit
from entropice_core.fetch.tiles import read_listing
from entropice_core.grids.base import Float64, Grid, UInt64
from entropice_core.terrain.derivatives import quantities
from entropice_core.terrain.mosaic import Mosaic, mosaics, open_file
from entropice_core.terrain.units import Say, Work, finished, process_all

VERSION = "1"

METHOD = (
    "Derivatives at the resolution of the model with pixels beyond each unit's edge, slopes per true metre, directions "
    "from true north (terrain.derivatives names formulae and papers); then {way}. std is without Bessel's correction; "
    "quantiles come from histograms and err by less than a bin: {bins}. Void pixels and water have no weight."
)


def open_source(name: str, config: ArcticDemConfig, data_root: Path) -> "ArcticDem":
    """Give the source; its tiles are opened when features are asked for."""
    return ArcticDem(name, config, data_root)


@dataclass(frozen=True)
class ArcticDem:
    """Features of one ``[sources.<name>]`` table with ``kind = "arcticdem"``.

    ``work`` : folder in which partial statistics are kept. ``others`` : cells of the study's other grids, for which
    they are made in the same pass. ``arrays`` : what adds pixels up, CuPy for a GPU. None of them changes a result.
    """

    name: str
    config: ArcticDemConfig
    data_root: Path
    work: Path | None = None
    others: Mapping[str, UInt64] = field(default_factory=dict)
    say: Say = lambda _: None
    arrays: ModuleType | None = None

    @property
    def VERSION(self) -> str:  # noqa: N802
        """Version of the code that computes the features."""
        return VERSION

    @property
    def is_yearly(self) -> bool:
        """False: one model for all years."""
        return False

    def keeping_work_in(self, folder: Path) -> "ArcticDem":
        """Give the same source with a folder to keep work in."""
        return replace(self, work=folder)

    def serving(self, cells: Mapping[str, UInt64], say: Say) -> "ArcticDem":
        """Give the same source that makes partial statistics for other grids in the same pass."""
        return replace(self, others=dict(cells), say=say)

    def adding_up_with(self, arrays: ModuleType | None) -> "ArcticDem":
        """Give the same source that adds pixels up with arrays of some module of the array API."""
        return replace(self, arrays=arrays)

    def listing(self) -> Path:
        """The list of tiles."""
        return Path(self.config.path.replace("{data}", str(self.data_root)))

    def files(self, year: int | None) -> list[Path]:  # noqa: ARG002 - the same for every year
        """Tiles of the list, masks too; ``SourceError`` names those that are not there."""
        paths = [path for pair in self._tiles() for path in pair if path is not None]
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            named = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            raise SourceError(
                f"Source {self.name!r} lacks {len(absent)} of {len(paths)} tiles ({named}): "
                "run `entropice fetch arcticdem`."
            )
        return [self.listing(), *paths]

    def _tiles(self) -> list[tuple[Path, Path | None]]:
        """Files of heights, each with its mask of water if there is one."""
        found = read_listing(self.listing())
        for key in ("collection", "asset", "water_asset"):
            if found.get(key) != getattr(self.config, key):
                raise ConfigError(
                    f"{self.listing()} lists tiles of {key} {found.get(key)!r}, but sources.{self.name} has "
                    f"{getattr(self.config, key)!r}: fetch again, or give the source a list of its own."
                )
        folder = self.listing().parent
        by_id: dict[str, dict[str, Path]] = {}
        for entry in found["tiles"]:
            by_id.setdefault(entry["id"], {})[entry["asset"]] = folder / entry["file"]
        if not by_id:
            raise SourceError(f"{self.listing()} lists no tile: the collection has none in the study area.")
        return [(one[self.config.asset], one.get(self.config.water_asset or "")) for _, one in sorted(by_id.items())]

    def features(self, grid: Grid, cells: xr.Dataset, year: int | None) -> xr.Dataset:
        """Aggregate the terrain to cells.

        Parameters
        ----------
        grid : Grid
            The grid of the cells.
        cells : Dataset
            Coordinate ``cell_ids`` : (cell,) uint64, sorted.
        year : int or None
            Not used.

        Returns
        -------
        Dataset
            ``features`` : (cell, feature) float32, NaN where no valid pixel lies in the cell; ``valid_fraction`` :
            (cell, band) float32, share of the cell's area with a valid value of each quantity.
        """
        self.files(year)
        ids = np.asarray(cells["cell_ids"].values, dtype=np.uint64)
        everyone = {**self.others, grid.key: ids}
        wanted = quantities(self.config.tpi_radii_m)
        models = mosaics(open_file(path, water) for path, water in self._tiles())
        unit = area_unit(self.config.pixel_m**2)
        reducer = Reducer(everyone, wanted, unit, self.config.pixel_m**2, self.arrays)
        table = _Table(ids, self.config, [quantity.name for quantity in wanted])
        with _folder(self.work, self.name) as folder:
            for model in models:
                paths = process_all(self._work(model, reducer), folder, _workers(), self.say)[grid.key]
                for part in finished(paths):
                    table.add(part)
        return self._dataset(grid, ids, table, reducer)

    def _work(self, model: Mosaic, reducer: Reducer) -> Work:
        return Work(model, reducer, self.config.tpi_radii_m, self.config.pixel_m, self.config.water_values)

    def _dataset(self, grid: Grid, ids: UInt64, table: "_Table", reducer: Reducer) -> xr.Dataset:
        if not np.isfinite(table.features).any():
            raise SourceError(
                f"The tiles of source {self.name!r} hold no valid pixel in any of the {ids.size} cells of {grid.key}: "
                "check the study area and the list of tiles."
            )
        columns = table.columns(reducer)
        valid = np.minimum(table.valid_m2 / grid.areas_m2(ids)[:, None], 1.0)
        return xr.Dataset(
            {
                "features": (
                    ("cell", "feature"),
                    table.features.astype(np.float32),
                    {"long_name": f"features of source {self.name}"},
                ),
                "valid_fraction": (
                    ("cell", "band"),
                    valid.astype(np.float32),
                    {"long_name": "share of the cell's area with valid pixels", "units": "1"},
                ),
            },
            coords={
                "cell_ids": ("cell", ids, grid.attrs()),
                "feature": ("feature", np.array([name for name, _, _ in columns], dtype=object)),
                "unit": ("feature", np.array([unit for _, unit, _ in columns], dtype=object)),
                "long_name": ("feature", np.array([words for _, _, words in columns], dtype=object)),
                "band": ("band", np.array([quantity.name for quantity in reducer.quantities], dtype=object)),
            },
            attrs=self._attrs(grid, table, reducer),
        )

    def _attrs(self, grid: Grid, table: "_Table", reducer: Reducer) -> dict[str, Any]:
        config = self.config
        bins = ", ".join(f"{quantity.name} {quantity.error_words}" for quantity in reducer.quantities)
        bands = {}
        for quantity, row in zip(reducer.quantities, table.counts.tolist(), strict=True):
            used, nodata, outside = row
            masked = {"masked_void_or_water": nodata, "masked_outside_valid_range": outside}
            bands[quantity.name] = {"pixels": sum(row), "used": used, **masked}
        empty = int((table.seen_m2 == 0).sum())
        return {
            "source": self.name,
            "collection": config.collection,
            "height_above": config.height,
            "file_year": "static",
            "lag": 0,
            "title": config.title,
            "citation": config.citation,
            "doi": config.doi,
            "licence": config.licence,
            "statement": config.statement,
            "method": METHOD.format(way=reducer.method_words()[grid.key], bins=bins),
            "notes": json.dumps([], ensure_ascii=False),
            "counts": json.dumps({"cells": {"all": int(table.seen_m2.size), "outside_tiles": empty}, "bands": bands}),
        }


class _Table:
    """Features of a list of cells, filled as cells become complete."""

    def __init__(self, ids: UInt64, config: ArcticDemConfig, names: list[str]) -> None:
        self.ids, self.config, self.names = ids, config, names
        self.features = np.full((ids.size, len(names) * len(config.statistics) + 2), np.nan)
        self.valid_m2 = np.zeros((ids.size, len(names)))
        self.seen_m2 = np.zeros(ids.size)
        self.counts = np.zeros((len(names), 3), dtype=np.int64)

    def add(self, part: Partials) -> None:
        """Fill in complete cells. A cell on two lattices (bands of GLO-30) takes the one that covers more of it."""
        self.counts += part.counts
        at = np.searchsorted(self.ids, part.cell_ids)
        better = np.flatnonzero(part.seen_area_m2() > self.seen_m2[at])
        part, at = part.take(part.cell_ids[better]), at[better]
        if not at.size:
            return
        tables = [part.statistic(name) for name in self.config.statistics]
        self.features[at, :-2] = np.stack(tables, axis=2).reshape(at.size, -1)
        self.features[at, -2:] = _of_elevation(part)
        self.valid_m2[at], self.seen_m2[at] = part.valid_area_m2(), part.seen_area_m2()

    def columns(self, reducer: Reducer) -> list[tuple[str, str, str]]:
        """Name, unit and long name of each feature."""
        made = [
            (f"{q.name}_{s}", q.unit, f"{q.long_name}, {s} in the cell")
            for q in reducer.quantities
            for s in self.config.statistics
        ]
        relief = ("relief", "m", "largest less least height in the cell")
        return [*made, relief, ("hypsometric_integral", "1", "(mean - least) / (largest - least) height in the cell")]


def _of_elevation(part: Partials) -> Float64:
    """Relief and hypsometric integral: (cells, 2); the integral of level ground is not defined."""
    mean, least, most = (part.statistic(name)[:, 0] for name in ("mean", "min", "max"))
    relief = most - least
    with np.errstate(invalid="ignore"):
        return np.stack([relief, np.where(relief > 0.0, (mean - least) / np.where(relief > 0, relief, 1), np.nan)], 1)


@contextmanager
def _folder(work: Path | None, name: str) -> Iterator[Path]:
    """A folder for partial statistics: the given one, which stays, or one that is gone afterwards."""
    if work is not None:
        yield work / "terrain" / name
        return
    with TemporaryDirectory(prefix="entropice-") as folder:
        yield Path(folder)


def _workers() -> int:
    """Threads that work on units side by side: one per core, as memory allows a few hundred MB for each."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
