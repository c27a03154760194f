"""Is one model better than another, on the same places? Paired differences over folds, with corrected intervals.

Folds share most of their training rows, so their scores are not independent, and the usual interval of a mean is far
too narrow. Nadeau & Bengio (2003, doi:10.1023/A:1024068626366) widen the variance of the mean of k differences from
s2 / k to s2 (1 / k + n_test / n_train). With five folds only large and steady differences stay clear of zero, and that
is how it should be.

Models on one grid have the same folds and are paired fold by fold. Grids, levels and studies have folds of their own:
there the held-out rows of the second are sorted into the folds of the first by where they lie, so that both are scored
in the same places by models that knew neither. The events differ then (a large cell holds a slump more often), so skill
against the own prevalence is compared, never log loss itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree
from scipy.stats import t as student

from entropice_core.grids import parse_grid_key
from entropice_core.training.climatology import on_sphere
from entropice_core.training.metrics import score

VERSION = "1"
LEVEL = 0.95
METRICS = ("log_loss_skill", "roc_auc")
COLUMNS = ("first", "second", "metric", "difference", "low", "high", "p_value", "folds", "matched_by")
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Entry:
    """One model on one grid, with its held-out predictions.

    Attributes
    ----------
    study, grid, model, task : what it is
    fold : (n,) names of the folds; lon, lat : (n,) degrees
    y : (n,) classes; p : (n,) probability of any class but the first
    weight, loss, loss_prevalence : (n,) float64
    ratio : test rows per training row, mean over folds
    """

    study: str
    grid: str
    model: str
    task: str
    fold: npt.NDArray[np.str_]
    lon: Float64
    lat: Float64
    y: npt.NDArray[np.int64]
    p: Float64
    weight: Float64
    loss: Float64
    loss_prevalence: Float64
    ratio: float

    def differs_in(self, other: "Entry") -> int:
        """Count the things in which two entries differ: study, grid, model."""
        return sum(getattr(self, name) != getattr(other, name) for name in ("study", "grid", "model"))


def read_entry(folder: Path, study: str) -> Entry:
    """Read the held-out predictions of a published model."""
    cv = json.loads((folder / "cv.json").read_text(encoding="utf-8"))
    rows = pd.read_parquet(folder / "out_of_fold.parquet")
    lon, lat = parse_grid_key(cv["grid"]).centers(rows["cell_ids"].to_numpy())
    made = [fold["test"] / fold["train"] for fold in cv["folds"]["made"]]
    return Entry(
        study=study,
        grid=str(cv["grid"]),
        model=str(cv["model"]),
        task=str(cv["task"]),
        fold=rows["fold"].to_numpy(dtype=str),
        lon=lon,
        lat=lat,
        y=rows["y"].to_numpy(dtype=np.int64),
        p=rows["p"].to_numpy(dtype=np.float64),
        weight=rows["weight"].to_numpy(dtype=np.float64),
        loss=rows["loss"].to_numpy(dtype=np.float64),
        loss_prevalence=rows["loss_prevalence"].to_numpy(dtype=np.float64),
        ratio=float(np.mean(made)),
    )


def label_entries(entries: Sequence[Entry]) -> list[str]:
    """Name entries by grid and model, and by study where there are several."""
    several = len({entry.study for entry in entries}) > 1
    return [
        f"{entry.study} {entry.grid} {entry.model}" if several else f"{entry.grid} {entry.model}" for entry in entries
    ]


class Interval(NamedTuple):
    """A mean difference, its interval, and the two-sided p value of no difference."""

    mean: float
    low: float
    high: float
    p_value: float


def corrected_interval(differences: npt.ArrayLike, test_per_train: float, level: float = LEVEL) -> Interval:
    """Return the mean of fold differences with the interval of Nadeau & Bengio (2003).

    Parameters
    ----------
    differences : (k,) float64, one a fold; NaN where a score is not defined there
    test_per_train : test rows per training row
    level : share of intervals that hold the truth

    Examples
    --------
    >>> [round(value, 3) for value in corrected_interval([0.02, 0.03, 0.01, 0.04, 0.02], 0.25)]
    [0.024, 0.003, 0.045, 0.035]
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size < 2:
        mean = float(values.mean()) if values.size else float("nan")
        return Interval(mean, float("nan"), float("nan"), float("nan"))
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    error = spread * np.sqrt(1.0 / values.size + test_per_train)
    if error == 0:
        return Interval(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    reach = float(student.ppf((1 + level) / 2, values.size - 1) * error)
    return Interval(mean, mean - reach, mean + reach, float(2 * student.sf(abs(mean) / error, values.size - 1)))


def compare_pairs(entries: Sequence[Entry]) -> pd.DataFrame:
    """Compare every two entries that differ in one thing: the model, the grid, or the study (features, task).

    Returns
    -------
    DataFrame
        ``first``, ``second``, ``metric``, ``difference`` (second less first; positive: the second is better), ``low``,
        ``high``, ``p_value``, ``folds``, ``matched_by`` ("fold", or "place").
    """
    rows = []
    labels = label_entries(entries)
    for (one, first), (other, second) in combinations(zip(entries, labels, strict=True), 2):
        if one.differs_in(other) != 1:
            continue
        same_rows = one.fold.shape == other.fold.shape and bool((one.fold == other.fold).all())
        same_rows = same_rows and np.array_equal(one.lon, other.lon) and np.array_equal(one.y, other.y)
        fold_of_other = other.fold if same_rows else folds_by_place(one, other)
        for metric in METRICS:
            pairs = [_pair(one, other, fold_of_other, fold, metric) for fold in np.unique(one.fold)]
            found = corrected_interval([b - a for a, b in pairs], (one.ratio + other.ratio) / 2)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "metric": metric,
                    "difference": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "p_value": found.p_value,
                    "folds": int(sum(np.isfinite(a) and np.isfinite(b) for a, b in pairs)),
                    "matched_by": "fold" if same_rows else "place",
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def folds_by_place(one: Entry, other: Entry) -> npt.NDArray[np.str_]:
    """Give each row of the other entry the fold of the nearest cell of the first : (n_other,)."""
    nearest = cKDTree(on_sphere(one.lon, one.lat)).query(on_sphere(other.lon, other.lat))[1]
    return np.asarray(one.fold[nearest])


def _pair(one: Entry, other: Entry, fold_of_other: npt.NDArray[np.str_], fold: str, metric: str) -> tuple[float, float]:
    return _score(one, one.fold == fold, metric), _score(other, fold_of_other == fold, metric)


def _score(entry: Entry, rows: npt.NDArray[np.bool_], metric: str) -> float:
    if not rows.any():
        return float("nan")
    weight = entry.weight[rows]
    if metric == "log_loss_skill":
        known = float(weight @ entry.loss_prevalence[rows])
        return 1.0 - float(weight @ entry.loss[rows]) / known if known > 0 else float("nan")
    return score(entry.y[rows] > 0, entry.p[rows], weight)[metric]


def write_pairs(folder: Path, entries: Sequence[Entry], title: str) -> pd.DataFrame:
    """Write pairs.csv and pairs.png, and return the table."""
    from entropice_core.plots import comparison as figures
    from entropice_core.plots.files import write_figure

    pairs = compare_pairs(entries)
    pairs.to_csv(folder / "pairs.csv", index=False, float_format="%.6g", lineterminator="\n")
    write_figure(figures.pairs(pairs, title), folder / "pairs.png")
    return pairs


def pairs_in_words(pairs: pd.DataFrame) -> list[str]:
    """Say of every pair whether the difference in skill stays clear of zero."""
    said = []
    for row in pairs[pairs["metric"] == "log_loss_skill"].to_dict("records"):
        shown = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        if not np.isfinite(row["low"]):
            verdict = "has too few folds to tell"
        elif row["low"] > 0:
            verdict = "is better"
        else:
            verdict = "is worse" if row["high"] < 0 else "cannot be told apart"
        said.append(f"{row['second']} against {row['first']}: {shown}, {verdict}.")
    return said
