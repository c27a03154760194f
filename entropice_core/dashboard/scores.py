"""Scores of models as tables: leaderboard, out-of-fold rows, importances, regions. Reads what training published.

Reports of older and newer versions differ in what they hold; what a report does not hold is left out, never guessed.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from entropice_core.dashboard.library import Library
from entropice_core.errors import StoreError
from entropice_core.storage.layout import read_current
from entropice_core.storage.partition import Partition
from entropice_core.storage.store import PartitionStore

METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss [nat]",
    "brier": "Brier score",
    "brier_skill": "Brier skill",
    "ece": "calibration error (ECE)",
    "balanced_accuracy": "balanced accuracy",
    "rps": "ranked probability score",
}
LOW_IS_GOOD = ("log_loss", "brier", "ece", "rps")
KINDS = {"spatial": "spatial folds", "random": "random folds", "permuted": "permuted labels"}


@dataclass(frozen=True, eq=False)
class Trained:
    """One published model: its report and where it is."""

    study: str
    model: str
    grid: str
    digest: str
    created: str
    cv: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Model and grid."""
        return f"{self.model} · {self.grid}"

    def summary(self, kind: str = "spatial") -> Mapping[str, Mapping[str, float | None]]:
        """Mean and spread of each score over folds; of permuted labels before calibration, which would hide chance."""
        part = self.cv.get(kind) or {}
        found: Mapping[str, Mapping[str, float | None]] = (
            part.get("summary_raw" if kind == "permuted" else "summary") or {}
        )
        return found

    def value(self, metric: str, kind: str = "spatial", statistic: str = "mean") -> float:
        """One number; NaN where the report does not hold it."""
        found = (self.summary(kind).get(metric) or {}).get(statistic)
        return math.nan if found is None else float(found)

    def test_per_train(self) -> float:
        """Mean ratio of tested to training rows over the spatial folds; 0 where the report does not say."""
        folds = (self.cv.get("spatial") or {}).get("folds") or []
        ratios = [f["n_test"] / f["n_train"] for f in folds if f.get("n_train") and f.get("n_test")]
        return sum(ratios) / len(ratios) if ratios else 0.0

    def sources(self) -> str:
        """The feature set: sources of the features, with the number of features of each."""
        counts: dict[str, int] = {}
        for feature in self.cv.get("features", []):
            source = str(feature).partition(".")[0]
            counts[source] = counts.get(source, 0) + 1
        return ", ".join(f"{source} ({n})" for source, n in sorted(counts.items()))


def trained_models(library: Library, every_study: bool = False, left_out: list[str] | None = None) -> list[Trained]:
    """List the published models of the study, or of all studies of the same home.

    Those that cannot be read are left out, and named in the list ``left_out``.
    """
    root, lost = library.store.root, [] if left_out is None else left_out
    roots = sorted(path for path in root.parent.glob("*") if path.is_dir()) if every_study else [root]
    return [trained for path in roots for trained in _of_store(path, lost)]


def _of_store(root: Path, left_out: list[str]) -> Iterator[Trained]:
    store = PartitionStore(root)
    for dataset in store.datasets():
        kind, _, model = dataset.partition(".")
        for partition in store.partitions(dataset) if kind == "model" else ():
            try:
                manifest = read_current(store.layout, dataset, partition)
                cv = json.loads((store.layout.version(manifest) / "cv.json").read_text(encoding="utf-8"))
            except (StoreError, OSError, ValueError):
                left_out.append(f"{root.name} {model} {partition.grid}")  # the overview says why
                continue
            yield Trained(root.name, model, str(partition.grid), manifest.digest, manifest.created, cv)


def best_model(library: Library, models: list[str], grid: str | None = None) -> str:
    """Name the model with the lowest mean log loss over spatial folds, on one grid or on most grids.

    Losses of different grids are not compared: they have other cells. Where none has a loss it is the first model.
    """
    losses: dict[str, dict[str, float]] = {}
    for each in trained_models(library):
        if each.model in models and grid in (None, each.grid) and math.isfinite(each.value("log_loss")):
            losses.setdefault(each.grid, {})[each.model] = each.value("log_loss")
    won = Counter(min(found, key=found.__getitem__) for found in losses.values())
    return won.most_common(1)[0][0] if won else models[0]


SHARES = ("roc_auc", "average_precision", "balanced_accuracy", "brier", "ece", "f1", "f2")
"""Scores that lie between 0 and 1."""


def half_width(sd: float, n_folds: float, test_per_train: float) -> float:
    """Half the width of a 95 % interval of a mean over folds, by Student's t with n - 1 degrees of freedom.

    Folds share most of their training rows; the variance of the mean is therefore s2 (1 / k + n_test / n_train), as
    Nadeau and Bengio (2003, doi:10.1023/A:1024068626366) propose.

    >>> round(half_width(0.1, 5, 0.25), 3)
    0.186
    """
    from scipy.stats import t

    if not (n_folds > 1 and math.isfinite(sd)):
        return math.nan
    return float(t.ppf(0.975, n_folds - 1) * sd * math.sqrt(1 / n_folds + test_per_train))


def _within(value: float, metric: str) -> float:
    """Keep the end of an interval where the score can be: an AUC above 1 is none; NaN stays."""
    return min(max(value, 0.0), 1.0) if metric in SHARES and math.isfinite(value) else value


