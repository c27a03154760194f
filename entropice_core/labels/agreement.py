"""How far two inventories agree where and when both looked.

Inventories differ in sensor, method and in what they call a slump. On the cells that both observed well enough in one
year, number and area of slumps are compared, whether both found any, and whether they rank the cells alike. Cells that
only one of them saw say nothing about agreement and are counted apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import spearmanr

from entropice_core.errors import GridError
from entropice_core.grids.base import Bool, Float64

VERSION = "1"

ByYear = Mapping[int, xr.Dataset]

FEW_CELLS = 30
"""Below so many common cells a rank correlation is not told: it could be anything."""

COLUMNS: dict[str, str] = {
    "a": "first inventory",
    "b": "second inventory",
    "year": "Arctic year, or all: every cell-year that both saw",
    "cells_a": "cell-years that the first observed well enough",
    "cells_b": "cell-years that the second observed well enough",
    "cells": "cell-years that both did: all that follows is of these",
    "positive_a": "with slumps in the first",
    "positive_b": "with slumps in the second",
    "positive_both": "with slumps in both",
    "jaccard": "positive in both by positive in any",
    "kappa": "agreement on presence beyond chance (Cohen 1960)",
    "count_a": "slumps of the first",
    "count_b": "slumps of the second",
    "area_km2_a": "area of slumps of the first",
    "area_km2_b": "area of slumps of the second",
    "area_ratio": "area of the second by that of the first",
    "rank_correlation": "Spearman's, of the densities of all common cell-years; of counts where an area is unknown",
    "rank_correlation_positive": "the same where any of the two found slumps",
    "ranked_by": "density or count",
}


def compare_inventories(
    labels: Mapping[str, ByYear], min_observed_fraction: float, pairs: Sequence[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Compare every two inventories, year by year and over all years.

    Parameters
    ----------
    labels : mapping of inventory to mapping of year to Dataset
        From ``label_cells``, all of the same cells.
    min_observed_fraction : float
        Cells observed on a smaller share of their land are not compared.
    pairs : sequence of two names, optional
        All pairs when not given.

    Returns
    -------
    DataFrame
        The columns of ``COLUMNS``; a row for each pair and common year, and one for all years together.
    """
    chosen = list(combinations(sorted(labels), 2)) if pairs is None else pairs
    rows = [row for a, b in chosen for row in _compare(a, labels[a], b, labels[b], min_observed_fraction)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _compare(a: str, of_a: ByYear, b: str, of_b: ByYear, minimum: float) -> list[dict[str, Any]]:
    years = sorted(set(of_a) & set(of_b))
    for year in years:
        if not np.array_equal(of_a[year]["cell_ids"].values, of_b[year]["cell_ids"].values):
            raise GridError(f"{a} and {b} are on different cells in {year}: build the labels of both for one grid.")
    if not years:
        return []
    parts = {year: (_Side.of(of_a[year], minimum), _Side.of(of_b[year], minimum)) for year in years}
    rows = [{"a": a, "b": b, "year": str(year), **_agree(*parts[year])} for year in years]
    whole = [_Side.join([part[i] for part in parts.values()]) for i in (0, 1)]
    return [*rows, {"a": a, "b": b, "year": "all", **_agree(*whole)}]


@dataclass(frozen=True)
class _Side:
    """One inventory on some cell-years: each array (n,)."""

    seen: Bool
    count: Float64
    area_m2: Float64
    density: Float64

    @classmethod
    def of(cls, labels: xr.Dataset, minimum: float) -> Self:
        """Take what is compared from the labels of a year."""
        fraction = labels["observed_fraction"].values
        names = ("count", "rts_area_m2", "density")
        count, area, density = (labels[name].values.astype(np.float64) for name in names)
        return cls(np.isfinite(count) & (fraction >= minimum) & (fraction > 0.0), count, area, density)

    @classmethod
    def join(cls, sides: Sequence[Self]) -> Self:
        """Put the cell-years of several years after each other."""
        return cls(*(np.concatenate([getattr(side, each.name) for side in sides]) for each in fields(cls)))


def _agree(a: _Side, b: _Side) -> dict[str, Any]:
    both = a.seen & b.seen
    has_a, has_b = (side.count[both] > 0.0 for side in (a, b))
    has_a |= np.nan_to_num(a.density[both]) > 0.0
    has_b |= np.nan_to_num(b.density[both]) > 0.0
    areas = [float(side.area_m2[both].sum()) / 1e6 for side in (a, b)]  # NaN where an area is unknown
    quantity = "density" if np.isfinite([*a.density[both], *b.density[both]]).all() else "count"
    x, y = (getattr(side, quantity)[both] for side in (a, b))
    any_ = has_a | has_b
    return {
        "cells_a": int(a.seen.sum()),
        "cells_b": int(b.seen.sum()),
        "cells": int(both.sum()),
        "positive_a": int(has_a.sum()),
        "positive_b": int(has_b.sum()),
        "positive_both": int((has_a & has_b).sum()),
        "jaccard": float((has_a & has_b).sum() / any_.sum()) if any_.any() else np.nan,
        "kappa": _kappa(has_a, has_b),
        "count_a": float(a.count[both].sum()),
        "count_b": float(b.count[both].sum()),
        "area_km2_a": areas[0],
        "area_km2_b": areas[1],
        "area_ratio": areas[1] / areas[0] if areas[0] > 0.0 else np.nan,
        "rank_correlation": _rank_correlation(x, y),
        "rank_correlation_positive": _rank_correlation(x[any_], y[any_]),
        "ranked_by": quantity,
    }


def _kappa(a: Bool, b: Bool) -> float:
    """Agreement beyond chance; NaN where chance alone agrees everywhere."""
    if not a.size:
        return float("nan")
    by_chance = a.mean() * b.mean() + (1.0 - a.mean()) * (1.0 - b.mean())
    return float(((a == b).mean() - by_chance) / (1.0 - by_chance)) if by_chance < 1.0 else float("nan")


def _rank_correlation(a: Float64, b: Float64) -> float:
    if a.size < FEW_CELLS or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def write_agreement(
    folder: Path, labels: Mapping[str, ByYear], min_observed_fraction: float, title: str
) -> dict[str, Any]:
    """Write ``agreement.csv``, ``agreement.md`` and ``agreement.png``; give counts for the manifest."""
    table = compare_inventories(labels, min_observed_fraction)
    table.to_csv(folder / "agreement.csv", index=False, float_format="%.9g", lineterminator="\n")
    (folder / "agreement.md").write_text(as_markdown(table, min_observed_fraction, title), encoding="utf-8")
    _draw(folder / "agreement.png", labels, table, min_observed_fraction, title)
    whole = table[table["year"] == "all"]
    return {
        "pairs": len(whole),
        "common_cell_years": {f"{row['a']} and {row['b']}": int(row["cells"]) for row in whole.to_dict("records")},
    }


def as_markdown(table: pd.DataFrame, min_observed_fraction: float, title: str) -> str:
    """Write the table with what its columns mean, for people."""
    shown = table.map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
    shown = shown.mask(shown == "nan", "-")
    lines = [
        f"# Agreement of inventories: {title}",
        "",
        f"On cell-years of which both observed at least {min_observed_fraction:.0%} of the land; `-` is not defined or "
        f"rests on fewer than {FEW_CELLS} cell-years.",
        "",
        "| " + " | ".join(shown.columns) + " |",
        "|" + "---|" * len(shown.columns),
        *("| " + " | ".join(row) + " |" for row in shown.itertuples(index=False)),
        "",
        *(f"* `{name}`: {what}" for name, what in COLUMNS.items()),
    ]
    return "\n".join(lines) + "\n"


def _draw(path: Path, labels: Mapping[str, ByYear], table: pd.DataFrame, minimum: float, title: str) -> None:
    """Draw the densities (or counts) of each pair against each other; zeros at the edge."""
    from matplotlib.figure import Figure

    whole = table[table["year"] == "all"].to_dict("records")
    columns = max(1, min(3, len(whole)))
    rows = max(1, -(-len(whole) // columns))
    figure = Figure(figsize=(3.4 * columns, 3.3 * rows + 0.4), dpi=110, layout="constrained")
    figure.suptitle(f"Agreement of inventories: {title}", fontsize=10)
    for at, row in enumerate(whole, 1):
        axes = figure.add_subplot(rows, columns, at)
        years = sorted(set(labels[row["a"]]) & set(labels[row["b"]]))
        sides = [_Side.join([_Side.of(labels[row[name]][y], minimum) for y in years]) for name in ("a", "b")]
        both = sides[0].seen & sides[1].seen
        x, y = (getattr(side, row["ranked_by"])[both] for side in sides)
        positive = np.concatenate([x[x > 0], y[y > 0]])
        least = float(positive.min()) / 3.0 if positive.size else 1e-6
        axes.scatter(np.maximum(x, least), np.maximum(y, least), s=7, alpha=0.5, linewidths=0, color="#20639b")
        most = float(positive.max()) * 1.5 if positive.size else 1.0
        axes.plot([least, most], [least, most], color="0.6", lw=0.8, zorder=0)
        axes.set(xscale="log", yscale="log", xlabel=row["a"], ylabel=row["b"])
        rho = "-" if np.isnan(row["rank_correlation"]) else f"{row['rank_correlation']:.2f}"
        axes.set_title(f"{row['ranked_by']}, n = {row['cells']}, rank correlation {rho}", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.text(
        0.99, 0.0, "zeros are drawn at the lower and left edge", ha="right", va="bottom", fontsize=6, color="0.4"
    )
    figure.savefig(path, metadata={"Software": None})
