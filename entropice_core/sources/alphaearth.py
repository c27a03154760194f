"""Embeddings of cells from AlphaEarth Foundations, one level of detail: from its public files or from Earth Engine.

What is needed is fetched before (``fetch.alphaearth``, ``fetch.earth_engine``) and read here from the data folder.
Tiles are reduced one by one, and what a tile gave is kept in the work folder, for all grids that the study has at once,
so that a run that was stopped goes on. The answers of Earth Engine are sums already and are only added up.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.config.sources.alphaearth import PIXEL_M, AlphaEarthConfig
from entropice_core.embeddings.ee_sums import add_up, not_asked
from entropice_core.embeddings.tiles import open_tiles, process_all, quantities
from entropice_core.embeddings.vectors import Vectors
from entropice_core.errors import SourceError
from entropice_core.features.partials import Partials
from entropice_core.features.pieces import finished
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import area_unit
from entropice_core.fetch.alphaearth_index import calendar_year, listing_path
from entropice_core.fetch.tiles import read_listing
from entropice_core.grids.base import Grid, UInt64
from entropice_core.sources.tiled import TiledSource

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
class AlphaEarth(TiledSource):
    """Features of one ``[sources.<name>]`` table with ``kind = "alphaearth"``."""

    config: AlphaEarthConfig

    @property
    def VERSION(self) -> str:  # noqa: N802
        """Version of the code that computes the features."""
        return VERSION

    @property
    def is_yearly(self) -> bool:
        """True: embeddings are of one calendar year."""
        return True

    def files(self, year: int | None) -> list[Path]:
        """The list of a label year's files and the files; ``SourceError`` names those that are not there."""
        listing, found = self._listing(year)
        paths = [listing.parent / entry["file"] for entry in found["tiles"]]
        if not paths:
            raise SourceError(f"{listing} lists nothing: the study area has no embeddings.")
        self.check_there(paths)
        return [listing, *paths]

    def _listing(self, year: int | None) -> tuple[Path, dict[str, Any]]:
        """The list of a label year, which must be of what the source says."""
        listing = listing_path(self.config, self.data_root, calendar_year(self.name, self.config, year))
        found = {"route": "files", **read_listing(listing, self.config.kind)}
        of_route = "index" if self.config.route == "files" else "asset"
        self.check_listed(listing, found, ("route", of_route, "resolution_m"))
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
        named = vectors.columns(self.config.parts)
        columns = [(name, "1", word) for names, words, _ in named for name, word in zip(names, words, strict=True)]
        values = np.concatenate([part for *_, part in named], axis=1)
        attrs = self._attrs(vectors, method, year)
        return self.dataset(grid, ids, columns, values, vectors.valid_m2[:, None], ["embedding"], attrs)

    def _from_files(self, grid: Grid, ids: UInt64, year: int | None) -> tuple[Vectors, str]:
        """Reduce the tiles; gives the vectors and how they were made."""
        tiles = open_tiles(self.files(year)[1:])
        pixel_m2 = float(self.config.resolution_m) ** 2
        reducer = Reducer({**self.others, grid.key: ids}, quantities(), area_unit(pixel_m2), pixel_m2, self.arrays)
        vectors, counts = Vectors(ids), np.zeros(3, dtype=np.int64)
        with self.folder("alphaearth") as folder:
            found = process_all(tiles, reducer, folder, self.workers, self.say)[grid.key]
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
            **self.credits(),
            "method": method,
            "notes": json.dumps([], ensure_ascii=False),
            "counts": json.dumps(
                {
                    "cells": {"all": int(vectors.ids.size), "outside_tiles": int((vectors.seen == 0).sum())},
                    "bands": {"embedding": vectors.counts},
                }
            ),
        }
