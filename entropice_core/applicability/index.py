"""The dissimilarity index and the area of applicability (Meyer and Pebesma 2021, doi:10.1111/2041-210X.13650).

A model answers for every cell, also for climates and reliefs that no training cell has. The index of a cell is its
distance to the nearest training cell in the space of the features, each standardised and weighted by its importance,
divided by the mean distance between training cells. The threshold is the largest index that the training cells
themselves have towards the cells of other folds, outliers left out (above the upper quartile + 1.5 interquartile
ranges): up to there the cross-validation has seen what the model does, beyond it nobody has.

What differs from the paper: training cells within the buffer of a fold do not count as its training cells, as the fold
did not learn from them. Missing values are set to the median of the training rows, as the models do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from entropice_core.errors import SchemaError, TrainingError

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
MAX_REFERENCE = 20_000  # training rows that distances are measured to, and held-out rows that the threshold comes
# from; more are thinned evenly, which is reported
MAX_PAIRED = 10_000  # rows whose mean distance is taken over all pairs; more are thinned evenly
BLOCK = 20_000  # rows at once: bounds the memory
ARRAYS = ("center", "scale", "weight", "fill", "reference")


@dataclass(frozen=True, eq=False)
class Applicability:
    """What the index of a new cell is computed from.

    Attributes
    ----------
    feature_names : (n_features,) columns of X, in this order
    center, scale, fill : (n_features,) mean, standard deviation and median of the training rows
    weight : (n_features,) share of the importance, sum 1; 0 for a feature that does not vary
    reference : (n_reference, n_weighted) training rows, standardised and weighted, columns of weight 0 left out
    mean_distance : mean distance between training rows in that space
    threshold : index above which a cell is outside
    n_rows, n_outliers : training rows, and those of them whose index is an outlier
    is_weighted : whether importances were known; otherwise every feature weighs the same
    """

    feature_names: tuple[str, ...]
    center: Float64
    scale: Float64
    weight: Float64
    fill: Float64
    reference: Float64
    mean_distance: float
    threshold: float
    n_rows: int
    n_outliers: int
    is_weighted: bool

    def index(self, X: npt.ArrayLike, tree: cKDTree | None = None) -> Float64:
        """Return the dissimilarity index : (n,) of rows X : (n, n_features); NaN for a row without any value."""
        values = np.asarray(X, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.feature_names):
            raise SchemaError(
                f"The dissimilarity index is for {len(self.feature_names)} features and got {values.shape}: "
                "assemble the features as in training."
            )
        known = np.isfinite(values).any(axis=1)
        found = np.full(len(values), np.nan)
        found[known] = nearest(tree or self.tree(), self._place(values[known])) / self.mean_distance
        return found

    def inside(self, index: Float64) -> Bool:
        """Say which cells lie in the area of applicability : (n,); NaN lies outside."""
        return np.asarray(index <= self.threshold)

    def tree(self) -> cKDTree:
        """Return the search tree over the training rows; give it to ``index`` where there are many chunks."""
        return cKDTree(self.reference)

    def _place(self, values: Float64) -> Float64:
        return _placed(values, self.center, self.scale, self.weight, self.fill)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays."""
        return {name: getattr(self, name) for name in ARRAYS}

    def to_dict(self) -> dict[str, Any]:
        """Return what a report needs, and what the arrays do not hold."""
        used = np.flatnonzero(self.weight > 0)
        order = used[np.argsort(-self.weight[used], kind="stable")]
        return {
            "feature_names": list(self.feature_names),
            "mean_distance": self.mean_distance,
            "threshold": self.threshold,
            "n_rows": self.n_rows,
            "n_reference": len(self.reference),
            "n_outliers": self.n_outliers,
            "is_weighted": self.is_weighted,
            "weights": [{"name": self.feature_names[i], "weight": float(self.weight[i])} for i in order],
        }

    @classmethod
    def from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], report: Mapping[str, Any]) -> "Applicability":
        """Rebuild from ``to_arrays`` and ``to_dict``."""
        lacking = [name for name in ARRAYS if name not in arrays]
        if lacking:
            raise SchemaError(f"The stored area of applicability lacks {', '.join(lacking)}: train the model again.")
        return cls(
            feature_names=tuple(report["feature_names"]),
            **{name: np.asarray(arrays[name], dtype=np.float64) for name in ARRAYS},
            mean_distance=float(report["mean_distance"]),
            threshold=float(report["threshold"]),
            n_rows=int(report["n_rows"]),
            n_outliers=int(report["n_outliers"]),
            is_weighted=bool(report["is_weighted"]),
        )


