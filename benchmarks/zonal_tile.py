"""One tile of 4,000 x 4,000 pixels into cells: this engine, asking the grid for every pixel, exactextract, rasterstats.

Run ``python benchmarks/zonal_tile.py h3-3 h3-4 ...``; rasterstats is optional (``pip install rasterstats==0.21.0``). No
data are needed. Figures are in ``zonal_tile.md``. Processor seconds of this process, one thread.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer

from entropice_core.features import kernels
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.quantity import Quantity
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile, area_unit
from entropice_core.grids import parse_grid_key

TILE = Tile("tile", CRS("EPSG:3413"), 100_000.0, 2_100_000.0, 32.0, -32.0, (4000, 4000))
HEIGHT = Quantity("height", "m", "height", -512.0, 7680.0, 2.0**-7, bins=4096)
UNIT = area_unit(32.0**2)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, and what the call gave."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def heights() -> np.ndarray:
    """Hills with noise."""
    r, c = np.indices(TILE.shape, sparse=True)
    noise = np.random.default_rng(0).normal(0.0, 2.0, TILE.shape)
    return (600 + 300 * np.sin(r / 170) * np.cos(c / 230) + noise).astype(np.float32)


def naive(z: np.ndarray, ids: np.ndarray, key: str) -> np.ndarray:
    """Invert the projection for every pixel, ask the grid, add up with ``numpy.bincount``: means (cells,)."""
    grid = parse_grid_key(key)
    to_wgs84 = Transformer.from_crs(3413, 4326, always_xy=True)
    rows = 500  # what fits into the caches better than all at once
    total, count = np.zeros(ids.size), np.zeros(ids.size)
    for start in range(0, TILE.shape[0], rows):
        r, c = np.divmod(np.arange(start * TILE.shape[1], (start + rows) * TILE.shape[1]), TILE.shape[1])
        lon, lat = to_wgs84.transform(*TILE.xy(r + 0.5, c + 0.5))
        at = np.searchsorted(ids, grid.locate(lon, lat))
        total += np.bincount(at, z[start : start + rows].ravel(), minlength=ids.size)
        count += np.bincount(at, minlength=ids.size)
    return total / np.maximum(count, 1)


def polygons(ids: np.ndarray, key: str) -> list[shapely.Polygon]:
    """Outlines in the plane of the tile."""
    rings = parse_grid_key(key).outlines(ids, 16)
    x, y = TILE.xy(*TILE.pixels(rings.lon, rings.lat))
    points = np.column_stack([x, y])
    return [shapely.Polygon(points[a:b]) for a, b in zip(rings.offsets[:-1], rings.offsets[1:], strict=True)]


def by_exactextract(z: np.ndarray, shapes: list[shapely.Polygon]) -> np.ndarray:
    """Means, deviations, extremes by exact coverage."""
    from exactextract import exact_extract
    from exactextract.feature import JSONFeatureSource
    from exactextract.raster import NumPyRasterSource

    bottom, right = TILE.top - 32.0 * TILE.shape[0], TILE.left + 32.0 * TILE.shape[1]
    raster = NumPyRasterSource(z, xmin=TILE.left, xmax=right, ymin=bottom, ymax=TILE.top, name="z")
    features = [
        {"type": "Feature", "id": i, "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for i, shape in enumerate(shapes)
    ]
    found = exact_extract(raster, JSONFeatureSource(features), ["mean", "stdev", "min", "max"])
    return np.array([one["properties"]["mean"] for one in found], dtype=float)


def by_rasterstats(z: np.ndarray, shapes: list[shapely.Polygon]) -> np.ndarray:
    """Means, deviations, extremes of the pixels whose centre is in a polygon."""
    from affine import Affine
    from rasterstats import zonal_stats

    transform = Affine(32.0, 0.0, TILE.left, 0.0, -32.0, TILE.top)
    found = zonal_stats(shapes, z, affine=transform, nodata=-9999.0, stats=["mean", "std", "min", "max"])
    return np.array([np.nan if one["mean"] is None else one["mean"] for one in found], dtype=float)


def cells_at(key: str) -> np.ndarray:
    """Cells of the tile's pixels."""
    r, c = np.meshgrid(np.arange(0, 4000, 25.0), np.arange(0, 4000, 25.0))
    grid = parse_grid_key(key)
    ids = np.unique(grid.locate(*TILE.lonlat(r.ravel(), c.ravel())))
    return np.union1d(ids, grid.neighbours(ids)[1])


