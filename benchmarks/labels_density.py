"""How long 77,000 random polygons, as many as DARTS has, take on cells, beside ``geopandas.overlay`` in the same run.

Both split the same polygons at the same cell borders and sum areas per cell. ``overlay`` neither joins overlapping
outlines nor counts individuals, and needs the outline of every cell first; that part is timed on its own.

    python benchmarks/labels_density.py --polygons 77000 --grid h3-3 --grid h3-4 --grid h3-5 --grid h3-6
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.land import LandSamples
from entropice_core.grids.projection import to_equal_area
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.density import label_cells
from entropice_core.labels.geometry import to_degrees
from entropice_core.labels.inventory import Inventory
from entropice_core.labels.overlay import join_overlapping

AREA = StudyArea(60.0, bounds=(79.5, 60.0, -170.0, 77.0))


def random_polygons(n: int, seed: int) -> np.ndarray:
    """Disjoint-ish outlines of about 1 ha with 24 corners in clusters, as slumps lie: (n,) polygons of EPSG:6931."""
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(80.0, 180.0, n // 20 + 1), rng.uniform(61.0, 76.0, n // 20 + 1)
    x, y = to_equal_area(lon, lat)
    pick = rng.integers(0, x.size, n)
    cx, cy = x[pick] + rng.normal(0.0, 3000.0, n), y[pick] + rng.normal(0.0, 3000.0, n)
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    radius = np.exp(rng.normal(np.log(60.0), 0.6, (n, 1))) * rng.uniform(0.6, 1.0, (n, 24))
    rings = np.stack([cx[:, None] + radius * np.cos(angle), cy[:, None] + radius * np.sin(angle)], axis=-1)
    return np.asarray(shapely.polygons(rings), dtype=object)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, as others work on the machine too; both sides use one thread."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def run(n: int, grid_keys: list[str], seed: int) -> Iterator[dict[str, Any]]:
    plane = random_polygons(n, seed)
    columns = {"year": np.full(n, 2018), "area_m2": shapely.area(plane)}
    features = gpd.GeoDataFrame(columns, geometry=to_degrees(plane), crs="EPSG:4326")
    inventory = Inventory(features, None, {"inventory": "random"})
    # overlay counts overlaps twice: it gets the joined outlines for nothing, which label_cells makes itself.
    parts = gpd.GeoDataFrame(geometry=list(join_overlapping(plane)), crs="EPSG:6931")
    for key in grid_keys:
        yield {"grid": key, **one_grid(key, inventory, parts)}


def one_grid(key: str, inventory: Inventory, parts: gpd.GeoDataFrame) -> dict[str, Any]:
    grid = parse_grid_key(key)
    cells = cell_coordinates(grid, grid.cells(AREA))
    cells["area_m2"] = ("cell", grid.areas_m2(cells["cell_ids"].values))
    cells["land_fraction"] = ("cell", np.ones(cells.sizes["cell"], dtype=np.float32))
    no_land = LandSamples(*(np.empty(0, dtype=np.float32) for _ in range(4)))
    ours_s, labels = timed(lambda: label_cells(inventory, grid, cells, AREA, 2018, no_land))
    outlines_s, outlines = timed(lambda: grid.polygons(cells["cell_ids"].values))
    frame = gpd.GeoDataFrame({"cell": np.arange(outlines.size)}, geometry=outlines, crs="EPSG:6931")
    overlay_s, pieces = timed(lambda: gpd.overlay(parts, frame, how="intersection"))
    expected = np.bincount(pieces["cell"], weights=pieces.area, minlength=outlines.size)
    difference = float(np.abs(labels["rts_area_m2"].values - expected).sum() / expected.sum())
    return {
        "cells": int(outlines.size),
        "label_cells_s": round(ours_s, 2),
        "overlay_s": round(overlay_s, 2),
        "outlines_s": round(outlines_s, 2),
        "relative_difference": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polygons", type=int, default=77_000)
    parser.add_argument("--grid", action="append", default=[])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"Python {platform.python_version()}, geopandas {gpd.__version__}, shapely {shapely.__version__}")
    print("| grid | cells | label_cells | overlay | overlay with the cell outlines it needs | ratio | difference |")
    print("|---|---|---|---|---|---|---|")
    for row in run(given.polygons, given.grid or ["h3-4"], given.seed):
        whole = row["overlay_s"] + row["outlines_s"]
        print(
            f"| {row['grid']} | {row['cells']:,} | {row['label_cells_s']} s | {row['overlay_s']} s | {whole:.1f} s "
            f"| {whole / row['label_cells_s']:.1f} | {row['relative_difference']:.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
