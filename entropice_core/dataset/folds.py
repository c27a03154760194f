"""Split samples in space, so that skill is measured where a model has seen nothing nearby.

Random cross-validation of spatial data is optimistic, as test cells have near twins in training (Roberts et al. 2017,
doi:10.1111/ecog.02881; Ploton et al. 2020, doi:10.1038/s41467-020-18321-y). Here whole blocks (coarse parent cells) or
whole regions are held out, training cells near a test cell are dropped, and all years of a cell stay together.
Learning and scoring do not belong here.

Blocks are dealt to folds so that each fold gets a like number of rows and, when ``y`` is given, of positive rows.
Using ``y`` for that leaks nothing into a model: it decides which blocks are tested together, as stratified folds do,
and no model sees labels of the blocks on which it is tested.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from entropice_core.config import FoldsConfig
from entropice_core.dataset.dealing import (
    BlockGrid,
    Bool,
    Cells,
    Deal,
    Float64,
    Int64,
    deal_cells_to_folds,
    distinct_cells,
)
from entropice_core.dataset.pixels import pixel_groups
from entropice_core.errors import ProvenanceError, TrainingError

VERSION = "2"
MAX_DEALS = 20


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: learn from ``train``, test on ``test``.

    Attributes
    ----------
    name : name of the fold or region
    train, test : (n_train,), (n_test,) int64, sorted positions of rows
    n_buffer_dropped : rows that are neither tested nor trained on, as they lie within the buffer
    n_pixel_dropped : rows beyond the buffer that are not trained on, as they share a source pixel with a test cell
    blocks : held-out blocks (cell ids of the block level); empty unless the folds are spatial blocks
    n_never_tested : rows that are in no test set of any fold, as they lie in no region
    """

    name: str
    train: Int64
    test: Int64
    n_buffer_dropped: int = 0
    blocks: tuple[int, ...] = ()
    n_never_tested: int = 0
    n_pixel_dropped: int = 0


InnerFolds: TypeAlias = Callable[[Int64, Int64, int], list[Fold]]
"""(rows, y of those rows, seed) -> folds whose positions count within ``rows``."""


def make_folds(
    config: FoldsConfig,
    grid: BlockGrid,
    cell_ids: npt.ArrayLike,
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    seed: int,
    *,
    y: npt.ArrayLike | None = None,
    n_folds: int | None = None,
) -> list[Fold]:
    """Split rows into folds; the same for any order of the rows.

    Parameters
    ----------
    config : FoldsConfig
        ``random`` folds deal single cells and have no buffer: they show the optimism, nothing else.
    grid : BlockGrid
        Its ``parents`` are the blocks.
    cell_ids : (n,) uint64
        The cell of each row; a cell has a row for each year.
    lon, lat : (n,) float64
        Centres of the cells, degrees.
    seed : int
        Another seed deals the blocks otherwise.
    y : (n,) classes, optional
        Balances the folds by rows above class 0, and lets a deal that leaves a training set without one of the classes
        be repeated, at most 20 times; if it still lacks one, two classes at least must be there.
    n_folds : int, optional
        In place of ``config.n_folds`` (inner folds).

    Raises
    ------
    TrainingError
        Too few blocks, an empty region, a training set that the buffer empties, or one class in a training set.
    ConfigError
        No block level for the grid, or overlapping regions.
    """
    cells, labels = distinct_cells(cell_ids, lon, lat, y)
    wanted = n_folds or config.n_folds
    at_random = config.kind == "random"
    buffer_km = 0.0 if at_random else config.buffer_km
    has_pixels = config.pixel_degrees > 0 and not at_random
    pixels = pixel_groups(cells.lon, cells.lat, config.pixel_degrees) if has_pixels else None
    trouble = ""
    for attempt in range(1 if config.kind == "leave_one_region_out" else MAX_DEALS):
        deal = deal_cells_to_folds(config, grid, cells, wanted, np.random.default_rng([seed, attempt]))
        folds = [_cut(deal, fold, cells, buffer_km, pixels) for fold in range(len(deal.names))]
        if not _lacks_a_class(folds, labels):
            return folds
        trouble = _one_class(folds, labels)
    if not trouble:
        return folds
    raise TrainingError(
        f"{trouble} (tried {attempt + 1} ways of dealing); take more cells or years, fewer folds, smaller blocks or a "
        "smaller buffer_km."
    )


def inner_folds_maker(
    config: FoldsConfig, grid: BlockGrid, cell_ids: npt.ArrayLike, lon: npt.ArrayLike, lat: npt.ArrayLike
) -> InnerFolds:
    """Return the function that splits the training rows of an outer fold again.

    Inner folds are spatial blocks with the same buffer, also inside a leave-one-region-out fold (few regions remain
    there); they are random only when the outer folds are.
    """
    ids, lons, lats = np.asarray(cell_ids), np.asarray(lon), np.asarray(lat)
    inner = config if config.kind == "random" else config.model_copy(update={"kind": "spatial_block"})

    def make(rows: Int64, y: Int64, seed: int) -> list[Fold]:
        return make_folds(inner, grid, ids[rows], lons[rows], lats[rows], seed, y=y, n_folds=config.inner_folds)

    return make


