"""Polygons and points on cells: overlapping outlines joined, polygons cut at the borders of cells, nothing lost.

All geometry is in EPSG:6931, where areas are true and neither the pole nor 180 degrees is special. Most slumps lie
inside one cell; only the others are cut, and only with cells whose centre is near enough to reach them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from entropice_core.grids.base import Bool, Float64, Geometries, Grid, UInt64
from entropice_core.grids.projection import to_equal_area, to_lonlat
from entropice_core.labels.geometry import polygons_of

Index = npt.NDArray[np.int64]

REACH_FACTOR = 1.1
"""The farthest corner of a cell is at most this many roots of its area from its centre in EPSG:6931; the largest
value over all cells north of 45 N is 1.014 (HEALPix near the corners of base cells; H3 0.74)."""

_ROUNDING = 1e-9
"""A polygon of which cells hold all but this share lies in cells altogether."""


@dataclass(frozen=True)
class CellIndex:
    """Some cells of a grid, and how to find those that a geometry can touch.

    ``ids`` are sorted; ``max_area_m2`` is the area of the largest of the cells.
    """

    grid: Grid
    ids: UInt64
    max_area_m2: float

    def locate(self, points: Geometries) -> Index:
        """Position of the cell of each point of the plane, -1 where it is none of these cells: (n,) -> (n,)."""
        if not points.size or not self.ids.size:
            return np.full(points.size, -1, dtype=np.int64)
        return self.position(self.grid.locate(*to_lonlat(shapely.get_x(points), shapely.get_y(points))))

    def position(self, cells: UInt64) -> Index:
        """Position of each cell among these, -1 where it is not among them: (n,) -> (n,)."""
        at = np.minimum(np.searchsorted(self.ids, cells), self.ids.size - 1)
        return np.where(self.ids[at] == cells, at, -1).astype(np.int64)

    def near(self, geometries: Geometries) -> tuple[Index, Index]:
        """Pairs (geometry, cell) of which the cell may touch the geometry; none that does is missing."""
        pairs = self._centers.query(geometries, predicate="dwithin", distance=self._reach)
        return pairs[0].astype(np.int64), pairs[1].astype(np.int64)

    def polygons(self, positions: Index) -> tuple[Geometries, Index]:
        """Outlines of the distinct cells at the positions, prepared, and which of them belongs to each position."""
        distinct, which = np.unique(positions, return_inverse=True)
        outlines = self.grid.polygons(self.ids[distinct])
        shapely.prepare(outlines)
        return outlines, which.astype(np.int64)

    @cached_property
    def _centers(self) -> shapely.STRtree:
        return shapely.STRtree(to_points(*to_equal_area(*self.grid.centers(self.ids))))

    @cached_property
    def _reach(self) -> float:
        return REACH_FACTOR * float(np.sqrt(self.max_area_m2))


def to_points(x: Float64, y: Float64) -> Geometries:
    """Points of the plane: (n,), (n,) -> (n,)."""
    return np.asarray(shapely.points(x, y), dtype=object)


def join_overlapping(polygons: Geometries) -> Geometries:
    """Join outlines that overlap into one slump each, so that its area counts once: (n,) -> (m,), m <= n.

    Outlines overlap when their interiors meet; two slumps that share an edge stay two. Chains are joined as a whole.

    >>> squares = np.array([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2), shapely.box(3, 0, 4, 2)])
    >>> shapely.area(join_overlapping(squares)).tolist()
    [6.0, 2.0]
    """
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    first, second = first[first < second], second[first < second]
    overlap = shapely.relate_pattern(polygons[first], polygons[second], "T********")
    first, second = first[overlap], second[overlap]
    links = coo_array((np.ones(first.size, dtype=np.int8), (first, second)), shape=(polygons.size, polygons.size))
    groups, group = connected_components(links, directed=False)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(group, minlength=groups))[:-1]) if groups else []
    joined = np.empty(groups, dtype=object)
    for i, rows in enumerate(members):
        joined[i] = polygons[rows[0]] if rows.size == 1 else shapely.union_all(polygons[rows])
    return joined


def clip(polygons: Geometries, parts: Geometries) -> Geometries:
    """Keep what lies inside disjoint parts: (n,) polygons -> (n,), empty where nothing does."""
    clipped = np.full(polygons.size, shapely.Polygon(), dtype=object)
    shapely.prepare(parts)
    i, part = shapely.STRtree(parts).query(polygons)
    inside = shapely.covers(parts[part], polygons[i])
    clipped[i[inside]] = polygons[i[inside]]
    is_cut = ~np.isin(i, i[inside]) & shapely.intersects(parts[part], polygons[i])
    pieces = shapely.intersection(polygons[i[is_cut]], parts[part[is_cut]])
    for row in np.unique(i[is_cut]):
        clipped[row] = shapely.union_all(pieces[i[is_cut] == row])
    return clipped


def lies_in(points: Geometries, parts: Geometries) -> Bool:
    """Tell which points lie in one of the parts, borders included: (n,)."""
    inside = np.zeros(points.size, dtype=np.bool_)
    shapely.prepare(parts)
    i, part = shapely.STRtree(parts).query(points)
    inside[i[shapely.intersects(parts[part], points[i])]] = True
    return inside


def erase(polygons: Geometries, masks: Geometries) -> Geometries:
    """Cut masks out of polygons: (n,), (m,) -> (n,), empty where nothing is left."""
    rest = polygons.copy()
    if not masks.size or not polygons.size:
        return rest
    i, mask = shapely.STRtree(masks).query(polygons, predicate="intersects")
    for row in np.unique(i):
        rest[row] = polygons_of(shapely.difference(polygons[row], shapely.union_all(masks[mask[i == row]])))
    return rest


def area_per_cell(polygons: Geometries, index: CellIndex, home: Index) -> tuple[Float64, float]:
    """Area of the polygons in each cell, m2: a polygon across a border is split.

    Parameters
    ----------
    polygons : (n,) disjoint polygons in EPSG:6931
    index : the cells
    home : (n,) position of a cell that holds a point of the polygon, -1 for none; most polygons end there

    Returns
    -------
    area : (cells,) float64
    outside : float
        Area in none of the cells. It is measured and not what is left over, so that the sum of all shows a loss.
    """
    area = np.zeros(index.ids.size)
    is_whole = np.zeros(polygons.size, dtype=np.bool_)
    at_home = np.flatnonzero((home >= 0) & ~shapely.is_empty(polygons))
    if at_home.size:
        outlines, which = index.polygons(home[at_home])
        is_whole[at_home] = shapely.covers(outlines[which], polygons[at_home])
        np.add.at(area, home[is_whole], shapely.area(polygons[is_whole]))
    rest = polygons[~is_whole & ~shapely.is_empty(polygons)]
    if not rest.size or not index.ids.size:
        return area, float(shapely.area(rest).sum())
    i, cell = index.near(rest)
    outlines, which = index.polygons(cell)
    touching = shapely.intersects(outlines[which], rest[i])
    i, cell, which = i[touching], cell[touching], which[touching]
    pieces = shapely.area(shapely.intersection(outlines[which], rest[i]))
    np.add.at(area, cell, pieces)
    whole = shapely.area(rest)
    short = np.flatnonzero(whole - np.bincount(i, weights=pieces, minlength=rest.size) > _ROUNDING * whole)
    left = [shapely.difference(rest[k], shapely.union_all(outlines[which[i == k]])).area for k in short]
    return area, float(np.sum(left))
