"""Tiles of embeddings -> partial statistics of cells, each ground pixel once, kept in files and used again.

Tiles of neighbouring UTM zones overlap on the ground. A pixel counts in the tile, among those that hold its centre,
whose zone has the nearest central meridian; of tiles of one zone in the one whose file name comes first. Where all
zones have tiles this is the zone of the pixel's longitude; where one has none (its neighbour was exported in its
place), no ground is lost. The rule looks at places only, not at values.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import CRS

from entropice_core.errors import SourceError
from entropice_core.features import streaming
from entropice_core.features.cell_labels import on_sphere
from entropice_core.features.partials import Partials
from entropice_core.features.pieces import PartialFiles, Piece, Say, bring_all, sha256_of
from entropice_core.features.quantity import Quantity
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile, pixel_centres
from entropice_core.fetch.alphaearth import BANDS, NODATA, dequantised
from entropice_core.grids.base import Bool, Float64, wrap_longitude
from entropice_core.storage.recipe import canonical_json, text_digest

VERSION = "1"
STEP = 1.0 / 127.5**2
"""Stored bytes squared are whole numbers: in these steps the vectors are exact, and so are their sums."""
_LIMIT = 127**2 * STEP


def quantities() -> list[Quantity]:
    """The axes of the vectors."""
    return [
        Quantity(f"A{band:02d}", "1", f"embedding axis {band}", -_LIMIT, _LIMIT, step=STEP) for band in range(BANDS)
    ]


@dataclass(frozen=True)
class EmbeddingTile:
    """One file of stored bytes and where it lies. ``zone`` : 1 to 60; ``central`` : its central meridian, degrees."""

    path: Path
    place: Tile
    zone: int

    @property
    def central(self) -> float:
        """Longitude of the zone's central meridian."""
        return 6.0 * self.zone - 183.0

    def read(self) -> npt.NDArray[np.int8]:
        """Stored bytes, rows as in the file: (64, rows, columns); ``SourceError`` names a damaged file."""
        try:
            with rasterio.open(self.path) as file:
                stored: npt.NDArray[np.int8] = file.read()
        except rasterio.errors.RasterioError as error:
            raise SourceError(f"{self.path} cannot be read ({error}): run `entropice fetch alphaearth`.") from error
        return stored


def open_tiles(paths: Sequence[Path]) -> list[EmbeddingTile]:
    """Read where files lie, sorted by name; ``SourceError`` for one that is no tile of embeddings."""
    return [_open(path) for path in sorted(paths, key=lambda path: path.name)]


def _open(path: Path) -> EmbeddingTile:
    try:
        with rasterio.open(path) as file:
            t, crs, shape, what = file.transform, file.crs, file.shape, (file.count, file.dtypes[0], file.nodata)
    except rasterio.errors.RasterioError as error:
        raise SourceError(f"{path} cannot be opened ({error}): run `entropice fetch alphaearth`.") from error
    zone = _crs(crs.to_wkt()).utm_zone if crs else None
    if zone is None or what != (BANDS, "int8", NODATA):
        raise SourceError(
            f"{path} has {what[0]} bands of {what[1]}, nodata {what[2]}, and UTM zone {zone}; {BANDS} bands of int8 "
            f"with nodata {NODATA} in a UTM zone were expected: run `entropice fetch alphaearth`."
        )
    place = Tile(path.name, _crs(crs.to_wkt()), t.c, t.f, t.a, t.e, (int(shape[0]), int(shape[1])))
    return EmbeddingTile(path, place, int(zone[:-1]))


@lru_cache(maxsize=256)
def _crs(wkt: str) -> CRS:
    return CRS.from_wkt(wkt)


class Neighbours:
    """Which tiles of a list may hold the same ground as another; those of one zone mostly abut and do not."""

    def __init__(self, tiles: Sequence[EmbeddingTile]) -> None:
        borders = [on_sphere(*tile.place.border()) for tile in tiles]
        self.tiles = tiles
        self.middle = np.array([border[-1] for border in borders])
        self.reach = np.array([np.linalg.norm(b[:-1] - b[-1], axis=1).max() for b in borders])
        self.position = {tile.path: i for i, tile in enumerate(tiles)}

    def of(self, tile: EmbeddingTile) -> list[EmbeddingTile]:
        """Other tiles within reach, in the order of the list."""
        i = self.position[tile.path]
        apart = np.linalg.norm(self.middle - self.middle[i], axis=1)
        near = [self.tiles[j] for j in np.flatnonzero(apart < 1.05 * (self.reach + self.reach[i])).tolist() if j != i]
        return [other for other in near if other.place.crs != tile.place.crs or _overlap(other.place, tile.place)]


