"""Sets of classes that hold the truth as often as they promise, whatever the model (Vovk, Gammerman and Shafer 2005).

A calibrated 0.3 is a statement about many cells; a set says for one cell which classes cannot be ruled out. A class is
in the set of a cell when its probability is not below the least that the class usually gets where it is true. That
least is learned for each class by itself (Mondrian sets), since slumps are rare and sets that hold on average would be
wrong about just them.

Conformal sets rest on exchangeable rows, and cells of one place are not. So only out-of-fold probabilities come here,
from models that knew nothing of the place; the correction for finite samples counts blocks, not rows: a new block of
mean size in which every row is missed is counted in, in the spirit of Dunn, Wasserman and Ramdas (2023,
doi:10.1080/01621459.2022.2060112). What was reached is then measured: thresholds from all folds but one, coverage in
that one. Between 2 and many classes nothing differs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ConformalSets:
    """For each class the least probability with which it still belongs to the set of a cell.

    Attributes
    ----------
    coverage : share of cells whose set should hold their class, in every class
    least : (n_classes,) least probabilities; 0 = always in the set, as too few blocks hold the class to leave it out
    n_rows, n_blocks : (n_classes,) on how many rows and blocks of its own a class rests

    Examples
    --------
    >>> sets = ConformalSets(0.9, least=(0.4, 0.1), n_rows=(90, 10), n_blocks=(9, 5))
    >>> sets([[0.95, 0.05], [0.7, 0.3], [0.2, 0.8]]).tolist()
    [[True, False], [True, True], [False, True]]
    """

    coverage: float
    least: tuple[float, ...]
    n_rows: tuple[int, ...]
    n_blocks: tuple[int, ...]

    def __call__(self, p: npt.ArrayLike) -> Bool:
        """Return which classes are in the set of each row : (n, n_classes); never none, the likeliest always is.

        A row with NaN (a cell without features) has every class in its set: nothing is ruled out.
        """
        probability = np.asarray(p, dtype=np.float64)
        if probability.ndim != 2 or probability.shape[1] != len(self.least):
            raise SchemaError(f"Sets of {len(self.least)} classes got probabilities of shape {probability.shape}.")
        inside = ~(probability < np.array(self.least))
        known = np.isfinite(probability).all(axis=1)
        inside[known, probability[known].argmax(axis=1)] = True
        return inside

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "ConformalSets":
        """Rebuild what ``to_dict`` returned."""
        differing = sorted(set(cls.__dataclass_fields__) ^ set(state))
        if differing:
            raise SchemaError(f"Stored conformal sets lack or do not know {', '.join(differing)}: train again.")
        return cls(
            float(state["coverage"]),
            tuple(map(float, state["least"])),
            tuple(map(int, state["n_rows"])),
            tuple(map(int, state["n_blocks"])),
        )


def fit_sets(p: npt.ArrayLike, y: npt.ArrayLike, blocks: npt.ArrayLike, coverage: float) -> ConformalSets:
    """Learn the least probabilities from out-of-fold predictions.

    Parameters
    ----------
    p : (n, n_classes) float64, calibrated out-of-fold probabilities
    y : (n,) classes
    blocks : (n,) the place of each row; rows of one block count as alike
    coverage : float in (0, 1)
    """
    probability, labels, places = _checked(p, y, blocks)
    if not 0 < coverage < 1:
        raise SchemaError(f"The coverage of conformal sets lies between 0 and 1, got {coverage}.")
    least, n_rows, n_blocks = [], [], []
    for k in range(probability.shape[1]):
        own = labels == k
        n_places = int(np.unique(places[own]).size)
        level = coverage * (1 + 1 / n_places) if n_places else np.inf
        least.append(_least(np.sort(probability[own, k])[::-1], level))
        n_rows.append(int(own.sum()))
        n_blocks.append(n_places)
    return ConformalSets(float(coverage), tuple(least), tuple(n_rows), tuple(n_blocks))


def _least(falling: Float64, level: float) -> float:
    """Return the largest probability that a share ``level`` of the rows reaches; 0 where no share can be left out."""
    needed = int(np.ceil(level * falling.size - 1e-9)) if level <= 1 else falling.size + 1
    return float(falling[needed - 1]) if 0 < needed <= falling.size else 0.0


def measure_coverage(
    p: npt.ArrayLike, y: npt.ArrayLike, blocks: npt.ArrayLike, folds: npt.ArrayLike, coverage: float
) -> dict[str, Any]:
    """Measure what sets reach where they were not learned: from all folds but one, applied in that one.

    Parameters
    ----------
    p, y, blocks, coverage : as for ``fit_sets``
    folds : (n,) fold of each row; a block is in one fold

    Returns
    -------
    dict
        ``folds`` : for each fold its ``coverage``, ``coverage_by_class`` (None where the fold lacks the class),
        ``mean_size`` and ``single`` (share of sets with one class); ``summary`` : mean, sd, least and largest of these
        over folds; ``blocks`` : quantiles of the coverage of single blocks; ``wanted`` ; ``n``.
    """
    probability, labels, places = _checked(p, y, blocks)
    fold_of_row = np.asarray(folds)
    rows, hit_of_row = [], np.zeros(labels.size, dtype=bool)
    names = np.unique(fold_of_row)
    if names.size < 2:
        raise SchemaError("Coverage is measured in folds that the sets were not learned on: two folds or more.")
    for name in names:
        here = fold_of_row == name
        sets = fit_sets(probability[~here], labels[~here], places[~here], coverage)
        inside = sets(probability[here])
        hit = inside[np.arange(inside.shape[0]), labels[here]]
        hit_of_row[here] = hit
        by_class = [_mean(hit[labels[here] == k]) for k in range(probability.shape[1])]
        size = inside.sum(axis=1)
        rows.append(
            {
                "name": str(name),
                "n": int(here.sum()),
                "coverage": float(hit.mean()),
                "coverage_by_class": by_class,
                "mean_size": float(size.mean()),
                "single": float((size == 1).mean()),
            }
        )
    _, where = np.unique(places, return_inverse=True)
    of_block = np.bincount(where, weights=hit_of_row) / np.bincount(where)
    quantiles = {f"q{level:02d}": float(np.quantile(of_block, level / 100)) for level in (5, 25, 50, 75, 95)}
    return {
        "wanted": float(coverage),
        "n": int(labels.size),
        "folds": rows,
        "summary": _summary(rows, probability.shape[1]),
        "blocks": {"n": int(of_block.size), **quantiles},
    }


def _summary(rows: list[dict[str, Any]], n_classes: int) -> dict[str, Any]:
    def over_folds(values: list[float | None]) -> dict[str, float | int | None]:
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        if not known.size:
            return {"mean": None, "sd": None, "min": None, "max": None, "n_folds": 0}
        sd = float(known.std(ddof=1)) if known.size > 1 else None
        low, high = float(known.min()), float(known.max())
        return {"mean": float(known.mean()), "sd": sd, "min": low, "max": high, "n_folds": int(known.size)}

    summary: dict[str, Any] = {
        name: over_folds([row[name] for row in rows]) for name in ("coverage", "mean_size", "single")
    }
    summary["coverage_by_class"] = [over_folds([row["coverage_by_class"][k] for row in rows]) for k in range(n_classes)]
    return summary


def _mean(values: Bool) -> float | None:
    return float(values.mean()) if values.size else None


def _checked(p: npt.ArrayLike, y: npt.ArrayLike, blocks: npt.ArrayLike) -> tuple[Float64, Int64, npt.NDArray[Any]]:
    probability, labels, places = np.asarray(p, dtype=np.float64), np.asarray(y), np.asarray(blocks)
    if probability.ndim != 2 or not labels.size or not labels.shape == places.shape == probability.shape[:1]:
        raise SchemaError(
            f"Conformal sets need probabilities (n, n_classes), a class and a block for each row; got "
            f"{probability.shape}, {labels.shape} and {places.shape}."
        )
    if not np.isfinite(probability).all() or not np.isin(labels, np.arange(probability.shape[1])).all():
        raise SchemaError("Conformal sets are learned on finite probabilities and classes 0 to n_classes - 1.")
    return probability, labels.astype(np.int64), places
