"""Deal the cells of a study to folds: as blocks, as named regions, or one by one.

Only the dealing belongs here; buffers, rows and the check for leakage are in ``folds``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from entropice_core.config import Bounds, FoldsConfig
from entropice_core.errors import ConfigError, GridError, SchemaError, TrainingError

DEAL_JITTER = 0.2  # spread of log block sizes in the dealing order: seeds give other folds, balance hardly suffers

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class BlockGrid(Protocol):
    """The part of a grid that folds need."""

    @property
    def name(self) -> str:
        """Name of the grid, the key in ``block_level``."""
        ...

    @property
    def level(self) -> int:
        """Level of the cells."""
        ...

    def parents(self, cell_ids: npt.ArrayLike, level: int) -> UInt64:
        """Block of each cell: (n,) -> (n,)."""
        ...


@dataclass(frozen=True, eq=False)
class Cells:
    """The distinct cells of the rows, sorted, so that nothing depends on the order of rows.

    ids, lon, lat, n_rows, n_positive : (n_cells,); of_row : (n,) position of each row's cell.
    """

    ids: UInt64
    lon: Float64
    lat: Float64
    n_rows: Int64
    n_positive: Int64
    of_row: Int64


@dataclass(frozen=True, eq=False)
class Deal:
    """The fold of each cell (n_cells,), -1 = never tested, with the names of the folds and the block of each cell."""

    names: tuple[str, ...]
    fold_of_cell: Int64
    block_of_cell: UInt64 | None = None


def distinct_cells(
    cell_ids: npt.ArrayLike, lon: npt.ArrayLike, lat: npt.ArrayLike, y: npt.ArrayLike | None
) -> tuple[Cells, Int64 | None]:
    """Check the rows, and return their distinct cells and the labels : (n,) as integers."""
    ids, lons, lats = np.asarray(cell_ids), np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    labels = None if y is None else np.asarray(y).astype(np.int64)
    shapes = [a.shape for a in (ids, lons, lats, *([] if labels is None else [labels]))]
    if len(set(shapes)) != 1 or ids.ndim != 1 or ids.size == 0:
        raise SchemaError(f"Folds need vectors of one length, at least 1: cell_ids, lon, lat (and y) have {shapes}.")
    if ids.dtype.kind not in "ui":
        raise GridError(f"Cell ids have the type {ids.dtype}; expected uint64, as floats cannot hold 64 bit ids.")
    if not (np.isfinite(lons) & (np.abs(lats) <= 90)).all():
        raise GridError("Folds need the centre of each cell: some lon or lat is not finite or not on the globe.")
    unique, first, of_row = np.unique(ids, return_index=True, return_inverse=True)
    of_row = of_row.astype(np.int64)
    n_rows = np.bincount(of_row)
    n_positive = np.zeros_like(n_rows) if labels is None else np.bincount(of_row, weights=labels > 0).astype(np.int64)
    return Cells(unique.astype(np.uint64), lons[first], lats[first], n_rows, n_positive, of_row), labels


def deal_cells_to_folds(
    config: FoldsConfig, grid: BlockGrid, cells: Cells, n_folds: int, rng: np.random.Generator
) -> Deal:
    """Deal the cells in the way that the study wants."""
    if config.kind == "leave_one_region_out":
        return _deal_regions(config.regions, cells)
    if config.kind == "temporal":
        raise SchemaError("A temporal hold-out is split by year, not by place: use dataset.temporal.temporal_fold.")
    if config.kind == "random":
        return _deal_cells(cells, n_folds, rng)
    return _deal_blocks({str(name): level for name, level in config.block_level.items()}, grid, cells, n_folds, rng)


def _deal_blocks(
    levels: Mapping[str, int], grid: BlockGrid, cells: Cells, n_folds: int, rng: np.random.Generator
) -> Deal:
    level = _block_level(levels, grid)
    block_of_cell = grid.parents(cells.ids, level)
    blocks, block = np.unique(block_of_cell, return_inverse=True)
    if blocks.size < n_folds:
        raise TrainingError(_too_few_blocks(grid, cells, level, int(blocks.size), n_folds))
    rows = np.bincount(block, weights=cells.n_rows)
    positives = np.bincount(block, weights=cells.n_positive)
    share = np.column_stack([rows / rows.sum(), positives / max(positives.sum(), 1.0)])
    return Deal(_numbered("block", n_folds), _balance(share, n_folds, rng)[block], block_of_cell)


def _block_level(levels: Mapping[str, int], grid: BlockGrid) -> int:
    level = levels.get(grid.name)
    if level is None or not 0 <= level <= grid.level:
        raise ConfigError(
            f"folds.block_level has {level} for the grid {grid.name!r} with cells of level {grid.level}; expected a "
            f"level from 0 to {grid.level}: set folds.block_level = {{ {grid.name} = ... }}."
        )
    return level


def _too_few_blocks(grid: BlockGrid, cells: Cells, level: int, n_blocks: int, n_folds: int) -> str:
    found = f"The cells lie in {n_blocks} blocks of {grid.name} level {level}, too few for {n_folds} folds"
    for finer in range(level + 1, grid.level + 1):
        n_finer = np.unique(grid.parents(cells.ids, finer)).size
        if n_finer >= n_folds:
            return f"{found}: set folds.block_level.{grid.name} = {finer}, which has {n_finer} blocks."
    return f"{found}, and no finer level has more: take a larger study area or at most {n_blocks} folds."


def _balance(share: Float64, n_folds: int, rng: np.random.Generator) -> Int64:
    """Deal blocks with ``share`` (n_blocks, 2) of rows and positives, large ones first, each to the lightest fold."""
    jitter = rng.lognormal(0.0, DEAL_JITTER, len(share))
    order = np.argsort(-share.sum(axis=1) * jitter, kind="stable")
    load = np.zeros((n_folds, share.shape[1]))
    fold_of_block = np.empty(len(share), dtype=np.int64)
    is_empty = np.ones(n_folds, dtype=bool)
    for position, block in enumerate(order):
        cost = ((load + share[block]) ** 2 - load**2).sum(axis=1)
        if len(order) - position <= is_empty.sum():  # every fold gets a block
            cost[~is_empty] = np.inf
        fold = int(np.argmin(cost))
        fold_of_block[block] = fold
        load[fold] += share[block]
        is_empty[fold] = False
    return fold_of_block


def _deal_cells(cells: Cells, n_folds: int, rng: np.random.Generator) -> Deal:
    """Deal single cells in turn, cells with a positive year first, so that each fold gets its part of them."""
    if cells.ids.size < n_folds:
        raise TrainingError(f"{cells.ids.size} cells are too few for {n_folds} random folds: take more cells.")
    shuffled = rng.permutation(cells.ids.size)
    order = shuffled[np.argsort(cells.n_positive[shuffled] == 0, kind="stable")]
    fold_of_cell = np.empty(cells.ids.size, dtype=np.int64)
    fold_of_cell[order] = np.arange(cells.ids.size) % n_folds
    return Deal(_numbered("random", n_folds), fold_of_cell)


def _deal_regions(regions: Mapping[str, Bounds], cells: Cells) -> Deal:
    _check_regions(regions)
    fold_of_cell = np.full(cells.ids.size, -1, dtype=np.int64)
    for fold, (name, bounds) in enumerate(regions.items()):
        inside = _is_inside(bounds, cells)
        if not inside.any():
            raise TrainingError(f"No labelled cell lies in folds.regions.{name} {bounds}: widen it or leave it out.")
        fold_of_cell[inside] = fold
    return Deal(tuple(regions), fold_of_cell)


def _is_inside(bounds: Bounds, cells: Cells) -> Bool:
    """West and south edges belong to a region, east and north ones do not (except the pole): neighbours share none."""
    west, south, east, north = bounds
    is_east_of, is_west_of = cells.lon >= west, cells.lon < east
    in_lon = is_east_of & is_west_of if west <= east else is_east_of | is_west_of
    inside: Bool = in_lon & (cells.lat >= south) & ((cells.lat < north) | (north >= 90))
    return inside


def _check_regions(regions: Mapping[str, Bounds]) -> None:
    names = list(regions)
    for name, (west, south, east, north) in regions.items():
        if south >= north or west == east:
            raise ConfigError(
                f"folds.regions.{name} is empty: expected west, south, east, north with south < north, got "
                f"{(west, south, east, north)} (west > east crosses 180 degrees)."
            )
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            if _overlap(regions[one], regions[other]):
                raise ConfigError(
                    f"folds.regions.{one} {regions[one]} and folds.regions.{other} {regions[other]} overlap: a cell "
                    "may be tested once only; let them share an edge at most."
                )


def _overlap(one: Bounds, other: Bounds) -> bool:
    in_lat = max(one[1], other[1]) < min(one[3], other[3])
    return in_lat and any(max(a, c) < min(b, d) for a, b in _spans(one) for c, d in _spans(other))


def _spans(bounds: Bounds) -> list[tuple[float, float]]:
    west, _, east, _ = bounds
    return [(west, east)] if west < east else [(west, 180.0), (-180.0, east)]


def _numbered(kind: str, n_folds: int) -> tuple[str, ...]:
    return tuple(f"{kind}-{i + 1}" for i in range(n_folds))