def check_no_leakage(folds: Sequence[Fold], cell_ids: npt.ArrayLike, pixel_groups: npt.ArrayLike | None = None) -> None:
    """Refuse folds in which a cell, or a group of cells that share source pixels, is on both sides.

    Parameters
    ----------
    folds : sequence of Fold
    cell_ids : (n,) uint64
        The cell of each row.
    pixel_groups : (n,) integers, optional
        Rows with the same number read the same source pixel (cells smaller than an ERA5 pixel do).
    """
    ids = np.asarray(cell_ids)
    n_tests = np.zeros(ids.size, dtype=np.int64)
    for fold in folds:
        _check_positions(fold, ids.size)
        n_tests[fold.test] += 1
        _check_apart(fold, ids, "cell")
        if pixel_groups is not None:
            _check_apart(fold, np.asarray(pixel_groups), "pixel group")
    if n_tests.size and n_tests.max() > 1:
        cell = ids[np.argmax(n_tests)]
        raise ProvenanceError(f"A row of cell {cell} is tested in {n_tests.max()} folds; expected at most one.")


def _check_positions(fold: Fold, n_rows: int) -> None:
    for name, rows in (("train", fold.train), ("test", fold.test)):
        if rows.size and (rows.min() < 0 or rows.max() >= n_rows or np.unique(rows).size != rows.size):
            n_double = rows.size - np.unique(rows).size
            raise ProvenanceError(
                f"Fold {fold.name!r} was made for other rows: its {name} rows run from {rows.min()} to {rows.max()} "
                f"({n_double} of them double), but there are {n_rows} rows: make the folds anew."
            )


def _check_apart(fold: Fold, group: npt.NDArray[np.generic], what: str) -> None:
    shared = np.intersect1d(group[fold.train], group[fold.test])
    if shared.size:
        raise ProvenanceError(
            f"Fold {fold.name!r} trains and tests on {shared.size} same {what}s, the first is {shared[0]}: "
            "hold out whole blocks and keep a buffer of at least one source pixel."
        )


def _cut(deal: Deal, fold: int, cells: Cells, buffer_km: float, pixels: Int64 | None) -> Fold:
    is_test = deal.fold_of_cell == fold
    is_near = ~is_test & _is_near(cells, is_test, buffer_km)
    shares_pixel = np.zeros_like(is_test)
    if pixels is not None:
        shares_pixel = ~is_test & ~is_near & np.isin(pixels, pixels[is_test])
    is_train = ~is_test & ~is_near & ~shares_pixel
    if not is_train.any():
        raise TrainingError(
            f"Fold {deal.names[fold]!r} has no training cell outside folds.buffer_km = {buffer_km:g} and the pixels of "
            "its test cells: choose a smaller buffer or a larger study area."
        )
    blocks = () if deal.block_of_cell is None else tuple(np.unique(deal.block_of_cell[is_test]).tolist())
    return Fold(
        name=deal.names[fold],
        train=np.flatnonzero(is_train[cells.of_row]).astype(np.int64),
        test=np.flatnonzero(is_test[cells.of_row]).astype(np.int64),
        n_buffer_dropped=int(cells.n_rows[is_near].sum()),
        blocks=blocks,
        n_never_tested=int(cells.n_rows[deal.fold_of_cell < 0].sum()),
        n_pixel_dropped=int(cells.n_rows[shares_pixel].sum()),
    )


def _is_near(cells: Cells, is_test: Bool, buffer_km: float) -> Bool:
    """Say which cells have their centre nearer than the buffer to the centre of a test cell : (n_cells,).

    Distances are chords between points on the WGS84 ellipsoid, which knows neither the 180th meridian nor the pole.
    An arc is turned into its chord with the mean radius: within 1e-5 of the geodesic up to 1000 km.
    """
    if buffer_km == 0:
        return np.zeros(cells.ids.size, dtype=bool)
    points = _on_ellipsoid(cells.lon, cells.lat)
    radius = 6371.0
    chord = 2 * radius * np.sin(min(buffer_km / (2 * radius), np.pi / 2))
    distance, _ = cKDTree(points[is_test]).query(points, distance_upper_bound=chord)
    return np.asarray(distance < chord)


def _on_ellipsoid(lon: Float64, lat: Float64) -> Float64:
    """Return earth-centred coordinates : (n, 3) in km of points on the WGS84 ellipsoid, degrees."""
    semi_major, flattening = 6378.137, 1 / 298.257223563
    e2 = flattening * (2 - flattening)
    lam, phi = np.radians(lon), np.radians(lat)
    normal = semi_major / np.sqrt(1 - e2 * np.sin(phi) ** 2)
    x, y = normal * np.cos(phi) * np.cos(lam), normal * np.cos(phi) * np.sin(lam)
    return np.column_stack([x, y, normal * (1 - e2) * np.sin(phi)])


def _lacks_a_class(folds: Sequence[Fold], y: Int64 | None) -> bool:
    if y is None:
        return False
    wanted = max(np.unique(y).size, 2)
    return any(np.unique(y[fold.train]).size < wanted for fold in folds)


def _one_class(folds: Sequence[Fold], y: Int64 | None) -> str:
    """Say which training set has one class only; empty when none has."""
    if y is None:
        return ""
    for fold in folds:
        if np.unique(y[fold.train]).size < 2:
            what = "no positive row" if y[fold.train].max() == 0 else "only positive rows"
            return f"The training set of fold {fold.name!r} has {what} among {fold.train.size}"
    return ""
