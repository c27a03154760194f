"""What one tile of ArcticDEM costs, part by part, and what all land north of 60 N would.

Two tiles of real size (3,131 x 3,131 pixels of 32 m, generated: a fractal surface of 300 m with voids) are written as
the provider does, and everything that the source does with one of them is timed, for all nine levels at once. Run
``python -m benchmarks.terrain_unit``. Processor seconds of this process, one thread; figures: ``terrain_unit.md``.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from entropice_core.config.base import GRID_KEYS
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.pieces import finished, load
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile, area_unit
from entropice_core.grids import parse_grid_key
from entropice_core.storage.digest import file_sha256
from entropice_core.terrain.derivatives import layers, quantities
from entropice_core.terrain.mosaic import mosaics, open_file
from entropice_core.terrain.units import UnitFiles, Work
from tests.servers.stac import write_cog

RADII = (320.0, 1000.0)
SIZE, EDGE = 3131, 3
TILES = 2650  # between a quarter of the 9,126 tiles of 2 m (50 km wide) and 3,000
LAND_M2 = 16.4e12  # land north of 60 N


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, and what the call gave."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def surface() -> np.ndarray:
    """A fractal surface: power falls with the fourth power of frequency, like that of real relief."""
    rng = np.random.default_rng(3)
    n = 6400
    f = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :])
    f[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.normal(size=(n, n)).astype(np.float32)) / f**2
    z = np.fft.irfft2(spectrum, s=(n, n))
    z = 500.0 + 300.0 * (z - z.mean()) / z.std() + rng.normal(0.0, 0.3, (n, n))
    z[1000:1300, 500:900] = np.nan
    return z.astype(np.float32)


def main() -> None:
    """Print the parts and what they add up to."""
    folder = Path(tempfile.mkdtemp())
    z = surface()
    west, north = 32.0 * 3125 * 2, 32.0 * 3125 * 20
    for column in range(2):
        left = west + 32.0 * (3125 * column - EDGE)
        tile = Tile(f"{column}", CRS("EPSG:3413"), left, north + 32.0 * EDGE, 32.0, -32.0, (SIZE, SIZE))
        part = z[:SIZE, 3125 * column : 3125 * column + SIZE]
        write_cog(folder / f"{column}_dem.tif", tile, part)
    paths = sorted(folder.glob("*_dem.tif"))
    size = np.mean([path.stat().st_size for path in paths])
    (mosaic,) = mosaics(open_file(path) for path in paths)
    unit = max(mosaic.units(), key=lambda each: each.shape[0] * each.shape[1])
    r, c = (part.ravel() for part in np.meshgrid(np.arange(0, SIZE, 20.0), np.arange(0, SIZE, 20.0)))
    cells = {key: np.unique(parse_grid_key(key).locate(*unit.lonlat(r, c))) for key in GRID_KEYS}
    wanted = quantities(RADII)
    work = Work(mosaic, Reducer(cells, wanted, area_unit(1024.0), 1024.0), RADII, 32.0)
    for one in sorted(mosaic.units(), key=lambda each: each.shape)[:1]:
        work.process(one)  # compiles
    seconds: dict[str, float] = {}
    outer = work.reach(unit)
    seconds["checksum of a file"], _ = timed(lambda: file_sha256(paths[0]))
    seconds["read and put together"], heights = timed(lambda: mosaic.heights(outer))
    seconds["derivatives"], fields = timed(lambda: list(layers(heights, outer, work.halo, RADII, 32.0)))
    alone = {
        key: CellIndex(parse_grid_key(key), ids) for key, ids in cells.items() if key[:2] == "h3" or key[-2:] == "10"
    }
    for index in alone.values():
        index.near(unit)
    seconds["labels of all levels"], _ = timed(lambda: [index.runs(unit) for index in alone.values()])
    whole_s, parts = timed(lambda: work.reducer.reduce(unit, fields))
    seconds["sums and histograms"] = whole_s - seconds["labels of all levels"]
    store = UnitFiles(folder / "units", work)
    seconds["save"], saved = timed(lambda: {k: store.save(store.key(unit, k), p) for k, p in parts.items()})
    seconds["load and finish"], _ = timed(lambda: [[p.statistic("std") for p in finished([s])] for s in saved.values()])
    _ = load(next(iter(saved.values())))
    kept = sum(path.stat().st_size for path in saved.values())
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} |")
    total = sum(seconds.values())
    print(f"| together | {total:.2f} |")
    pixels = unit.shape[0] * unit.shape[1]
    print(f"\nunit of {pixels / 1e6:.1f} million pixels, {len(wanted)} quantities, {len(cells)} levels")
    print(f"file {size / 1e6:.1f} MB of {SIZE**2 * 4 / 1e6:.1f} MB; partial statistics {kept / 1e6:.1f} MB")
    for key, path in saved.items():
        print(f"  {key}: {parts[key].cell_ids.size} cells, {path.stat().st_size / 1e6:.2f} MB")
    by_level(work, unit, fields, store, sum(list(seconds.values())[:3]))
    land = LAND_M2 / (100e3**2)
    print(
        f"\nall land >= 60 N: {TILES} tiles, {TILES * size / 1e9:.0f} GB, {TILES * np.ceil(size / 2**23):.0f} requests"
    )
    print(f"work: {land:.0f} units' worth of land at least, {TILES} tiles at most:")
    for cores in (1, 2, 64):
        print(f"  {cores} cores: {land * total / cores / 3600:.2f} to {TILES * total / cores / 3600:.2f} hours")
    print(f"partial statistics: {land * kept / 1e9:.0f} to {TILES * kept / 1e9:.0f} GB")


def by_level(work: Work, unit: Tile, fields: list[np.ndarray], store: UnitFiles, before: float) -> None:
    """Print what one level alone takes, and what that is for all land: hours and GB of partial statistics."""
    land = LAND_M2 / (100e3**2)
    print("\n| level alone | labels, sums, save s | a unit s | 2 cores h | 64 cores min | partials GB |")
    print("|---|---|---|---|---|---|")
    for key in work.reducer.cells:
        own, part = timed(lambda key=key: work.reducer.reduce(unit, fields, only=[key])[key])  # type: ignore[misc]
        kept, path = timed(lambda key=key, part=part: store.save(store.key(unit, key), part))  # type: ignore[misc]
        one, size = before + own + kept, path.stat().st_size
        hours = [f"{n * one / 2 / 3600:.1f}" for n in (land, TILES)]
        minutes = [f"{n * one / 64 / 60:.0f}" for n in (land, TILES)]
        print(
            f"| {key} | {own + kept:.2f} | {one:.2f} | {' to '.join(hours)} | {' to '.join(minutes)} | "
            f"{land * size / 1e9:.2f} to {TILES * size / 1e9:.2f} |"
        )


if __name__ == "__main__":
    main()
