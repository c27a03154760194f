"""Which rows a search trains on and which it holds out, by any splitter.

What must not be here: spatial folds; their splitter is an argument.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, check_cv

from entropice_core.espa.training_rows import TrainingRows
from entropice_core.espa.validation import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


def held_out_splits(
    cv: Any, X: NDArray[Any], y: NDArray[Any], weights: Floats, groups: Any, data: TrainingRows
) -> list[tuple[Integers, Integers]]:
    """Training and held-out rows of each fold, counted among the rows of positive weight."""
    kept = np.flatnonzero(weights > 0)
    position = np.full(len(weights), -1, dtype=np.intp)
    position[kept] = np.arange(len(kept))
    if cv is None:
        found = _default_splitter(data).split(data.X, data.codes)
        return [(np.asarray(train), np.asarray(test)) for train, test in found]
    raw = check_cv(cv, y, classifier=True).split(X, y, groups)
    splits = [tuple(position[part][position[part] >= 0] for part in split) for split in raw]
    for number, (train, test) in enumerate(splits):
        absent = np.setdiff1d(data.codes, data.codes[train])
        if len(absent):
            name = data.classes.tolist()[absent[0]]
            raise DataError(
                f"The training part of fold {number} has no row of class {name!r}; use fewer or other folds."
            )
        if not len(test):
            raise DataError(f"Fold {number} holds out no row of positive weight; leave it out.")
    return [(train, test) for train, test in splits]


def _default_splitter(data: TrainingRows) -> StratifiedKFold:
    smallest = np.bincount(data.codes).min()
    if smallest < 2:
        name = data.classes.tolist()[np.bincount(data.codes).argmin()]
        message = f"Class {name!r} has only 1 sample, expected at least 2 to hold one out; add rows or pass `cv`."
        raise DataError(message)
    return StratifiedKFold(min(5, int(smallest)), shuffle=True, random_state=0)
