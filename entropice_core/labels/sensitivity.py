"""How labels change with the probability that a detector must have given to a feature.

A detector draws what it thinks more likely than its own threshold, 0.5 in DARTS. What stays of number, area and
positive cells at higher thresholds shows how much of a result rests on doubtful features.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from entropice_core.errors import ConfigError
from entropice_core.grids.base import Grid
from entropice_core.grids.land import LandSamples
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.density import label_cells
from entropice_core.labels.inventory import Inventory

VERSION = "1"

COLUMNS: dict[str, str] = {
    "at_least": "the least probability that counts",
    "year": "Arctic year, or all: sums over the years (a slump counts in each)",
    "features": "features of the inventory that are as probable",
    "count": "slumps in cells, overlapping outlines joined",
    "area_km2": "their area",
    "density": "area by observed land, m2 m-2",
    "positive_cells": "cells (cell-years) with slumps",
    "observed_cells": "cells (cell-years) that were observed",
    "area_left": "area by that at the lowest threshold",
}


def threshold_table(
    inventory: Inventory,
    grid: Grid,
    cells: xr.Dataset,
    area: StudyArea,
    years: Sequence[int],
    land: LandSamples,
    thresholds: Sequence[float],
) -> pd.DataFrame:
    """Put an inventory on cells at several thresholds of probability.

    Returns
    -------
    DataFrame
        The columns of ``COLUMNS``, a row for each threshold and year, and one for all years. The lowest threshold is
        that of the inventory itself; features without a probability count there only when it is 0.
    """
    probability = inventory.features["probability"].to_numpy(np.float64)
    if not np.isfinite(probability).any():
        raise ConfigError(
            f"The inventory {inventory.report.get('inventory', '')!r} has no probabilities: name their column with "
            "probability = { column = ... }, or do without this table."
        )
    least = float(inventory.report.get("probability_at_least", 0.0))
    rows: list[dict[str, Any]] = []
    for at_least in sorted({least, *(t for t in thresholds if t > least)}):
        kept = inventory.features[(np.nan_to_num(probability) >= at_least)]
        likely = replace(inventory, features=kept)
        found = [_row(at_least, year, label_cells(likely, grid, cells, area, year, land), kept) for year in years]
        rows += [*found, _sum(at_least, found)]
    table = pd.DataFrame(rows)
    lowest = table[table["at_least"] == least].set_index("year")["area_km2"]
    base = table["year"].map(lowest)
    table["area_left"] = (table["area_km2"] / base).where(base > 0.0)
    return table[list(COLUMNS)]


def _row(at_least: float, year: int, labels: xr.Dataset, kept: pd.DataFrame) -> dict[str, Any]:
    count, area = labels["count"].values, float(np.nansum(labels["rts_area_m2"].values))
    observed_m2 = float(labels["observed_area_m2"].values.sum())
    return {
        "at_least": at_least,
        "year": str(year),
        "features": int((kept["year"] == year).sum()),
        "count": int(np.nansum(count)),
        "area_km2": area / 1e6,
        "density": area / observed_m2 if observed_m2 > 0.0 else np.nan,
        "positive_cells": int(((count > 0.0) | (np.nan_to_num(labels["rts_area_m2"].values) > 0.0)).sum()),
        "observed_cells": int(np.isfinite(count).sum()),
        "_observed_m2": observed_m2,
    }


def _sum(at_least: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    total = {name: sum(row[name] for row in rows) for name in rows[0] if name not in ("at_least", "year", "density")}
    seen = total["_observed_m2"]
    density = total["area_km2"] * 1e6 / seen if seen > 0.0 else np.nan
    return {"at_least": at_least, "year": "all", **total, "density": density}


def write_sensitivity(folder: Path, table: pd.DataFrame, title: str) -> dict[str, Any]:
    """Write ``sensitivity.csv`` and ``sensitivity.md``; give the counts of all years for the manifest."""
    table.to_csv(folder / "sensitivity.csv", index=False, float_format="%.9g", lineterminator="\n")
    shown = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else str(value))
    lines = [
        f"# What stays at higher probabilities: {title}",
        "",
        "| " + " | ".join(shown.columns) + " |",
        "|" + "---|" * len(shown.columns),
        *("| " + " | ".join(row) + " |" for row in shown.itertuples(index=False)),
        "",
        *(f"* `{name}`: {what}" for name, what in COLUMNS.items()),
    ]
    (folder / "sensitivity.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        f"at least {row['at_least']:g}": {
            "count": int(row["count"]),
            "area_km2": round(float(row["area_km2"]), 6),
            "positive_cells": int(row["positive_cells"]),
        }
        for row in table[table["year"] == "all"].to_dict("records")
    }
