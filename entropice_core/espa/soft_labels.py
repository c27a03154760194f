"""Labels that are distributions, or absent.

A row may be known to be a slump with probability 0.7, or not be labelled at all; both fit the functional without a
change, as the label term is linear in the labels: -eps_c sum_t w_t sum_m P_tm log Lambda_k(t)m. A row without a label
shapes boxes and feature weights and counts for no class.
What must not be here: training.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.validation import DataError

Floats = NDArray[np.float64]


def soft_labels(y: Any, unlabelled: Any = -1) -> tuple[Floats, NDArray[Any]]:
    """Turn labels with gaps into what ``ESPAClassifier.fit_soft`` takes.

    Parameters
    ----------
    y : (T,)
        Class labels; the value ``unlabelled`` (or NaN) marks rows without one.
    unlabelled : scalar, default -1

    Returns
    -------
    P : (T, M) float64
        One-hot rows; NaN where there is no label.
    classes : (M,)

    Examples
    --------
    >>> P, classes = soft_labels([0, 1, -1])
    >>> P.tolist(), classes.tolist()
    ([[1.0, 0.0], [0.0, 1.0], [nan, nan]], [0, 1])
    """
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise DataError(f"y has shape {labels.shape}, expected one label per row.")
    absent = np.array([label == unlabelled for label in labels.tolist()], dtype=bool)
    if labels.dtype.kind == "f":
        absent = absent | np.isnan(labels)
    if absent.all():
        raise DataError(f"None of the {len(labels)} rows has a label; label at least one.")
    classes, codes = np.unique(labels[~absent], return_inverse=True)
    P = np.full((len(labels), len(classes)), np.nan)
    P[~absent] = np.eye(len(classes))[codes]
    return P, classes


def check_soft_labels(P: Any, n_rows: int, classes: Any) -> tuple[Floats, NDArray[Any]]:
    """Check distributions; return them with zeros for absent labels, columns in the order of sorted classes."""
    given = np.asarray(P, dtype=np.float64)
    if given.ndim != 2 or len(given) != n_rows or given.shape[1] < 1:
        raise DataError(f"P has shape {given.shape}, expected ({n_rows}, classes): one distribution per row.")
    names = np.arange(given.shape[1]) if classes is None else np.asarray(classes)
    if names.shape != (given.shape[1],) or len(np.unique(names)) != len(names):
        raise DataError(
            f"classes is {names.tolist()}, expected {given.shape[1]} different labels, one per column of P."
        )
    absent = np.asarray(np.isnan(given).all(axis=1))
    filled = np.where(absent[:, None], 0.0, given)
    with np.errstate(invalid="ignore"):
        wrong = ~absent & ~((filled >= 0).all(axis=1) & (np.abs(filled.sum(axis=1) - 1.0) <= 1e-6))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"Row {row} of P is {given[row].tolist()}, expected a distribution, or NaN for no label.")
    order = np.argsort(names)
    total = filled.sum(axis=1, keepdims=True)
    return (filled / np.where(total > 0, total, 1.0))[:, order], names[order]
