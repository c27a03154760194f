"""Which features carry the skill: how much worse held-out predictions get when a feature is shuffled.

Shuffling is done within the test rows of each outer fold, with the model of that fold, so that only what carries over
in space counts. Features of one source tell nearly the same, and each looks dispensable while its likes are there:
so whole sources are shuffled together as well. What a model says about itself (eSPA's W, impurity) stands beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError
from entropice_core.models.base import Matrix
from entropice_core.training.class_metrics import class_log_loss
from entropice_core.training.problem import Problem, child_seed
from entropice_core.training.results import CVResult, FoldResult, plain

VERSION = "2"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Importance:
    """Increase of log loss by shuffling, in nats, positive where a feature helps.

    Attributes
    ----------
    names : features, or sources
    increase : (n_folds, n_repeats, n_names) float64
    """

    names: tuple[str, ...]
    increase: Float64

    def mean(self) -> Float64:
        """Mean over folds and repeats : (n_names,)."""
        return np.asarray(self.increase.mean(axis=(0, 1)))

    def sd_over_folds(self) -> Float64:
        """Spread of the folds' means : (n_names,): whether a feature matters everywhere."""
        n_folds = len(self.increase)
        spread = self.increase.mean(axis=1)
        return np.asarray(spread.std(axis=0, ddof=1)) if n_folds > 1 else np.full(len(self.names), np.nan)

    def sd_over_repeats(self) -> Float64:
        """Mean spread of the repeats within a fold : (n_names,): whether there are enough of them."""
        if self.increase.shape[1] < 2:
            return np.full(len(self.names), np.nan)
        return np.asarray(self.increase.std(axis=1, ddof=1).mean(axis=0))

    def to_dict(self) -> list[dict[str, Any]]:
        """Return a row for each name, the most important first."""
        if not self.names:
            return []
        mean, folds, repeats = self.mean(), self.sd_over_folds(), self.sd_over_repeats()
        rows = [
            {
                "name": name,
                "log_loss_increase": mean[i],
                "sd_over_folds": folds[i],
                "sd_over_repeats": repeats[i],
                "by_fold": self.increase[:, :, i].mean(axis=1).tolist(),
            }
            for i, name in enumerate(self.names)
        ]
        ordered: list[dict[str, Any]] = plain(sorted(rows, key=lambda row: (-row["log_loss_increase"], row["name"])))
        return ordered


@dataclass(frozen=True, eq=False)
class Importances:
    """Importances of single features and of whole sources, and what the model of each fold says itself.

    Attributes
    ----------
    feature_names : (n_features,) columns of X
    features, sources : without names when nothing was shuffled
    own : score name -> (n_folds, n_features) float64
    """

    feature_names: tuple[str, ...]
    features: Importance
    sources: Importance
    own: Mapping[str, Float64]

    def to_dict(self) -> dict[str, Any]:
        """Return what a report needs as JSON-able values."""
        own = {
            score: [
                {"name": name, "mean": values[:, i].mean(), "sd_over_folds": _spread(values[:, i])}
                for i, name in enumerate(self.feature_names)
            ]
            for score, values in self.own.items()
        }
        return {"features": self.features.to_dict(), "sources": self.sources.to_dict(), "own": plain(own)}


def measure_importances(
    problem: Problem, cv: CVResult, sources: Sequence[str], n_repeats: int, seed: int
) -> Importances:
    """Shuffle each feature and each source in the test rows of every outer fold.

    Parameters
    ----------
    problem, cv : what ``nested_cv`` was given, and what it returned
    sources : (n_features,) source of each feature
    n_repeats : shuffles of each; 0 leaves only the models' own scores
    seed : int
    """
    if len(sources) != len(problem.feature_names):
        raise SchemaError(
            f"There are {len(sources)} sources for {len(problem.feature_names)} features; expected one each."
        )
    source_names = tuple(dict.fromkeys(sources))
    singles = [np.array([i]) for i in range(len(problem.feature_names))]
    groups = [np.flatnonzero(np.array([source == name for source in sources])) for name in source_names]
    return Importances(
        feature_names=problem.feature_names,
        features=_over_folds(problem, cv, problem.feature_names, singles, n_repeats, seed),
        sources=_over_folds(problem, cv, source_names, groups, n_repeats, seed),
        own=own_scores(problem, cv),
    )


def own_scores(problem: Problem, cv: CVResult) -> dict[str, Float64]:
    """Collect what the models of the folds say about their features: score name -> (n_folds, n_features)."""
    found = [problem.module.feature_scores(fold.fitted) for fold in cv.folds]
    return {name: np.stack([scores[name] for scores in found]) for name in (found[0] if found else {})}


def _over_folds(
    problem: Problem, cv: CVResult, names: Sequence[str], columns: Sequence[Int64], n_repeats: int, seed: int
) -> Importance:
    if n_repeats == 0:
        return Importance((), np.empty((len(cv.folds), 0, 0)))
    increase = np.empty((len(cv.folds), n_repeats, len(names)))
    for i, fold in enumerate(cv.folds):
        X = problem.X[fold.test]
        base = class_log_loss(fold.y, fold.proba, fold.weight)
        for j, name in enumerate(names):
            rng = np.random.default_rng(child_seed(seed, "importance", fold.name, name))
            increase[i, :, j] = [_shuffled_loss(fold, X, columns[j], rng) - base for _ in range(n_repeats)]
    return Importance(tuple(names), increase)


def _shuffled_loss(fold: FoldResult, X: Matrix, columns: Int64, rng: np.random.Generator) -> float:
    shuffled = X.copy()
    shuffled[:, columns] = X[rng.permutation(len(X))][:, columns]
    return class_log_loss(fold.y, fold.predict(shuffled), fold.weight)


def _spread(values: Float64) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")
