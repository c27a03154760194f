"""How long 20,000 random polygons take on cells, beside ``geopandas.overlay``: one run, one machine, one ratio.

Both split the same polygons at the same cell borders and sum areas per cell. ``overlay`` neither joins overlapping
outlines nor counts individuals, and needs the outline of every cell first; that part is timed on its own.

    python benchmarks/labels_density.py --polygons 20000 --grid h3-4
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
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
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def run(n: int, grid_key: str, seed: int) -> dict[str, Any]:
    grid = parse_grid_key(grid_key)
    cells = cell_coordinates(grid, grid.cells(AREA))
    cells["area_m2"] = ("cell", grid.areas_m2(cells["cell_ids"].values))
    cells["land_fraction"] = ("cell", np.ones(cells.sizes["cell"], dtype=np.float32))
    plane = random_polygons(n, seed)
    columns = {"year": np.full(n, 2018), "area_m2": shapely.area(plane)}
    features = gpd.GeoDataFrame(columns, geometry=to_degrees(plane), crs="EPSG:4326")
    inventory = Inventory(features, None, {"inventory": "random"})
    no_land = LandSamples(*(np.empty(0, dtype=np.float32) for _ in range(4)))

    ours_s, labels = timed(lambda: label_cells(inventory, grid, cells, AREA, 2018, no_land))
    outlines_s, outlines = timed(lambda: grid.polygons(cells["cell_ids"].values))
    frame = gpd.GeoDataFrame({"cell": np.arange(outlines.size)}, geometry=outlines, crs="EPSG:6931")
    joined_s, union = timed(lambda: shapely.union_all(plane))
    parts = gpd.GeoDataFrame(geometry=list(shapely.get_parts(union)), crs="EPSG:6931")
    overlay_s, pieces = timed(lambda: gpd.overlay(parts, frame, how="intersection"))
    expected = np.bincount(pieces["cell"], weights=pieces.area, minlength=outlines.size)
    difference = float(np.abs(labels["rts_area_m2"].values - expected).sum() / expected.sum())
    return {
        "polygons": n,
        "grid": grid_key,
        "cells": int(outlines.size),
        "label_cells_s": round(ours_s, 3),
        "overlay_s": round(overlay_s, 3),
        "overlay_with_union_and_outlines_s": round(overlay_s + joined_s + outlines_s, 3),
        "overlay_to_label_cells": round((overlay_s + joined_s + outlines_s) / ours_s, 2),
        "relative_difference": difference,
        "python": platform.python_version(),
        "geopandas": gpd.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polygons", type=int, default=20_000)
    parser.add_argument("--grid", default="h3-4")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(run(given.polygons, given.grid, given.seed), indent=1))


if __name__ == "__main__":
    main()
