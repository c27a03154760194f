"""From rows to the starts of a fold: relevance of features, prior and first weights, seeds.

What must not be here: the rules of seeding (``seeds.py``) and of mutual information.
"""

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.mutual_information import binned_mutual_information
from entropice_core.espa.scaling import Scaling
from entropice_core.espa.seeds import SeedRows, canonical_rows, pick_seeds, starting_weights
from entropice_core.espa.training_rows import Settings, TrainingRows

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

SEED_ROWS = 20_000  # k-means++ passes over the rows K times; beyond this a random part of them is enough
RELEVANCE_ROWS = 50_000


def measure_relevance(data: TrainingRows, part: Integers, settings: Settings, random: np.random.RandomState) -> Floats:
    """(D,) mutual information of each feature with the class, nats; zeros when nobody asks for it."""
    if settings.mi_start == 0 and not settings.mi_prior:
        return np.zeros(data.X.shape[1])
    some = at_most(part, RELEVANCE_ROWS, random)
    X, codes, weights = data.labelled(some)
    return binned_mutual_information(np.asarray(X, dtype=np.float64), codes, weights, len(data.classes))


def at_most(part: Integers, limit: int, random: np.random.RandomState) -> Integers:
    """All rows of a part, or ``limit`` of them at random, in order."""
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
    some = at_most(part, SEED_ROWS, random)
    return canonical_rows(scaling.inside(data.X[some]), data.codes[some], data.weights[some], len(data.classes))
