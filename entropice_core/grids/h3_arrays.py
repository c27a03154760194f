"""H3 on whole arrays through h3ronpy (Rust): the only place that imports it. ``h3_loops`` has the same functions."""

import numpy as np
import pyarrow as pa
import shapely
from h3ronpy import cells_valid, change_resolution, grid_disk
from h3ronpy.vector import cells_to_coordinates, cells_to_wkb_polygons, coordinates_to_cells

from entropice_core.grids.base import Bool, Float64, Int64, UInt64


def locate(lon: Float64, lat: Float64, level: int) -> UInt64:
    """Cell of each point."""
    return np.asarray(coordinates_to_cells(lat, lon, level).to_numpy(), dtype=np.uint64)


def centers(ids: UInt64) -> tuple[Float64, Float64]:
    """Longitude and latitude of each centre, degrees."""
    table = cells_to_coordinates(ids)
    return table["lng"].to_numpy(), table["lat"].to_numpy()


def corners(ids: UInt64) -> tuple[Float64, Float64, Int64]:
    """Longitudes and latitudes of all corners, and where each cell's begin: 5 to 10 a cell, counter-clockwise."""
    wkb = np.asarray(pa.array(cells_to_wkb_polygons(ids)).to_numpy(zero_copy_only=False), dtype=object)
    points, ring = shapely.get_coordinates(shapely.from_wkb(wkb), return_index=True)
    last = np.flatnonzero(np.diff(ring, append=-1))  # the repeated first corner
    keep = np.ones(ring.size, dtype=np.bool_)
    keep[last] = False
    counts = np.bincount(ring[keep], minlength=ids.size)
    return points[keep, 0], points[keep, 1], np.concatenate([[0], np.cumsum(counts)])


def children(ids: UInt64, level: int) -> UInt64:
    """All descendants at a finer level."""
    return np.asarray(change_resolution(ids, level).to_numpy(), dtype=np.uint64)


def disks(ids: UInt64) -> tuple[UInt64, Int64]:
    """Each cell and its neighbours, one list after the other, and the length of each list."""
    lists = pa.array(grid_disk(ids, 1))
    return lists.flatten().to_numpy(), np.diff(lists.offsets.to_numpy()).astype(np.int64)


def is_valid(ids: UInt64) -> Bool:
    """Tell which ids are H3 cells of any level."""
    return np.asarray(pa.array(cells_valid(ids, booleanarray=True)).to_numpy(zero_copy_only=False), dtype=np.bool_)
