"""What a fitted eSPA says about its features beside what shuffling them costs, with the spread over its fits.

W is a softmax of within-cluster variances and rewards quiet features; the explained share of variance says what the
clusters carry, not what they predict; shuffling measures a score, but sees no feature whose likes stand in for it.
None is right alone, so they stand side by side, and their rank correlations with each other are told.
What must not be here: training, cross-validation (give held-out rows to measure skill on them).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from entropice_core.espa.backend import Backend
from entropice_core.espa.held_out import FLOOR
from entropice_core.espa.predictor import Predictor, adjust_probabilities
from entropice_core.espa.validation import DataError

Floats = NDArray[np.float64]
MEASURES = ("weight", "explained_variance", "importance", "permutation")


@dataclass(frozen=True)
class Sample:
    """Rows to measure on: X (T, D) input units, codes (T,), weights (T,) of sum 1, groups (T,) int or None."""

    X: Floats
    codes: NDArray[np.intp]
    weights: Floats
    groups: NDArray[np.intp] | None


def compare_importances(
    predictor: Predictor, names: list[str], sample: Sample, backend: Backend, n_repeats: int, seed: int
) -> pd.DataFrame:
    """One row per feature, the costliest to shuffle first.

    Parameters
    ----------
    predictor : Predictor
    names : D feature names
    sample : Sample
        With groups, values are shuffled within each group: what a feature tells inside a block counts, a mere label
        of the block does not, and a feature that is constant in every block gets zero.
    backend : Backend
    n_repeats : int
        Shuffles of each feature.
    seed : int

    Returns
    -------
    DataFrame indexed by ``feature``
        ``weight`` (W), ``explained_variance`` (share of the feature's variance in this sample that the boxes explain),
        ``importance`` (their product times the variance, sum 1) and ``permutation`` (rise of the log-loss in nats):
        means over the R fits, each with the standard deviation over them in ``<name>_sd`` (NaN for R = 1);
        ``permutation_of_average`` and its sd over repeats: the same of the averaged and calibrated probabilities.
        ``attrs["rank_correlation"]`` holds Spearman's correlation of the four measures.
    """
    own = _own_measures(predictor, sample, backend)
    members, average = _shuffled_losses(predictor, sample, backend, n_repeats, seed)
    table = pd.DataFrame(index=pd.Index(names, name="feature"))
    for name, values in {**own, "permutation": members.mean(axis=0)}.items():
        table[name], table[f"{name}_sd"] = values.mean(axis=0), _spread(values)
    table["permutation_of_average"], table["permutation_of_average_sd"] = average.mean(axis=0), _spread(average)
    ordered = table.sort_values("permutation_of_average", ascending=False, kind="stable")
    ordered.attrs["rank_correlation"] = rank_correlation(table)
    return ordered


def rank_correlation(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of the four measures over the features; NaN where a measure does not vary."""
    values = {name: table[name].to_numpy(np.float64) for name in MEASURES}
    found = np.full((len(MEASURES), len(MEASURES)), np.nan)
    for i, first in enumerate(MEASURES):
        for j, second in enumerate(MEASURES):
            if np.ptp(values[first]) > 0 and np.ptp(values[second]) > 0:
                found[i, j] = spearmanr(values[first], values[second]).statistic
    return pd.DataFrame(found, index=list(MEASURES), columns=list(MEASURES))


def _spread(values: Floats) -> Floats:
    """(D,) standard deviation over the first axis; NaN for a single value."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def _own_measures(predictor: Predictor, sample: Sample, backend: Backend) -> dict[str, Floats]:
    """W, explained share of variance and their normalised product, (R, D) each."""
    seen = ~np.isnan(sample.X)
    inside = np.where(seen, (sample.X - predictor.center) / predictor.scale, 0.0)
    observed = sample.weights @ seen
    mean = sample.weights @ inside / np.where(observed > 0, observed, 1.0)
    variance = sample.weights @ np.where(seen, inside - mean, 0.0) ** 2
    # the metric of incomplete features was divided by their observed share; W is what is left
    W = predictor.metric * np.where(predictor.masked, np.where(observed > 0, observed, 1.0), 1.0)
    W = W / np.maximum(W.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    residual = np.stack([_residual(predictor, sample, inside, seen, backend, r) for r in range(len(W))])
    varies = variance > 0
    explained = np.where(varies, 1.0 - residual / np.where(varies, variance, 1.0), 0.0)
    carried = W * np.maximum(explained, 0.0) * variance
    total = carried.sum(axis=1, keepdims=True)
    return {"weight": W, "explained_variance": explained, "importance": carried / np.where(total > 0, total, 1.0)}


def _residual(
    predictor: Predictor, sample: Sample, inside: Floats, seen: NDArray[np.bool_], backend: Backend, member: int
) -> Floats:
    """(D,) weighted mean squared difference to the nearest centroid of one member."""
    labels = predictor.nearest_clusters(sample.X, backend, member)
    away: Floats = np.where(seen, inside - predictor.centroids[member][labels], 0.0) ** 2
    residual: Floats = sample.weights @ away
    return residual


def _shuffled_losses(
    predictor: Predictor, sample: Sample, backend: Backend, n_repeats: int, seed: int
) -> tuple[Floats, Floats]:
    """Rise of the log-loss by shuffling: of every member (repeats, R, D), and of the average (repeats, D)."""
    n_features = sample.X.shape[1]
    base, base_average = _losses(predictor, sample, sample.X, backend)
    members = np.zeros((n_repeats, len(predictor.live), n_features))
    average = np.zeros((n_repeats, n_features))
    used = predictor.metric.max(axis=0) > 0
    for d in np.flatnonzero(used):
        # a stream of its own per feature, so that a feature left out does not shift the draws of the others
        random = np.random.default_rng([seed, int(d)])
        for repeat in range(n_repeats):
            shuffled = np.array(sample.X)
            shuffled[:, d] = sample.X[_order(sample, random), d]
            own, whole = _losses(predictor, sample, shuffled, backend)
            members[repeat, :, d], average[repeat, d] = own - base, whole - base_average
    return members, average


def _order(sample: Sample, random: np.random.Generator) -> NDArray[np.intp]:
    """(T,) a permutation of all rows, or one that keeps every row within its group."""
    if sample.groups is None:
        return random.permutation(len(sample.X))
    keys = random.random(len(sample.X))
    places = np.lexsort((np.arange(len(keys)), sample.groups))
    order = np.empty(len(keys), dtype=np.intp)
    order[places] = np.lexsort((keys, sample.groups))
    return order


def _losses(predictor: Predictor, sample: Sample, X: Floats, backend: Backend) -> tuple[Floats, float]:
    """Log-loss of every member (R,) and of the averaged, calibrated probabilities."""
    members = predictor.member_probabilities(X, backend)
    average = adjust_probabilities(members.mean(axis=0), float(predictor.power[0]), predictor.class_bias)
    rows = np.arange(len(X))
    own = -np.log(np.maximum(members[:, rows, sample.codes], FLOOR)) @ sample.weights
    whole = -np.log(np.maximum(average[rows, sample.codes], FLOOR)) @ sample.weights
    return own, float(whole)


def prepare_sample(
    predictor: Predictor, X: NDArray[Any], y: NDArray[Any], weights: Floats, groups: Any, n_repeats: int
) -> Sample:
    """Check labels, groups and repeats; rows of weight zero are left out."""
    if not isinstance(n_repeats, int) or n_repeats < 1:
        raise DataError(f"n_repeats is {n_repeats!r}, expected an integer of at least 1.")
    unknown = np.setdiff1d(y, predictor.classes)
    if len(unknown):
        known = ", ".join(str(name) for name in predictor.classes.tolist())
        raise DataError(f"y holds the label {unknown.tolist()[0]!r}, which training never saw; known: {known}.")
    numbers = None
    if groups is not None:
        if np.shape(groups) != (len(X),):
            raise DataError(f"groups has shape {np.shape(groups)}, expected ({len(X)},): one group per row.")
        numbers = np.unique(np.asarray(groups), return_inverse=True)[1][weights > 0]
    kept = weights > 0
    codes = np.searchsorted(predictor.classes, y[kept]).astype(np.intp)
    return Sample(np.asarray(X[kept], dtype=np.float64), codes, weights[kept] / weights[kept].sum(), numbers)
