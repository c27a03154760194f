"""The list of cells of a study: which cells, how large, how much land, and what was left out.

Also the metadata that every dataset on a grid carries, and the check that two of them are on the same grid.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.errors import ConfigError, GridError
from entropice_core.grids.base import Grid, UInt64
from entropice_core.grids.land import land_fraction, mask_version
from entropice_core.grids.study_area import StudyArea

VERSION = "1"


def build_cells(grid: Grid, area: StudyArea, min_land_fraction: float) -> xr.Dataset:
    """List the cells of a study area that have enough land.

    Parameters
    ----------
    grid : Grid
        The grid and level.
    area : StudyArea
        A cell belongs to it when its centre does.
    min_land_fraction : float
        Cells with a smaller share of land are left out, 0 to 1. With 0 nothing is left out.

    Returns
    -------
    xr.Dataset
        Dimension ``cell``, sorted by ``cell_ids`` (uint64); coordinates ``lon``, ``lat`` (degrees); ``area_m2``
        (float64, m2) and ``land_fraction`` (float32, 1). The attribute ``counts`` is JSON: cells in, kept and rejected.
    """
    if not 0.0 <= min_land_fraction <= 1.0:
        raise ConfigError(f"min_land_fraction must be from 0 to 1, but is {min_land_fraction!r}.")
    ids = grid.cells(area)
    if ids.size == 0:
        raise ConfigError(
            f"No cell of {grid.key} has its centre in the study area {area.describe()}; "
            f"take a finer level or a larger area."
        )
    fraction = land_fraction(grid, ids)
    kept = fraction >= np.float32(min_land_fraction)
    if not kept.any():
        raise ConfigError(
            f"None of the {ids.size} cells of {grid.key} in the study area has a land fraction of {min_land_fraction}; "
            f"the largest is {fraction.max():.3f}."
        )
    rejected = {f"land fraction below {min_land_fraction:g}": int(np.count_nonzero(~kept))}
    counts = {"in": int(ids.size), "kept": int(np.count_nonzero(kept)), "rejected": rejected}
    dataset = cell_coordinates(grid, ids[kept])
    dataset["area_m2"] = ("cell", grid.areas_m2(ids[kept]), _AREA_ATTRS)
    dataset["land_fraction"] = ("cell", fraction[kept], _LAND_ATTRS | {"source": mask_version()})
    dataset.attrs.update(
        title=f"Cells of {grid.key} in the study area",
        study_area=json.dumps(area.describe()),
        min_land_fraction=float(min_land_fraction),
        counts=json.dumps(counts),
    )
    return dataset


def cell_coordinates(grid: Grid, cell_ids: UInt64) -> xr.Dataset:
    """Give a dataset with nothing but cells: coordinates ``cell_ids``, ``lon``, ``lat`` and the grid's metadata."""
    lon, lat = grid.centers(cell_ids)
    coords = {
        "cell_ids": ("cell", np.asarray(cell_ids, dtype=np.uint64), grid.attrs()),
        "lon": ("cell", lon, {"standard_name": "longitude", "long_name": "cell centre", "units": "degrees_east"}),
        "lat": ("cell", lat, {"standard_name": "latitude", "long_name": "cell centre", "units": "degrees_north"}),
    }
    return xr.Dataset(coords=coords, attrs={"Conventions": "CF-1.11", "grid": grid.key})


def check_grid(dataset: xr.Dataset, grid: Grid, what: str = "The dataset") -> None:
    """Raise ``GridError`` that names both grids unless a dataset's ``cell_ids`` are of the given grid."""
    if "cell_ids" not in dataset.coords:
        raise GridError(f"{what} has no coordinate cell_ids; it must be on the grid {grid.key}.")
    expected, got = grid.attrs(), dataset["cell_ids"].attrs
    identity = [name for name in ("grid_name", "level", "indexing_scheme", "ellipsoid") if name in expected]
    if any(_plain(got.get(name)) != _plain(expected[name]) for name in identity):
        found = {name: _plain(got.get(name)) for name in identity}
        wanted = {name: _plain(expected[name]) for name in identity}
        raise GridError(f"{what} is on the grid {found}, but {grid.key} is {wanted}; build it on {grid.key}.")


def _plain(value: Any) -> Any:
    """Reduce an attribute to what survives a round trip through a file."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


_AREA_ATTRS = {"standard_name": "cell_area", "long_name": "area of the cell on the WGS84 ellipsoid", "units": "m2"}
_LAND_ATTRS = {
    "standard_name": "land_area_fraction",
    "long_name": "share of the cell that is land, inland water and ice included",
    "units": "1",
}
