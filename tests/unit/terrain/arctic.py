"""A small ArcticDEM: six tiles in EPSG:3413 that overlap by 6 pixels, with voids, a lake and a sea without a tile."""

import json
from pathlib import Path

import numpy as np
from pyproj import CRS

from entropice_core.features.tiles import Tile
from tests.servers.stac import write_cog
from tests.unit.terrain.conftest import hills

CORE, EDGE = 600, 3
PLACES = [(row, column) for row in range(2) for column in range(3)]
WEST, NORTH = 32.0 * 3125 * 20, 32.0 * 3125 * 19  # about 58 N 91 W turned: 2,000 km from the pole


def tile_at(row: int, column: int) -> Tile:
    """The tile of a place: 600 pixels and three more on every side."""
    left, top = WEST + 32.0 * (CORE * column - EDGE), NORTH - 32.0 * (CORE * row - EDGE)
    return Tile(f"{row:02d}_{column:02d}", CRS("EPSG:3413"), left, top, 32.0, -32.0, (CORE + 2 * EDGE,) * 2)


def write_tiles(folder: Path, places=PLACES, masks: bool = False) -> list[Path]:
    """Write tiles under the names of the Polar Geospatial Center."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for row, column in places:
        tile = tile_at(row, column)
        path = folder / f"{tile.name}_32m_v4.1_dem.tif"
        write_cog(path, tile, hills(tile))
        paths.append(path)
        if masks:
            mask = np.zeros(tile.shape, dtype=np.uint8)
            mask[100:140, 200:300] = 2
            write_cog(folder / f"{tile.name}_32m_v4.1_datamask.tif", tile, mask, nodata=None)
    return paths


def bering_tiles() -> list[Tile]:
    """Two tiles of coarse pixels across 180 degrees that overlap by 6 pixels."""
    left = Tile("left", CRS("EPSG:3413"), -2_150_000.0, 2_050_000.0, 1000.0, -1000.0, (420, 220))
    return [left, left.window(0, 214, (420, 220))]


def write_fetched(listing: Path, tiles: list[Tile]) -> None:
    """Write tiles and their list as a fetch leaves them."""
    collection = "arcticdem-mosaics-v4.1-32m"
    folder = listing.parent / collection
    folder.mkdir(parents=True)
    entries = []
    for number, tile in enumerate(tiles):
        path = folder / f"{number:02d}_00_dem.tif"
        write_cog(path, tile, hills(tile))
        entries.append({"id": f"{number:02d}", "asset": "dem", "file": f"{collection}/{path.name}"})
    about = {"collection": collection, "asset": "dem", "water_asset": None, "missing": []}
    listing.write_text(json.dumps({**about, "tiles": entries}))
