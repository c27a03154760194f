"""Files of one elevation model as one raster, in which every ground pixel is there once.

Tiles of ArcticDEM overlap by about 100 m. A pixel is taken from the file in which it lies deepest, and from the next
where that one is void: a rule that looks at the pixel only, so that it does not matter in which order files come, nor
which piece of the raster is read. Pieces (``units``) are cut at fixed places of the lattice of pixels and do not
overlap, so that each pixel is counted in one of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import CRS
from rasterio.windows import Window

from entropice_core.errors import SourceError
from entropice_core.features.tiles import Tile
from entropice_core.grids.base import Bool
from entropice_core.terrain.derivatives import Float32

UNIT_PIXELS = 3125
"""Width of a unit: 100 km of ArcticDEM's 32 m, the distance between its tiles."""

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class DemFile:
    """One file of heights, where it lies, and the file that says where water is, if there is one."""

    path: Path
    tile: Tile
    nodata: float | None
    water: Path | None = None


@dataclass(frozen=True)
class Mosaic:
    """Files on one lattice of pixels."""

    files: tuple[DemFile, ...]

    @property
    def lattice(self) -> Tile:
        """A tile of no size at the lattice's pixel (0, 0)."""
        one = self.files[0].tile
        return one.window(-one.origin[0], -one.origin[1], (0, 0))

    def units(self, pixels: int = UNIT_PIXELS) -> list[Tile]:
        """Pieces that together hold every pixel of every file once, from north to south and west to east."""
        places = {
            (row, column)
            for file in self.files
            for row in range(
                file.tile.origin[0] // pixels, (file.tile.origin[0] + file.tile.shape[0] - 1) // pixels + 1
            )
            for column in range(
                file.tile.origin[1] // pixels, (file.tile.origin[1] + file.tile.shape[1] - 1) // pixels + 1
            )
        }
        return [self._cut(row, column, pixels) for row, column in sorted(places)]

    def _cut(self, row: int, column: int, pixels: int) -> Tile:
        """The part of a unit that holds files: a strip of three pixels beyond the last file is not a whole unit."""
        boxes = [_overlap(file.tile, row * pixels, column * pixels, (pixels, pixels)) for file in self.files]
        found = np.array([box for box in boxes if box is not None])
        top, left = (int(edge) for edge in found[:, :2].min(axis=0))
        bottom, right = (int(edge) for edge in found[:, 2:].max(axis=0))
        cut = self.lattice.window(top, left, (bottom - top, right - left))
        return Tile(f"unit {row} {column}", cut.crs, cut.left, cut.top, cut.step_x, cut.step_y, cut.shape)

    def within(self, window: Tile) -> list[DemFile]:
        """Files that have a pixel in a window."""
        row, column = window.origin
        return [file for file in self.files if _overlap(file.tile, row, column, window.shape) is not None]

    def heights(self, window: Tile) -> Float32:
        """Heights in a window, NaN where void or beyond all files: (rows, columns) float32, metres.

        Raises
        ------
        SourceError
            For a damaged file, and for an infinite height.
        """
        return _composed(window, np.float32(np.nan), self._parts_of_heights(window))

    def water(self, window: Tile, values: Sequence[int]) -> Bool:
        """Pixels of a window whose mask has one of some values: (rows, columns)."""
        parts = ((f, part, np.ones(part.shape, dtype=bool)) for f, part in self._parts(window, masks=True))
        return np.isin(_composed(window, np.int64(-(2**62)), parts), np.asarray(values))

    def _parts_of_heights(self, window: Tile) -> Iterator[tuple[DemFile, Float32, Bool]]:
        for file, part in self._parts(window, masks=False):
            z = part.astype(np.float32, copy=False)
            void = np.isnan(z) if file.nodata is None else np.isnan(z) | (z == np.float32(file.nodata))
            if np.isinf(z[~void]).any():
                raise SourceError(
                    f"{file.path} holds infinite heights: fetch it again, or write nodata in their place."
                )
            yield file, z, ~void

    def _parts(self, window: Tile, masks: bool) -> Iterator[tuple[DemFile, npt.NDArray[Any]]]:
        row, column = window.origin
        for file in self.within(window):
            box = _overlap(file.tile, row, column, window.shape)
            path = file.water if masks else file.path
            if box is None or path is None:
                continue
            top, left = box[0] - file.tile.origin[0], box[1] - file.tile.origin[1]
            yield file, read_window(path, Window(left, top, box[3] - box[1], box[2] - box[0]))


