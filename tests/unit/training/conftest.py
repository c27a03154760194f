"""A small world on a real grid: cells of HEALPix level 6 in Siberia, with features that tell where slumps are dense."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from entropice_core.config import FoldsConfig, ModelConfig, TargetConfig
from entropice_core.dataset.folds import inner_folds_maker, make_folds
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea
from entropice_core.models.base import load_module
from entropice_core.training.problem import Problem

FOLDS = FoldsConfig(n_folds=4, inner_folds=2, block_level={"healpix": 3}, buffer_km=50.0)


@dataclass(frozen=True, eq=False)
class World:
    """Rows of a study, and the folds over them."""

    grid: object
    cell_ids: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    years: np.ndarray
    X: np.ndarray
    density: np.ndarray

    def problem(self, model="logistic_regression", params=None, search=None, positive="presence", **changes):
        """A problem on this world."""
        config = ModelConfig(model=model, params=params or {}, search=search or {})
        target = TargetConfig(inventory="darts", positive=positive)
        values = {"X": self.X, "density": self.density, "feature_names": ("warmth", "slope", "noise", "ripple")}
        return Problem(module=load_module(model), config=config, target=target, **{**values, **changes})

    def folds(self, config=FOLDS, seed=0):
        """Outer folds."""
        y = (self.density > 0).astype(int)
        return make_folds(config, self.grid, self.cell_ids, self.lon, self.lat, seed, y=y)

    def inner(self, config=FOLDS):
        """The maker of inner folds."""
        return inner_folds_maker(config, self.grid, self.cell_ids, self.lon, self.lat)


@cache
def make_world():
    grid = parse_grid_key("healpix-6")
    cells = grid.cells(StudyArea(60.0, bounds=(70.0, 60.0, -170.0, 76.0)))
    lon, lat = grid.centers(cells)
    rng = np.random.default_rng(0)
    n = cells.size
    warmth, slope = np.sin(lon / 9.0) + np.cos(lat / 2.0), rng.normal(size=n)
    ripple = np.sin(lon / 2.0) * np.cos(lat)
    logit = 1.5 * warmth + slope + rng.normal(size=n)  # cells keep their propensity from year to year
    rows, years = np.repeat(np.arange(n), 2), np.tile([2018, 2019], n)
    noise = rng.normal(size=rows.size)
    X = np.column_stack([warmth[rows], slope[rows], noise, ripple[rows]])
    X[rng.random(X.shape) < 0.03] = np.nan
    propensity = logit[rows] + 0.3 * rng.normal(size=rows.size)
    density = np.where(propensity > 0.5, np.expm1(propensity) * 1e-4, 0.0)
    return World(grid, cells[rows], lon[rows], lat[rows], years, X, density)


@pytest.fixture(scope="session")
def world():
    return make_world()
