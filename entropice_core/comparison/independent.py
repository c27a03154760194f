"""A model that learned from one inventory, judged by the others: who drew the labels must not decide what is found.

The skill of cross-validation says how well a model foretells its own inventory, with its sensor and its notion of a
slump. Here its maps are compared with inventories that it never saw, on the cells and years that these observed; and
once more on the cells that were in no year observed by the inventory of the training, so that no training row is there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import spearmanr

from entropice_core.errors import GridError, ProvenanceError
from entropice_core.grids.base import Bool, Float64
from entropice_core.training.metrics import score

VERSION = "1"

ByYear = Mapping[int, xr.Dataset]

COLUMNS: dict[str, str] = {
    "inventory": "the inventory that judges; the model never saw it",
    "year": "Arctic year, or all",
    "cells": "all: what the inventory observed; new: of these, what the training inventory saw in no year",
    "n": "cell-years that are scored",
    "n_positive": "of these, those above the model's edge",
    "prevalence": "their share",
    "mean_probability": "mean of the probabilities",
    "roc_auc": "area under the ROC curve; 0.5 is chance",
    "average_precision": "mean precision; the prevalence is chance",
    "brier": "Brier score",
    "log_loss": "log loss, nats",
    "rank_correlation": "Spearman's, of expected density (probability where there is none) and observed density",
}
_FEW = 30


def judge(
    predictions: ByYear, judges: Mapping[str, ByYear], training: ByYear, min_observed_fraction: float
) -> pd.DataFrame:
    """Score the maps of a model against inventories that it did not learn from.

    Parameters
    ----------
    predictions : mapping of year to Dataset
        ``probability`` (cell,) with the attributes ``edge`` and ``quantity`` of its positive class;
        ``expected_density`` (cell,) where there is one.
    judges : mapping of inventory to mapping of year to Dataset
        Labels of the other inventories on the same cells.
    training : mapping of year to Dataset
        Labels of the inventory that the model learned from.
    min_observed_fraction : float
        Cells observed on a smaller share of their land are no judges, and were no training rows.

    Returns
    -------
    DataFrame
        The columns of ``COLUMNS``, for each inventory, year (and all years) and set of cells. A score without meaning
        (one class only, fewer than 30 rows for a rank) is NaN.
    """
    seen_in_training = np.any([_observed(labels, min_observed_fraction) for labels in training.values()], axis=0)
    rows: list[dict[str, Any]] = []
    for name in sorted(judges):
        years = sorted(set(predictions) & set(judges[name]))
        parts = {year: _pair(predictions[year], judges[name][year], year, name) for year in years}
        for cells, allowed in (("all", np.ones_like(seen_in_training)), ("new", ~seen_in_training)):
            kept = {
                year: part[_observed(judges[name][year], min_observed_fraction) & allowed]
                for year, part in parts.items()
            }
            found = {str(year): part for year, part in kept.items()}
            if kept:
                found["all"] = pd.concat(list(kept.values()), ignore_index=True)
            rows += [{"inventory": name, "year": year, "cells": cells, **_score(part)} for year, part in found.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _observed(labels: xr.Dataset, minimum: float) -> Bool:
    fraction = labels["observed_fraction"].values
    return np.asarray(np.isfinite(labels["density"].values) & (fraction >= minimum) & (fraction > 0.0), dtype=bool)


def _pair(predicted: xr.Dataset, labels: xr.Dataset, year: int, name: str) -> pd.DataFrame:
    if not np.array_equal(predicted["cell_ids"].values, labels["cell_ids"].values):
        raise GridError(f"The prediction of {year} and the labels of {name} are on different cells.")
    attrs = predicted["probability"].attrs
    if "edge" not in attrs:
        raise ProvenanceError("The prediction does not say the edge of its positive class: predict again.")
    quantity = str(attrs.get("quantity", "density"))
    p = predicted["probability"].values.astype(np.float64)
    expected = predicted["expected_density"].values if "expected_density" in predicted else p
    return pd.DataFrame(
        {
            "positive": labels[quantity].values > float(attrs["edge"]),
            "probability": p,
            "expected": expected.astype(np.float64),
            "density": labels["density"].values.astype(np.float64),
        }
    )


def _score(rows: pd.DataFrame) -> dict[str, Any]:
    rows = rows[np.isfinite(rows["probability"])]
    if not len(rows):
        return {"n": 0, "n_positive": 0}
    scores = score(rows["positive"].to_numpy(np.int64), rows["probability"].to_numpy(np.float64))
    names = ("prevalence", "roc_auc", "average_precision", "brier", "log_loss")
    return {
        "n": len(rows),
        "n_positive": int(rows["positive"].sum()),
        "mean_probability": scores["mean_p"],
        **{name: scores[name] for name in names},
        "rank_correlation": _rank(rows["expected"].to_numpy(), rows["density"].to_numpy()),
    }


def _rank(a: Float64, b: Float64) -> float:
    if a.size < _FEW or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def write_independent(folder: Path, table: pd.DataFrame, model: str, learned_from: str) -> dict[str, Any]:
    """Write ``independent.csv`` and ``independent.md``; give the scores of all years for the manifest."""
    table.to_csv(folder / "independent.csv", index=False, float_format="%.9g", lineterminator="\n")
    shown = table.map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
    shown = shown.mask(shown == "nan", "-")
    lines = [
        f"# {model}, which learned from {learned_from}, judged by other inventories",
        "",
        "| " + " | ".join(shown.columns) + " |",
        "|" + "---|" * len(shown.columns),
        *("| " + " | ".join(row) + " |" for row in shown.itertuples(index=False)),
        "",
        *(f"* `{name}`: {what}" for name, what in COLUMNS.items()),
    ]
    (folder / "independent.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = table[table["year"] == "all"].to_dict("records")
    return {
        f"{row['inventory']}, {row['cells']} cells": {
            "n": int(row["n"]),
            "n_positive": int(row["n_positive"]),
            **({} if np.isnan(row["roc_auc"]) else {"roc_auc": round(float(row["roc_auc"]), 4)}),
        }
        for row in whole
    }
