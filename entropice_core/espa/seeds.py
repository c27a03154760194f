"""Where fits start: rows that become the first centroids, and the first feature weights.

k-means++ (Arthur & Vassilvitskii 2007) picks a row with probability proportional to its squared distance to the
nearest row picked so far. All restarts are drawn together. Rows are put in an order of their own first, so that the
result depends neither on the order of the rows nor on whether a row is repeated or weighted.
What must not be here: sweeps.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

INITS = ("balanced", "k-means++", "random")


@dataclass(frozen=True)
class SeedRows:
    """Rows to pick from, in canonical order: x (n, D) inside units, class codes (n,), weights (n,) > 0."""

    x: Floats
    codes: Codes
    weights: Floats
    n_classes: int


def canonical_rows(x: Floats, codes: Codes, weights: Floats, n_classes: int) -> SeedRows:
    """Rows in an order that does not depend on the order in which they came."""
    order = canonical_order(x, codes)
    return SeedRows(x[order], codes[order], weights[order], n_classes)


def canonical_order(x: Floats, codes: Codes) -> Codes:
    """Sort rows by a fixed random projection, computed column by column so that it does not depend on their order."""
    direction = np.random.default_rng(0).standard_normal((x.shape[1],))
    key: Floats = np.zeros(len(x))
    for column, factor in zip(x.T, direction, strict=True):
        key += column * factor
    order: Codes = np.lexsort((key, codes))
    return order


def pick_seeds(rows: SeedRows, metric: Floats, n_clusters: int, draws: Floats, init: str) -> NDArray[np.intp]:
    """Pick K rows for each of R restarts.

    Parameters
    ----------
    rows : SeedRows
    metric : (R, D) float64, >= 0
        Factor of each squared difference, per restart.
    n_clusters : int
    draws : (K, R) float64 in [0, 1)
        The randomness. The first K' rows of the result are the result for K' clusters.
    init : "balanced", "k-means++" or "random"
        ``balanced`` lets every class weigh the same and gives one seed to each class first, so that a rare class owns
        a centroid; ``random`` ignores distances.

    Returns
    -------
    (R, K) int, positions in ``rows``; -1 when there are fewer distinct rows than clusters
    """
    n_restarts = metric.shape[0]
    base = _balanced_weights(rows) if init == "balanced" else rows.weights
    forced = min(rows.n_classes, n_clusters) if init == "balanced" else 0
    norms = (rows.x**2) @ metric.T
    noise = 1e-12 * (base @ norms) / base.sum()
    nearest = np.full((len(rows.x), n_restarts), np.inf)
    picked = np.full((n_restarts, n_clusters), -1, dtype=np.intp)
    for k in range(n_clusters):
        pull = np.ones_like(nearest) if k == 0 else nearest if init != "random" else (nearest > 0).astype(np.float64)
        mass = base[:, None] * pull
        if k < forced:
            mass = _one_class_each(rows, mass, k)
        picked[:, k] = _draw(mass, draws[k])
        _shorten(rows.x, metric, norms, noise, picked[:, k], nearest)
    return picked


def _balanced_weights(rows: SeedRows) -> Floats:
    per_class = np.bincount(rows.codes, rows.weights, rows.n_classes)
    balanced: Floats = rows.weights / per_class[rows.codes]
    return balanced


def _one_class_each(rows: SeedRows, mass: Floats, k: int) -> Floats:
    """Restart r takes its k-th seed from class (k + r) mod M, when that class still has a row to give."""
    turn = (k + np.arange(mass.shape[1])) % rows.n_classes
    own = mass * (rows.codes[:, None] == turn[None, :])
    return np.where(own.sum(0) > 0, own, mass)


def _draw(mass: Floats, draws: Floats) -> NDArray[np.intp]:
    cumulative = np.cumsum(mass, axis=0)
    total = cumulative[-1]
    hits = [np.searchsorted(cumulative[:, r], draws[r] * total[r], side="right") for r in range(len(draws))]
    picked = np.minimum(np.array(hits, dtype=np.intp), len(mass) - 1)
    return np.where(total > 0, picked, -1)


def _shorten(
    x: Floats, metric: Floats, norms: Floats, noise: Floats, picked: NDArray[np.intp], nearest: Floats
) -> None:
    """Lower ``nearest`` to the distance from the newly picked rows; rounding noise counts as no distance."""
    seeds = x[np.maximum(picked, 0)]
    distance = norms - 2.0 * (x @ (metric * seeds).T) + (metric * seeds**2).sum(1)
    distance[distance <= noise] = 0.0
    np.minimum(nearest, np.where(picked >= 0, distance, np.inf), out=nearest)


def starting_weights(relevance: Floats, used: NDArray[np.bool_], n_starts: int, share: float) -> Floats:
    """(n_starts, D) feature weights: the last ``share`` of the starts weigh by relevance, the others evenly.

    >>> starting_weights(np.array([3.0, 1.0]), np.array([True, True]), 2, 0.5).round(2).tolist()
    [[0.5, 0.5], [0.75, 0.25]]
    """
    even = used / used.sum()
    # no feature in use starts at exactly zero: it would be blind in the seeding and in the first assignment
    informed = np.where(used, np.maximum(relevance, 1e-12), 0.0)
    informed = informed / informed.sum() if (relevance[used] > 0).any() else even
    n_informed = math.ceil(n_starts * share)
    return np.vstack([np.tile(even, (n_starts - n_informed, 1)), np.tile(informed, (n_informed, 1))])
