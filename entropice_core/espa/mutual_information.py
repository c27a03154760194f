"""How much one feature alone tells about the class, in nats.

W is a softmax of within-cluster variances and sees no relevance by itself; when all features have the same variance
(after standardising) a start that knows which features matter decides whether the pattern is found at all.

Two estimators:

* :func:`binned_mutual_information`, the one used for starts and priors: weighted quantile bins with the
  Miller-Madow correction. Exact under integer sample weights, and indifferent to tied values, which are the rule
  where neighbouring cells share one climate pixel.
* :func:`ross_mutual_information`: nearest neighbours (Ross 2014, doi 10.1371/journal.pone.0087357), for comparison.
  Tied values spoil it: the radius is zero and the neighbour counts mean nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

Floats = NDArray[np.float64]


def binned_mutual_information(
    X: Floats, codes: NDArray[np.intp], weights: Floats, n_classes: int, n_bins: int | None = None
) -> Floats:
    """Estimate I(x_d; y) for every feature from a table of quantile bins by classes.

    Parameters
    ----------
    X : (T, D) float64, NaN = missing
        Features in any unit; only their order matters.
    codes : (T,) int
        Class index per row.
    weights : (T,) float64 > 0
        Row weights; a weight of two counts like the row twice.
    n_classes : int
    n_bins : int, optional
        Bins of equal weight; by default the cube root of the total weight between 4 and 32.

    Returns
    -------
    (D,) float64, nats, never negative

    Examples
    --------
    The first feature decides the class (log 2 = 0.693 nats, less the correction), the second is unrelated.

    >>> x = np.arange(64.0)
    >>> X = np.column_stack([x, x % 2])
    >>> binned_mutual_information(X, (x >= 32).astype(int), np.ones(64), 2).round(2).tolist()
    [0.67, 0.0]
    """
    total = float(weights.sum())
    bins = n_bins or int(np.clip(round(total ** (1.0 / 3.0)), 4, 32))
    return np.array([_one_feature(X[:, d], codes, weights, n_classes, bins) for d in range(X.shape[1])])


def _one_feature(x: Floats, codes: NDArray[np.intp], weights: Floats, n_classes: int, n_bins: int) -> float:
    seen = ~np.isnan(x)
    if not seen.any():
        return 0.0
    if not seen.all():
        x, codes, weights = x[seen], codes[seen], weights[seen]
    bins = _quantile_bins(x, weights, n_bins)
    table: Floats = (
        np.bincount(bins * n_classes + codes, weights, n_bins * n_classes).reshape(n_bins, n_classes).astype(np.float64)
    )
    return table_mutual_information(table)


def _quantile_bins(x: Floats, weights: Floats, n_bins: int) -> NDArray[np.intp]:
    """Bin by the middle of the weighted rank, so that equal values always share a bin."""
    values, inverse = np.unique(x, return_inverse=True)
    mass = np.bincount(inverse, weights, len(values))
    middle = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    bins: NDArray[np.intp] = np.minimum((middle * n_bins).astype(np.intp), n_bins - 1)
    return bins[inverse]


def table_mutual_information(table: Floats) -> float:
    """Mutual information of a table of counts (bins, classes), less the Miller-Madow bias, clipped at zero."""
    total = table.sum()
    rows, columns = table.sum(1), table.sum(0)
    filled = table > 0
    expected = np.outer(rows, columns) / total
    plug_in = float((table[filled] * np.log(table[filled] / expected[filled])).sum() / total)
    freedom = (np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1)
    return max(0.0, plug_in - freedom / (2.0 * float(total)))


def ross_mutual_information(x: Floats, codes: NDArray[Any], n_neighbors: int = 3) -> float:
    """Nearest-neighbour estimate of I(x; y) for one continuous feature and one discrete label.

    With r_i the distance of row i to its k-th neighbour of the same class, m_i counts the rows of any class strictly
    within r_i, row i included; I = psi(T) + <psi(k_i)> - <psi(T_class)> - <psi(m_i)>. Classes of one row are left out,
    small classes use k = T_class - 1.

    >>> x = np.array([0.0, 0.1, 0.2, 0.31, 5.0, 5.1, 5.2, 5.31])
    >>> round(ross_mutual_information(x, np.repeat([0, 1], 4)), 3)
    0.76
    """
    spread = float(x.std())
    scaled = x / spread if spread > 0 else x
    parts = [_class_radii(scaled[codes == code], n_neighbors) for code in np.unique(codes)]
    kept = [(values, radii, k) for values, radii, k in parts if k > 0]
    if not kept:
        return 0.0
    values = np.concatenate([part[0] for part in kept])
    radii = np.concatenate([part[1] for part in kept])
    neighbours = np.concatenate([np.full(len(part[0]), part[2]) for part in kept])
    sizes = np.concatenate([np.full(len(part[0]), len(part[0])) for part in kept])
    # the radius is shrunk by a relative 1e-9: adding one ulp to x rounds back onto the neighbour itself
    inner = radii * (1.0 - 1e-9)
    ordered = np.sort(values)
    inside = np.searchsorted(ordered, values + inner, "right") - np.searchsorted(ordered, values - inner, "left")
    mean = digamma(len(values)) + np.mean(digamma(neighbours)) - np.mean(digamma(sizes)) - np.mean(digamma(inside))
    return max(0.0, float(mean))


def _class_radii(values: Floats, n_neighbors: int) -> tuple[Floats, Floats, int]:
    """Distance of each value to its k-th nearest neighbour among the same values, k = min(n_neighbors, n - 1)."""
    k = min(n_neighbors, len(values) - 1)
    ordered = np.sort(values)
    if k <= 0:
        return ordered, np.zeros(len(values)), 0
    n = len(ordered)
    # the k nearest of a sorted sequence are a window of k + 1 values that contains the row itself
    starts = np.arange(n)[:, None] - np.arange(k + 1)[None, :]
    valid = (starts >= 0) & (starts + k < n)
    low, high = ordered[np.clip(starts, 0, n - 1)], ordered[np.clip(starts + k, 0, n - 1)]
    reach = np.maximum(ordered[:, None] - low, high - ordered[:, None])
    return ordered, np.where(valid, reach, np.inf).min(1), k
