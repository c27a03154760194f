"""The temporal hold-out: learn from the years up to one, test on the years after it, in the same places.

It asks what a schedule asks each January: does what was learned so far hold next year? It does not ask whether a
model holds elsewhere, as most test cells were seen in training; spatial folds ask that.
"""

import numpy as np
import numpy.typing as npt

from entropice_core.dataset.folds import Fold
from entropice_core.errors import ProvenanceError, TrainingError

VERSION = "1"


def temporal_fold(years: npt.ArrayLike, train_until: int) -> Fold:
    """Split rows by year: train <= ``train_until`` < test.

    >>> fold = temporal_fold([2018, 2019, 2020, 2018], train_until=2018)
    >>> fold.name, fold.train.tolist(), fold.test.tolist()
    ('after-2018', [0, 3], [1, 2])
    """
    when = np.asarray(years)
    train, test = np.flatnonzero(when <= train_until), np.flatnonzero(when > train_until)
    if not train.size or not test.size:
        found = f"{when.min()} to {when.max()}" if when.size else "none"
        raise TrainingError(
            f"folds.train_until = {train_until} leaves {train.size} training and {test.size} test rows (years: "
            f"{found}): choose a year before the last observed one."
        )
    return Fold(f"after-{train_until}", train.astype(np.int64), test.astype(np.int64))


def check_years_apart(fold: Fold, years: npt.ArrayLike) -> None:
    """Refuse a temporal fold that tests a year which is not after all training years."""
    when = np.asarray(years)
    last, first = int(when[fold.train].max()), int(when[fold.test].min())
    if first <= last:
        raise ProvenanceError(f"Fold {fold.name!r} trains up to {last} and tests from {first} on: years overlap.")
