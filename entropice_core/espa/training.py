"""From rows and settings to batches of fits.

Shared by the classifier, which fits all rows, and the search, which also fits the training part of every fold: the
whole data set is fold 0, folds of a cross-validation follow. The rows exist once; a fold is a row of weights, its own
units are a factor on the squared differences, so that nothing of held-out rows enters.
What must not be here: scikit-learn, choice among configurations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.backend import Backend
from entropice_core.espa.fit import FitResult, Readout, read_out, run_fits
from entropice_core.espa.mutual_information import binned_mutual_information
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import Scaling, fit_scaling
from entropice_core.espa.seeds import SeedRows, canonical_rows, pick_seeds, starting_weights
from entropice_core.espa.steps import Parameters, Problem
from entropice_core.espa.validation import class_factors

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

SEED_ROWS = 20_000  # k-means++ passes over the rows K times; beyond this a random part of them is enough
RELEVANCE_ROWS = 50_000


@dataclass(frozen=True)
class Settings:
    """What all fits of a program share; meanings as in ``ESPAClassifier``. ``n_clusters`` is the largest K."""

    n_clusters: int
    eps_a: float
    unbias: bool
    scaling: str
    class_weight: Any
    mi_prior: float
    mi_start: float
    init: str
    n_init: int
    max_iter: int
    tol: float
    missing: str

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> "Settings":
        """Pick the fields of a dictionary that may hold more."""
        return cls(**{name: parameters[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class TrainingRows:
    """Rows of positive weight: X (T, D) input units, codes (T,), classes (M,), weights (T,) in rows."""

    X: NDArray[Any]
    codes: Integers
    classes: NDArray[Any]
    weights: Floats

    @classmethod
    def select(cls, X: NDArray[Any], y: NDArray[Any], weights: Floats) -> "TrainingRows":
        """Drop rows of weight zero; they count neither as rows nor as classes."""
        kept = weights > 0
        if not kept.all():
            X, y, weights = X[kept], y[kept], weights[kept]
        classes, codes = np.unique(y, return_inverse=True)
        return cls(X, codes, classes, weights)


@dataclass(frozen=True)
class Fold:
    """Constants of the training part of one fold; D features, M classes, R restarts, K clusters.

    Attributes
    ----------
    total : float
        Sum of the weights, in rows.
    frequency, class_factor : (M,)
    metric, log_prior : (D,)
    prior_W : (D,)
        W when its temperature is infinite.
    W, S, live : (R, D), (R, K, D) in units of the program, (R, K) bool
        Where the restarts begin.
    """

    total: float
    frequency: Floats
    class_factor: Floats
    metric: Floats
    log_prior: Floats
    prior_W: Floats
    W: Floats
    S: Floats
    live: NDArray[np.bool_]


@dataclass(frozen=True)
class Jobs:
    """Fits to run together: fold, restart, eps_c, eps_w, all (B,); they share K and alpha."""

    n_clusters: int
    alpha: float
    fold: Integers
    restart: Integers
    eps_c: Floats
    eps_w: Floats

    def take(self, index: Integers) -> "Jobs":
        """Keep the jobs named by ``index``, in its order."""
        parts = (self.fold[index], self.restart[index], self.eps_c[index], self.eps_w[index])
        return Jobs(self.n_clusters, self.alpha, *parts)

    @classmethod
    def restarts_of_all_rows(cls, n_clusters: int, alpha: float, eps_c: float, eps_w: float, n_init: int) -> "Jobs":
        """All restarts of one configuration on the whole data set."""
        zeros = np.zeros(n_init, dtype=np.intp)
        return cls(n_clusters, alpha, zeros, np.arange(n_init), np.full(n_init, eps_c), np.full(n_init, eps_w))


class Program:
    """Rows on the device, scaled once, with the constants and the starts of every fold.

    Parameters
    ----------
    data : TrainingRows
    settings : Settings
    random : RandomState
    backend : Backend
    training_parts : sequence of (n,) int
        Rows of the training part of each fold; fold 0, all rows, is always there.
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
        self.scaling = fit_scaling(data.X, data.weights, settings.scaling)
        weights = np.stack([data.weights, *(_only(data.weights, part) for part in training_parts)])
        self.folds = [self._fold(row, random) for row in weights]
        self.rows = Rows(
            data.X,
            self.scaling,
            backend,
            codes=data.codes,
            n_classes=len(data.classes),
            weights=weights / weights.sum(1, keepdims=True),
            masked=settings.missing == "mask",
        )
        self._second_moments = self.rows.second_moments()

    @property
    def n_distinct(self) -> int:
        """How many clusters could be seeded; smaller than asked for when rows repeat."""
        return int(self.folds[0].live.sum(1).max())

    def run(self, jobs: Jobs, max_iter: int | None = None) -> FitResult:
        """Run fits to the end, or for ``max_iter`` sweeps."""
        limit = self.settings.max_iter if max_iter is None else max_iter
        soft = self.settings.eps_a > 0
        return run_fits(
            self.rows, self.problem(jobs), self.start(jobs), max_iter=limit, tol=self.settings.tol, soft=soft
        )

    def read(self, jobs: Jobs, result: FitResult) -> Readout:
        """Count the classes of the clusters again."""
        soft, parameters = self.settings.eps_a > 0, result.parameters(self.backend)
        return read_out(self.rows, self.problem(jobs), parameters, unbias=self.settings.unbias, soft=soft)

    def problem(self, jobs: Jobs) -> Problem:
        """Lay out the constants of the jobs on the device."""
        put = self.backend.numbers
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
            log_prior=put(self._each(jobs, "log_prior")),
            second_moment=put(self._second_moments[jobs.fold]),
            fold=self.backend.integers(jobs.fold),
        )

    def start(self, jobs: Jobs) -> Parameters:
        """Where the jobs begin; Lambda at the class frequencies makes the first assignment label-free."""
        pairs = list(zip(jobs.fold, jobs.restart, strict=True))
        K = min(jobs.n_clusters, self.folds[0].live.shape[1])
        W = np.stack([self.folds[f].W[r] for f, r in pairs])
        W = np.where(np.isinf(jobs.eps_w)[:, None], self._each(jobs, "prior_W"), W)
        S = np.stack([self.folds[f].S[r, :K] for f, r in pairs])
        live = np.stack([self.folds[f].live[r, :K] for f, r in pairs])
        prior = self._each(jobs, "frequency") * self._each(jobs, "class_factor")
        Lambda = np.broadcast_to(prior[:, None, :], (*live.shape, prior.shape[1]))
        put = self.backend.numbers
        return Parameters(put(W), put(S), put(Lambda), self.backend.integers(live) > 0)

    def _each(self, jobs: Jobs, name: str) -> Floats:
        return np.stack([np.asarray(getattr(self.folds[f], name), dtype=np.float64) for f in jobs.fold])

    def _fold(self, weights: Floats, random: np.random.RandomState) -> Fold:
        data, settings = self.data, self.settings
        part = np.flatnonzero(weights > 0)
        total = float(weights.sum())
        frequency = np.bincount(data.codes, weights, len(data.classes)) / total
        factor = class_factors(settings.class_weight, data.classes, frequency)
        scaling = fit_scaling(data.X, weights, settings.scaling)
        relevance = measure_relevance(data, part, settings, random)
        log_prior = prior_logarithm(relevance, scaling.varies, settings.mi_prior)
        metric = feature_metric(scaling)
        W = first_weights(relevance, scaling.varies, settings)
        S, live = seed(data, part, scaling, W * metric, settings, random)
        prior_W = np.exp(log_prior - log_prior.max())
        return Fold(
            total=total,
            frequency=frequency,
            class_factor=factor / (factor @ frequency),
            metric=metric * (self.scaling.scale / scaling.scale) ** 2,
            log_prior=log_prior,
            prior_W=prior_W / prior_W.sum(),
            W=W,
            S=(scaling.outside(S) - self.scaling.center) / self.scaling.scale,
            live=live,
        )


