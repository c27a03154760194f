"""Labels drawn by outlines are those of the grid on every pixel, wherever the tile is and however large its pixels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.tiles import Tile
from entropice_core.grids import parse_grid_key

SYSTEMS = ("EPSG:3413", "EPSG:6931", "EPSG:3995", "EPSG:32601", "EPSG:32660", "EPSG:4326")
KEYS = ("h3-3", "h3-4", "h3-5", "h3-6", "healpix-6", "healpix-8", "healpix-10")


@settings(max_examples=60, deadline=None)
@given(
    crs=st.sampled_from(SYSTEMS),
    key=st.sampled_from(KEYS),
    lon=st.floats(-180.0, 180.0),
    lat=st.floats(50.0, 89.9),
    pixel_m=st.sampled_from([5.0, 32.0, 300.0, 2500.0]),
    upwards=st.booleans(),
    seed=st.integers(0, 99),
)
def test_labels_are_those_of_the_grid(crs, key, lon, lat, pixel_m, upwards, seed):
    if crs.startswith("EPSG:32"):  # a zone has 6 degrees and ends at 84 N
        lon, lat = (-177.0 if crs.endswith("01") else 177.0) + lon / 60.0, min(lat, 84.0)
    system, grid = CRS(crs), parse_grid_key(key)
    x, y = Transformer.from_crs(4326, system, always_xy=True).transform(lon, lat)
    step = pixel_m / 111_000.0 if system.is_geographic else pixel_m
    shape = (40, 50) if not system.is_geographic else (min(40, int((90.0 - lat) / step)) or 1, 50)
    top = y if upwards else y + step * shape[0]
    if system.is_geographic:
        top = min(top, 90.0) if not upwards else y
    tile = Tile("tile", system, x, top, step, step if upwards else -step, shape)
    rows, columns = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    lons, lats = tile.lonlat(rows + 0.5, columns + 0.5)
    found = grid.locate(lons, lats)
    ids = np.union1d(found, grid.neighbours(np.unique(found))[1])
    kept = ids[np.random.default_rng(seed).random(ids.size) < 0.7]
    kept = kept if kept.size else ids
    at = np.minimum(np.searchsorted(kept, found), kept.size - 1)
    expected = np.where(kept[at] == found, at, -1).reshape(shape)
    assert np.array_equal(CellIndex(grid, kept).labels(tile), expected)
