"""What is to be learned: samples, target, model and search; and the seeds and steps of a run.

Nothing is fitted here.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from entropice_core.config import ModelConfig, TargetConfig
from entropice_core.dataset.classes import ClassEdges, Rule, learn_classes
from entropice_core.dataset.folds import Fold
from entropice_core.errors import SchemaError, TrainingError
from entropice_core.models.base import Matrix, ModelModule

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Params: TypeAlias = dict[str, Any]
Progress: TypeAlias = Callable[[int, int, str], None]
"""(steps done, steps in all, what is being done)"""


@dataclass(frozen=True, eq=False)
class Places:
    """Where and when the rows are: cell_ids (n,) uint64; lon, lat (n,) float64, degrees; year (n,) int."""

    cell_ids: UInt64
    lon: Float64
    lat: Float64
    year: Int64


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be learned, and how: the same for every fold.

    Attributes
    ----------
    module : model module of ``entropice_core.models``
    config : its fixed parameters and its search
    X : (n, n_features) float32 or float64, NaN = missing
    density : (n,) float64, m2 m-2, all finite
    target : which densities or counts make which class
    feature_names : names of the columns of X
    calibration : kind of calibration, see ``training.calibrate``
    count : (n,) float64, slumps per cell; only for classes of counts
    weight : (n,) float64, mean 1, what a row counts in fits, calibration and scores; None = each the same
    places : where the rows are; None leaves out the scores against the climatology
    """

    module: ModelModule
    config: ModelConfig
    X: Matrix
    density: Float64
    target: TargetConfig
    feature_names: tuple[str, ...]
    calibration: str = "logistic"
    count: Float64 | None = None
    weight: Float64 | None = None
    places: Places | None = None

    @property
    def values(self) -> Float64:
        """What is put into classes : (n,), densities in m2 m-2 or counts."""
        return self.count if self.target.task == "count_class" and self.count is not None else self.density

    def learn_classes(self, rows: Int64) -> ClassEdges:
        """Learn the edges between the classes from some rows, the training rows of a fold.

        Raises
        ------
        TrainingError
            When a class would have no row among them.
        """
        target, values, density = self.target, self.values[rows], self.density[rows]
        if target.task == "binary":
            rule: Rule = "presence" if target.positive == "presence" else "above_quantile"
            return learn_classes(values, rule=rule, quantile=target.quantile)
        return learn_classes(
            values,
            rule="given" if target.edges else "quantiles",
            quantity="count" if target.task == "count_class" else "density",
            density=density,
            n_classes=target.n_classes,
            edges=target.edges,
        )

    def classify(self, classes: ClassEdges, rows: Int64) -> Int64:
        """Give the class of some rows : (n_rows,) int64."""
        return classes.apply(self.values[rows])

    def weights_of(self, rows: Int64) -> Float64 | None:
        """Give the weights of some rows, or None."""
        return None if self.weight is None else self.weight[rows]

    def rough_classes(self) -> Int64:
        """Give the classes of all rows by edges from all rows: only for dealing rows to folds, never for learning."""
        rows = np.arange(len(self.density), dtype=np.int64)
        return self.classify(self.learn_classes(rows), rows)


def child_seed(seed: int, *names: str) -> int:
    """Derive a seed from a seed and names; neighbours in name or number share nothing.

    >>> child_seed(0, "final") == child_seed(0, "final"), child_seed(0, "final") == child_seed(1, "final")
    (True, False)
    """
    digest = hashlib.sha256("\x1f".join(names).encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0])


class Steps:
    """Count the steps of a run and tell the caller."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def next(self, what: str) -> None:
        """Say what comes now."""
        if self.progress is not None:
            self.progress(self.done, self.total, what)
        self.done += 1


def check_problem(problem: Problem, folds: Sequence[Fold], candidates: Sequence[Params]) -> None:
    """Check shapes and build each candidate once: a mistake shows before hours of fitting."""
    n, n_features = problem.X.shape
    if n_features != len(problem.feature_names) or problem.density.shape != (n,):
        raise SchemaError(
            f"X has shape {problem.X.shape}, but there are densities of shape {problem.density.shape} and "
            f"{len(problem.feature_names)} feature names; expected a density a row and a name a column."
        )
    if not np.isfinite(problem.density).all():
        n_bad = int((~np.isfinite(problem.density)).sum())
        raise SchemaError(f"{n_bad} of {n} densities are not finite: keep observed rows only.")
    if problem.target.task == "count_class" and problem.count is None:
        raise SchemaError("task = 'count_class' needs the counts of the rows: give Problem(count=...).")
    if not folds:
        raise TrainingError("There is no fold to test on: make folds first.")
    for params in candidates:
        problem.module.build(params, 0, problem.feature_names, problem.target.n_learned)
