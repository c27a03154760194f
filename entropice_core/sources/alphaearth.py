"""Embeddings of cells from the public files of AlphaEarth Foundations, one level of detail of them.

The tiles are fetched before (``fetch.alphaearth``); here they are read from the data folder, one by one. What a tile
gave is kept in the work folder, for all grids that the study has at once, so that a run that was stopped goes on.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.embeddings.tiles import EmbeddingTile, Say, open_tiles, process_all, quantities
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.partials import Partials
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import area_unit
from entropice_core.fetch.alphaearth import BANDS, read_listing
from entropice_core.fetch.alphaearth_index import calendar_year, listing_path
from entropice_core.grids.base import Float64, Grid, UInt64
from entropice_core.terrain.units import finished

VERSION = "1"

METHOD = (
    "Stored bytes v became x = sign(v) (v / 127.5)^2; then {way}. A ground pixel that several tiles hold is counted in "
    "the UTM zone whose central meridian is nearest. R is the length of the mean vector (1: all pixels alike), "
    "direction the mean divided by R, std per band without Bessel's correction. {level}"
)
FULL = "Pixels are those of the files."
COARSE = (
    "Pixels are overviews of {m} m: each is the mean of the vectors under it made length 1 again, so that R is higher "
    "and std lower than from pixels of 10 m."
)


def open_source(name: str, config: AlphaEarthConfig, data_root: Path) -> "AlphaEarth":
    """Give the source; its tiles are opened when features are asked for."""
    return AlphaEarth(name, config, data_root)


@dataclass(frozen=True)
class AlphaEarth:
    """Features of one ``[sources.<name>]`` table with ``kind = "alphaearth"``.

    ``work`` : folder in which partial statistics are kept. ``others`` : cells of the study's other grids, for which
    they are made in the same pass. Neither changes a result.
    """

    name: str
    config: AlphaEarthConfig
    data_root: Path
    work: Path | None = None
    others: Mapping[str, UInt64] = field(default_factory=dict)
    say: Say = lambda _: None

    @property
    def VERSION(self) -> str:  # noqa: N802
        """Version of the code that computes the features."""
        return VERSION

    @property
    def is_yearly(self) -> bool:
        """True: embeddings are of one calendar year."""
        return True

    def keeping_work_in(self, folder: Path) -> "AlphaEarth":
        """Give the same source with a folder to keep work in."""
        return replace(self, work=folder)

    def serving(self, cells: Mapping[str, UInt64], say: Say) -> "AlphaEarth":
        """Give the same source that makes partial statistics for other grids in the same pass."""
        return replace(self, others=dict(cells), say=say)

    def files(self, year: int | None) -> list[Path]:
        """The list of a label year's tiles and the tiles; ``SourceError`` names those that are not there."""
        listing = listing_path(self.config, self.data_root, calendar_year(self.name, self.config, year))
        found = read_listing(listing)
        for key in ("index", "resolution_m"):
            if found.get(key) != getattr(self.config, key):
                raise ConfigError(
                    f"{listing} lists tiles of {key} {found.get(key)!r}, but sources.{self.name} has "
                    f"{getattr(self.config, key)!r}: fetch again, or give the source lists of its own."
                )
        paths = [listing.parent / entry["file"] for entry in found["tiles"]]
        if not paths:
            raise SourceError(f"{listing} lists no tile: the study area has none.")
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            named = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            raise SourceError(
                f"Source {self.name!r} lacks {len(absent)} of {len(paths)} tiles ({named}): "
                "run `entropice fetch alphaearth`."
            )
        return [listing, *paths]

    def features(self, grid: Grid, cells: xr.Dataset, year: int | None) -> xr.Dataset:
        """Aggregate the embeddings of a label year to cells.

        Parameters
        ----------
        grid : Grid
            The grid of the cells.
        cells : Dataset
            Coordinate ``cell_ids`` : (cell,) uint64, sorted.
        year : int
            The label's year; the embeddings are of that year less the lag.

        Returns
        -------
        Dataset
            ``features`` : (cell, feature) float32, NaN where no valid pixel lies in the cell; ``valid_fraction`` :
            (cell, band) float32, share of the cell's area with embeddings.
        """
        tiles = open_tiles(self.files(year)[1:])
        ids = np.asarray(cells["cell_ids"].values, dtype=np.uint64)
        pixel_m2 = float(self.config.resolution_m) ** 2
        reducer = Reducer({**self.others, grid.key: ids}, quantities(), area_unit(pixel_m2), pixel_m2)
        table = _Table(ids, self.config)
        with _folder(self.work, self.name) as folder:
            found = process_all(tiles, reducer, folder, _workers(), self.say)[grid.key]
            for part in finished([path for _, path in found]):
                table.add(part)
        return self._dataset(grid, table, reducer, [tile for tile, _ in found], year)

    def _dataset(
        self, grid: Grid, table: "_Table", reducer: Reducer, used: list[EmbeddingTile], year: int | None
    ) -> xr.Dataset:
        if not np.isfinite(table.length).any():
            raise SourceError(
                f"The tiles of source {self.name!r} hold no valid pixel in any of the {table.ids.size} cells of "
                f"{grid.key}: check the study area and the list of tiles."
            )
        columns = table.columns()
        valid = np.minimum(table.valid_m2 / grid.areas_m2(table.ids), 1.0)[:, None]
        return xr.Dataset(
            {
                "features": (
                    ("cell", "feature"),
                    np.concatenate([values for *_, values in columns], axis=1).astype(np.float32),
                    {"long_name": f"features of source {self.name}"},
                ),
                "valid_fraction": (
                    ("cell", "band"),
                    valid.astype(np.float32),
                    {"long_name": "share of the cell's area with valid pixels", "units": "1"},
                ),
            },
            coords={
                "cell_ids": ("cell", table.ids, grid.attrs()),
                "feature": ("feature", np.array([n for names, *_ in columns for n in names], dtype=object)),
                "unit": ("feature", np.array(["1" for names, *_ in columns for _ in names], dtype=object)),
                "long_name": ("feature", np.array([w for _, words, _ in columns for w in words], dtype=object)),
                "band": ("band", np.array(["embedding"], dtype=object)),
            },
            attrs=self._attrs(grid, table, reducer, used, year),
        )

    def _attrs(
        self, grid: Grid, table: "_Table", reducer: Reducer, used: list[EmbeddingTile], year: int | None
    ) -> dict[str, Any]:
        config, m = self.config, self.config.resolution_m
        pixels = sum(tile.place.shape[0] * tile.place.shape[1] for tile in used)
        counted, void, _ = table.counts.tolist()
        masked = {"masked_nodata": void, "masked_counted_in_another_tile": pixels - counted - void}
        level = FULL if m == 10 else COARSE.format(m=m)
        return {
            "source": self.name,
            "index": config.index,
            "resolution_m": m,
            "file_year": str(calendar_year(self.name, config, year)),
            "lag": config.lag,
            "title": config.title,
            "citation": config.citation,
            "doi": config.doi,
            "licence": config.licence,
            "statement": config.statement,
            "method": METHOD.format(way=reducer.method_words()[grid.key], level=level),
            "notes": json.dumps([], ensure_ascii=False),
            "counts": json.dumps(
                {
                    "cells": {"all": int(table.ids.size), "outside_tiles": int((table.seen_m2 == 0).sum())},
                    "bands": {"embedding": {"pixels": pixels, "used": counted, **masked}},
                }
            ),
        }


