"""Scores of probabilities, of one fold and over folds.

Proper scores (log loss, Brier) come first, as the product is a probability; ranking and calibration measures stand
beside them. A score that has no meaning for a fold (an AUC of one class) is NaN and is counted, never left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError

VERSION = "2"
Float64 = npt.NDArray[np.float64]
N_BINS = 10
EPSILON = float(np.finfo(np.float64).eps)  # a certain and wrong forecast costs 36 nats, not infinitely many

Scores = dict[str, float]


def score(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    base_rate: npt.ArrayLike | None = None,
    climatology: npt.ArrayLike | None = None,
) -> Scores:
    """Score the probabilities of one set of rows.

    Parameters
    ----------
    y : (n,) of 0 and 1
    p : (n,) float64 in [0, 1], probability of 1
    sample_weight : (n,) float64, optional
    base_rate : float or (n,) float64, optional
        Prevalence of the training rows (of each row's fold): the forecast that ``brier_skill`` and ``log_loss_skill``
        compare with, and the threshold of ``balanced_accuracy``, ``f1`` and ``f2``. Without it the prevalence of these
        rows is taken, which no forecaster could have known.
    climatology : (n,) float64, optional
        A static forecast (``training.climatology``) that ``climatology_brier_skill`` and
        ``climatology_log_loss_skill`` compare with; without it they are left out.

    Returns
    -------
    dict of float
        ``n``, ``n_positive``, ``prevalence``, ``mean_p``, ``log_loss`` (nats), ``brier``; ``reliability`` (low is
        good), ``resolution``, ``uncertainty`` and ``within_bins``, with brier = reliability - resolution +
        uncertainty + within_bins (Murphy 1973; within-bin part Stephenson et al. 2008, doi:10.1175/2007WAF2006116.1);
        ``ece`` over ten bins of equal mass; ``roc_auc``, ``average_precision``, ``balanced_accuracy``, ``f1``, ``f2``
        (the last counts a missed slump four times a false alarm; NaN where one class is missing); ``brier_skill``,
        ``log_loss_skill``.

    Examples
    --------
    >>> good = score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> good["roc_auc"], round(good["brier"], 4), good["n_positive"]
    (0.75, 0.1581, 2.0)
    """
    labels, probability, weight = _checked(y, p, sample_weight)
    total = weight.sum()
    prevalence = float(weight @ labels / total)
    rate = np.broadcast_to(prevalence if base_rate is None else np.asarray(base_rate, dtype=np.float64), labels.shape)
    brier, loss = _brier(labels, probability, weight), log_loss(labels, probability, weight)
    scores: Scores = {
        "n": float(labels.size),
        "n_positive": float(labels.sum()),
        "prevalence": prevalence,
        "mean_p": float(weight @ probability / total),
        "log_loss": loss,
        "brier": brier,
        **_brier_parts(labels, probability, weight, brier),
        "roc_auc": _roc_auc(labels, probability, weight),
        "average_precision": _average_precision(labels, probability, weight),
        "balanced_accuracy": _balanced_accuracy(labels, probability, weight, rate),
        "f1": _f_beta(labels, probability, weight, rate, 1.0),
        "f2": _f_beta(labels, probability, weight, rate, 2.0),
        "brier_skill": _skill(brier, _brier(labels, rate, weight)),
        "log_loss_skill": _skill(loss, log_loss(labels, rate, weight)),
    }
    if climatology is not None:
        static = np.asarray(climatology, dtype=np.float64)
        scores["climatology_brier_skill"] = _skill(brier, _brier(labels, static, weight))
        scores["climatology_log_loss_skill"] = _skill(loss, log_loss(labels, static, weight))
    return scores


def log_loss(y: npt.ArrayLike, p: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return the mean of -log P(what happened), in nats.

    >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
    0.6931
    """
    labels, probability, weight = _checked(y, p, sample_weight)
    happened = np.clip(np.where(labels == 1, probability, 1.0 - probability), EPSILON, 1.0)
    return float(-(weight @ np.log(happened)) / weight.sum())


def reliability_table(
    y: npt.ArrayLike, p: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, n_bins: int = N_BINS
) -> dict[str, Float64]:
    """Tabulate forecasts against what happened, in bins of equal mass (equal forecasts share a bin).

    Returns
    -------
    dict of (n_bins_used,) float64
        ``p_low``, ``p_high``, ``p_mean`` : forecasts of the bin; ``observed`` : share of positives; ``weight`` : share
        of all rows; ``n``, ``n_positive`` : rows.

    >>> table = reliability_table([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9], n_bins=2)
    >>> table["observed"].tolist(), table["p_mean"].tolist()
    ([0.5, 1.0], [0.2, 0.9])
    """
    parts = _checked(y, p, sample_weight)
    labels, probability, weight = (part[parts[2] > 0] for part in parts)
    values, value = np.unique(probability, return_inverse=True)
    mass = np.bincount(value, weights=weight)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()  # where a forecast stands among all, from 0 to 1
    kept, bin_of_value = np.unique(np.minimum((middle * n_bins).astype(np.int64), n_bins - 1), return_inverse=True)
    bin_of_row = bin_of_value[value]

    def summed(what: Float64) -> Float64:
        return np.bincount(bin_of_row, weights=what, minlength=kept.size).astype(np.float64)

    in_bin = summed(weight)
    first = np.searchsorted(bin_of_value, np.arange(kept.size))
    last = np.searchsorted(bin_of_value, np.arange(kept.size), side="right") - 1
    return {
        "p_low": values[first],
        "p_high": values[last],
        "p_mean": summed(weight * probability) / in_bin,
        "observed": summed(weight * labels) / in_bin,
        "weight": in_bin / in_bin.sum(),
        "n": summed(np.ones_like(weight)),
        "n_positive": summed(labels),
    }


def summarise(folds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Summarise the scores of folds: mean, standard deviation, range, and in how many folds a score was defined.

    >>> summarise([{"roc_auc": 0.8}, {"roc_auc": float("nan")}, {"roc_auc": 0.6}])["roc_auc"]["n_folds_defined"]
    2.0
    """
    names = list(dict.fromkeys(name for fold in folds for name in fold))
    nothing = float("nan")
    return {name: _summary(np.array([fold.get(name, nothing) for fold in folds])) for name in names}


def _summary(values: Float64) -> dict[str, float]:
    defined = values[np.isfinite(values)]
    if not defined.size:
        return {"mean": np.nan, "sd": np.nan, "min": np.nan, "max": np.nan, "n_folds_defined": 0.0}
    return {
        "mean": float(defined.mean()),
        "sd": float(defined.std(ddof=1)) if defined.size > 1 else np.nan,
        "min": float(defined.min()),
        "max": float(defined.max()),
        "n_folds_defined": float(defined.size),
    }


def _checked(
    y: npt.ArrayLike, p: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[Float64, Float64, Float64]:
    labels, probability = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    weight = np.ones_like(labels) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if labels.ndim != 1 or labels.size == 0 or labels.shape != probability.shape or labels.shape != weight.shape:
        raise SchemaError(
            f"Labels {labels.shape}, probabilities {probability.shape} and weights {weight.shape} must be vectors of "
            "one length, at least 1."
        )
    if not np.isin(labels, (0.0, 1.0)).all():
        raise SchemaError("Labels to score must be 0 or 1: make classes from densities first.")
    if not ((probability >= 0) & (probability <= 1)).all():  # NaN fails too
        n_bad = int((~((probability >= 0) & (probability <= 1))).sum())
        raise SchemaError(f"{n_bad} of {labels.size} probabilities are NaN or outside [0, 1]: the model is at fault.")
    if not np.isfinite(weight).all() or (weight < 0).any() or weight.sum() <= 0:
        raise SchemaError("Weights of rows must be finite, not negative, and not all 0.")
    return labels, probability, weight


def _brier(labels: Float64, probability: Float64, weight: Float64) -> float:
    return float(weight @ (probability - labels) ** 2 / weight.sum())


def _brier_parts(labels: Float64, probability: Float64, weight: Float64, brier: float) -> Scores:
    table = reliability_table(labels, probability, weight)
    prevalence = float(weight @ labels / weight.sum())
    gap = table["p_mean"] - table["observed"]
    reliability = float(table["weight"] @ gap**2)
    resolution = float(table["weight"] @ (table["observed"] - prevalence) ** 2)
    uncertainty = prevalence * (1 - prevalence)
    return {
        "reliability": reliability,
        "resolution": resolution,
        "uncertainty": uncertainty,
        "within_bins": brier - (reliability - resolution + uncertainty),
        "ece": float(table["weight"] @ np.abs(gap)),
    }


def _by_value(labels: Float64, probability: Float64, weight: Float64) -> tuple[Float64, Float64]:
    """Return the weight of negatives and of positives at each distinct forecast, ascending."""
    values, value = np.unique(probability, return_inverse=True)
    positive = np.bincount(value, weights=weight * labels, minlength=values.size)
    negative = np.bincount(value, weights=weight * (1 - labels), minlength=values.size)
    return negative.astype(np.float64), positive.astype(np.float64)


def _roc_auc(labels: Float64, probability: Float64, weight: Float64) -> float:
    negative, positive = _by_value(labels, probability, weight)
    pairs = negative.sum() * positive.sum()
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2) / pairs) if pairs > 0 else float("nan")


def _average_precision(labels: Float64, probability: Float64, weight: Float64) -> float:
    negative, positive = _by_value(labels, probability, weight)
    if positive.sum() <= 0 or negative.sum() <= 0:
        return float("nan")
    found = np.cumsum(positive[::-1])
    claimed = np.cumsum((negative + positive)[::-1])
    is_claimed = claimed > 0
    return float((positive[::-1][is_claimed] * found[is_claimed] / claimed[is_claimed]).sum() / positive.sum())


def _balanced_accuracy(labels: Float64, probability: Float64, weight: Float64, threshold: Float64) -> float:
    claims = probability >= threshold
    of_positive, of_negative = weight * labels, weight * (1 - labels)
    if of_positive.sum() <= 0 or of_negative.sum() <= 0:
        return float("nan")
    return float((of_positive @ claims / of_positive.sum() + of_negative @ ~claims / of_negative.sum()) / 2)


def _f_beta(labels: Float64, probability: Float64, weight: Float64, threshold: Float64, beta: float) -> float:
    """Return (1 + b2) hits / ((1 + b2) hits + b2 misses + false alarms) (van Rijsbergen 1979)."""
    claims = probability >= threshold
    positive = weight * labels
    if positive.sum() <= 0 or positive.sum() >= weight.sum():
        return float("nan")
    hits, misses, false = positive @ claims, positive @ ~claims, (weight * (1 - labels)) @ claims
    return float((1 + beta**2) * hits / ((1 + beta**2) * hits + beta**2 * misses + false))


def _skill(value: float, baseline: float) -> float:
    return 1.0 - value / baseline if baseline > 0 else float("nan")
