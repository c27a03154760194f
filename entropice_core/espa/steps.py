"""The closed-form minimisers of the functional, each for a batch of B fits at once.

Every step is the exact minimiser of one block with the others held, so the loss never rises:

* Gamma: the cheapest cluster, or a softmax of the costs when affiliations have an entropy (``sweep.py``);
* W: a softmax of minus the dispersion (Gibbs variational principle);
* S: weighted means;  * Lambda: normalised class counts with an optional Dirichlet prior.

All of them need only sums over rows, so they cost nothing beside the pass over the rows. Arrays are in the namespace
of the backend, float64, with the batch in front: W (B, D), S (B, K, D), Lambda (B, K, M).
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from entropice_core.espa.backend import Array, Backend
from entropice_core.espa.rows import Layout

DELTA = float(np.finfo(np.float64).eps)  # floor under logarithms of probabilities


@dataclass(frozen=True)
class Batch:
    """Anything whose every field has one entry per fit, so that converged fits can leave."""

    def take(self, xp: Any, index: Array) -> Any:
        """Keep the fits named by ``index``."""
        kept = {field.name: _take(xp, getattr(self, field.name), index) for field in fields(self)}
        return type(self)(**kept)


def _take(xp: Any, value: Any, index: Array) -> Any:
    return None if value is None else xp.take(value, index, axis=0)


@dataclass(frozen=True)
class Problem(Batch):
    """What is held fixed while a fit runs; one entry per fit.

    Attributes
    ----------
    eps_c, eps_w, eps_a : (B,)
        Weight of the labels, temperature of W (inf: W stays at its prior), temperature of Gamma (0: hard).
    prior_strength : (B,)
        Dirichlet pseudo-weight a per cluster, as a share of the total weight.
    class_prior : (B, M)
        Class frequencies as the training weighs them; start of Lambda and mean of its Dirichlet prior.
    class_frequency : (B, M)
        Class frequencies without class weights; mean of the prior of the final count.
    class_factor : (B, M)
        What class weights multiply the labels by; 1 without class weights.
    metric : (B, D)
        Fixed factor of each feature's squared difference: units of a fold, share of missing values; 0 = not used.
    log_prior : (B, D)
        Logarithm of the unnormalised prior of W; 0 = uniform, -inf = not used.
    second_moment : (B, D)
        Sum of w x^2 over the rows of the fit.
    fold : (B,) int64
        Which row of weights the fit sees.
    """

    eps_c: Array
    eps_w: Array
    eps_a: Array
    prior_strength: Array
    class_prior: Array
    class_frequency: Array
    class_factor: Array
    metric: Array
    log_prior: Array
    second_moment: Array
    fold: Array


@dataclass(frozen=True)
class Parameters(Batch):
    """What is learnt: W (B, D), S (B, K, D), Lambda (B, K, M), and which clusters live (B, K) bool."""

    W: Array
    S: Array
    Lambda: Array
    live: Array


@dataclass(frozen=True)
class Statistics(Batch):
    """Sums over rows per cluster.

    Attributes
    ----------
    mass : (B, K)
        Sum of w.
    observed : (B, K, D) or (B, K, 1)
        Sum of w over the rows in which the feature is observed.
    sums : (B, K, D)
        Sum of w x.
    counts : (B, K, M)
        Sum of w rho onehot(y), without class weights.
    entropy : (B,)
        Sum of w Gamma log Gamma; 0 for hard affiliations.
    """

    mass: Array
    observed: Array
    sums: Array
    counts: Array
    entropy: Array


def split_statistics(layout: Layout, totals: Array, entropy: Array) -> Statistics:
    """Name the columns of the summed augmented rows (B, K, columns)."""
    return Statistics(
        mass=totals[:, :, layout.n_features],
        observed=totals[:, :, layout.observed],
        sums=totals[:, :, layout.features],
        counts=totals[:, :, layout.labels],
        entropy=entropy,
    )


def cost_operator(
    backend: Backend, layout: Layout, weights: Array, S: Array, live: Array, label_costs: Array | None = None
) -> Array:
    """Coefficients (B, K, columns) whose product with an augmented row is its cost in every cluster.

    The cost leaves out sum_d weights_d x_d^2, which is the same for all clusters of a fit.

    Parameters
    ----------
    weights : (B, D)
        W times the metric.
    S : (B, K, D)
    live : (B, K) bool
    label_costs : (B, K, M), optional
        Cost of every class in every cluster; without it labels are ignored.
    """
    xp = backend.xp
    n_fits, n_clusters = live.shape
    squares = weights[:, None, :] * S**2
    # a huge finite cost closes a pruned cluster; infinity would make NaN of 0 * inf inside the product
    huge = 1e20 if backend.dtype == "float32" else 1e100
    closed = (1.0 - xp.astype(live, xp.float64))[:, :, None] * huge
    parts = [-2.0 * weights[:, None, :] * S]
    parts += [closed, squares] if layout.masked else [closed + xp.sum(squares, axis=-1, keepdims=True)]
    if layout.n_classes:
        ignored = backend.numbers(np.zeros((n_fits, n_clusters, layout.n_classes)))
        parts.append(ignored if label_costs is None else label_costs)
    return xp.astype(xp.concat(parts, axis=-1), getattr(xp, backend.dtype), copy=False)


def class_costs(xp: Any, problem: Problem, Lambda: Array) -> Array:
    """(B, K, M): -eps_c class_factor log Lambda, the label term of the cost of a row of each class."""
    factor = (problem.eps_c[:, None] * problem.class_factor)[:, None, :]
    return -factor * safe_log(xp, Lambda)


def safe_log(xp: Any, probability: Array) -> Array:
    """Logarithm with the floor DELTA."""
    return xp.log(xp.where(probability > DELTA, probability, xp.full_like(probability, DELTA)))


def dispersion(xp: Any, problem: Problem, statistics: Statistics, S: Array) -> Array:
    """Return b (B, D): weighted mean squared difference of every feature to the centroids, before the metric."""
    spread = statistics.observed * S  # changed in place: these are the largest arrays of a sweep
    spread -= 2.0 * statistics.sums
    spread *= S
    b = problem.second_moment + xp.sum(spread, axis=1)
    return xp.where(b > 0.0, b, xp.zeros_like(b))


def update_weights(xp: Any, problem: Problem, b: Array) -> Array:
    """W (B, D) = softmax of log prior - metric b / eps_w.

    The largest exponent is subtracted first; without that all of W underflows to zero for small eps_w.
    """
    logits = problem.log_prior - problem.metric * b / problem.eps_w[:, None]
    shifted = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return shifted / xp.sum(shifted, axis=-1, keepdims=True)


def update_centroids(xp: Any, statistics: Statistics, old: Array) -> Array:
    """S (B, K, D): weighted means of the observed values; where nothing is observed S stays, its cost is zero."""
    known = statistics.observed > 0.0
    divisor = xp.where(known, statistics.observed, xp.ones_like(statistics.observed))
    return xp.where(known, statistics.sums / divisor, old)


def update_probabilities(xp: Any, problem: Problem, counts: Array, class_prior: Array) -> Array:
    """Lambda (B, K, M) = (counts + a prior) / (mass + a); an empty cluster gets the prior (B, M)."""
    strength = problem.prior_strength[:, None, None]
    prior = xp.broadcast_to(class_prior[:, None, :], counts.shape)
    mass = xp.sum(counts, axis=-1, keepdims=True) + strength
    filled = mass > 0.0
    return xp.where(filled, (counts + strength * prior) / xp.where(filled, mass, xp.ones_like(mass)), prior)


def weighted_counts(problem: Problem, statistics: Statistics) -> Array:
    """Class counts (B, K, M) with the class weights, as the label term of the training sees them."""
    return statistics.counts * problem.class_factor[:, None, :]
