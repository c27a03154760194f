"""From rows and settings to a batch of fits, and from the fits to a predictor.

Shared by the classifier and the search. What must not be here: scikit-learn, cross-validation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.backend import Backend
from entropice_core.espa.fit import FitResult, Readout, read_out, run_fits
from entropice_core.espa.mutual_information import binned_mutual_information
from entropice_core.espa.predictor import Predictor
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import Scaling, fit_scaling
from entropice_core.espa.seeds import SeedRows, canonical_rows, pick_seeds, starting_weights
from entropice_core.espa.steps import Parameters, Problem
from entropice_core.espa.validation import class_factors

Floats = NDArray[np.float64]

SEED_ROWS = 20_000  # k-means++ passes over the rows K times; beyond this a random part of them is enough
RELEVANCE_ROWS = 100_000


@dataclass(frozen=True)
class Settings:
    """What one configuration of eSPA+ consists of; meanings as in ``ESPAClassifier``."""

    n_clusters: int
    eps_c: float
    eps_w: float
    eps_a: float
    alpha: float
    tau: float | None
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
        """Pick the fields of a dictionary that holds more."""
        return cls(**{name: parameters[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class TrainingRows:
    """Rows of positive weight: X (T, D) input units, codes (T,), classes (M,), weights (T,) in rows."""

    X: NDArray[Any]
    codes: NDArray[np.intp]
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

    @property
    def total(self) -> float:
        """Sum of the weights, in rows."""
        return float(self.weights.sum())

    @property
    def frequency(self) -> Floats:
        """(M,) weight share of each class."""
        return np.bincount(self.codes, self.weights, len(self.classes)) / self.total

    @property
    def shares(self) -> Floats:
        """(T,) weights of sum 1."""
        return self.weights / self.total


@dataclass(frozen=True)
class Prepared:
    """A batch of restarts before its first sweep.

    ``n_distinct`` is the number of clusters that could be seeded, smaller than asked for when rows repeat.
    """

    rows: Rows
    scaling: Scaling
    problem: Problem
    start: Parameters
    n_distinct: int


def prepare(data: TrainingRows, settings: Settings, random: np.random.RandomState, backend: Backend) -> Prepared:
    """Scale, seed and lay out all restarts of one configuration."""
    scaling = fit_scaling(data.X, data.weights, settings.scaling)
    rows = Rows(
        data.X,
        scaling,
        backend,
        codes=data.codes,
        n_classes=len(data.classes),
        weights=data.shares[None, :],
        masked=settings.missing == "mask",
    )
    relevance = measure_relevance(data, settings, random)
    log_prior = prior_logarithm(relevance, scaling.varies, settings.mi_prior)
    metric = feature_metric(scaling)
    weights = first_weights(relevance, scaling.varies, log_prior, settings)
    seeds, n_distinct = _seed(data, scaling, weights * metric, settings, random)
    problem = _problem(backend, rows, data, settings, metric, log_prior)
    start = _start(backend, weights, seeds, problem)
    return Prepared(rows, scaling, problem, start, n_distinct)


def train(prepared: Prepared, settings: Settings) -> FitResult:
    """Run all restarts to the end."""
    return run_fits(
        prepared.rows,
        prepared.problem,
        prepared.start,
        max_iter=settings.max_iter,
        tol=settings.tol,
        soft=settings.eps_a > 0,
    )


def measure_relevance(data: TrainingRows, settings: Settings, random: np.random.RandomState) -> Floats:
    """(D,) mutual information of each feature with the class, nats; zeros when nobody asks for it."""
    if settings.mi_start == 0 and settings.mi_prior == 0:
        return np.zeros(data.X.shape[1])
    part = _part(len(data.X), RELEVANCE_ROWS, random)
    X = np.asarray(data.X[part], dtype=np.float64)
    return binned_mutual_information(X, data.codes[part], data.weights[part], len(data.classes))


def _part(n_rows: int, limit: int, random: np.random.RandomState) -> Any:
    return slice(None) if n_rows <= limit else np.sort(random.choice(n_rows, limit, replace=False))


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


def first_weights(relevance: Floats, varies: NDArray[np.bool_], log_prior: Floats, settings: Settings) -> Floats:
    """(R, D) feature weights that the restarts begin with."""
    if np.isinf(settings.eps_w):
        prior = np.exp(log_prior - log_prior.max())
        return np.tile(prior / prior.sum(), (settings.n_init, 1))
    used = varies if varies.any() else np.ones_like(varies)
    return starting_weights(relevance, used, settings.n_init, settings.mi_start)


def _seed(
    data: TrainingRows, scaling: Scaling, metric: Floats, settings: Settings, random: np.random.RandomState
) -> tuple[tuple[Floats, NDArray[np.bool_]], int]:
    """Centroids (R, K, D) and which of them exist (R, K)."""
    n_clusters = min(settings.n_clusters, len(data.X))
    rows = seed_rows(data, scaling, random)
    draws = random.random_sample((n_clusters, len(metric)))
    picked = pick_seeds(rows, metric, n_clusters, draws, settings.init)
    live = picked >= 0
    S = np.where(live[:, :, None], rows.x[np.maximum(picked, 0)], 0.0)
    return (S, live), int(live.sum(1).max())


def seed_rows(data: TrainingRows, scaling: Scaling, random: np.random.RandomState) -> SeedRows:
    """Rows to draw seeds from, at most ``SEED_ROWS``."""
    part = _part(len(data.X), SEED_ROWS, random)
    return canonical_rows(scaling.inside(data.X[part]), data.codes[part], data.weights[part], len(data.classes))


def _problem(
    backend: Backend, rows: Rows, data: TrainingRows, settings: Settings, metric: Floats, log_prior: Floats
) -> Problem:
    n_fits, frequency = settings.n_init, data.frequency
    factors = class_factors(settings.class_weight, data.classes, frequency)
    factors = factors / (factors @ frequency)

    def each(value: Any) -> Any:
        return backend.numbers(np.broadcast_to(np.asarray(value, dtype=np.float64), (n_fits, *np.shape(value))))

    return Problem(
        eps_c=each(settings.eps_c),
        eps_w=each(settings.eps_w),
        eps_a=each(settings.eps_a),
        prior_strength=each(settings.alpha / data.total),
        class_prior=each(factors * frequency),
        class_frequency=each(frequency),
        class_factor=each(factors),
        metric=each(metric),
        log_prior=each(log_prior),
        second_moment=each(rows.second_moments()[0]),
        fold=backend.integers(np.zeros(n_fits)),
    )


def _start(backend: Backend, W: Floats, seeds: tuple[Floats, NDArray[np.bool_]], problem: Problem) -> Parameters:
    """Lambda starts at the class frequencies, which makes the first assignment label-free."""
    S, live = seeds
    prior = backend.to_host(problem.class_prior)[:, None, :]
    Lambda = np.broadcast_to(prior, (*live.shape, prior.shape[-1]))
    return Parameters(backend.numbers(W), backend.numbers(S), backend.numbers(Lambda), backend.integers(live) > 0)


def read_members(prepared: Prepared, result: FitResult, members: NDArray[np.intp], settings: Settings) -> Readout:
    """Count the classes of chosen restarts again."""
    backend = prepared.rows.backend
    problem = prepared.problem.take(backend.xp, backend.integers(members))
    parameters = result.take(members).parameters(backend)
    return read_out(prepared.rows, problem, parameters, unbias=settings.unbias, soft=settings.eps_a > 0)


def build_predictor(
    prepared: Prepared, chosen: FitResult, readout: Readout, settings: Settings, data: TrainingRows
) -> Predictor:
    """Average the chosen restarts; clusters that exist come first in each."""
    order = np.argsort(~readout.live, axis=1, kind="stable")[:, : int(readout.live.sum(1).max())]
    member = np.arange(len(order))[:, None]
    metric = prepared.rows.backend.to_host(prepared.problem.metric)[:1]
    temperature = settings.eps_a if settings.tau is None else settings.tau * readout.distance_scale
    return Predictor(
        classes=data.classes,
        center=prepared.scaling.center,
        scale=prepared.scaling.scale,
        metric=chosen.W * metric,
        centroids=chosen.S[member, order],
        class_probabilities=readout.Lambda[member, order],
        live=readout.live[member, order],
        temperature=np.broadcast_to(np.asarray(temperature, dtype=np.float64), (len(order),)).copy(),
        power=np.ones(1),
        class_bias=np.zeros(len(data.classes)),
        decision_weights=class_factors(settings.class_weight, data.classes, data.frequency),
        masked=settings.missing == "mask",
    )
