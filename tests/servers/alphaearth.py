"""AlphaEarth's public files on this machine: an index and GeoTIFFs in the layout of the bucket, small.

Signed bytes, 64 bands one after the other, rows from the south, nodata -128, overviews that are means of the pixels
made length 1 again, all headers in front. Files are served by ranges as in ``tests.servers.stac``.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.transform import Affine
from rasterio.windows import Window

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.features.tiles import Tile
from tests.servers.stac import StacServer

PIXELS, BLOCK = 256, 64
FACTORS = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class AefTile:
    """One file: zone, lower left corner in metres, year."""

    zone: int
    west: float
    south: float
    year: int = 2021

    @property
    def name(self) -> str:
        return f"x{self.zone:02d}{self.year}{int(self.west):07d}-{int(self.south):010d}.tiff"

    def place(self, m: float = 10.0) -> Tile:
        n = round(PIXELS * 10 / m)
        return Tile(self.name, CRS(f"EPSG:{32600 + self.zone}"), self.west, self.south, m, m, (n, n))


def quantised(x: np.ndarray) -> np.ndarray:
    """Vectors -> stored bytes, -128 where NaN."""
    v = np.round(np.sign(x) * np.sqrt(np.abs(x)) * 127.5)
    return np.where(np.isnan(v), -128, np.clip(v, -127, 127)).astype(np.int8)


def field(tile: AefTile, seed: int = 5) -> np.ndarray:
    """Vectors of length 1 that change from place to place, with a hole: (64, rows, columns) float32, row 0 south."""
    rng = np.random.default_rng(seed)
    waves, phase = rng.normal(0.0, 1 / 1500.0, (64, 2)), rng.uniform(0, 2 * np.pi, 64)
    x = tile.west + (np.arange(PIXELS) + 0.5) * 10.0
    y = tile.south + (np.arange(PIXELS) + 0.5) * 10.0
    made = np.sin(waves[:, :1, None] * x[None, None, :] + waves[:, 1:, None] * y[None, :, None] + phase[:, None, None])
    made = made + np.random.default_rng(tile.zone).normal(0.0, 0.5, made.shape)
    made /= np.sqrt((made**2).sum(axis=0))
    made[:, 32:64, 64:96] = np.nan
    return made.astype(np.float32)


def coarser(x: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of valid pixels, of length 1: (64, n, n) -> (64, n / factor, n / factor)."""
    void = np.isnan(x[0])  # of all bands or of none
    filled = np.where(void, 0.0, x) if void.any() else x
    rows = np.zeros((x.shape[0], x.shape[1], x.shape[2] // factor))
    sums = np.zeros((x.shape[0], x.shape[1] // factor, x.shape[2] // factor))
    for i in range(factor):
        rows += filled[:, :, i::factor]
    for i in range(factor):
        sums += rows[:, i::factor]
    length = np.sqrt((sums**2).sum(axis=0))
    return sums / np.where(length > 0.0, length, np.nan)


def write_tile(folder: Path, tile: AefTile, x: np.ndarray | None = None) -> np.ndarray:
    """Write a file; gives its stored bytes at full resolution."""
    x = field(tile) if x is None else x
    stored, draft = quantised(x), folder / f"{tile.name}.draft"
    fine = np.sign(stored) * (stored.astype(np.float32) / 127.5) ** 2
    fine[stored == -128] = np.nan
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "band", "compress": "zstd"}
    with rasterio.open(
        draft, "w", driver="GTiff", height=PIXELS, width=PIXELS, count=64, dtype="int8", nodata=-128,
        crs=f"EPSG:{32600 + tile.zone}", transform=Affine(10, 0, tile.west, 0, 10, tile.south), **layout,
    ) as file:  # fmt: skip
        file.write(stored)
    with rasterio.open(draft, "r+") as file:
        file.build_overviews(FACTORS, Resampling.nearest)
    for level, factor in enumerate(FACTORS):
        made = quantised(coarser(fine, factor))
        with rasterio.open(draft, "r+", overview_level=level) as file:
            file.write(made, window=Window(0, 0, made.shape[2], made.shape[1]))
    copy(draft, folder / tile.name, driver="GTiff", copy_src_overviews=True, **layout)
    draft.unlink()
    return stored


def index_row(tile: AefTile, address: str, with_metres: bool = True) -> dict[str, object]:
    """A row of the index."""
    lon, lat = tile.place().border()
    row: dict[str, object] = {
        "fid": 1, "path": f"{address}/{tile.name}", "year": tile.year, "utm_zone": f"{tile.zone}N",
        "crs": f"EPSG:{32600 + tile.zone}", "wgs84_west": lon.min(), "wgs84_south": lat.min(),
        "wgs84_east": lon.max(), "wgs84_north": lat.max(),
    }  # fmt: skip
    if with_metres:
        end = PIXELS * 10.0
        row |= {"utm_west": tile.west, "utm_south": tile.south}
        row |= {"utm_east": tile.west + end, "utm_north": tile.south + end}
    return row


def write_index(path: Path, tiles: Sequence[AefTile], address: str, with_metres: bool = True) -> None:
    """Write the index as parquet or CSV."""
    table = pd.DataFrame([index_row(tile, address, with_metres) for tile in tiles])
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def two_zones(year: int = 2021, west_zone: int = 44) -> list[AefTile]:
    """Tiles at 68 N where two zones meet (44 and 45: at 84 E): two of each, which overlap in part."""
    zones = west_zone, west_zone % 60 + 1
    (x1, y1), (x2, y2) = (_place_of(zone, 6.0 * west_zone - 180.0) for zone in zones)
    side = PIXELS * 10.0
    west = [AefTile(zones[0], x1 - side + 700.0 + dx, y1 - 1300.0, year) for dx in (-side, 0.0)]
    east = [AefTile(zones[1], x2 - 700.0 + dx, y2 - 1300.0, year) for dx in (0.0, side)]
    return list(itertools.chain(west, east))


def _place_of(zone: int, lon: float) -> tuple[float, float]:
    """A point at 68 N in a zone, to 10 m."""
    y, x = Tile("", CRS(f"EPSG:{32600 + zone}"), 0, 0, 1, 1, (1, 1)).pixels(np.array([lon]), np.array([68.0]))
    return round(float(x[0]), -1), round(float(y[0]), -1)


def around_the_pole(year: int = 2021) -> list[AefTile]:
    """Two tiles of zone 31 side by side, with the pole in the second."""
    y = round(0.9996 * 10_001_965.729, -1) - 1200.0
    return [AefTile(31, 500_000.0 - 1000.0 + dx, y, year) for dx in (-PIXELS * 10.0, 0.0)]


def write_fetched(listing: Path, tiles: Sequence[Tile], config: AlphaEarthConfig, year: int) -> None:
    """Write tiles of random vectors and their list as a fetch leaves them."""
    folder = listing.parent / f"{year}_{config.resolution_m}m"
    folder.mkdir(parents=True)
    rng, entries = np.random.default_rng(3), []
    for tile in tiles:
        path = folder / f"{tile.name}.tif"
        x = rng.normal(size=(64, *tile.shape)) + rng.normal(size=(64, 1, 1))
        x[:, :5, :5] = np.nan
        with rasterio.open(
            path, "w", driver="GTiff", height=tile.shape[0], width=tile.shape[1], count=64, dtype="int8", nodata=-128,
            crs=tile.crs.to_wkt(), transform=Affine(tile.step_x, 0, tile.left, 0, tile.step_y, tile.top),
        ) as file:  # fmt: skip
            file.write(quantised(x / np.sqrt((x**2).sum(axis=0))))
        entries.append({"id": tile.name, "file": f"{folder.name}/{path.name}"})
    about = {"index": config.index, "year": year, "resolution_m": config.resolution_m, "missing": []}
    listing.write_text(json.dumps({**about, "tiles": entries}))


class AefServer(StacServer):
    """The files of a folder, index included; started like a STAC service."""

    @property
    def files(self) -> str:
        return f"{self.root}/files"