def _overlap(a: Tile, b: Tile) -> bool:
    """Whether two tiles of one lattice share pixels."""
    (row, column), (other_row, other_column) = a.origin, b.origin
    return (
        row < other_row + b.shape[0]
        and other_row < row + a.shape[0]
        and column < other_column + b.shape[1]
        and other_column < column + a.shape[1]
    )


def counted(tile: EmbeddingTile, others: Sequence[EmbeddingTile]) -> Bool:
    """Pixels of a tile that count in it and not in one of some others: (rows, columns)."""
    n_rows, n_columns = tile.place.shape
    lon, lat = tile.place.lonlat(*pixel_centres(np.arange(n_rows * n_columns), n_columns))
    mine = np.ones(lon.size, dtype=bool)
    for other in others:
        comes_first = np.flatnonzero(mine & _before(other, tile, lon))
        rows, columns = other.place.pixels(lon[comes_first], lat[comes_first])
        inside = (rows >= 0.0) & (rows < other.place.shape[0])
        inside &= (columns >= 0.0) & (columns < other.place.shape[1])
        mine[comes_first[inside]] = False
    return mine.reshape(n_rows, n_columns)


def _before(one: EmbeddingTile, other: EmbeddingTile, lon: Float64) -> Bool:
    """Whether one tile goes before another at some longitudes: (n,)."""
    if one.zone == other.zone:
        return np.full(lon.size, one.path.name < other.path.name)
    first, second = (np.abs(wrap_longitude(lon - tile.central)) for tile in (one, other))
    found: Bool = (first < second) | ((first == second) & (one.zone < other.zone))
    return found


def layers(stored: npt.NDArray[np.int8]) -> Iterator[npt.NDArray[np.float32]]:
    """De-quantised bands, NaN where nodata: 64 times (rows, columns)."""
    meaning = dequantised().astype(np.float32)
    for band in stored:
        yield meaning[band.astype(np.int16) + 128]


def process(
    tile: EmbeddingTile, others: Sequence[EmbeddingTile], reducer: Reducer, only: list[str]
) -> dict[str, Partials]:
    """Partial statistics of one tile, by grid key: one pass for all grids, or only for some."""
    return reducer.reduce(tile.place, layers(tile.read()), counted(tile, others), only)


class TileFiles(PartialFiles):
    """The folder of partial statistics of a list of tiles."""

    def __init__(self, folder: Path, reducer: Reducer) -> None:
        super().__init__(folder)
        self.reducer = reducer

    def key_of(self, tile: EmbeddingTile, others: Sequence[EmbeddingTile], grid: str) -> str:
        """Name of what would be computed now for a tile and grid."""
        index = self.reducer.index[grid]
        near = index.cell_ids[index.near(tile.place)]
        recipe = {
            "versions": [streaming.VERSION, VERSION],
            "file": [tile.path.name, sha256_of(tile.path)],
            "others": [_place_of(other) for other in others],
            "unit_m2": self.reducer.unit_m2,
            "method": self.reducer.methods[grid],
            "cells": [grid, hashlib.sha256(near.tobytes()).hexdigest()],
        }
        return text_digest(canonical_json(recipe))[:24]


def _place_of(tile: EmbeddingTile) -> list[str | float]:
    place = tile.place
    return [place.name, tile.zone, place.left, place.top, place.step_x, place.step_y, *place.shape]


def process_all(
    tiles: Sequence[EmbeddingTile], reducer: Reducer, folder: Path, workers: int, say: Say = lambda _: None
) -> dict[str, list[tuple[EmbeddingTile, Path]]]:
    """Bring the files of all tiles up to date and list them by grid key, in the order of the tiles.

    Tiles that no cell is near are left out.
    """
    files, neighbours = TileFiles(folder, reducer), Neighbours(tiles)
    near = {tile.path: [g for g, index in reducer.index.items() if index.near(tile.place).size] for tile in tiles}
    wanted = [tile for tile in tiles if near[tile.path]]

    def piece(tile: EmbeddingTile) -> Piece:
        others = neighbours.of(tile)
        make = partial(process, tile, others, reducer)
        return Piece(tile.path.name, near[tile.path], partial(files.key_of, tile, others), make)

    pairs = list(zip(wanted, bring_all([piece(tile) for tile in wanted], files, workers, "tiles", say), strict=True))
    return {grid: [(tile, made[grid]) for tile, made in pairs if grid in made] for grid in reducer.cells}