def _composed(
    window: Tile, empty: Value, parts: Iterable[tuple[DemFile, npt.NDArray[Any], Bool]]
) -> npt.NDArray[Value]:
    """Put parts of files together: each pixel from the file in which it lies deepest among those that have it."""
    out = np.full(window.shape, empty)
    depth = np.full(window.shape, -1, dtype=np.int32)
    row, column = window.origin
    for file, values, usable in parts:
        box = _overlap(file.tile, row, column, window.shape)
        assert box is not None
        (row0, column0), (n_rows, n_columns) = file.tile.origin, file.tile.shape
        r, c = np.arange(box[0], box[2]) - row0, np.arange(box[1], box[3]) - column0
        inside = np.minimum(np.minimum(r, n_rows - 1 - r)[:, None], np.minimum(c, n_columns - 1 - c)[None, :])
        place = np.s_[box[0] - row : box[2] - row, box[1] - column : box[3] - column]
        better = usable & (inside > depth[place])
        out[place][better] = values[better]
        depth[place][better] = inside[better]
    return out


def _overlap(tile: Tile, row: int, column: int, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """First row and column and the ones behind the last, on the lattice, that a tile and a window share."""
    row0, column0 = tile.origin
    top, left = max(row0, row), max(column0, column)
    bottom, right = min(row0 + tile.shape[0], row + shape[0]), min(column0 + tile.shape[1], column + shape[1])
    return (top, left, bottom, right) if top < bottom and left < right else None


def read_window(path: Path, window: Window) -> npt.NDArray[Any]:
    """Stored numbers of part of a file; ``SourceError`` names a file that is damaged."""
    try:
        with rasterio.open(path) as file:
            stored: npt.NDArray[Any] = file.read(1, window=window)
    except rasterio.errors.RasterioIOError as error:
        raise SourceError(f"{path} cannot be read ({error}): it is damaged or cut short, fetch it again.") from error
    return stored


def open_file(path: Path, water: Path | None = None) -> DemFile:
    """Read where a file lies; ``SourceError`` when it is no upright GeoTIFF with a coordinate system."""
    try:
        with rasterio.open(path) as file:
            t, crs, shape, nodata = file.transform, file.crs, file.shape, file.nodata
    except rasterio.errors.RasterioIOError as error:
        raise SourceError(f"{path} cannot be opened as a GeoTIFF ({error}): fetch it again.") from error
    if t.b or t.d or crs is None:
        raise SourceError(f"{path} is rotated or has no coordinate system; an elevation model has upright tiles.")
    tile = Tile(path.name, _parsed(crs.to_wkt()), t.c, t.f, t.a, t.e, (int(shape[0]), int(shape[1])))
    return DemFile(path, tile, nodata, water)


_KNOWN_CRS: dict[str, CRS] = {}


def _parsed(wkt: str) -> CRS:
    """One object for one coordinate system, as thousands of tiles share it."""
    return _KNOWN_CRS.setdefault(wkt, CRS.from_wkt(wkt))


def mosaics(files: Iterable[DemFile]) -> list[Mosaic]:
    """Sort files by the lattice that their pixels lie on: one mosaic each. GLO-30 has one per band of latitude."""
    groups: dict[tuple[str, float, float, float, float], list[DemFile]] = {}
    for file in sorted(files, key=lambda each: each.path.name):
        tile = file.tile
        row, column = (round(part, 3) % 1.0 for part in tile.phase)
        key = (tile.crs.to_wkt(), round(tile.step_x, 12), round(tile.step_y, 12), row, column)
        groups.setdefault(key, []).append(file)
    return [Mosaic(tuple(files)) for _, files in sorted(groups.items())]
