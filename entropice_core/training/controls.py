"""Controls that show whether skill is real: labels that mean nothing, and folds that flatter.

With permuted labels nothing can be learned, so that skill above chance is leakage: a fold that shares cells, a
scaling or an edge learned on test rows. Random folds show what the study would have reported without blocks; the
distance to the spatial score is the part that comes from near twins, not from knowledge that carries over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.config import FoldsConfig
from entropice_core.dataset.dealing import BlockGrid
from entropice_core.dataset.folds import Fold, InnerFolds, inner_folds_maker, make_folds
from entropice_core.errors import SchemaError
from entropice_core.training.nested_cv import nested_cv
from entropice_core.training.problem import Problem, Progress, child_seed
from entropice_core.training.results import CVResult

VERSION = "2"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Permuted:
    """The permuted-label control.

    Attributes
    ----------
    cv : the same procedure on permuted labels
    mean_auc : mean over the folds in which it is defined
    chance_low, chance_high : three standard errors about 1/2, for cells as the independent units
    n_cells, n_cells_kept : all cells, and those that kept their own labels (no other cell has the same years)
    """

    cv: CVResult
    mean_auc: float
    chance_low: float
    chance_high: float
    n_cells: int
    n_cells_kept: int

    @property
    def is_chance(self) -> bool:
        """True when the AUC lies within the band, or is not defined in any fold."""
        return not np.isfinite(self.mean_auc) or self.chance_low <= self.mean_auc <= self.chance_high

    def to_dict(self) -> dict[str, Any]:
        """Return what a report needs as JSON-able values."""
        names = ("chance_low", "chance_high", "n_cells", "n_cells_kept", "is_chance")
        mean = self.mean_auc if np.isfinite(self.mean_auc) else None
        return {**self.cv.to_dict(), "mean_auc": mean, **{name: getattr(self, name) for name in names}}


def permuted_labels(
    problem: Problem,
    folds: Sequence[Fold],
    inner_folds: InnerFolds,
    cell_ids: npt.ArrayLike,
    years: npt.ArrayLike,
    seed: int,
    progress: Progress | None = None,
) -> Permuted:
    """Run the whole nested cross-validation again, on the same folds, with densities permuted among cells.

    Parameters
    ----------
    problem, folds, inner_folds, seed, progress : as for ``nested_cv``
    cell_ids : (n,) uint64
    years : (n,) integers
    """
    giver, n_cells, n_kept = permute_cells(cell_ids, years, child_seed(seed, "permuted"))
    count = None if problem.count is None else problem.count[giver]
    permuted = replace(problem, density=problem.density[giver], count=count, places=None)
    cv = nested_cv(permuted, folds, inner_folds, child_seed(seed, "permuted-cv"), progress)
    mean_auc = cv.summary()["raw"]["roc_auc"]["mean"]
    rows_per_cell = len(giver) / n_cells
    width = 3 * _chance_sd(cv, rows_per_cell)
    return Permuted(cv, mean_auc, 0.5 - width, 0.5 + width, n_cells, n_kept)


def permute_cells(cell_ids: npt.ArrayLike, years: npt.ArrayLike, seed: int) -> tuple[Int64, int, int]:
    """Give each cell the labels of another cell that was observed in the same years.

    Whole cells are moved, all their years together: single rows would lose the likeness of years, and the control
    would be easier to pass than the study. The labels of each year stay the same as a set.

    Returns
    -------
    giver : (n,) int64, the row whose label each row gets
    n_cells : number of cells
    n_kept : cells whose years no other cell has, which keep their labels

    >>> permute_cells([7, 7, 8, 8], [2018, 2019, 2018, 2019], seed=1)[0].tolist()
    [2, 3, 0, 1]
    """
    ids, when = np.asarray(cell_ids), np.asarray(years)
    if ids.shape != when.shape:
        raise SchemaError(f"Cells {ids.shape} and years {when.shape} must be of one length.")
    order = np.lexsort((when, ids))
    starts = np.unique(ids[order], return_index=True)[1]
    rows_of_cell = np.split(order, starts[1:])
    by_years: dict[tuple[int, ...], list[int]] = {}
    for cell, rows in enumerate(rows_of_cell):
        by_years.setdefault(tuple(when[rows].tolist()), []).append(cell)
    giver, rng = np.arange(ids.size, dtype=np.int64), np.random.default_rng(seed)
    for pattern in sorted(by_years):
        cells = rng.permutation(by_years[pattern])
        for taker, other in zip(cells, np.roll(cells, 1), strict=True):  # one ring: no cell gets its own
            giver[rows_of_cell[taker]] = rows_of_cell[other]
    n_kept = sum(len(cells) for cells in by_years.values() if len(cells) == 1)
    return giver, len(rows_of_cell), n_kept


def random_cv(
    problem: Problem,
    config: FoldsConfig,
    grid: BlockGrid,
    cell_ids: npt.ArrayLike,
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    seed: int,
    progress: Progress | None = None,
) -> CVResult:
    """Run the same nested cross-validation with cells dealt at random, inside and outside, without a buffer."""
    at_random = config.model_copy(update={"kind": "random"})
    y = problem.rough_classes()
    folds = make_folds(at_random, grid, cell_ids, lon, lat, child_seed(seed, "random-folds"), y=y)
    inner = inner_folds_maker(at_random, grid, cell_ids, lon, lat)
    return nested_cv(problem, folds, inner, child_seed(seed, "random-cv"), progress)


def _chance_sd(cv: CVResult, rows_per_cell: float) -> float:
    """Return the standard deviation of the mean AUC over folds when nothing is known.

    The AUC of n+ and n- independent rows without signal has the variance (n+ + n- + 1) / (12 n+ n-) (Mann and
    Whitney 1947). Years of a cell are alike, so that cells are counted, not rows.
    """
    variances = []
    for fold in cv.folds:
        positive, negative = (fold.y > 0).sum() / rows_per_cell, (fold.y == 0).sum() / rows_per_cell
        if positive > 0 and negative > 0:
            variances.append((positive + negative + 1) / (12 * positive * negative))
    return float(np.sqrt(np.sum(variances)) / len(variances)) if variances else 0.5