def _only(weights: Floats, part: Integers) -> Floats:
    kept = np.zeros_like(weights)
    kept[part] = weights[part]
    return kept


def measure_relevance(data: TrainingRows, part: Integers, settings: Settings, random: np.random.RandomState) -> Floats:
    """(D,) mutual information of each feature with the class, nats; zeros when nobody asks for it."""
    if settings.mi_start == 0 and settings.mi_prior == 0:
        return np.zeros(data.X.shape[1])
    some = _at_most(part, RELEVANCE_ROWS, random)
    X = np.asarray(data.X[some], dtype=np.float64)
    return binned_mutual_information(X, data.codes[some], data.weights[some], len(data.classes))


def _at_most(part: Integers, limit: int, random: np.random.RandomState) -> Integers:
    return part if len(part) <= limit else np.sort(random.choice(part, limit, replace=False))


def prior_logarithm(relevance: Floats, varies: NDArray[np.bool_], power: float) -> Floats:
    """(D,) log of the prior of W; features that do not vary are excluded, unless none does."""
    if not varies.any():
        return np.zeros(len(varies))
    floored = np.maximum(relevance, 1e-12)
    prior = power * np.log(floored / floored[varies].mean()) if power > 0 else np.zeros(len(varies))
    return np.where(varies, prior, -np.inf)


def feature_metric(scaling: Scaling) -> Floats:
    """(D,) factor of squared differences: 0 for constant features, 1 / observed share for incomplete ones.

    Without the second, a feature that is mostly missing would collect little dispersion and so be given a large W.
    """
    return np.where(scaling.varies, 1.0 / np.where(scaling.varies, scaling.observed, 1.0), 0.0)


def first_weights(relevance: Floats, varies: NDArray[np.bool_], settings: Settings) -> Floats:
    """(R, D) feature weights that the restarts begin with."""
    used = varies if varies.any() else np.ones_like(varies)
    return starting_weights(relevance, used, settings.n_init, settings.mi_start)


def seed(
    data: TrainingRows,
    part: Integers,
    scaling: Scaling,
    metric: Floats,
    settings: Settings,
    random: np.random.RandomState,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Centroids (R, K, D) in the units of ``scaling`` and which of them exist (R, K)."""
    n_clusters = min(settings.n_clusters, len(part))
    rows = seed_rows(data, part, scaling, random)
    draws = random.random_sample((n_clusters, len(metric)))
    picked = pick_seeds(rows, metric, n_clusters, draws, settings.init)
    live = picked >= 0
    S = np.where(live[:, :, None], rows.x[np.maximum(picked, 0)], 0.0)
    # a fold may have fewer rows than the largest K; all folds get arrays of one shape
    padding = ((0, 0), (0, settings.n_clusters - n_clusters))
    return np.pad(S, (*padding, (0, 0))), np.pad(live, padding)


def seed_rows(data: TrainingRows, part: Integers, scaling: Scaling, random: np.random.RandomState) -> SeedRows:
    """Rows to draw seeds from, at most ``SEED_ROWS``."""
    some = _at_most(part, SEED_ROWS, random)
    return canonical_rows(scaling.inside(data.X[some]), data.codes[some], data.weights[some], len(data.classes))