def learn_applicability(
    X: npt.ArrayLike,
    splits: Sequence[tuple[Int64, Int64]],
    importance: npt.ArrayLike | None,
    feature_names: Sequence[str],
) -> tuple[Applicability, Float64]:
    """Learn the index from training rows, and its threshold from the folds.

    Parameters
    ----------
    X : (n, n_features) float64, NaN = missing
    splits : for each fold the rows it learned from and the rows it tested
    importance : (n_features,) any unit; what is below 0 counts as 0; None, or none above 0 = all weigh the same
    feature_names : (n_features,)

    Returns
    -------
    applicability : Applicability
    index : (n,) float64
        Of each training row towards the rows that its fold learned from; NaN for rows that no fold tests, and for those
        beyond ``MAX_REFERENCE`` that are thinned out.
    """
    values = np.asarray(X, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(feature_names) or not len(values):
        raise SchemaError(f"X has shape {values.shape}, and there are {len(feature_names)} feature names.")
    center, scale, fill = _moments(values)
    weight, is_weighted = _weights(importance, scale)
    placed = _placed(values, center, scale, weight, fill)
    mean = mean_distance(placed)
    if not mean > 0 or not splits:
        raise TrainingError(
            "The area of applicability needs training rows that differ and folds that test some of them; got "
            f"{len(values)} rows with the mean distance {mean:g} and {len(splits)} folds."
        )
    index = np.full(len(values), np.nan)
    for train, held_out in splits:
        test = _thin(held_out, MAX_REFERENCE // len(splits))
        index[test] = nearest(cKDTree(placed[_thin(train, MAX_REFERENCE)]), placed[test]) / mean
    known = index[np.isfinite(index)]
    threshold = upper_whisker(known)
    reference = placed[_thin(np.arange(len(values)), MAX_REFERENCE)]
    found = Applicability(
        tuple(feature_names),
        center,
        scale,
        weight,
        fill,
        reference,
        mean,
        threshold,
        len(values),
        int((known > threshold).sum()),
        is_weighted,
    )
    return found, index


def nearest(tree: cKDTree, points: Float64) -> Float64:
    """Return the distance : (n,) of each point to its nearest neighbour in a tree, a block at a time."""
    found = np.empty(len(points))
    for start in range(0, len(points), BLOCK):
        found[start : start + BLOCK] = tree.query(points[start : start + BLOCK])[0]
    return found


def mean_distance(points: Float64) -> float:
    """Return the mean distance between all pairs of different rows, of at most ``MAX_PAIRED`` rows.

    >>> mean_distance(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    rows = points[_thin(np.arange(len(points)), MAX_PAIRED)]
    if len(rows) < 2:
        return 0.0
    step = max(1, BLOCK * 100 // len(rows))
    total = sum(float(cdist(rows[i : i + step], rows).sum()) for i in range(0, len(rows), step))
    return total / (len(rows) * (len(rows) - 1))


def upper_whisker(values: Float64) -> float:
    """Return the largest value that is not above the upper quartile + 1.5 interquartile ranges.

    >>> upper_whisker(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    4.0
    """
    low, high = np.quantile(values, [0.25, 0.75])
    return float(values[values <= high + 1.5 * (high - low)].max())


def _moments(values: Float64) -> tuple[Float64, Float64, Float64]:
    """Return mean, standard deviation (0 = does not vary) and median of each column, missing values left out."""
    empty = ~np.isfinite(values).any(axis=0)
    usable = np.where(empty, 0.0, values)
    fill = np.nanmedian(usable, axis=0)
    complete = np.where(np.isfinite(usable), usable, fill)
    scale = complete.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    constant = complete.max(axis=0) == complete.min(axis=0)  # rounding gives a constant column a tiny deviation
    return complete.mean(axis=0), np.where(constant, 0.0, scale), fill


def _weights(importance: npt.ArrayLike | None, scale: Float64) -> tuple[Float64, bool]:
    varies = (scale > 0).astype(np.float64)
    if importance is not None:
        known = np.nan_to_num(np.asarray(importance, dtype=np.float64))
        if known.shape != scale.shape:
            raise SchemaError(f"There are importances of shape {known.shape} for {scale.size} features: one for each.")
        given = np.maximum(known, 0.0) * varies
        if given.sum() > 0:
            return given / given.sum(), True
    return varies / max(varies.sum(), 1.0), False


def _placed(values: Float64, center: Float64, scale: Float64, weight: Float64, fill: Float64) -> Float64:
    used = weight > 0
    complete = np.where(np.isfinite(values[:, used]), values[:, used], fill[used])
    placed: Float64 = (complete - center[used]) / scale[used] * weight[used]
    return placed


def _thin(rows: Int64, most: int) -> Int64:
    """Take at most so many rows, evenly spaced."""
    return rows if rows.size <= most else rows[np.linspace(0, rows.size - 1, most).round().astype(np.int64)]
