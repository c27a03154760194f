"""Whether a ranking of features is a finding or an accident: does it come again in other places and with other seeds?

Scores of many fits are compared in pairs: Spearman's correlation of the ranks, and how many of the k best features the
two have in common. Fits on other folds saw other places; fits with other seeds saw the same rows and drew other random
numbers. What holds between seeds but not between folds is a property of a place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

VERSION = "1"
Float64 = npt.NDArray[np.float64]
STEADY, SHAKY = 0.8, 0.5
"""Mean rank correlation between folds from which a ranking is called stable, and below which it is not."""


@dataclass(frozen=True)
class Agreement:
    """Mean over all pairs of fits; NaN without a pair."""

    spearman: float
    top_overlap: float
    n_pairs: int


def agree(scores: npt.ArrayLike, k: int) -> Agreement:
    """Compare rankings in pairs.

    Parameters
    ----------
    scores : (n_fits, n_features) float64, higher = tells more
    k : how many of the best are compared

    >>> agree([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]], k=1)
    Agreement(spearman=0.5, top_overlap=1.0, n_pairs=1)
    """
    fits = np.asarray(scores, dtype=np.float64)
    k = min(k, fits.shape[1])
    best = [set(np.argsort(-fit, kind="stable")[:k].tolist()) for fit in fits]
    correlations, overlaps = [], []
    for i, j in combinations(range(len(fits)), 2):
        varies = np.ptp(fits[i]) > 0 and np.ptp(fits[j]) > 0
        correlations.append(float(spearmanr(fits[i], fits[j]).statistic) if varies else np.nan)
        overlaps.append(len(best[i] & best[j]) / k)
    known = [value for value in correlations if np.isfinite(value)]
    mean = float(np.mean(known)) if known else float("nan")
    return Agreement(round(mean, 12), float(np.mean(overlaps)) if overlaps else float("nan"), len(overlaps))


def describe_stability(scores: npt.ArrayLike, names: Sequence[str], k: int) -> dict[str, Any]:
    """Describe the scores of one measure over folds and seeds.

    Parameters
    ----------
    scores : (n_folds, n_seeds, n_features) float64, higher = tells more
    names : (n_features,)
    k : how many of the best are compared

    Returns
    -------
    dict
        ``between_folds``, ``between_seeds`` : mean rank correlation and overlap of the k best; ``k`` ; ``verdict`` ;
        ``features`` : a row for each, the best mean first, with mean, spread over folds (of means over seeds) and over
        seeds (mean within folds), the lowest and highest rank over all fits, and the share of fits that have it among
        the k best.
    """
    values = np.asarray(scores, dtype=np.float64)
    n_folds, n_seeds, n_features = values.shape
    k = min(k, n_features)
    folds = agree(values.mean(axis=1), k)
    seeds = [agree(fold, k) for fold in values]
    fits = values.reshape(-1, n_features)
    ranks = np.stack([rankdata(-fit, method="average") for fit in fits])
    mean = fits.mean(axis=0)
    over_folds = values.mean(axis=1).std(axis=0, ddof=1) if n_folds > 1 else np.full(n_features, np.nan)
    over_seeds = values.std(axis=1, ddof=1).mean(axis=0) if n_seeds > 1 else np.full(n_features, np.nan)
    in_top = (ranks <= k).mean(axis=0)
    rows = [
        {
            "name": names[i],
            "mean": float(mean[i]),
            "sd_over_folds": float(over_folds[i]),
            "sd_over_seeds": float(over_seeds[i]),
            "best_rank": float(ranks[:, i].min()),
            "worst_rank": float(ranks[:, i].max()),
            "share_in_top": float(in_top[i]),
        }
        for i in sorted(range(n_features), key=lambda i: (-mean[i], names[i]))
    ]
    between_seeds = _mean_agreement(seeds)
    return {
        "k": k,
        "n_folds": n_folds,
        "n_seeds": n_seeds,
        "between_folds": vars(folds),
        "between_seeds": vars(between_seeds),
        "verdict": verdict(folds, between_seeds),
        "features": rows,
    }


def verdict(folds: Agreement, seeds: Agreement) -> str:
    """Say in a sentence whether the ranking can be relied on.

    >>> verdict(Agreement(0.9, 0.8, 10), Agreement(0.95, 0.9, 3))
    'stable: the ranking comes again in other places (rank correlation 0.90, 80% of the best in common)'
    """
    if not np.isfinite(folds.spearman):
        return "not known: one fold, or scores that do not vary"
    numbers = f"rank correlation {folds.spearman:.2f}, {folds.top_overlap:.0%} of the best in common"
    if folds.spearman >= STEADY:
        return f"stable: the ranking comes again in other places ({numbers})"
    if np.isfinite(seeds.spearman) and seeds.spearman < folds.spearman + 0.05:
        return f"unsteady: chance of the fit moves the ranking as much as the place does ({numbers} between places)"
    word = "partly stable" if folds.spearman >= SHAKY else "not stable"
    return f"{word}: the ranking depends on the place ({numbers})"


def _mean_agreement(parts: Sequence[Agreement]) -> Agreement:
    known = [part for part in parts if np.isfinite(part.spearman)]
    if not known:
        return Agreement(float("nan"), float("nan"), 0)
    spearman, overlap = (
        float(np.mean([getattr(part, name) for part in known])) for name in ("spearman", "top_overlap")
    )
    return Agreement(spearman, overlap, sum(part.n_pairs for part in known))
