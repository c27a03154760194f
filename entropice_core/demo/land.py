"""Terrain and annual embedding of the generated Arctic, as GeoTIFF.

The terrain is in EPSG:3413, as ArcticDEM is, with nodata -9999 over the sea, in scattered holes and in one large void.
The embedding is int8 in EPSG:4326 with nodata -128; one of its bands shows what slumps depend on, others mix climate
and relief, the rest is noise.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import CRS, Transformer
from rasterio.transform import from_origin

from entropice_core.demo.fields import SmoothField
from entropice_core.demo.world import World
from entropice_core.grids.base import Bool, Float64
from entropice_core.grids.land import land_image, land_samples
from entropice_core.grids.projection import to_lonlat

TERRAIN_CRS = "EPSG:3413"
TERRAIN_NODATA = -9999.0
EMBEDDING_BANDS = 6
EMBEDDING_NODATA = -128
EMBEDDING_SCALE = 1.0 / 40.0  # stored int8 times this is the value; +-3.2 standard deviations fit

_VOID = (173.0, 67.0)
_EXTENT_M, _PIXEL_M = 3_500_000.0, 10_000.0
_EMBEDDING_SOUTH, _EMBEDDING_STEP = 58.0, 0.5
_COMPRESSED: dict[str, Any] = {"driver": "GTiff", "compress": "deflate", "tiled": True, "interleave": "band"}


def write_terrain(path: Path, world: World) -> None:
    """Write height (m) and slope (degrees) of the land in pixels of 10 km."""
    size = round(2 * _EXTENT_M / _PIXEL_M)
    edge = (-_EXTENT_M, _EXTENT_M, -_EXTENT_M, _EXTENT_M)
    land = land_image(edge, size, TERRAIN_CRS)
    centre = -_EXTENT_M + (np.arange(size) + 0.5) * _PIXEL_M
    x, y = np.meshgrid(centre, centre[::-1])
    lon, lat = to_lonlat(x[land], y[land], TERRAIN_CRS)
    height, slope = _relief(world, lon, lat)
    bands = np.full((2, size, size), TERRAIN_NODATA, dtype=np.float32)
    bands[0][land], bands[1][land] = np.round(height), np.round(slope, 1)
    bands[:, _voids(world, x, y, land)] = TERRAIN_NODATA
    profile = _COMPRESSED | {"dtype": "float32", "nodata": TERRAIN_NODATA, "predictor": 3, "crs": _wkt(TERRAIN_CRS)}
    transform = from_origin(-_EXTENT_M, _EXTENT_M, _PIXEL_M, _PIXEL_M)
    with rasterio.open(path, "w", count=2, width=size, height=size, transform=transform, **profile) as file:
        file.write(bands)
        file.descriptions = ("elevation", "slope")
        file.units = ("m", "degree")


def _relief(world: World, lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    rng = np.random.default_rng((world.seed, 8))
    hills = world.field(9, 40.0, terms=96)(lon, lat)
    relief = world.relief_m(lon, lat)
    height = world.base_height_m(lon, lat) + relief * (1.5 + hills) + 0.3 * relief * rng.standard_normal(lon.size)
    slope = np.degrees(np.arctan(relief / 900.0)) * rng.lognormal(0.0, 0.35, lon.size)
    return np.maximum(height, 0.0), slope


def _voids(world: World, x: Float64, y: Float64, land: Bool) -> Bool:
    """Where the terrain is missing though there is land: a block of 350 km, and one pixel in fifty.

    The block lies in Chukotka, which every footprint has, so that models meet cells without terrain.
    """
    rng = np.random.default_rng((world.seed, 11))
    x0, y0 = Transformer.from_crs("EPSG:4326", TERRAIN_CRS, always_xy=True).transform(*_VOID)
    block = (np.abs(x - x0) < 175_000.0) & (np.abs(y - y0) < 175_000.0)
    holes: Bool = block | (rng.random(land.shape) < 0.02)
    return holes


def write_embedding(path: Path, world: World, year: int) -> None:
    """Write the embedding of one year, bands ``A00`` to ``A05``, in pixels of half a degree."""
    step = _EMBEDDING_STEP
    rows, columns = round((90.0 - _EMBEDDING_SOUTH) / step), round(360.0 / step)
    lat, lon = 90.0 - (np.arange(rows) + 0.5) * step, -180.0 + (np.arange(columns) + 0.5) * step
    lats, lons = (a.ravel() for a in np.meshgrid(lat, lon, indexing="ij"))
    values = np.clip(np.round(_embedding(world, lons, lats, year) / EMBEDDING_SCALE), -127, 127)
    stored: npt.NDArray[np.int8] = values.astype(np.int8).reshape(EMBEDDING_BANDS, rows, columns)
    stored[:, ~_has_land(rows, columns)] = EMBEDDING_NODATA
    profile = _COMPRESSED | {"dtype": "int8", "nodata": EMBEDDING_NODATA, "crs": _wkt("EPSG:4326")}
    transform = from_origin(-180.0, 90.0, step, step)
    shape = {"count": EMBEDDING_BANDS, "width": columns, "height": rows}
    with rasterio.open(path, "w", transform=transform, **shape, **profile) as file:
        file.write(stored)
        file.descriptions = tuple(f"A{i:02d}" for i in range(EMBEDDING_BANDS))


def _embedding(world: World, lon: Float64, lat: Float64, year: int) -> Float64:
    """Values of the bands with the noise of one year: (bands, n)."""
    rng = np.random.default_rng((world.seed, 12, year))
    summer = world.temperature_degc(lon, lat, year)[8:11].mean(axis=0)
    relief = np.log(world.relief_m(lon, lat)) - 4.1
    bands = np.array(
        [
            0.7 * world.field(13, 500.0)(lon, lat) + 0.1 * summer - 0.5,
            0.9 * world.ground_ice(lon, lat) + 0.2 * relief,
            0.6 * relief + 0.5 * world.field(14, 300.0)(lon, lat),
            0.15 * summer - 0.9,
            _unrelated(world, 15)(lon, lat),
            _unrelated(world, 16)(lon, lat),
        ]
    )
    noisy: Float64 = bands + 0.25 * rng.standard_normal(bands.shape)
    return noisy


def _unrelated(world: World, number: int) -> SmoothField:
    return world.field(number, 250.0)


@lru_cache(maxsize=1)
def _has_land(rows: int, columns: int) -> Bool:
    """Tell which pixels of the embedding hold any land: (rows, columns)."""
    samples = land_samples(_EMBEDDING_SOUTH, step=12)
    row = ((90.0 - samples.lat) / _EMBEDDING_STEP).astype(np.int64)
    column = ((samples.lon + 180.0) / _EMBEDDING_STEP).astype(np.int64)
    land = np.zeros((rows, columns), dtype=bool)
    land[np.minimum(row, rows - 1), np.minimum(column, columns - 1)] = True
    return land


def _wkt(crs: str) -> str:
    return str(CRS(crs).to_wkt())
