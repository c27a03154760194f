"""The labels of one grid and year: number, area and density of RTS per cell, NaN where nobody looked.

Density is the area of slumps per observed land area of the cell (m2 m-2). Three things are kept apart that are easily
mixed up: nobody looked (NaN), somebody looked and found nothing (0), and slumps of known number but unknown area
(``count`` is set, area and density are NaN).
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
import xarray as xr

from entropice_core.errors import SchemaError
from entropice_core.grids.base import Bool, Float64, Geometries, Grid
from entropice_core.grids.cells import check_grid
from entropice_core.grids.land import LandSamples
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.footprint import footprint_of_year, masks_in_plane
from entropice_core.labels.geometry import repair, to_plane
from entropice_core.labels.inventory import Inventory
from entropice_core.labels.observed import observed_share
from entropice_core.labels.overlay import CellIndex, area_per_cell, clip, erase, join_overlapping, lies_in
from entropice_core.labels.uncertainty import COVERAGE, density_interval, noise_note, poisson_interval

VERSION = "2"

YEAR_DEFINITION = "Arctic year: 1 October to 30 September, named after the year in which it ends"

_VARIABLES: dict[str, tuple[str, str, str]] = {
    "count": ("float64", "1", "number of RTS whose inner point lies in the cell, NaN = unobserved"),
    "rts_area_m2": ("float64", "m2", "area of RTS in the observed part of the cell, overlaps once, NaN = unobserved"),
    "observed_area_m2": ("float64", "m2", "observed land area of the cell"),
    "observed_fraction": ("float32", "1", "observed land area by land area of the cell"),
    "density": (
        "float32",
        "m2 m-2",
        "RTS density: area of RTS by observed land area, NaN = unobserved, 0 = none found",
    ),
    "count_low": ("float32", "1", f"lower bound of the expected count, {COVERAGE:.0%} interval"),
    "count_high": ("float32", "1", f"upper bound of the expected count, {COVERAGE:.0%} interval"),
    "density_low": ("float32", "m2 m-2", f"lower bound of the RTS density of such land, {COVERAGE:.0%} interval"),
    "density_high": ("float32", "m2 m-2", f"upper bound of the RTS density of such land, {COVERAGE:.0%} interval"),
}

DECADES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Edges of the histogram of densities in ``summary``, m2 m-2."""


@dataclass
class _Found:
    """What lies in each cell (cells,), and what lies in none or where nobody looked."""

    count: Float64
    area_m2: Float64
    losses: dict[str, int | float]


def label_cells(
    inventory: Inventory, grid: Grid, cells: xr.Dataset, area: StudyArea, year: int, land: LandSamples
) -> xr.Dataset:
    """Put the features of one year on cells.

    Polygons that overlap are joined first; a polygon across a border of cells gives each cell its part, and counts
    once, where its inner point lies. A point gives its whole area to its cell. What lies outside the footprint of the
    year, or in a mask, is left out above and below the fraction bar alike.

    Parameters
    ----------
    inventory : Inventory
        From ``read_inventory`` or ``read_back``.
    grid : Grid
        The grid of ``cells``.
    cells : xr.Dataset
        From ``build_cells``: ``cell_ids`` sorted, ``area_m2``, ``land_fraction``.
    area : StudyArea
        The study area of ``cells``; it is told in the attributes.
    year : int
        The Arctic year.
    land : LandSamples
        Blocks of the land mask that cover the cells; used where the border of a footprint meets the coast.

    Returns
    -------
    xr.Dataset
        Dimension ``cell`` with the coordinates of ``cells``; ``count`` float64, ``rts_area_m2`` float64 (m2),
        ``observed_area_m2`` float64 (m2), ``observed_fraction`` float32 and ``density`` float32 (m2 m-2), with the
        95 % intervals ``count_low``, ``count_high``, ``density_low`` and ``density_high``. Attributes tell how much
        lies outside the cells, outside the footprint and in masks.
    """
    index = CellIndex(grid, _checked_ids(cells, grid), float(cells["area_m2"].max()))
    land_fraction = cells["land_fraction"].values.astype(np.float64)
    looked = _Looked(_looked_at(inventory, year), masks_in_plane(inventory.masks))
    share = observed_share(index, looked.parts, land_fraction, land, looked.masks)
    found = _find(inventory, year, index, looked)
    sizes = _sizes(inventory)
    values = _values(found, share, cells["area_m2"].values * land_fraction, sizes)
    return _to_dataset(values, found.losses | sizes, cells, inventory, area, year)


