"""Write predicted cells in the formats that other programs read; the Zarr of the store is the one that holds all.

* ``cells.parquet``: GeoParquet, a polygon for each cell, split at 180 degrees, EPSG:4326;
* ``cells.tif``: a Cloud Optimized GeoTIFF in EPSG:3413 (the polar projection of Arctic satellite data), a band for each
  number; a pixel takes the value of the cell that it lies in, nothing is interpolated;
* ``cells.pmtiles``: vector tiles for web maps, which know Web Mercator only: what lies north of 85.05 degrees is cut.
  Written where the installed GDAL can.

Each file says what it was made from: feature sets, lags, digests of data and model.
"""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import rasterio
import rasterio.shutil
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import from_origin

from entropice_core.grids.base import Grid
from entropice_core.prediction.maps import MapStyle, cells_table, draw_map, png_bytes, save_figure
from entropice_core.storage.partition import Partition

VERSION = "1"
POLAR = "EPSG:3413"
PIXELS_PER_CELL = 4
"""Pixels along the side of a cell of mean size: edges of cells are right to an eighth of it."""

MOST_PIXELS = 12_000
"""Longest side of a raster; pixels get coarser beyond it."""

ROWS = 512
BANDS = (
    "probability",
    "entropy",
    "expected_density",
    "expected_density_low",
    "expected_density_high",
    "dissimilarity",
    "is_applicable",
    "set_size",
)
MERCATOR_EDGE = 85.05
DERIVED = ("cells.tif", "cells.pmtiles")
"""Files that hold nothing that ``cells.parquet`` does not hold: they do not count for the digest."""


def write_map(
    folder: Path, words: list[str], model: str, grid: Grid, partition: Partition, predicted: xr.Dataset, origin: str
) -> dict[str, Any]:
    """Write the maps of one prediction and its cells in the formats that others read; return counts for the manifest.

    ``map.png``, ``map.svg`` : probability; ``expected_density.png`` : expected density. For ``cells.*`` see ``export``.

    Parameters
    ----------
    words : title of the study, and its credits
    origin : what the map was made from: digest, skill
    """
    outside = predicted["is_applicable"].values == 0
    carried = [predicted.attrs[key] for key in ("feature_sets", "data_digests") if key in predicted.attrs]
    footer = (f"{origin} · EPSG:6931, equal area", *words[1:], " · ".join(carried))
    subtitle = f"Arctic year {partition.year} · {model} · grid {grid.key} ({outside.size:,} cells)"
    ids, p, density = (predicted[name] for name in ("cell_ids", "probability", "expected_density"))
    style = MapStyle(
        title=words[0],
        subtitle=subtitle,
        label=f"susceptibility: {p.attrs['long_name']}",
        low=0.0,
        high=1.0,
        footer=footer,
    )
    save_figure(draw_map(grid, ids.values, p.values, style, outside), folder, "map")
    label = f"{density.attrs['long_name']} ({density.attrs['units']}), logarithmic"
    style = replace(style, label=label, low=None, high=None, is_log=True, colours="magma_r")
    (folder / "expected_density.png").write_bytes(png_bytes(draw_map(grid, ids.values, density.values, style, outside)))
    counts = write_exports(folder, grid, predicted)
    known = np.isfinite(p.values)
    share = float((~outside[known]).mean()) if known.any() else 0.0
    return {**counts, "cells without a value": int((~known).sum()), "share inside the area of applicability": share}


def write_exports(folder: Path, grid: Grid, predicted: xr.Dataset) -> dict[str, Any]:
    """Write all formats; return counts for the manifest."""
    said = {key: value for key, value in predicted.attrs.items() if isinstance(value, str | int | float)}
    table = cells_table(grid, predicted)
    write_geoparquet(folder / "cells.parquet", table, said)
    pixel = write_geotiff(folder / "cells.tif", grid, predicted, said)
    counts: dict[str, Any] = {"cells": len(table), "GeoTIFF pixel m": pixel}
    if can_write_pmtiles():
        counts["cells cut by Web Mercator"] = write_pmtiles(folder / "cells.pmtiles", table, predicted, said)
    return counts


def write_geoparquet(path: Path, table: gpd.GeoDataFrame, said: dict[str, Any]) -> None:
    """Write a table with what it was made from under the key ``entropice`` of the file."""
    table.to_parquet(path, index=False)
    read = pq.read_table(path)
    pq.write_table(read.replace_schema_metadata({**(read.schema.metadata or {}), b"entropice": json.dumps(said)}), path)


