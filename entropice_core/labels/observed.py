"""How much of the land of each cell an inventory looked at.

The share is exact for a cell of land: area of the outline inside the footprint. On the coast the land in the
footprint matters, and is summed from the blocks of the land mask, where a cell has enough of them.
"""

import numpy as np
import shapely

from entropice_core.grids.base import Float64, Geometries
from entropice_core.grids.land import LandSamples
from entropice_core.grids.projection import to_equal_area
from entropice_core.labels.overlay import CellIndex, Index, area_per_cell, clip, lies_in, to_points

MIN_SAMPLES = 20
"""With fewer land blocks in a cell the area share is the better estimate: n blocks err by about 0.5 / sqrt(n)."""
INLAND = 0.99
"""Cells with more land than this are treated as land all over."""
ROUNDING = 1e-9
"""A cell of which masks leave no more than this is masked all over."""
NO_MASKS: Geometries = np.empty(0, dtype=object)


def observed_share(
    index: CellIndex, parts: Geometries | None, land_fraction: Float64, land: LandSamples, masks: Geometries = NO_MASKS
) -> Float64:
    """Share of each cell's land that lies inside a footprint and in no mask.

    Parameters
    ----------
    index : the cells
    parts : (p,) disjoint polygons of the footprint in EPSG:6931; an empty array means that nobody looked, None that
        every cell was looked at
    land_fraction : (cells,) float, share of land in each cell
    land : blocks of the land mask
    masks : (m,) disjoint polygons in EPSG:6931 of glaciers, lakes and the like

    Returns
    -------
    (cells,) float64, 0 to 1: exactly 1 inside, exactly 0 outside or where there is no land
    """
    share = np.ones(index.ids.size) if parts is None else _area_share(index, parts)
    if masks.size:
        share = _without_masks(share, index, masks if parts is None else clip(masks, parts))
    coast = np.flatnonzero((share > 0.0) & (share < 1.0) & (land_fraction < INLAND) & (land_fraction > 0.0))
    if coast.size:
        on_land, samples = _land_share(CellIndex(index.grid, index.ids[coast], index.max_area_m2), parts, land, masks)
        enough = samples >= MIN_SAMPLES
        share[coast[enough]] = on_land[enough]
    return np.where(land_fraction > 0.0, share, 0.0)


def _without_masks(share: Float64, index: CellIndex, masks: Geometries) -> Float64:
    masks = masks[~shapely.is_empty(masks)]
    taken, _ = area_per_cell(masks, index, index.locate(shapely.point_on_surface(masks)))
    cells = np.flatnonzero(taken)
    outlines, which = index.polygons(cells)
    share = share.copy()
    share[cells] -= taken[cells] / shapely.area(outlines[which])
    return np.where(share > ROUNDING, share, 0.0)


def _area_share(index: CellIndex, parts: Geometries) -> Float64:
    share = np.zeros(index.ids.size)
    if not parts.size or not index.ids.size:
        return share
    part, cell = index.near(parts)
    outlines, which = index.polygons(cell)
    shapely.prepare(parts)
    inside = shapely.covers(parts[part], outlines[which])
    border = ~inside & ~np.isin(cell, cell[inside])
    border[border] = shapely.intersects(parts[part[border]], outlines[which[border]])
    pieces = shapely.intersection(parts[part[border]], outlines[which[border]])
    np.add.at(share, cell[border], shapely.area(pieces) / shapely.area(outlines[which[border]]))
    share[cell[inside]] = 1.0
    return np.minimum(share, 1.0)


def _land_share(
    index: CellIndex, parts: Geometries | None, land: LandSamples, masks: Geometries
) -> tuple[Float64, Index]:
    """Share of land inside the parts and outside the masks by land blocks, and the number of blocks, of each cell."""
    cell = index.position(index.grid.locate(land.lon, land.lat))
    known = cell >= 0
    cell, weight = cell[known], land.area_m2[known].astype(np.float64)
    points = to_points(*to_equal_area(land.lon[known], land.lat[known]))
    inside = np.ones(points.size, dtype=np.bool_) if parts is None else lies_in(points, parts)
    if masks.size:
        inside &= ~lies_in(points, masks)
    total = np.bincount(cell, weights=weight, minlength=index.ids.size)
    seen = np.bincount(cell, weights=weight * inside, minlength=index.ids.size)
    share = np.divide(seen, total, out=np.zeros(index.ids.size), where=total > 0.0)
    return share, np.bincount(cell, minlength=index.ids.size).astype(np.int64)