def summary(labels: xr.Dataset) -> dict[str, int | float]:
    """Count what a label dataset holds, for manifests and metadata."""
    density, count = labels["density"].values, labels["count"].values
    observed = np.isfinite(count)
    return (
        {
            "cells": int(count.size),
            "observed_cells": int(observed.sum()),
            "unobserved_cells": int((~observed).sum()),
            "positive_cells": int(((density > 0.0) | (np.isnan(density) & (count > 0.0))).sum()),
            "rts_count": int(np.nansum(count)),
            "rts_area_km2": round(float(np.nansum(labels["rts_area_m2"].values)) / 1e6, 6),
            "observed_area_km2": round(float(labels["observed_area_m2"].values.sum()) / 1e6, 6),
        }
        | {name: labels.attrs[name] for name in _LOSSES}
        | {"density": _histogram(density)}
    )


def _histogram(density: Float64) -> dict[str, int]:
    """Count the cells with no slump, and those in each decade of density."""
    known = density[np.isfinite(density)].astype(np.float64)
    per_decade = np.bincount(np.searchsorted(DECADES, known, side="left"), minlength=len(DECADES))
    names = ["0", *(f"{low:g} to {high:g}" for low, high in pairwise(DECADES))]
    return {name: int(n) for name, n in zip(names, per_decade, strict=True)}


_LOSSES = (
    "rts_area_total_m2",
    "count_outside_cells",
    "rts_area_outside_cells_m2",
    "count_unobserved",
    "rts_area_unobserved_m2",
    "count_masked",
    "rts_area_masked_m2",
    "count_without_area",
    "cells_with_capped_density",
)


def _checked_ids(cells: xr.Dataset, grid: Grid) -> Any:
    check_grid(cells, grid, "The cells to be labelled")
    ids = cells["cell_ids"].values.astype(np.uint64)
    if np.any(ids[1:] <= ids[:-1]):
        raise SchemaError(f"The cells of {grid.key} to be labelled are not sorted and distinct; take build_cells'.")
    return ids


def _looked_at(inventory: Inventory, year: int) -> Geometries | None:
    """Give the footprint of a year in the plane: None is the whole study area, an empty array is nowhere."""
    if year in inventory.unobserved_years:
        return np.empty(0, dtype=object)
    return None if inventory.footprint is None else footprint_of_year(inventory.footprint, year)


@dataclass(frozen=True)
class _Looked:
    """Where anyone looked in a year, in the plane: ``parts`` None is everywhere; and what is masked there."""

    parts: Geometries | None
    masks: Geometries

    def sees(self, points: Geometries) -> tuple[Bool, Bool]:
        """Tell which points were looked at, and which of those are masked: (n,), (n,)."""
        inside = np.ones(points.size, dtype=np.bool_) if self.parts is None else lies_in(points, self.parts)
        masked = inside & lies_in(points, self.masks) if self.masks.size else np.zeros_like(inside)
        return inside, masked


def _find(inventory: Inventory, year: int, index: CellIndex, looked: _Looked) -> _Found:
    chosen = inventory.features[inventory.features["year"] == year]
    geometries = np.asarray(chosen.geometry.to_numpy(), dtype=object)
    plane = to_plane(geometries, chosen.crs, "the inventory") if geometries.size else geometries
    is_point = shapely.get_dimensions(plane) == 0
    found = _find_points(plane[is_point], chosen["area_m2"].to_numpy(np.float64)[is_point], index, looked)
    polygons = _find_polygons(join_overlapping(repair(plane[~is_point])[0]), index, looked)
    losses = {name: found.losses[name] + polygons.losses[name] for name in found.losses}
    return _Found(found.count + polygons.count, found.area_m2 + polygons.area_m2, losses)


def _find_points(points: Geometries, area_m2: Float64, index: CellIndex, looked: _Looked) -> _Found:
    inside, masked = looked.sees(points)
    seen = inside & ~masked
    home = index.locate(points)
    kept = seen & (home >= 0)
    size = index.ids.size
    return _Found(
        np.bincount(home[kept], minlength=size).astype(np.float64),
        # An area that the file does not tell is NaN, and makes the sum of its cell NaN.
        np.bincount(home[kept], weights=area_m2[kept], minlength=size).astype(np.float64),
        _losses(inside, masked, home, area_m2)
        | {
            "rts_area_outside_cells_m2": float(np.nansum(area_m2[seen & (home < 0)])),
            "rts_area_unobserved_m2": float(np.nansum(area_m2[~inside])),
            "rts_area_masked_m2": float(np.nansum(area_m2[masked])),
        },
    )