def write_geotiff(path: Path, grid: Grid, predicted: xr.Dataset, said: dict[str, Any]) -> float:
    """Write the raster in EPSG:3413 and return the side of a pixel, m."""
    ids = predicted["cell_ids"].values
    names = [name for name in BANDS if name in predicted]
    values = np.stack([predicted[name].values.astype(np.float32) for name in names])
    left, bottom, right, top = _polar_extent(grid, ids)
    pixel = _pixel(float(np.sqrt(grid.areas_m2(ids).mean())), max(right - left, top - bottom))
    width, height = int(np.ceil((right - left) / pixel)), int(np.ceil((top - bottom) / pixel))
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": len(names),
        "dtype": "float32",
        "crs": POLAR,
        "transform": from_origin(left, top, pixel, pixel),
        "nodata": float("nan"),
        "tiled": True,
        "blockxsize": ROWS,
        "blockysize": ROWS,
        "compress": "deflate",
        "predictor": 3,
        "interleave": "band",
    }
    unproject = Transformer.from_crs(POLAR, "EPSG:4326", always_xy=True)
    x = left + (np.arange(width) + 0.5) * pixel
    with TemporaryDirectory(dir=path.parent) as scratch:
        plain = Path(scratch) / "plain.tif"
        with rasterio.open(plain, "w", **profile) as raster:
            for row in range(0, height, ROWS):
                y = top - (np.arange(row, min(row + ROWS, height)) + 0.5) * pixel
                block = _block(grid, ids, values, unproject, x, y)
                raster.write(block, window=((row, row + y.size), (0, width)))
            for band, name in enumerate(names, 1):
                raster.set_band_description(band, name)
                raster.update_tags(band, **{k: str(v) for k, v in predicted[name].attrs.items() if k != "grid_mapping"})
            raster.update_tags(**{f"ENTROPICE_{key.upper()}": str(value) for key, value in said.items()})
        with rasterio.open(plain) as raster:
            rasterio.shutil.copy(raster, path, driver="COG", compress="deflate", predictor="yes", resampling="nearest")
    return pixel


def can_write_pmtiles() -> bool:
    """Say whether the GDAL that pyogrio brings has the driver."""
    return "w" in pyogrio.list_drivers().get("PMTiles", "")


def write_pmtiles(path: Path, table: gpd.GeoDataFrame, predicted: xr.Dataset, said: dict[str, Any]) -> int:
    """Write vector tiles; return how many cells Web Mercator cannot show."""
    shown = predicted["lat"].values < MERCATOR_EDGE
    kept = ["cell_id", *(name for name in (*BANDS, "observed_positive") if name in table), "geometry"]
    pyogrio.write_dataframe(
        table.loc[shown, kept],
        path,
        driver="PMTiles",
        layer="cells",
        dataset_options={
            "MINZOOM": 0,
            "MAXZOOM": _max_zoom(predicted),
            "NAME": str(said.get("model", "cells")),
            "DESCRIPTION": json.dumps(said),
        },
    )
    return int((~shown).sum())


def _max_zoom(predicted: xr.Dataset) -> int:
    """Return the zoom at which a cell is as large as a tile is fine: cells, and so tiles, grow in number with it."""
    return 5 if predicted.sizes["cell"] < 20_000 else 6


def _block(
    grid: Grid,
    ids: NDArray[np.uint64],
    values: NDArray[np.float32],
    unproject: Transformer,
    x: NDArray[np.floating[Any]],
    y: NDArray[np.floating[Any]],
) -> NDArray[np.float32]:
    """Return the values : (n_bands, n_rows, n_columns) of pixels by the cells that their middles lie in."""
    lon, lat = unproject.transform(*(part.ravel() for part in np.meshgrid(x, y)))
    cell = grid.locate(lon, lat)
    at = np.minimum(np.searchsorted(ids, cell), ids.size - 1)
    found = np.where(ids[at] == cell, values[:, at], np.float32("nan"))
    return found.reshape(len(values), y.size, x.size)


def _polar_extent(grid: Grid, ids: NDArray[np.uint64]) -> tuple[float, float, float, float]:
    project = Transformer.from_crs("EPSG:4326", POLAR, always_xy=True)
    x, y = project.transform(*grid.centers(ids))
    margin = float(np.sqrt(grid.areas_m2(ids).max()))
    return float(x.min()) - margin, float(y.min()) - margin, float(x.max()) + margin, float(y.max()) + margin


def _pixel(cell_m: float, side_m: float) -> float:
    """Return the side of a pixel in whole hundreds of metres."""
    wanted = max(cell_m / PIXELS_PER_CELL, side_m / MOST_PIXELS)
    return float(max(100.0, np.ceil(wanted / 100.0) * 100.0))
