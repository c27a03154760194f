"""How sure a label is: intervals from how much land was observed, and weights for training.

A cell of which little was seen says little, also when nothing was found there. The intervals here are those of the
*rate* at which slumps occur on land such as that of the cell: slumps are taken as events of a Poisson process with
sizes of their own, seen through the observed area. Errors of the detector are not in them; what an inventory declares
about those is told by :func:`noise_note`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv
from scipy.stats import beta

from entropice_core.errors import SchemaError

VERSION = "1"
Float64 = npt.NDArray[np.float64]

COVERAGE = 0.95
"""Share of intervals that hold the rate, at least: the intervals are exact, hence a little wide."""


def poisson_interval(count: npt.ArrayLike, coverage: float = COVERAGE) -> tuple[Float64, Float64]:
    """Exact interval of the mean of a Poisson variable (Garwood 1936, doi:10.1093/biomet/28.3-4.437).

    Parameters
    ----------
    count : (n,) float, >= 0
        What was counted; need not be whole (an effective number), NaN gives NaN.

    Returns
    -------
    low, high : (n,) float64

    Examples
    --------
    >>> [bound.round(2).tolist() for bound in poisson_interval([0, 1, 10])]
    [[0.0, 0.03, 4.8], [3.69, 5.57, 18.39]]
    """
    n = np.asarray(count, dtype=np.float64)
    tail = (1.0 - coverage) / 2.0
    low = np.where(n > 0.0, gammaincinv(np.where(n > 0.0, n, 1.0), tail), 0.0)
    return np.where(np.isnan(n), np.nan, low), np.where(np.isnan(n), np.nan, gammaincinv(n + 1.0, 1.0 - tail))


def binomial_interval(
    successes: npt.ArrayLike, trials: npt.ArrayLike, coverage: float = COVERAGE
) -> tuple[Float64, Float64]:
    """Exact interval of a share (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404); no trial gives NaN.

    >>> [bound.round(3).tolist() for bound in binomial_interval([0, 1, 3], [3, 3, 3])]
    [[0.0, 0.008, 0.292], [0.708, 0.906, 1.0]]
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    tail = (1.0 - coverage) / 2.0
    low = np.where(k > 0.0, beta.ppf(tail, np.maximum(k, 1e-9), n - k + 1.0), 0.0)
    high = np.where(k < n, beta.ppf(1.0 - tail, k + 1.0, np.maximum(n - k, 1e-9)), 1.0)
    return np.where(n > 0.0, low, np.nan), np.where(n > 0.0, high, np.nan)


def density_interval(
    count: Float64, rts_area_m2: Float64, observed_area_m2: Float64, mean_area_m2: float, cv: float
) -> tuple[Float64, Float64]:
    """Interval of the RTS density of each cell from the number of slumps, their sizes, and the observed area.

    The area of slumps in a cell is a sum of ``count`` sizes, whose relative variance is (1 + cv**2) / count. It is that
    of a Poisson variable of the effective number ``count / (1 + cv**2)``, whose exact interval is scaled to the area
    (Bohm and Zech 2014, doi:10.1016/j.nima.2014.02.021). A cell in which nothing was found has the upper bound of
    slumps of mean size.

    Parameters
    ----------
    count : (n,) float64, slumps whose inner point lies in the cell; NaN = unobserved
    rts_area_m2 : (n,) float64, m2; NaN = unobserved, or unknown
    observed_area_m2 : (n,) float64, m2
    mean_area_m2 : mean size of a slump of the inventory, m2; NaN when there is none
    cv : standard deviation of the sizes by their mean

    Returns
    -------
    low, high : (n,) float64, m2 m-2, 0 to 1; NaN where the density is, or where no size is known

    Examples
    --------
    >>> cell = np.array([0.0, 1.0, 100.0]), np.array([0.0, 5e3, 5e5]), np.full(3, 1e8)
    >>> [(bound * 1e6).round(0).tolist() for bound in density_interval(*cell, mean_area_m2=5e3, cv=0.0)]
    [[0.0, 1.0, 4068.0], [184.0, 279.0, 6081.0]]
    """
    spread = 1.0 + cv**2
    # A cell may hold part of a slump that is counted in its neighbour: area without a count.
    effective = np.maximum(count, rts_area_m2 / mean_area_m2) / spread if mean_area_m2 > 0.0 else count * np.nan
    low, high = poisson_interval(effective)
    size = np.divide(rts_area_m2, effective, out=np.full(count.size, mean_area_m2 * spread), where=effective > 0.0)
    per_m2 = np.divide(size, observed_area_m2, out=np.full(count.size, np.nan), where=observed_area_m2 > 0.0)
    return np.minimum(low * per_m2, 1.0), np.minimum(high * per_m2, 1.0)


def training_weights(observed_area_m2: npt.ArrayLike, count: npt.ArrayLike) -> Float64:
    """Weight training rows by how much land was observed, so that a cell of which a corner was seen counts less.

    The variance of an observed rate is that between cells plus the Poisson variance rate / area. With a spread between
    cells as large as the mean rate, the inverse of the variance is proportional to ``area / (area + area per slump)``:
    weights rise with the area and level off where more land would add little. Whether a row holds slumps does not
    change its weight.

    Parameters
    ----------
    observed_area_m2 : (n,) float, m2, above 0
    count : (n,) float
        Slumps of the same rows, of which only the sum is used.

    Returns
    -------
    (n,) float64 with the mean 1; all 1 when no slump was found

    Examples
    --------
    >>> training_weights([1e6, 1e7, 1e8, 1e9], [0, 0, 1, 9]).round(2).tolist()
    [0.02, 0.23, 1.29, 2.46]
    """
    area, n = np.asarray(observed_area_m2, dtype=np.float64), np.nansum(np.asarray(count, dtype=np.float64))
    if area.ndim != 1 or not (np.isfinite(area) & (area > 0.0)).all():
        raise SchemaError(
            f"Weights need one observed area above 0 m2 for each row; got shape {area.shape} with "
            f"{int((~(area > 0.0)).sum())} that are not: keep observed rows only."
        )
    if not area.size or n <= 0.0:
        return np.ones(area.size)
    weights = area / (area + area.sum() / n)
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def noise_note(f1: Sequence[float]) -> str:
    """Say in a sentence what a detector's F1 score means for labels made with it.

    >>> noise_note([0.263, 0.7])
    'The detector has an F1 of 0.263 to 0.7: with equal precision and recall, 30 to 74 % of what it maps is no slump, \
and as large a share of the slumps is missed.'
    """
    worst, best = min(f1), max(f1)
    scores = f"{worst:g}" if worst == best else f"{worst:g} to {best:g}"
    shares = f"{100 * (1 - best):.0f}" if worst == best else f"{100 * (1 - best):.0f} to {100 * (1 - worst):.0f}"
    return (
        f"The detector has an F1 of {scores}: with equal precision and recall, {shares} % of what it maps is no slump, "
        "and as large a share of the slumps is missed."
    )