def leaderboard(models: list[Trained], metric: str) -> pd.DataFrame:
    """Rank models by the mean of a score over spatial folds, with its interval and the controls beside it."""
    rows = []
    for each in models:
        mean, sd = each.value(metric), each.value(metric, statistic="sd")
        half = half_width(sd, each.value(metric, statistic="n_folds_defined"), each.test_per_train())
        rows.append(
            {
                "study": each.study,
                "model": each.model,
                "grid": each.grid,
                METRICS[metric]: mean,
                "95 % low": _within(mean - half, metric),
                "95 % high": _within(mean + half, metric),
                "sd over folds": sd,
                "random folds": each.value(metric, "random"),
                "permuted labels": each.value(metric, "permuted"),
                "rows": each.cv.get("rows"),
                "positive": _share(each.cv),
                "feature set": each.sources(),
                "digest": each.digest[:12],
            }
        )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    ordered = table.sort_values(METRICS[metric], ascending=metric in LOW_IS_GOOD, kind="stable", na_position="last")
    return ordered.reset_index(drop=True)


def _share(cv: Mapping[str, Any]) -> float:
    rows, positives = cv.get("rows"), cv.get("positives")
    return math.nan if not rows or positives is None else positives / rows


def fold_table(cv: Mapping[str, Any]) -> pd.DataFrame:
    """List the scores and choices of each spatial fold."""
    rows = []
    for fold in (cv.get("spatial") or {}).get("folds", []):
        metrics = fold.get("metrics") or {}
        rows.append(
            {
                "fold": fold.get("name"),
                "train rows": fold.get("n_train"),
                "test rows": fold.get("n_test"),
                "dropped in the buffer": fold.get("n_buffer_dropped"),
                "positive": metrics.get("prevalence"),
                **{METRICS[m]: metrics.get(m) for m in METRICS if m in metrics},
                "chosen": json.dumps(fold.get("params", {}), sort_keys=True),
            }
        )
    return pd.DataFrame(rows)


def region_table(cv: Mapping[str, Any]) -> pd.DataFrame:
    """List the scores of each region of the study, where the report has regions."""
    regions = cv.get("regions") or {}
    rows = [
        {"region": name, "rows": regions[name].get("n"), "positive": regions[name].get("prevalence")}
        | {METRICS[m]: regions[name].get(m) for m in METRICS if m in regions[name]}
        for name in sorted(regions, key=_from_west)
    ]
    return pd.DataFrame(rows)


def _from_west(region: str) -> tuple[float, str]:
    """Order sectors of longitude by their western end, and before them regions with names by these."""
    found = re.match(r"-?\d+", region)
    return (float(found.group()) if found else -math.inf, region)


def class_names(cv: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the classes that a model tells apart."""
    names = (cv.get("classes") or {}).get("names") or ()
    return tuple(str(name) for name in names) if len(names) >= 2 else ("negative", "positive")


def out_of_fold(library: Library, model: str, grid: str) -> pd.DataFrame | None:
    """Read the tested rows of a model: cell, year, fold, density, class, probability before and after calibration."""
    return library.read_table(f"model.{model}", Partition(grid), "out_of_fold.parquet")


def given_class(rows: pd.DataFrame, n_classes: int, threshold: float) -> np.ndarray:
    """Class of each row: the likeliest, or with two classes the second where its probability reaches a threshold."""
    columns = [f"p_class_{k}" for k in range(n_classes)]
    if n_classes > 2 and set(columns) <= set(rows.columns):
        return np.asarray(rows[columns].to_numpy().argmax(axis=1))
    return np.asarray((rows["p"].to_numpy() >= threshold).astype(np.int64))


def confusion_counts(rows: pd.DataFrame, n_classes: int, threshold: float) -> np.ndarray:
    """Count rows by observed and given class: (n_classes, n_classes) int64."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (rows["y"].to_numpy().astype(np.int64), given_class(rows, n_classes, threshold)), 1)
    return counts


def best_of(candidates: list[Mapping[str, Any]], pair: list[str]) -> list[dict[str, Any]]:
    """Keep the best candidate of each pair of values."""
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    for c in candidates:
        params = {name: c["params"].get(name) for name in pair}
        key = tuple(str(v) for v in params.values())
        if key not in best or c["log_loss"] < best[key]["log_loss"]:
            best[key] = {"params": params, "log_loss": c["log_loss"]}
    return list(best.values())


IMPORTANCE_LABELS = {
    "features": "increase of log loss when a feature is permuted, held-out rows (nat), mean ± sd over folds",
    "sources": "increase of log loss when a whole source is permuted, held-out rows (nat), mean ± sd over folds",
    "feature_weight": "eSPA's W: weight of a feature in the distance of boxes, mean ± sd over folds",
    "importance": "eSPA: share of the explained variance, mean ± sd over folds",
    "impurity_decrease": "decrease of impurity (trees), mean ± sd over folds",
    "shap": "mean |Shapley value|, mean ± sd over folds",
}


def importance_tables(found: Mapping[str, Any] | None) -> dict[str, pd.DataFrame]:
    """Give every measure of importance as a table of name, mean and sd_over_folds, the most important first."""
    tables = {}
    for name, rows in _measures(found or {}).items():
        if not isinstance(rows, list) or not rows or not isinstance(rows[0], Mapping) or "name" not in rows[0]:
            continue
        table = pd.DataFrame(rows)
        value = next((c for c in ("log_loss_increase", "mean", "value") if c in table), None)
        if value is None:
            continue
        spread = table["sd_over_folds"] if "sd_over_folds" in table else pd.Series(np.nan, index=table.index)
        tidy = pd.DataFrame({"name": table["name"], "mean": table[value], "sd_over_folds": spread}).astype(
            {"mean": float, "sd_over_folds": float}
        )
        tables[name] = tidy.sort_values("mean", ascending=False, kind="stable").reset_index(drop=True)
    return tables


def _measures(found: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: rows for name, rows in found.items() if name != "own"}
    own = found.get("own")
    return {**flat, **(own if isinstance(own, Mapping) else {})}
