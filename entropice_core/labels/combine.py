"""Several years of labels as one: the mean over the years, weighted by the land that was observed in each.

The same slump is mapped year after year, so years are never summed. A cell that nobody looked at in any year stays
unobserved. How the years differ on the land that two of them share is told beside, as a jump there comes from the
inventory (more images, another threshold) rather than from the ground.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.errors import GridError, SchemaError
from entropice_core.grids.base import Float64
from entropice_core.labels.uncertainty import COVERAGE, binomial_interval, density_interval

VERSION = "1"

Values = dict[str, Float64]

_VARIABLES: dict[str, tuple[str, str, str]] = {
    "density": ("float32", "m2 m-2", "RTS density: mean over the observed years, weighted by observed land area"),
    "density_low": ("float32", "m2 m-2", f"lower bound of the RTS density, {COVERAGE:.0%} interval as of one year"),
    "density_high": ("float32", "m2 m-2", f"upper bound of the RTS density, {COVERAGE:.0%} interval as of one year"),
    "count": ("float64", "1", "number of RTS in a year: mean over the observed years, weighted by observed land area"),
    "observed_fraction": ("float32", "1", "observed land area by land area, mean over all years"),
    "years_observed": ("int16", "1", "number of years in which some land of the cell was observed"),
    "years_positive": ("int16", "1", "number of observed years in which an RTS was found"),
    "positive_low": ("float32", "1", f"lower bound of the share of years with an RTS, {COVERAGE:.0%} interval"),
    "positive_high": ("float32", "1", f"upper bound of the share of years with an RTS, {COVERAGE:.0%} interval"),
}
_OF_YEAR: dict[str, tuple[str, str]] = {
    "observed_cells_of_year": ("1", "number of observed cells"),
    "observed_area_of_year": ("m2", "observed land area of all cells"),
    "positive_share_of_year": ("1", "share of the observed cells in which an RTS was found"),
    "density_of_year": ("m2 m-2", "area of all RTS by all observed land"),
    "cells_shared_with_year_before": ("1", "cells observed in this year and in the observed year before"),
    "change_from_year_before": ("1", "density of this year by that of the observed year before, on land of both"),
}


def combine_years(labels: Mapping[int, xr.Dataset]) -> xr.Dataset:
    """Average the labels of several years, weighted by observed land area.

    Parameters
    ----------
    labels : mapping of year to Dataset
        From ``label_cells``, of the same cells.

    Returns
    -------
    Dataset
        On ``cell``: ``density`` (float32, m2 m-2; ``sum(density * observed area) / sum(observed area)`` over the
        years with a density, NaN where none was observed) with its interval, ``count`` (float64, likewise),
        ``observed_fraction`` (float32), ``years_observed``, ``years_positive`` (int16) and the interval of the share
        of years with a slump. The interval of the density is that of a single year with the mean finds and the mean
        observed land: years are no independent draws, as the same slumps come again. On ``year``: observed cells and
        land, density, and its change from the observed year before on the cells that both saw.

    Raises
    ------
    SchemaError
        Without a year.
    GridError
        When the years are on different cells.
    """
    years = sorted(labels)
    if not years:
        raise SchemaError("There is no year to combine.")
    first = labels[years[0]]
    for year in years[1:]:
        if not np.array_equal(labels[year]["cell_ids"].values, first["cell_ids"].values):
            raise GridError(f"The labels of {year} and {years[0]} are on different cells: build both for one grid.")
    stack = {name: np.array([labels[y][name].values.astype(np.float64) for y in years]) for name in _NEEDED}
    made = xr.Dataset(coords={name: first[name] for name in ("cell_ids", "lon", "lat")} | {"year": years})
    for name, values in _per_cell(stack, first.attrs).items():
        dtype, units, long_name = _VARIABLES[name]
        made[name] = ("cell", values.astype(dtype), {"units": units, "long_name": long_name})
    for name, values in _per_year(stack).items():
        units, long_name = _OF_YEAR[name]
        made[name] = ("year", values, {"units": units, "long_name": long_name})
    made.attrs = {
        "title": f"RTS of the inventory {first.attrs.get('inventory', '')}, mean of {years[0]}-{years[-1]}",
        "weighting": "observed land area of each year",
        **{name: first.attrs[name] for name in ("inventory", "study_area", "label_noise") if name in first.attrs},
    }
    return made


def summary(combined: xr.Dataset) -> dict[str, Any]:
    """Count what a combined dataset holds, and tell how its years differ, for manifests and metadata."""
    density, seen = combined["density"].values, combined["years_observed"].values
    change = combined["change_from_year_before"].values
    return {
        "cells": int(density.size),
        "observed_cells": int((seen > 0).sum()),
        "positive_cells": int((combined["years_positive"].values > 0).sum()),
        "cells_observed_in_every_year": int((seen == combined.sizes["year"]).sum()),
        "years": {
            str(int(year)): {
                "observed_cells": int(combined["observed_cells_of_year"].values[i]),
                "density": float(f"{combined['density_of_year'].values[i]:.6g}"),
                **({} if np.isnan(change[i]) else {"change_from_year_before": float(f"{change[i]:.4g}")}),
            }
            for i, year in enumerate(combined["year"].values)
            if combined["observed_cells_of_year"].values[i]
        },
    }


_NEEDED = ("density", "count", "observed_area_m2", "observed_fraction")


def _weighted(values: Float64, weight: Float64) -> Float64:
    """Weighted mean over the years in which a value is known: (year, cell) twice -> (cell,), NaN where in none."""
    weight = np.where(np.isfinite(values), weight, 0.0)
    total = weight.sum(axis=0)
    weighted = (np.nan_to_num(values) * weight).sum(axis=0)
    return np.asarray(np.divide(weighted, total, out=np.full(total.size, np.nan), where=total > 0.0), dtype=np.float64)


def _per_cell(stack: Values, attrs: Mapping[Any, Any]) -> Values:
    seen_m2 = stack["observed_area_m2"]
    density, count = (_weighted(stack[name], seen_m2) for name in ("density", "count"))
    observed = seen_m2 > 0.0
    n = observed.sum(axis=0).astype(np.float64)
    mean_m2 = np.divide(seen_m2.sum(axis=0), n, out=np.zeros(n.size), where=n > 0.0)
    sizes = (float(attrs.get(name, np.nan)) for name in ("mean_rts_area_m2", "rts_area_cv"))
    low, high = density_interval(count, density * mean_m2, mean_m2, *sizes)
    positive = (observed & ((stack["count"] > 0.0) | (stack["density"] > 0.0))).sum(axis=0).astype(np.float64)
    positive_low, positive_high = binomial_interval(positive, n)
    return {
        "density": density,
        "density_low": low,
        "density_high": high,
        "count": count,
        "observed_fraction": stack["observed_fraction"].mean(axis=0),
        "years_observed": n,
        "years_positive": positive,
        "positive_low": positive_low,
        "positive_high": positive_high,
    }


def _per_year(stack: Values) -> Values:
    seen_m2, density = stack["observed_area_m2"], stack["density"]
    observed, known = seen_m2 > 0.0, np.isfinite(density)
    cells = observed.sum(axis=1).astype(np.float64)
    positive = (observed & ((stack["count"] > 0.0) | (density > 0.0))).sum(axis=1)
    shared, change = np.full(cells.size, np.nan), np.full(cells.size, np.nan)
    for before, after in pairwise(np.flatnonzero(cells)):
        both = known[before] & known[after]
        shared[after] = both.sum()
        old, new = (_pooled(density[i, both], seen_m2[i, both]) for i in (before, after))
        change[after] = new / old if old > 0.0 else np.nan
    return {
        "observed_cells_of_year": cells,
        "observed_area_of_year": seen_m2.sum(axis=1),
        "positive_share_of_year": np.divide(positive, cells, out=np.full(cells.size, np.nan), where=cells > 0),
        "density_of_year": np.array([_pooled(d[k], a[k]) for d, a, k in zip(density, seen_m2, known, strict=True)]),
        "cells_shared_with_year_before": shared,
        "change_from_year_before": change,
    }


def _pooled(density: Float64, area: Float64) -> float:
    return float((density * area).sum() / area.sum()) if area.sum() > 0.0 else float("nan")
