"""Scores of probabilities of several ordered classes; two classes are scored by ``metrics``.

Every class is scored against the rest as a yes or no, and the mean over classes (macro) has the name of the two-class
score, so that tables read alike. Classes of density are ordered: the ranked probability score (Epstein 1969) also asks
how far off a wrong class is.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError
from entropice_core.training.metrics import EPSILON, Scores, score

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
MACRO = ("ece", "roc_auc", "average_precision", "f1", "f2")
SUMS = ("brier", "reliability", "resolution", "uncertainty", "within_bins")
OF_CLASS = ("n_positive", "prevalence", "mean_p", "roc_auc", "average_precision", "brier", "ece")


def score_forecast(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    shares: npt.ArrayLike | None = None,
    climatology: npt.ArrayLike | None = None,
) -> Scores:
    """Score the probabilities of one set of rows, of two classes or of more.

    Parameters
    ----------
    y : (n,) classes, 0 to n_classes - 1
    p : (n, n_classes) float64, rows sum to 1
    sample_weight : (n,) float64, optional
    shares : (n_classes,) or (n, n_classes) float64, optional
        Shares of the classes among the training rows (of each row's fold): the forecast that skill compares with.
    climatology : (n, n_classes) float64, optional
        A static forecast to compare with.

    Returns
    -------
    dict of float
        Of two classes what ``metrics.score`` returns. Of more: ``n``; ``n_positive``, ``prevalence``, ``mean_p`` of all
        classes but the first; ``log_loss``; ``brier`` (sum over classes) and its parts; ``rps``; macro ``roc_auc``,
        ``average_precision``, ``f1``, ``f2``, ``ece``; ``balanced_accuracy`` of the class whose probability exceeds
        its share most; skills; and ``class_<k>.<score>``.
    """
    probability = np.asarray(p, dtype=np.float64)
    n_classes = probability.shape[1]
    rates = None if shares is None else np.asarray(shares, dtype=np.float64)
    static = None if climatology is None else np.asarray(climatology, dtype=np.float64)
    if n_classes == 2:
        base = None if rates is None else rates[..., 1]
        return score(y, probability[:, 1], sample_weight, base_rate=base, climatology=_second(static))
    labels, weight = _checked(y, probability, sample_weight)
    own = np.array([weight[labels == k].sum() for k in range(n_classes)]) / weight.sum()
    return _many(labels, probability, weight, own if rates is None else rates, static)


def class_log_loss(y: npt.ArrayLike, p: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return the weighted mean of -log P(what happened), in nats, for p : (n, n_classes).

    >>> round(class_log_loss([0, 2], [[0.5, 0.25, 0.25], [0.5, 0.0, 0.5]]), 4)
    0.6931
    """
    probability = np.asarray(p, dtype=np.float64)
    labels, weight = _checked(y, probability, sample_weight)
    return float(weight @ row_losses(labels, probability) / weight.sum())


def row_losses(y: Int64, p: Float64) -> Float64:
    """Return -log P(what happened) of each row : (n,), nats."""
    return np.asarray(-np.log(np.clip(p[np.arange(y.size), y], EPSILON, 1.0)))


def class_shares(y: Int64, n_classes: int, weight: Float64 | None) -> Float64:
    """Return the share of each class : (n_classes,)."""
    mass = np.bincount(y, weights=weight, minlength=n_classes).astype(np.float64)
    return np.asarray(mass / mass.sum())


def _many(y: Int64, p: Float64, weight: Float64, shares: Float64, climatology: Float64 | None) -> Scores:
    each = [score(y == k, p[:, k], weight, base_rate=shares[..., k]) for k in range(p.shape[1])]
    overall = _proper(y, p, weight)
    baseline = _proper(y, np.broadcast_to(shares, p.shape), weight)
    scores: Scores = {
        "n": float(y.size),
        "n_positive": float((y > 0).sum()),
        "prevalence": float(weight @ (y > 0) / weight.sum()),
        "mean_p": float(weight @ p[:, 1:].sum(axis=1) / weight.sum()),
        **overall,
        **{name: float(sum(one[name] for one in each)) for name in SUMS},
        **{name: _mean([one[name] for one in each]) for name in MACRO},
        "balanced_accuracy": _balanced(y, np.argmax(p / np.maximum(shares, EPSILON), axis=1), weight, p.shape[1]),
    }
    references: Mapping[str, Scores | None] = {
        "": baseline,
        "climatology_": None if climatology is None else _proper(y, climatology, weight),
    }
    for prefix, reference in references.items():
        for name, value in (reference or {}).items():
            scores[f"{prefix}{name}_skill"] = 1.0 - overall[name] / value if value > 0 else float("nan")
    return scores | {f"class_{k}.{name}": one[name] for k, one in enumerate(each) for name in OF_CLASS}


def _proper(y: Int64, p: Float64, weight: Float64) -> Scores:
    truth = np.eye(p.shape[1])[y]
    below = np.cumsum(p - truth, axis=1)[:, :-1]
    return {
        "log_loss": class_log_loss(y, p, weight),
        "brier": float(weight @ ((p - truth) ** 2).sum(axis=1) / weight.sum()),
        "rps": float(weight @ (below**2).mean(axis=1) / weight.sum()),
    }


def _balanced(y: Int64, claimed: npt.NDArray[np.intp], weight: Float64, n_classes: int) -> float:
    recalls = []
    for k in range(n_classes):
        total = weight[y == k].sum()
        recalls.append(weight[(y == k) & (claimed == k)].sum() / total if total > 0 else float("nan"))
    return _mean(recalls)


def _mean(values: list[float]) -> float:
    """Return the mean of what is defined; a class that these rows lack has no AUC."""
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _second(p: Float64 | None) -> Float64 | None:
    return None if p is None else p[:, 1]


def _checked(y: npt.ArrayLike, p: Float64, sample_weight: npt.ArrayLike | None) -> tuple[Int64, Float64]:
    labels = np.asarray(y)
    weight = np.ones(labels.shape) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if labels.ndim != 1 or labels.size == 0 or p.ndim != 2 or len(p) != labels.size or weight.shape != labels.shape:
        raise SchemaError(
            f"Labels {labels.shape}, probabilities {p.shape} and weights {weight.shape} do not belong together: "
            "expected (n,), (n, n_classes) and (n,) with n at least 1."
        )
    if not np.isin(labels, np.arange(p.shape[1])).all():
        raise SchemaError(f"Labels to score must be classes 0 to {p.shape[1] - 1}: make classes from densities first.")
    if not ((p >= 0) & (p <= 1)).all() or (np.abs(p.sum(axis=1) - 1) > 1e-6).any():
        raise SchemaError("Probabilities to score are NaN, outside [0, 1] or do not sum to 1: the model is at fault.")
    if not np.isfinite(weight).all() or (weight < 0).any() or weight.sum() <= 0:
        raise SchemaError("Weights of rows must be finite, not negative, and not all 0.")
    return labels.astype(np.int64), weight
