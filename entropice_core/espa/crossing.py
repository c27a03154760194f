"""New starts from pairs of finished fits: boxes are matched, and each pair gives one of both by lot.

What two good solutions share stays, and where they differ one child in many has the better of both. On k-means this
finds lower losses than restarts and swaps do (Gribel and Vidal 2019, doi 10.1016/j.patcog.2018.12.022).
What must not be here: the closed-form steps that follow, and the choice between parent and child (``moves.py``).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from entropice_core.espa.fit import FitResult

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


def cross_fits(result: FitResult, group: Integers, metric: Floats, streams: Sequence[np.random.Generator]) -> FitResult:
    """Give every fit a child of itself and of another fit of its group, drawn by lot; alone it stays what it is.

    Parameters
    ----------
    result : FitResult
        B fits of K boxes.
    group : (B,) int
        Fits of one configuration and fold.
    metric : (B, D) float64
        Factors g of squared differences.
    streams : B generators

    Returns
    -------
    FitResult
        Parameters to start from; losses and curves are those of the parents. The weights of features are those of the
        parent with the lower loss.
    """
    new = {name: np.array(getattr(result, name)) for name in ("W", "S", "Lambda", "live")}
    for fit, stream in enumerate(streams):
        others = np.flatnonzero(group == group[fit])
        others = others[others != fit]
        lot, is_kept = stream.random(), stream.random(result.live.shape[1]) < 0.5
        if not len(others):
            continue
        other = others[int(lot * len(others))]
        W = result.W[fit if result.losses[fit] <= result.losses[other] else other]
        taken, given = match_boxes(result.S[fit], result.S[other], W * metric[fit])
        taken, given = taken[~is_kept], given[~is_kept]
        new["W"][fit] = W
        for name in ("S", "Lambda", "live"):
            new[name][fit, taken] = getattr(result, name)[other, given]
    return replace(result, W=new["W"], S=new["S"], Lambda=new["Lambda"], live=new["live"])


def match_boxes(S: Floats, other: Floats, weight: Floats) -> tuple[Integers, Integers]:
    """Pair the boxes of S (K, D) with those of another fit so that the squared distances, weighted (D,), sum to least.

    >>> match_boxes(np.array([[0.0], [5.0]]), np.array([[4.0], [1.0]]), np.ones(1))[1].tolist()
    [1, 0]
    """
    scale = np.sqrt(weight)
    here, there = S * scale, other * scale
    away = (here**2).sum(axis=1)[:, None] + (there**2).sum(axis=1) - 2.0 * here @ there.T
    own, partner = linear_sum_assignment(away)
    return np.asarray(own, dtype=np.intp), np.asarray(partner, dtype=np.intp)
