"""The labels of one grid and year: number, area and density of RTS per cell, NaN where nobody looked.

Density is the area of slumps per observed land area of the cell (m2 m-2). Three things are kept apart that are easily
mixed up: nobody looked (NaN), somebody looked and found nothing (0), and slumps of known number but unknown area
(``count`` is set, area and density are NaN).
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import xarray as xr

from entropice_core.errors import SchemaError
from entropice_core.grids.base import Bool, Float64, Geometries, Grid
from entropice_core.grids.cells import check_grid
from entropice_core.grids.land import LandSamples
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.footprint import footprint_of_year
from entropice_core.labels.geometry import repair, to_plane
from entropice_core.labels.inventory import Inventory
from entropice_core.labels.observed import observed_share
from entropice_core.labels.overlay import CellIndex, area_per_cell, clip, join_overlapping, lies_in

VERSION = "1"

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
}


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
    year is left out above and below the fraction bar alike.

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
        ``observed_area_m2`` float64 (m2), ``observed_fraction`` float32 and ``density`` float32 (m2 m-2). Attributes
        tell how much lies outside the cells and outside the footprint.
    """
    index = CellIndex(grid, _checked_ids(cells, grid), float(cells["area_m2"].max()))
    land_fraction = cells["land_fraction"].values.astype(np.float64)
    parts = _looked_at(inventory, year)
    if parts is None:
        share = (land_fraction > 0.0).astype(np.float64)
    else:
        share = observed_share(index, parts, land_fraction, land)
    found = _find(inventory, year, index, parts)
    values = _values(found, share, cells["area_m2"].values * land_fraction)
    return _to_dataset(values, found.losses, cells, inventory, area, year)


def summary(labels: xr.Dataset) -> dict[str, int | float]:
    """Count what a label dataset holds, for manifests and metadata."""
    density, count = labels["density"].values, labels["count"].values
    observed = np.isfinite(count)
    return {
        "cells": int(count.size),
        "observed_cells": int(observed.sum()),
        "unobserved_cells": int((~observed).sum()),
        "positive_cells": int(((density > 0.0) | (np.isnan(density) & (count > 0.0))).sum()),
        "rts_count": int(np.nansum(count)),
        "rts_area_km2": round(float(np.nansum(labels["rts_area_m2"].values)) / 1e6, 6),
        "observed_area_km2": round(float(labels["observed_area_m2"].values.sum()) / 1e6, 6),
    } | {name: labels.attrs[name] for name in _LOSSES}


_LOSSES = (
    "count_outside_cells",
    "rts_area_outside_cells_m2",
    "count_unobserved",
    "rts_area_unobserved_m2",
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


def _find(inventory: Inventory, year: int, index: CellIndex, parts: Geometries | None) -> _Found:
    chosen = inventory.features[inventory.features["year"] == year]
    geometries = np.asarray(chosen.geometry.to_numpy(), dtype=object)
    plane = to_plane(geometries, chosen.crs, "the inventory") if geometries.size else geometries
    is_point = shapely.get_dimensions(plane) == 0
    found = _find_points(plane[is_point], chosen["area_m2"].to_numpy(np.float64)[is_point], index, parts)
    polygons = _find_polygons(join_overlapping(repair(plane[~is_point])[0]), index, parts)
    losses = {name: found.losses[name] + polygons.losses[name] for name in found.losses}
    return _Found(found.count + polygons.count, found.area_m2 + polygons.area_m2, losses)


def _find_points(points: Geometries, area_m2: Float64, index: CellIndex, parts: Geometries | None) -> _Found:
    seen = np.ones(points.size, dtype=np.bool_) if parts is None else lies_in(points, parts)
    home = index.locate(points)
    inside = seen & (home >= 0)
    size = index.ids.size
    return _Found(
        np.bincount(home[inside], minlength=size).astype(np.float64),
        # An area that the file does not tell is NaN, and makes the sum of its cell NaN.
        np.bincount(home[inside], weights=area_m2[inside], minlength=size).astype(np.float64),
        _losses(seen, home, area_m2)
        | {
            "rts_area_outside_cells_m2": float(np.nansum(area_m2[seen & (home < 0)])),
            "rts_area_unobserved_m2": float(np.nansum(area_m2[~seen])),
        },
    )


def _find_polygons(slumps: Geometries, index: CellIndex, parts: Geometries | None) -> _Found:
    inner = shapely.point_on_surface(slumps)
    seen = np.ones(slumps.size, dtype=np.bool_) if parts is None else lies_in(inner, parts)
    clipped = slumps if parts is None else clip(slumps, parts)
    home = index.locate(inner)
    area = area_per_cell(clipped, index, home)
    whole, kept = shapely.area(slumps), shapely.area(clipped)
    return _Found(
        np.bincount(home[seen & (home >= 0)], minlength=index.ids.size).astype(np.float64),
        area,
        _losses(seen, home, whole)
        | {
            # Up to rounding: a loss below 1e-9 of the whole is none.
            "rts_area_outside_cells_m2": _positive(float(kept.sum() - area.sum()), float(kept.sum())),
            "rts_area_unobserved_m2": _positive(float(whole.sum() - kept.sum()), float(whole.sum())),
        },
    )


def _losses(seen: Bool, home: Any, area_m2: Float64) -> dict[str, int | float]:
    return {
        "count_outside_cells": int((seen & (home < 0)).sum()),
        "count_unobserved": int((~seen).sum()),
        "count_without_area": int(np.isnan(area_m2[seen & (home >= 0)]).sum()),
    }


def _positive(difference: float, whole: float) -> float:
    return difference if difference > 1e-9 * whole else 0.0


def _values(found: _Found, share: Float64, land_m2: Float64) -> dict[str, Float64]:
    """Join what was found with where anyone looked; count in ``losses`` what was found where nobody looked."""
    observed = share > 0.0
    observed_m2 = share * land_m2
    ratio = np.divide(found.area_m2, observed_m2, out=np.full(share.size, np.nan), where=observed)
    # The land mask has coarse pixels: a slump on the shore can be larger than the land that the mask leaves a cell.
    is_capped = ratio > 1.0
    found.losses["cells_with_capped_density"] = int(is_capped.sum())
    found.losses["count_unobserved"] += int(found.count[~observed].sum())
    found.losses["rts_area_unobserved_m2"] += float(np.nansum(found.area_m2[~observed]))
    return {
        "count": np.where(observed, found.count, np.nan),
        "rts_area_m2": np.where(observed, found.area_m2, np.nan),
        "observed_area_m2": observed_m2,
        "observed_fraction": share,
        "density": np.where(is_capped, 1.0, ratio),
    }


def _to_dataset(
    values: dict[str, Float64],
    losses: dict[str, int | float],
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
        **{name: losses[name] for name in _LOSSES},
    }
    return dataset
