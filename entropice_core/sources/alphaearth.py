"""Embeddings of cells from AlphaEarth Foundations, one level of detail: from its public files or from Earth Engine.

What is needed is fetched before (``fetch.alphaearth``, ``fetch.earth_engine``) and read here from the data folder.
Tiles are reduced one by one, and what a tile gave is kept in the work folder, for all grids that the study has at once,
so that a run that was stopped goes on. The answers of Earth Engine are sums already and are only added up.
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

from entropice_core.config.sources.alphaearth import PIXEL_M, AlphaEarthConfig
from entropice_core.embeddings.ee_sums import add_up, not_asked
from entropice_core.embeddings.tiles import Say, open_tiles, process_all, quantities
from entropice_core.embeddings.vectors import Vectors
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.partials import Partials
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import area_unit
from entropice_core.fetch.alphaearth import read_listing
from entropice_core.fetch.alphaearth_index import calendar_year, listing_path
from entropice_core.grids.base import Grid, UInt64
from entropice_core.terrain.units import finished

VERSION = "1"

METHOD = (
    "Stored bytes v became x = sign(v) (v / 127.5)^2; then {way}. A ground pixel that several tiles hold is counted in "
    "the UTM zone whose central meridian is nearest. R is the length of the mean vector (1: all pixels alike), "
    "direction the mean divided by R, std per band without Bessel's correction. {level}"
)
SUMS = (
    "Earth Engine added up w, w x and w x x over the pixels of {asset}, level of {m} m, on their own raster (w: true "
    "area): {way}. A ground pixel that several images hold is counted in the UTM zone whose central meridian is "
    "nearest. R is the length of the mean vector (1: all pixels alike), direction the mean divided by R, std per band "
    "without Bessel's correction. {level}"
)
WAYS = {
    "pixel_centres": "pixel_centres: a pixel belongs to the cell that holds its centre",
    "coverage": "coverage: a pixel is shared out by the area of it that lies in each cell, known to 1/256",
}
FULL = "Pixels are those of the files."
COARSE = (
    "Pixels are overviews of {m} m: each is the mean of the vectors under it made length 1 again, so that R is higher "
    "and std lower than from pixels of 10 m."
)
COARSE_EE = (
    "Pixels are those of the pyramid at {m} m; whether Earth Engine makes them length 1 again, as the files have it, "
    "its documentation does not say."
)


def open_source(name: str, config: AlphaEarthConfig, data_root: Path) -> "AlphaEarth":
    """Give the source; its tiles are opened when features are asked for."""
    return AlphaEarth(name, config, data_root)


@dataclass(frozen=True)
class AlphaEarth:
    """Features of one ``[sources.<name>]`` table with ``kind = "alphaearth"``.

    ``work`` : folder in which partial statistics are kept. ``others`` : cells of the study's other grids, for which
    they are made in the same pass. ``arrays`` : what adds pixels up, CuPy for a GPU. None of them changes a result.
    """

    name: str
    config: AlphaEarthConfig
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
        """True: embeddings are of one calendar year."""
        return True

    def keeping_work_in(self, folder: Path) -> "AlphaEarth":
        """Give the same source with a folder to keep work in."""
        return replace(self, work=folder)

    def serving(self, cells: Mapping[str, UInt64], say: Say) -> "AlphaEarth":
        """Give the same source that makes partial statistics for other grids in the same pass."""
        return replace(self, others=dict(cells), say=say)

    def adding_up_with(self, arrays: ModuleType | None) -> "AlphaEarth":
        """Give the same source that adds pixels up with arrays of some module of the array API."""
        return replace(self, arrays=arrays)

    def files(self, year: int | None) -> list[Path]:
        """The list of a label year's files and the files; ``SourceError`` names those that are not there."""
        listing, found = self._listing(year)
        paths = [listing.parent / entry["file"] for entry in found["tiles"]]
        if not paths:
            raise SourceError(f"{listing} lists nothing: the study area has no embeddings.")
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            named = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            raise SourceError(
                f"Source {self.name!r} lacks {len(absent)} of {len(paths)} tiles ({named}): "
                "run `entropice fetch alphaearth`."
            )
        return [listing, *paths]

    def _listing(self, year: int | None) -> tuple[Path, dict[str, Any]]:
        """The list of a label year, which must be of what the source says."""
        listing = listing_path(self.config, self.data_root, calendar_year(self.name, self.config, year))
        found = {"route": "files", **read_listing(listing)}
        of_route = "index" if self.config.route == "files" else "asset"
        for key in ("route", of_route, "resolution_m"):
            if found.get(key) != getattr(self.config, key):
                raise ConfigError(
                    f"{listing} lists tiles of {key} {found.get(key)!r}, but sources.{self.name} has "
                    f"{getattr(self.config, key)!r}: fetch again, or give the source lists of its own."
                )
        return listing, found

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
        ids = np.asarray(cells["cell_ids"].values, dtype=np.uint64)
        made = self._from_files if self.config.route == "files" else self._from_earth_engine
        vectors, method = made(grid, ids, year)
        if not np.isfinite(vectors.length).any():
            raise SourceError(
                f"The tiles of source {self.name!r} hold no valid pixel in any of the {ids.size} cells of "
                f"{grid.key}: check the study area and the list of tiles."
            )
        return self._dataset(grid, vectors, self._attrs(vectors, method, year))

    def _from_files(self, grid: Grid, ids: UInt64, year: int | None) -> tuple[Vectors, str]:
        """Reduce the tiles; gives the vectors and how they were made."""
        tiles = open_tiles(self.files(year)[1:])
        pixel_m2 = float(self.config.resolution_m) ** 2
        reducer = Reducer({**self.others, grid.key: ids}, quantities(), area_unit(pixel_m2), pixel_m2, self.arrays)
        vectors, counts = Vectors(ids), np.zeros(3, dtype=np.int64)
        with _folder(self.work, self.name) as folder:
            found = process_all(tiles, reducer, folder, _workers(), self.say)[grid.key]
            for part in finished([path for _, path in found]):
                counts += part.counts[0]  # all bands have the same pixels
                self._fill(vectors, part)
        pixels = sum(tile.place.shape[0] * tile.place.shape[1] for tile, _ in found)
        used, void, _ = counts.tolist()
        masked = {"masked_nodata": void, "masked_counted_in_another_tile": pixels - used - void}
        vectors.counts = {"pixels": pixels, "used": used, **masked}
        return vectors, METHOD.format(way=reducer.method_words()[grid.key], level=self._level())

    def _fill(self, vectors: Vectors, part: Partials) -> None:
        """Put complete cells in their places."""
        at = np.searchsorted(vectors.ids, part.cell_ids)
        vectors.mean[at] = part.statistic("mean")
        if "std" in self.config.parts:
            vectors.std[at] = part.statistic("std")
        vectors.valid_m2[at], vectors.seen[at] = part.valid_area_m2()[:, 0], part.seen_area_m2()

    def _from_earth_engine(self, grid: Grid, ids: UInt64, year: int | None) -> tuple[Vectors, str]:
        """Add up what Earth Engine answered; gives the vectors and how they were made."""
        (listing, found), files = self._listing(year), self.files(year)[1:]
        mine = [path for path, entry in zip(files, found["tiles"], strict=True) if grid.key in entry["grids"]]
        with_squares = "std" in self.config.parts
        sums = add_up(mine, grid, ids, with_squares)
        lacking = not_asked(grid, ids, sums.asked, found["images"])
        if grid.key not in found["grids"] or lacking:
            raise SourceError(
                f"{listing} lacks {lacking or 'all'} cells of {grid.key}: the study has other cells than when it was "
                "fetched; run `entropice fetch alphaearth`."
            )
        vectors = Vectors(ids, counts={"used": round(float(sums.pixels.sum()))})
        vectors.mean, vectors.valid_m2, vectors.seen = sums.mean(), sums.area_m2, sums.area_m2
        level = self._level()
        if with_squares:
            vectors.std, length = sums.std(), sums.squared_length()
            vectors.counts["mean_squared_length_of_pixels"] = round(length, 4)
            level = f"{level} Mean squared length of the pixels: {length:.3f}."
        way = "; ".join(WAYS[method] for method in sums.methods)
        return vectors, SUMS.format(asset=self.config.asset, m=self.config.resolution_m, way=way, level=level)

    def _level(self) -> str:
        m = self.config.resolution_m
        if m == PIXEL_M:
            return FULL
        return COARSE.format(m=m) if self.config.route == "files" else COARSE_EE.format(m=m)

    def _dataset(self, grid: Grid, vectors: Vectors, attrs: dict[str, Any]) -> xr.Dataset:
        columns = vectors.columns(self.config.parts)
        valid = np.minimum(vectors.valid_m2 / grid.areas_m2(vectors.ids), 1.0)[:, None]
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
                "cell_ids": ("cell", vectors.ids, grid.attrs()),
                "feature": ("feature", np.array([n for names, *_ in columns for n in names], dtype=object)),
                "unit": ("feature", np.array(["1" for names, *_ in columns for _ in names], dtype=object)),
                "long_name": ("feature", np.array([w for _, words, _ in columns for w in words], dtype=object)),
                "band": ("band", np.array(["embedding"], dtype=object)),
            },
            attrs=attrs,
        )

    def _attrs(self, vectors: Vectors, method: str, year: int | None) -> dict[str, Any]:
        config = self.config
        origin = {"index": config.index} if config.route == "files" else {"asset": config.asset}
        return {
            "source": self.name,
            "route": config.route,
            **origin,
            "resolution_m": config.resolution_m,
            "file_year": str(calendar_year(self.name, config, year)),
            "lag": config.lag,
            "title": config.title,
            "citation": config.citation,
            "doi": config.doi,
            "licence": config.licence,
            "statement": config.statement,
            "method": method,
            "notes": json.dumps([], ensure_ascii=False),
            "counts": json.dumps(
                {
                    "cells": {"all": int(vectors.ids.size), "outside_tiles": int((vectors.seen == 0).sum())},
                    "bands": {"embedding": vectors.counts},
                }
            ),
        }


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
