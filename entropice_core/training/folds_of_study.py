"""The folds that a study asks for, over the rows of its training set, checked for leakage."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from entropice_core.config import Bounds, FoldsConfig
from entropice_core.dataset.folds import Fold, InnerFolds, check_no_leakage, inner_folds_maker, make_folds
from entropice_core.dataset.pixels import pixel_groups
from entropice_core.dataset.temporal import check_years_apart, temporal_fold
from entropice_core.grids.base import Grid
from entropice_core.training.problem import Places, child_seed

VERSION = "1"
SECTOR = 30
"""Degrees of longitude of a reporting region, where a study names none."""


def folds_of_study(
    config: FoldsConfig, grid: Grid, places: Places, seed: int, rough: npt.ArrayLike
) -> tuple[list[Fold], InnerFolds]:
    """Make the outer folds and the maker of inner folds.

    Parameters
    ----------
    rough : (n,) classes of the rows, for balancing the folds; no model sees them
    """
    at = (places.cell_ids, places.lon, places.lat)
    inner = inner_folds_maker(config, grid, *at)
    if config.kind == "temporal":
        return [time_fold(config, places)], inner
    folds = make_folds(config, grid, *at, child_seed(seed, "folds"), y=rough)
    has_pixels = config.pixel_degrees > 0 and config.kind != "random"
    check_no_leakage(
        folds, places.cell_ids, pixel_groups(places.lon, places.lat, config.pixel_degrees) if has_pixels else None
    )
    return folds, inner


def time_fold(config: FoldsConfig, places: Places) -> Fold:
    """Make the fold of the temporal hold-out."""
    fold = temporal_fold(places.year, int(config.train_until or 0))
    check_years_apart(fold, places.year)
    return fold


def regions_of(config: FoldsConfig, places: Places) -> dict[str, npt.NDArray[np.bool_]]:
    """Say which rows lie in which region : name -> (n,) bool; the study's regions, or sectors of 30 degrees."""
    return _named(config.regions, places) if config.regions else _sectors(places)


def _named(regions: Mapping[str, Bounds], places: Places) -> dict[str, npt.NDArray[np.bool_]]:
    found = {}
    for name, (west, south, east, north) in regions.items():
        in_lon = (places.lon >= west) & (places.lon < east)
        if west > east:
            in_lon = (places.lon >= west) | (places.lon < east)
        found[name] = in_lon & (places.lat >= south) & ((places.lat < north) | (north >= 90))
    return found


def _sectors(places: Places) -> dict[str, npt.NDArray[np.bool_]]:
    west = np.floor(places.lon / SECTOR).astype(np.int64) * SECTOR
    return {f"{low} to {low + SECTOR} E": west == low for low in np.unique(west).tolist()}
