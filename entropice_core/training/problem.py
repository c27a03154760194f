"""What is to be learned: samples, target, model and search; and the seeds and steps of a run.

Nothing is fitted here.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from entropice_core.config import ModelConfig, TargetConfig
from entropice_core.dataset.folds import Fold
from entropice_core.errors import ConfigError, SchemaError, TrainingError
from entropice_core.models.base import ModelModule

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Params: TypeAlias = dict[str, Any]
Progress: TypeAlias = Callable[[int, int, str], None]
"""(steps done, steps in all, what is being done)"""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be learned, and how: the same for every fold.

    Attributes
    ----------
    module : model module of ``entropice_core.models``
    config : its fixed parameters and its search
    X : (n, n_features) float64, NaN = missing
    density : (n,) float64, m2 m-2, all finite
    target : which densities are positive
    feature_names : names of the columns of X
    calibration : "logistic" or "none"
    """

    module: ModelModule
    config: ModelConfig
    X: Float64
    density: Float64
    target: TargetConfig
    feature_names: tuple[str, ...]
    calibration: str = "logistic"


def learn_edge(target: TargetConfig, density: npt.ArrayLike) -> float:
    """Learn the density above which a row is positive, from training rows only.

    >>> learn_edge(TargetConfig(inventory="darts", positive="density_above_quantile", quantile=0.75), [0, 1, 2, 3, 4])
    3.0
    """
    values = np.asarray(density, dtype=np.float64)
    if target.positive == "presence":
        return 0.0
    return float(np.quantile(values, target.quantile))


def list_candidates(config: ModelConfig) -> list[Params]:
    """List the parameters of every candidate of a search, the last name varying fastest.

    >>> list_candidates(ModelConfig(model="espa", params={"n_init": 4}, search={"eps_w": [0.1, 0.3]}))
    [{'n_init': 4, 'eps_w': 0.1}, {'n_init': 4, 'eps_w': 0.3}]
    """
    both = sorted(set(config.params) & set(config.search))
    if both:
        raise ConfigError(f"Model {config.model!r} has {', '.join(both)} in params and in search: keep one of them.")
    names = list(config.search)
    return [{**config.params, **dict(zip(names, values, strict=True))} for values in product(*config.search.values())]


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
    if not folds:
        raise TrainingError("There is no fold to test on: make folds first.")
    for params in candidates:
        problem.module.build(params, 0, problem.feature_names)
