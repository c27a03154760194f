"""How long area weights take to make and to use, beside the limit of the machine and beside other ways.

Run ``python benchmarks/zonal_weights.py``; a table of grids, then one of ways for a single case. No data are needed.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from pyproj import CRS

from entropice_core.features import zonal
from entropice_core.features.layout import RasterLayout
from entropice_core.features.zonal import ZonalSums, ZonalWeights
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea

MONTHS = 12


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of this process, as other programs may share the machine."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def era5_layout(step: float) -> RasterLayout:
    """A global longitude-latitude raster north of 45 N."""
    return RasterLayout.from_centres(np.arange(0.0, 360.0, step), np.arange(90.0, 44.9, -step), CRS("EPSG:4326"))


def aggregate(weights: ZonalWeights, field: np.ndarray) -> np.ndarray:
    """Mean of (rows, columns, layers) in cells."""
    sums = ZonalSums(weights.cell_ids.size, field.shape[2])
    for block in weights.blocks():
        sums.add(block.weights, field[block.start : block.stop].reshape(-1, field.shape[2])[block.pixels])
    return sums.statistic("mean")


def by_grid(step: float, keys: list[str]) -> None:
    """One row a grid: twelve layers of a raster of ``step`` degrees, all cells north of 60 N."""
    layout = era5_layout(step)
    field = np.random.default_rng(0).normal(size=(*layout.shape, MONTHS))
    print(f"\n{step} degrees, {layout.shape[0]} x {layout.shape[1]} pixels x {MONTHS} layers, all cells >= 60 N")
    print(
        f"{'grid':<12}{'cells':>9}{'nonzeros':>11}{'make s':>9}{'use s':>8}{'copy s':>8}{'area rms':>10}{'MB peak':>9}"
    )
    for key in keys:
        grid = parse_grid_key(key)
        ids = grid.cells(StudyArea(60.0))
        weights = ZonalWeights(layout, grid, ids)
        zonal._CACHE.clear()
        make, blocks = timed(lambda weights=weights: list(weights.blocks()))
        use, _ = timed(lambda weights=weights: aggregate(weights, field))
        nonzeros = sum(block.weights.nnz for block in blocks)
        # The limit: gathering one float64 a nonzero and layer costs what a plain copy of them costs.
        gathered = np.zeros(nonzeros * MONTHS)
        copy, _ = timed(gathered.copy)
        total = sum(np.asarray(block.weights.sum(axis=1)).ravel() for block in blocks)
        error = np.sqrt(((total / grid.areas_m2(ids) - 1.0) ** 2).mean())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{key:<12}{ids.size:>9}{nonzeros:>11}{make:>9.2f}{use:>8.2f}{copy:>8.3f}{error:>10.4f}{peak:>9.0f}")


def by_way(key: str) -> None:
    """Twelve layers on one grid, by other means: exactextract of polygons, centres of pixels, a loop over cells."""
    grid = parse_grid_key(key)
    ids = grid.cells(StudyArea(60.0, (-180.0, 60.0, -90.0, 80.0)))
    pixel = 25_000.0
    centre = np.arange(-3.5e6 + pixel / 2, 3.5e6, pixel)
    layout = RasterLayout.from_centres(centre, centre, CRS("EPSG:6931"))
    field = np.random.default_rng(0).normal(size=(*layout.shape, MONTHS))
    zonal._CACHE.clear()
    weights = ZonalWeights(layout, grid, ids)
    make, _ = timed(lambda: list(weights.blocks()))
    use, got = timed(lambda: aggregate(weights, field))
    print(f"\n{key}, {ids.size} cells, EPSG:6931 at {pixel / 1000:.0f} km, {MONTHS} layers of white noise")
    print(f"weights: make {make:.2f} s, use {use:.3f} s")

    polygons = gpd.GeoDataFrame(geometry=grid.polygons(ids), crs="EPSG:6931")
    edge = {"xmin": -3.5e6, "ymin": -3.5e6, "xmax": 3.5e6, "ymax": 3.5e6, "srs_wkt": layout.crs.to_wkt()}
    rasters = [NumPyRasterSource(np.ascontiguousarray(field[:, :, i]), name=f"b{i}", **edge) for i in range(MONTHS)]
    exact_s, table = timed(lambda: exact_extract(rasters, polygons, ["mean"], output="pandas"))
    error = got - table.to_numpy()
    rms, largest = np.sqrt((error**2).mean()), np.abs(error).max()
    print(f"exactextract: {exact_s:.2f} s; rms difference {rms:.4f}, largest {largest:.4f}")

    sample = np.linspace(0, ids.size - 1, 20).astype(int)
    x, y = np.meshgrid(layout.x.centre, layout.y.centre)
    loop_s, _ = timed(lambda: [_clip_mean(polygons.geometry.iloc[i], x, y, field) for i in sample])
    print(f"a loop that clips each cell: {loop_s / sample.size * ids.size:.0f} s (from {sample.size} cells)")


def _clip_mean(cell: Any, x: np.ndarray, y: np.ndarray, field: np.ndarray) -> np.ndarray:
    inside = shapely.contains_xy(cell, x, y)
    return field[inside].mean(axis=0) if inside.any() else np.full(field.shape[2], np.nan)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=float, default=0.25, help="degrees of a pixel")
    parser.add_argument("--grids", nargs="*", default=["h3-3", "h3-4", "healpix-6", "healpix-7", "healpix-8"])
    options = parser.parse_args()
    by_grid(options.step, options.grids)
    by_way("h3-4")