def _find_polygons(slumps: Geometries, index: CellIndex, looked: _Looked) -> _Found:
    inner = shapely.point_on_surface(slumps)
    inside, masked = looked.sees(inner)
    clipped = slumps if looked.parts is None else clip(slumps, looked.parts)
    rest = erase(clipped, looked.masks)
    home = index.locate(inner)
    area, outside = area_per_cell(rest, index, home)
    whole, in_footprint, kept = (float(shapely.area(polygons).sum()) for polygons in (slumps, clipped, rest))
    return _Found(
        np.bincount(home[inside & ~masked & (home >= 0)], minlength=index.ids.size).astype(np.float64),
        area,
        _losses(inside, masked, home, shapely.area(slumps))
        | {
            "rts_area_outside_cells_m2": outside,
            # Up to rounding: a loss below 1e-9 of the whole is none.
            "rts_area_unobserved_m2": _positive(whole - in_footprint, whole),
            "rts_area_masked_m2": _positive(in_footprint - kept, whole),
        },
    )


def _losses(inside: Bool, masked: Bool, home: Any, area_m2: Float64) -> dict[str, int | float]:
    seen = inside & ~masked
    return {
        "rts_area_total_m2": float(np.nansum(area_m2)),
        "count_outside_cells": int((seen & (home < 0)).sum()),
        "count_unobserved": int((~inside).sum()),
        "count_masked": int(masked.sum()),
        "count_without_area": int(np.isnan(area_m2[seen & (home >= 0)]).sum()),
    }


def _positive(difference: float, whole: float) -> float:
    return difference if difference > 1e-9 * whole else 0.0


def _sizes(inventory: Inventory) -> dict[str, float]:
    """Mean size of a slump in all years of an inventory, and how much sizes spread; nothing when no size is known."""
    area = inventory.features["area_m2"].to_numpy(np.float64)
    known = area[np.isfinite(area) & (area > 0.0)]
    if not known.size:
        return {}
    return {"mean_rts_area_m2": float(known.mean()), "rts_area_cv": float(known.std() / known.mean())}


def _values(found: _Found, share: Float64, land_m2: Float64, sizes: dict[str, float]) -> dict[str, Float64]:
    """Join what was found with where anyone looked; count in ``losses`` what was found where nobody looked."""
    observed = share > 0.0
    observed_m2 = share * land_m2
    ratio = np.divide(found.area_m2, observed_m2, out=np.full(share.size, np.nan), where=observed)
    # The land mask has coarse pixels: a slump on the shore can be larger than the land that the mask leaves a cell.
    is_capped = ratio > 1.0
    found.losses["cells_with_capped_density"] = int(is_capped.sum())
    found.losses["count_unobserved"] += int(found.count[~observed].sum())
    found.losses["rts_area_unobserved_m2"] += float(np.nansum(found.area_m2[~observed]))
    count, area = (np.where(observed, values, np.nan) for values in (found.count, found.area_m2))
    count_low, count_high = poisson_interval(count)
    mean, cv = sizes.get("mean_rts_area_m2", np.nan), sizes.get("rts_area_cv", np.nan)
    low, high = density_interval(count, area, observed_m2, mean, cv)
    return {
        "count": count,
        "rts_area_m2": area,
        "observed_area_m2": observed_m2,
        "observed_fraction": share,
        "density": np.where(is_capped, 1.0, ratio),
        "count_low": count_low,
        "count_high": count_high,
        "density_low": low,
        "density_high": high,
    }


def _to_dataset(
    values: dict[str, Float64],
    numbers: dict[str, int | float],
    cells: xr.Dataset,
    inventory: Inventory,
    area: StudyArea,
    year: int,
) -> xr.Dataset:
    dataset = xr.Dataset(coords={name: cells[name] for name in ("cell_ids", "lon", "lat")})
    for name, (dtype, units, long_name) in _VARIABLES.items():
        dataset[name] = ("cell", values[name].astype(dtype), {"units": units, "long_name": long_name})
    dataset.attrs = {
        "title": f"RTS of the inventory {inventory.report.get('inventory', '')} per cell, {year}",
        "inventory": str(inventory.report.get("inventory", "")),
        "year": year,
        "year_definition": YEAR_DEFINITION,
        "study_area": json.dumps(area.describe()),
        **numbers,
        **({"label_noise": noise_note(f1)} if (f1 := inventory.report.get("detector_f1")) else {}),
    }
    return dataset
