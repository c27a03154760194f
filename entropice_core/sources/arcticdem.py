"""Terrain of cells from the tiles of an elevation model: ArcticDEM, or another by configuration.

The tiles are fetched before (``fetch.tiles``); here they are read from the data folder, unit by unit. What a unit gave
is kept in the work folder, for all grids that the study has at once, so that a run that was stopped goes on and the
second grid costs next to nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.errors import SourceError
from entropice_core.features.partials import Partials
from entropice_core.features.pieces import finished
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import area_unit
from entropice_core.fetch.tiles import read_listing
from entropice_core.grids.base import Float64, Grid, UInt64
from entropice_core.sources.tiled import TiledSource
from entropice_core.terrain.derivatives import quantities
from entropice_core.terrain.mosaic import Mosaic, mosaics, open_file
from entropice_core.terrain.units import Work, process_all

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
class ArcticDem(TiledSource):
    """Features of one ``[sources.<name>]`` table with ``kind = "arcticdem"``."""

    config: ArcticDemConfig

    @property
    def VERSION(self) -> str:  # noqa: N802
        """Version of the code that computes the features."""
        return VERSION

    @property
    def is_yearly(self) -> bool:
        """False: one model for all years."""
        return False

    def listing(self) -> Path:
        """The list of tiles."""
        return Path(self.config.path.replace("{data}", str(self.data_root)))

    def files(self, year: int | None) -> list[Path]:  # noqa: ARG002 - the same for every year
        """Tiles of the list, masks too; ``SourceError`` names those that are not there."""
        paths = [path for pair in self._tiles() for path in pair if path is not None]
        self.check_there(paths)
        return [self.listing(), *paths]

    def _tiles(self) -> list[tuple[Path, Path | None]]:
        """Files of heights, each with its mask of water if there is one."""
        found = read_listing(self.listing(), self.config.kind)
        self.check_listed(self.listing(), found, ("collection", "asset", "water_asset"))
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
        with self.folder("terrain") as folder:
            for model in models:
                paths = process_all(self._work(model, reducer), folder, self.workers, self.say)[grid.key]
                for part in finished(paths):
                    table.add(part)
        bands, attrs = [quantity.name for quantity in wanted], self._attrs(grid, table, reducer)
        return self.dataset(grid, ids, table.columns(reducer), table.features, table.valid_m2, bands, attrs)

    def _work(self, model: Mosaic, reducer: Reducer) -> Work:
        return Work(model, reducer, self.config.tpi_radii_m, self.config.pixel_m, self.config.water_values)

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
            **self.credits(),
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
