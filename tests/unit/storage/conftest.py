from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore

CELL_ATTRS = {"grid_name": "h3", "level": 4}


@pytest.fixture
def store(tmp_path: Path) -> PartitionStore:
    return PartitionStore(tmp_path / "store", lock_timeout_s=5.0)


@pytest.fixture
def part() -> Partition:
    return Partition("h3-4", 2018)


@pytest.fixture
def recipe() -> Recipe:
    return Recipe("labels", "1", {"min_latitude": 60}, seed=7)


@pytest.fixture
def make_labels() -> Callable[..., xr.Dataset]:
    """A small labels dataset; ``seed`` changes its values only."""

    def make(seed: int = 0, cells: int = 40) -> xr.Dataset:
        rng = np.random.default_rng(seed)
        density = rng.random(cells).astype("float32")
        density[::7] = np.nan
        return xr.Dataset(
            {
                "count": ("cell", rng.integers(0, 9, cells).astype("float64"), {"units": "1"}),
                "rts_area_m2": ("cell", rng.random(cells) * 1e4, {"units": "m2"}),
                "observed_area_m2": ("cell", rng.random(cells) * 1e8, {"units": "m2"}),
                "observed_fraction": ("cell", rng.random(cells).astype("float32"), {"units": "1"}),
                "density": ("cell", density, {"units": "m2 m-2"}),
            },
            coords={"cell_ids": ("cell", np.arange(cells, dtype="uint64") + (1 << 59), CELL_ATTRS)},
            attrs={"title": "labels"},
        )

    return make


@pytest.fixture
def make_features() -> Callable[..., xr.Dataset]:
    """A small (cell, feature) dataset."""

    def make(names: tuple[str, ...] = ("t2m", "slope", "snow"), dtype: str = "float32", cells: int = 12) -> xr.Dataset:
        values = np.arange(cells * len(names), dtype=dtype).reshape(cells, len(names))
        return xr.Dataset(
            {"features": (("cell", "feature"), values)},
            coords={
                "cell_ids": ("cell", np.arange(cells, dtype="uint64"), CELL_ATTRS),
                "feature": list(names),
                "unit": ("feature", ["K"] * len(names)),
                "long_name": ("feature", [f"the {name}" for name in names]),
            },
        )

    return make
