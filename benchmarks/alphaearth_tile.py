"""Processor time of one overview of embeddings into cells of all levels: run from the repository's root.

python benchmarks/alphaearth_tile.py > benchmarks/alphaearth_tile.md
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.embeddings.tiles import Neighbours, TileFiles, open_tiles, process, quantities
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile, area_unit
from entropice_core.grids import parse_grid_key
from tests.servers.alphaearth import write_fetched

KEYS = [f"h3-{level}" for level in range(3, 7)] + [f"healpix-{level}" for level in range(6, 11)]
SIDE_M = 81_920
FILES = 3500


def seconds(what: Callable[[], Any]) -> tuple[float, Any]:
    """Least processor time of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        result = what()
        times.append(time.process_time() - start)
    return min(times), result


def measure(folder: Path, m: int) -> tuple[str, list[str]]:
    """One line of the table of levels of detail, and lines of that of grids."""
    config = AlphaEarthConfig(kind="alphaearth", title="t", path="{data}/{year}.json", resolution_m=m)
    listing, n = folder / str(m) / "2021.json", SIDE_M // m
    listing.parent.mkdir()
    places = [
        Tile(f"{zone}N_x", CRS.from_epsg(32600 + zone), west, 7_536_640.0, m, m, (n, n))
        for zone, west in ((45, 409_600.0), (44, 620_000.0))
    ]
    write_fetched(listing, places, config, 2021)
    tiles = open_tiles(sorted(listing.parent.rglob("*.tif")))
    lon, lat = (x.ravel() for x in np.meshgrid(np.linspace(80, 92, 600), np.linspace(67, 70, 400)))
    cells = {key: np.unique(parse_grid_key(key).locate(lon, lat)) for key in KEYS}
    reducer = Reducer(cells, quantities(), area_unit(m * m), m * m)
    others = Neighbours(tiles).of(tiles[0])
    every, made = seconds(lambda: process(tiles[0], others, reducer, KEYS))
    one, _ = seconds(lambda: process(tiles[0], others, reducer, ["h3-4"]))
    files = TileFiles(folder / f"work{m}", reducer)
    kept, paths = seconds(lambda: [files.save(files.key_of(tiles[0], others, key), made[key]) for key in KEYS])
    size = sum(path.stat().st_size for path in paths) / 1e6
    line = f"| {m} m | {n} x {n} | {one:.2f} | {every:.2f} | {kept:.2f} | {size:.2f} |"
    return line, [alone(key, tiles, others, reducer, files, made) for key in KEYS]


def alone(key: str, tiles: Any, others: Any, reducer: Reducer, files: TileFiles, made: Any) -> str:
    """What one level alone takes, a tile and all land (3,500 files a year)."""
    own, _ = seconds(lambda: process(tiles[0], others, reducer, [key]))
    kept, path = seconds(lambda: files.save(files.key_of(tiles[0], others, key), made[key]))
    cpu, size = own + kept, path.stat().st_size
    two, many = FILES * cpu / 2 / 60, FILES * cpu / 64
    return f"| {key} | {own:.2f} | {kept:.3f} | {two:.1f} | {many:.0f} | {FILES * size / 1e9:.2f} |"


if __name__ == "__main__":
    print("# One overview of embeddings into cells\n")
    print("Shared 2-core machine, 2026-11-29; processor seconds, least of three; a generated file 82 km wide.\n")
    print("| overview | pixels | h3-4 | all nine levels | writing the sums | MB of sums |\n|---|---|---|---|---|---|")
    by_level: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        for resolution in (160, 320, 640):
            line, levels = measure(Path(work), resolution)
            print(line)
            by_level = levels if resolution == 320 else by_level
    print("\nOne level alone at 320 m, and a year of all land north of 60 N (3,500 files):\n")
    print("| level | cells s | writing s | 2 cores min | 64 cores s | sums GB |\n|---|---|---|---|---|---|")
    print("\n".join(by_level))
    print("\nMade by `python -m benchmarks.alphaearth_tile`.")
