"""H3 on arrays by loops over h3-py: slower, used when h3ronpy cannot be imported. ``h3_arrays`` has the same functions.

h3-py has had no array functions since version 4; h3ronpy was last released in 2024 and may stop working one day.
"""

from itertools import chain

import h3.api.basic_int as h3
import numpy as np

from entropice_core.grids.base import Bool, Float64, Int64, UInt64


def locate(lon: Float64, lat: Float64, level: int) -> UInt64:
    """Cell of each point."""
    pairs = zip(lat.tolist(), lon.tolist(), strict=True)
    return np.fromiter((h3.latlng_to_cell(y, x, level) for y, x in pairs), dtype=np.uint64, count=lon.size)


def centers(ids: UInt64) -> tuple[Float64, Float64]:
    """Longitude and latitude of each centre, degrees."""
    points = np.array([h3.cell_to_latlng(cell) for cell in ids.tolist()], dtype=np.float64).reshape(-1, 2)
    return points[:, 1].copy(), points[:, 0].copy()


def corners(ids: UInt64) -> tuple[Float64, Float64, Int64]:
    """Longitudes and latitudes of all corners, and where each cell's begin: 5 to 10 a cell, counter-clockwise."""
    rings = [h3.cell_to_boundary(cell) for cell in ids.tolist()]
    points = np.array(list(chain.from_iterable(rings)), dtype=np.float64).reshape(-1, 2)
    return points[:, 1].copy(), points[:, 0].copy(), np.cumsum([0, *map(len, rings)])


def children(ids: UInt64, level: int) -> UInt64:
    """All descendants at a finer level."""
    found = chain.from_iterable(h3.cell_to_children(cell, level) for cell in ids.tolist())
    return np.fromiter(found, dtype=np.uint64)


def disks(ids: UInt64) -> tuple[UInt64, Int64]:
    """Each cell and its neighbours, one list after the other, and the length of each list."""
    lists = [h3.grid_disk(cell, 1) for cell in ids.tolist()]
    return np.fromiter(chain.from_iterable(lists), dtype=np.uint64), np.array([len(one) for one in lists], np.int64)


def is_valid(ids: UInt64) -> Bool:
    """Tell which ids are H3 cells of any level."""
    return np.fromiter((h3.is_valid_cell(cell) for cell in ids.tolist()), dtype=np.bool_, count=ids.size)