class _Table:
    """Vectors of a list of cells, filled as cells become complete: mean and std (c, 64), length (c,)."""

    def __init__(self, ids: UInt64, config: AlphaEarthConfig) -> None:
        self.ids, self.config = ids, config
        self.mean, self.std = (np.full((ids.size, BANDS), np.nan) for _ in range(2))
        self.valid_m2, self.seen_m2 = np.zeros(ids.size), np.zeros(ids.size)
        self.counts = np.zeros(3, dtype=np.int64)

    def add(self, part: Partials) -> None:
        """Fill in complete cells. All bands have the same pixels, so that the first tells areas and counts."""
        at = np.searchsorted(self.ids, part.cell_ids)
        self.counts += part.counts[0]
        self.mean[at] = part.statistic("mean")
        if "std" in self.config.parts:
            self.std[at] = part.statistic("std")
        self.valid_m2[at], self.seen_m2[at] = part.valid_area_m2()[:, 0], part.seen_area_m2()

    @property
    def length(self) -> Float64:
        """Length of the mean vector: (c,)."""
        found: Float64 = np.sqrt((self.mean**2).sum(axis=1))
        return found

    def columns(self) -> list[tuple[list[str], list[str], Float64]]:
        """Names, long names and values of each group of features."""
        length = self.length[:, None]
        with np.errstate(invalid="ignore"):
            direction = np.where(length > 0.0, self.mean / np.where(length > 0.0, length, 1.0), np.nan)
        words = {"mean": "mean in the cell", "direction": "mean in the cell, of length 1", "std": "std in the cell"}
        values = {"mean": self.mean, "direction": direction, "std": self.std}
        bands = range(BANDS)
        made = [
            (
                [f"A{band:02d}_{part}" for band in bands],
                [f"embedding axis {band}, {words[part]}" for band in bands],
                values[part],
            )
            for part in self.config.parts
        ]
        return [*made, (["R"], ["length of the mean embedding, 1 where all pixels are alike"], length)]


@contextmanager
def _folder(work: Path | None, name: str) -> Iterator[Path]:
    """A folder for partial statistics: the given one, which stays, or one that is gone afterwards."""
    if work is not None:
        yield work / "alphaearth" / name
        return
    with TemporaryDirectory(prefix="entropice-") as folder:
        yield Path(folder)


def _workers() -> int:
    """Threads that work on tiles side by side: one per core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
