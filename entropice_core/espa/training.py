"""From rows and settings to batches of fits.

Shared by the classifier, which fits all rows, and the search, which also fits the training part of every fold: the
whole data set is part 0, training parts of a cross-validation follow. The rows exist once; a part is a row of weights,
and a fold is a part in one scaling: its units are a factor on the squared differences, so that nothing of held-out rows
enters and several scalings share the rows.
What must not be here: scikit-learn, choice among configurations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from entropice_core.espa.backend import Backend
from entropice_core.espa.board import Pool
from entropice_core.espa.fit import FitResult, Readout, read_out, run_fits
from entropice_core.espa.instance_weights import reweighted, run_reweighted
from entropice_core.espa.moves import Mover
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import fit_scaling
from entropice_core.espa.seeds import SeedRows, canonical_order
from entropice_core.espa.starts import (
    SEED_ROWS,
    at_most,
    feature_metric,
    first_weights,
    measure_relevance,
    prior_logarithm,
    seed,
)
from entropice_core.espa.steps import Parameters, Problem
from entropice_core.espa.training_rows import Settings, TrainingRows
from entropice_core.espa.validation import class_factors

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

__all__ = ["Fold", "Jobs", "Program", "Settings", "TrainingRows"]


@dataclass(frozen=True)
class Fold:
    """Constants of one training part in one scaling; D features, M classes, R restarts, K clusters.

    Attributes
    ----------
    part : int
        Which row of weights it sees; 0 = all rows.
    total : float
        Sum of the weights, in rows.
    frequency, class_factor : (M,)
    metric : (D,)
    relevance : (D,)
        Mutual information of each feature with the class, nats.
    varies : (D,) bool
    W, S, live : (R, D), (R, K, D) in units of the program, (R, K) bool
        Where the restarts begin.
    """

    part: int
    total: float
    frequency: Floats
    class_factor: Floats
    metric: Floats
    relevance: Floats
    varies: NDArray[np.bool_]
    W: Floats
    S: Floats
    live: NDArray[np.bool_]


@dataclass(frozen=True)
class Jobs:
    """Fits to run together: fold, restart, eps_c, eps_w, mi_prior, all (B,); they share K and alpha."""

    n_clusters: int
    alpha: float
    fold: Integers
    restart: Integers
    eps_c: Floats
    eps_w: Floats
    mi_prior: Floats

    def take(self, index: Integers) -> "Jobs":
        """Keep the jobs named by ``index``, in its order."""
        parts = (getattr(self, name)[index] for name in ("fold", "restart", "eps_c", "eps_w", "mi_prior"))
        return Jobs(self.n_clusters, self.alpha, *parts)

    @classmethod
    def restarts_of_all_rows(
        cls,
        n_clusters: int,
        alpha: float,
        eps_c: float,
        eps_w: float,
        n_init: int,
        mi_prior: float = 0.0,
        fold: int = 0,
    ) -> "Jobs":
        """All restarts of one configuration on the whole data set (or another fold)."""
        folds, restart = np.full(n_init, fold, dtype=np.intp), np.arange(n_init)
        return cls(n_clusters, alpha, folds, restart, *(np.full(n_init, value) for value in (eps_c, eps_w, mi_prior)))


class Program:
    """Rows on the device, scaled once, with the constants and the starts of every fold.

    Parameters
    ----------
    data : TrainingRows
    settings : Settings
    random : RandomState
    backend : Backend
    training_parts : sequence of (n,) int
        Rows of each training part; part 0, all rows, is always there.
    """

    def __init__(
        self,
        data: TrainingRows,
        settings: Settings,
        random: np.random.RandomState,
        backend: Backend,
        training_parts: Sequence[Integers] = (),
    ) -> None:
        self.data, self.settings, self.backend = data, settings, backend
        self.scaling = fit_scaling(data.X, data.weights, settings.scalings[0])
        weights = np.stack([data.weights, *(_only(data.weights, part) for part in training_parts)])
        self._n_parts = len(weights)
        self.folds = [
            self._fold(part, row, kind, random) for kind in settings.scalings for part, row in enumerate(weights)
        ]
        self.rows = Rows(
            data.X,
            self.scaling,
            backend,
            codes=data.codes,
            targets=data.targets,
            n_classes=len(data.classes),
            weights=weights / weights.sum(1, keepdims=True),
            masked=settings.missing == "mask",
        )
        self._second_moments = self.rows.second_moments()
        # drawn last and only when asked for, so that other results stay what they are
        self._move_seed = int(random.randint(2**31)) if settings.n_moves else 0

    def fold(self, part: int, scaling: str) -> int:
        """Which fold is a training part in a scaling."""
        return self.settings.scalings.index(scaling) * self._n_parts + part

    @property
    def n_distinct(self) -> int:
        """How many clusters could be seeded; smaller than asked for when rows repeat."""
        return int(self.folds[0].live.sum(1).max())

    def run(self, jobs: Jobs, max_iter: int | None = None, *, moves: bool = True) -> FitResult:
        """Run fits to the end, with moves and learnt row weights if asked for, or for ``max_iter`` sweeps."""
        settings, problem = self.settings, self.problem(jobs)
        soft, limit = settings.eps_a > 0, settings.max_iter if max_iter is None else max_iter
        result = run_fits(self.rows, problem, self.start(jobs), max_iter=limit, tol=settings.tol, soft=soft)
        if max_iter is not None:
            return result
        if settings.n_moves and moves:
            result = self._mover(jobs, problem).improve(result, settings.n_moves)
        if math.isfinite(settings.eps_t):
            eps_t, tol = settings.eps_t, settings.tol
            return run_reweighted(self.rows, problem, result, eps_t, max_iter=limit, tol=tol, soft=soft)
        return result

    def _mover(self, jobs: Jobs, problem: Problem) -> Mover:
        settings = self.settings
        parts = self._each(jobs, "part").astype(np.intp)
        pools = {part: self._pool(int(part)) for part in np.unique(parts)}
        keys = np.stack([jobs.fold, jobs.eps_c, jobs.eps_w, jobs.mi_prior], axis=1)
        return Mover(
            rows=self.rows,
            problem=problem,
            pools=[pools[part] for part in parts],
            group=np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1),
            streams=[
                np.random.default_rng([self._move_seed, f, r]) for f, r in zip(jobs.fold, jobs.restart, strict=True)
            ],
            init=settings.init,
            max_iter=settings.max_iter,
            tol=settings.tol,
            soft=settings.eps_a > 0,
        )

    def _pool(self, part: int) -> Pool:
        data, weights = self.data, self.backend.to_host(self.rows.weights)[part]
        some = at_most(np.flatnonzero(weights > 0), SEED_ROWS, np.random.RandomState(self._move_seed % 2**31))
        order = canonical_order(self.scaling.inside(data.X[some]), data.codes[some])
        augmented = self.backend.to_host(self.rows.gather(some[order])).astype(np.float64, copy=False)
        # equal rows are one row of their joint weight, so that copies and weights remain the same thing
        first = np.flatnonzero(np.append(True, (augmented[1:] != augmented[:-1]).any(axis=1)))
        joint = np.add.reduceat(weights[some][order], first)
        kept = some[order][first]
        rows = SeedRows(self.scaling.inside(data.X[kept]), data.codes[kept], joint, len(data.classes))
        return Pool(kept, rows, augmented[first], joint / joint.sum())

    def read(self, jobs: Jobs, result: FitResult) -> Readout:
        """Count the classes of the clusters again."""
        soft, parameters = self.settings.eps_a > 0, result.parameters(self.backend)
        rows, problem = self.rows, self.problem(jobs)
        if result.instance_weights is not None:
            rows, problem = reweighted(rows, problem, result.instance_weights)
        return read_out(rows, problem, parameters, unbias=self.settings.unbias, soft=soft)

    def problem(self, jobs: Jobs) -> Problem:
        """Lay out the constants of the jobs on the device."""
        put, part = self.backend.numbers, self._each(jobs, "part").astype(np.intp)
        frequency, factor = self._each(jobs, "frequency"), self._each(jobs, "class_factor")
        return Problem(
            eps_c=put(jobs.eps_c),
            eps_w=put(jobs.eps_w),
            eps_a=put(np.full(len(jobs.fold), self.settings.eps_a)),
            prior_strength=put(jobs.alpha / self._each(jobs, "total")),
            class_prior=put(factor * frequency),
            class_frequency=put(frequency),
            class_factor=put(factor),
            metric=put(self._each(jobs, "metric")),
            log_prior=put(self._log_prior(jobs)),
            second_moment=put(self._second_moments[part]),
            fold=self.backend.integers(part),
        )

    def start(self, jobs: Jobs) -> Parameters:
        """Where the jobs begin; Lambda at the class frequencies makes the first assignment label-free."""
        K = min(jobs.n_clusters, self.folds[0].live.shape[1])
        W, S, live = (self._restarts(jobs, name) for name in ("W", "S", "live"))
        S, live = S[:, :K], live[:, :K]
        W = np.where(np.isinf(jobs.eps_w)[:, None], softmax(self._log_prior(jobs), axis=1), W)
        prior = self._each(jobs, "frequency") * self._each(jobs, "class_factor")
        Lambda = np.broadcast_to(prior[:, None, :], (*live.shape, prior.shape[1]))
        put = self.backend.numbers
        return Parameters(put(W), put(S), put(Lambda), self.backend.integers(live) > 0)

    def _log_prior(self, jobs: Jobs) -> Floats:
        """(B, D) logarithm of the prior of W."""
        kinds, inverse = np.unique(np.stack([jobs.fold, jobs.mi_prior], axis=1), axis=0, return_inverse=True)
        folds = [self.folds[int(fold)] for fold in kinds[:, 0]]
        pairs = zip(folds, kinds[:, 1], strict=True)
        each = np.stack([prior_logarithm(fold.relevance, fold.varies, float(power)) for fold, power in pairs])
        return each[inverse.reshape(-1)]

    def _each(self, jobs: Jobs, name: str) -> Floats:
        return np.stack([np.asarray(getattr(fold, name), dtype=np.float64) for fold in self.folds])[jobs.fold]

    def _restarts(self, jobs: Jobs, name: str) -> NDArray[Any]:
        """What each job begins with: an array of its fold, at its restart."""
        like = getattr(self.folds[0], name)
        found = np.empty((len(jobs.fold), *like.shape[1:]), like.dtype)
        for fold in np.unique(jobs.fold):
            here = jobs.fold == fold
            found[here] = getattr(self.folds[fold], name)[jobs.restart[here]]
        return found

    def _fold(self, number: int, weights: Floats, kind: str, random: np.random.RandomState) -> Fold:
        data, settings = self.data, self.settings
        part = np.flatnonzero(weights > 0)
        total = float(weights.sum())
        frequency = data.frequency(weights)
        factor = class_factors(settings.class_weight, data.classes, frequency)
        scaling = fit_scaling(data.X, weights, kind)
        relevance = measure_relevance(data, part, settings, random)
        metric = feature_metric(scaling)
        W = first_weights(relevance, scaling.varies, settings)
        S, live = seed(data, part, scaling, W * metric, settings, random)
        return Fold(
            part=number,
            total=total,
            frequency=frequency,
            class_factor=factor / (factor @ frequency),
            metric=metric * (self.scaling.scale / scaling.scale) ** 2,
            relevance=relevance,
            varies=scaling.varies,
            W=W,
            S=(scaling.outside(S) - self.scaling.center) / self.scaling.scale,
            live=live,
        )


def _only(weights: Floats, part: Integers) -> Floats:
    kept = np.zeros_like(weights)
    kept[part] = weights[part]
    return kept