def row(key: str, z: np.ndarray, with_rivals: bool) -> None:
    """One line of the table."""
    ids = cells_at(key)
    index = CellIndex(parse_grid_key(key), ids)
    index.runs(TILE)
    labels_s, runs = timed(lambda: index.runs(TILE))
    weights = TILE.weights(UNIT).ravel()
    steps = HEIGHT.quantise(z, "tile")[0].ravel()
    whole, low = np.zeros((runs.cell_ids.size, 5), np.uint64), np.full(runs.cell_ids.size, 2**31 - 1, np.int32)
    bins, high = np.zeros((runs.cell_ids.size, HEIGHT.bins), np.uint64), np.full(runs.cell_ids.size, -1, np.int32)
    where = runs.begin, runs.length, runs.cell, steps, weights
    kernels.add_runs(*where, whole, low, high)
    kernels.add_runs_to_bins(*where, HEIGHT.bin_of, bins)
    moments_s, _ = timed(lambda: kernels.add_runs(*where, whole, low, high))
    bins_s, _ = timed(lambda: kernels.add_runs_to_bins(*where, HEIGHT.bin_of, bins))
    ours = [labels_s, moments_s, bins_s]
    if not with_rivals:
        print(f"| {key} | {runs.cell_ids.size} | " + " | ".join(f"{s:.3f}" for s in ours) + " |", flush=True)
        return
    shapes = polygons(runs.cell_ids, key)
    naive_s, means = timed(lambda: naive(z, index.cell_ids, key))
    exact_s, exact = timed(lambda: by_exactextract(z, shapes))
    try:
        raster_s, _ = timed(lambda: by_rasterstats(z, shapes))
    except ImportError:
        raster_s = np.nan
    unweighted = means[np.searchsorted(index.cell_ids, runs.cell_ids)]
    apart = np.nanmax(np.abs(unweighted - exact)[parse_grid_key(key).areas_m2(runs.cell_ids) > 0])
    total = labels_s + moments_s
    print(
        f"| {key} | {runs.cell_ids.size} | "
        + " | ".join(f"{s:.3f}" for s in ours)
        + f" | {naive_s:.1f} ({naive_s / total:.0f}x) | {exact_s:.1f} ({exact_s / total:.0f}x)"
        + f" | {raster_s:.1f} ({raster_s / total:.0f}x) | {apart:.3f} |",
        flush=True,
    )


def limits(z: np.ndarray) -> None:
    """What the memory of the machine allows: reading 6 bytes a pixel is the least that a reduction can do."""
    steps, weights = HEIGHT.quantise(z, "tile")[0], TILE.weights(UNIT)
    read_s = min(timed(lambda: (steps.sum(), weights.max()))[0] for _ in range(5))
    copy_s = min(timed(lambda: steps.copy())[0] for _ in range(5))
    print(f"reading steps (int32) and weights (uint16): {read_s:.3f} s; copying the steps: {copy_s:.3f} s")
    weights_s, _ = timed(lambda: TILE.weights(UNIT))
    quantise_s, _ = timed(lambda: HEIGHT.quantise(z, "tile"))
    print(f"true areas of all pixels: {weights_s:.3f} s; rounding a field to steps: {quantise_s:.3f} s")


def one_pass(z: np.ndarray, keys: list[str]) -> None:
    """All levels at once: the second band costs no labels."""
    cells = {key: cells_at(key) for key in keys}
    for bands in (1, 3):
        quantities = [Quantity(f"h{i}", "m", "h", -512.0, 7680.0, 2.0**-7, bins=4096) for i in range(bands)]
        reducer = Reducer(cells, quantities, UNIT, 1024.0)
        seconds, _ = timed(lambda: reducer.reduce(TILE, [z] * bands))  # noqa: B023
        print(f"{len(keys)} levels in one pass, {bands} band(s), moments and histograms: {seconds:.2f} s")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("keys", nargs="*")
    parser.add_argument("--alone", action="store_true", help="without the rivals")
    arguments = parser.parse_args()
    z = heights()
    limits(z)
    print(
        "\n| grid | cells | labels s | moments s | bins s | every pixel s | exactextract s | rasterstats s | apart m |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for key in arguments.keys:
        row(key, z, not arguments.alone)
    if arguments.keys:
        one_pass(z, arguments.keys)


if __name__ == "__main__":
    main()
