"""Small inventories that the tests write themselves, and a handful of cells in the Lena delta."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

from entropice_core.config import InventoryConfig
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.land import LandSamples
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.inventory import Inventory, read_inventory

AREA = StudyArea(60.0, bounds=(115.0, 68.0, 140.0, 76.0))
YEARS = [2018, 2019, 2020]


def _square(lon: float, lat: float, metres: float = 200.0) -> shapely.Polygon:
    """A square of degrees, about so many metres wide and high."""
    high = metres / 111_500.0 / 2.0
    wide = high / np.cos(np.radians(lat))
    return shapely.box(lon - wide, lat - high, lon + wide, lat + high)


def _frame(geometries: list[Any], crs: str | None = "EPSG:4326", **columns: list[Any]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=geometries, crs=crs)


def _config(**changes: Any) -> InventoryConfig:
    values: dict[str, Any] = {
        "title": "test",
        "geometry": "polygon",
        "files": ["{data}/rts.gpkg"],
        "year": {"column": "date"},
        "footprint": {"kind": "study_area"},
    }
    return InventoryConfig.model_validate(values | changes)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Inventory]:
    """Read the inventory ``rts`` below ``tmp_path``; keywords change its configuration."""

    def read_it(area: StudyArea = AREA, years: list[int] = YEARS, **changes: Any) -> Inventory:
        return read_inventory("rts", _config(**changes), tmp_path, area, years)

    return read_it


def _all_land(grid_key: str, ids: np.ndarray, land_fraction: float | np.ndarray = 1.0) -> xr.Dataset:
    """Cells as ``build_cells`` gives them, with a land fraction of our own."""
    grid = parse_grid_key(grid_key)
    ids = np.unique(ids)
    cells = cell_coordinates(grid, ids)
    cells["area_m2"] = ("cell", grid.areas_m2(ids))
    cells["land_fraction"] = ("cell", np.broadcast_to(land_fraction, ids.shape).astype(np.float32))
    return cells


@pytest.fixture
def square() -> Callable[..., shapely.Polygon]:
    return _square


@pytest.fixture
def frame() -> Callable[..., gpd.GeoDataFrame]:
    return _frame


@pytest.fixture
def all_land() -> Callable[..., xr.Dataset]:
    return _all_land


@pytest.fixture
def area() -> StudyArea:
    return AREA


@pytest.fixture
def no_land() -> LandSamples:
    """No sample at all, for tests in which no border of a footprint meets the coast."""
    return LandSamples(*(np.empty(0, dtype=np.float32) for _ in range(4)))
