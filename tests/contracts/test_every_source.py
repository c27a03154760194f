"""What every source kind in the registry must do, on the demo's files: nothing here knows which kind it is.

Kinds that the demo does not use have a table in ``MORE`` and files beside the demo's.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from pyproj import CRS

from entropice_core.config import load_study
from entropice_core.config.sources import CONFIGS
from entropice_core.demo import write_demo
from entropice_core.errors import SourceError
from entropice_core.features.tiles import Tile
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.registry import SOURCES
from entropice_core.sources import Source, open_source
from tests.servers import alphaearth
from tests.unit.climate import world
from tests.unit.terrain import arctic

HISTORY = {"climatology": {"first": 2018, "last": 2022}, "last_years": 5, "indices": ["t2m_year_mean_degC"]}
MORE = {
    "climate": {"kind": "era5_daily"},
    "monthly": {"kind": "era5_monthly"},
    "history": {"kind": "era5_history", **HISTORY},
    "embedding": {"kind": "alphaearth", "path": "{data}/aef/{year}.json", "resolution_m": 2560},
    "dem": {"kind": "arcticdem", "path": "{data}/dem/tiles.json", "pixel_m": 1000.0, "tpi_radii_m": (3000.0,)},
}
TABLES = {
    **load_study("demo").sources,
    **{name: CONFIGS[table["kind"]](title=name, **table) for name, table in MORE.items()},
}


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    root = write_demo(tmp_path_factory.mktemp("contract") / "demo-data", seed=7, years=(2022,))
    for year in range(2018, 2023):
        fields = world.fields_of(year)
        world.write_year(root, year, {field: fields[field] for field in (("t2m", "mean"), ("tp", "sum"))})
    arctic.write_fetched(root / "dem" / "tiles.json", arctic.bering_tiles())
    zones = {zone: CRS.from_epsg(32600 + zone) for zone in (60, 1, 2)}
    places = [Tile(str(zone), crs, 4e5, 7.3e6, 2560.0, 2560.0, (100, 80)) for zone, crs in zones.items()]
    alphaearth.write_fetched(root / "aef" / "2022.json", places, TABLES["embedding"], 2022)
    return root


@pytest.fixture(params=["h3-3", "healpix-6"])
def grid(request):
    return parse_grid_key(request.param)


@pytest.fixture
def cells(grid):
    """Cells of Chukotka and Alaska, across 180 degrees."""
    return cell_coordinates(grid, grid.cells(StudyArea(64.0, (170.0, 64.0, -150.0, 72.0))))


@pytest.fixture(params=list(TABLES))
def source(request, data_root):
    return open_source(request.param, TABLES[request.param], data_root)


def test_every_kind_is_tried_here():
    assert {config.kind for config in TABLES.values()} == set(SOURCES.names())


def test_a_source_keeps_the_protocol(source):
    assert isinstance(source, Source)
    assert isinstance(source.VERSION, str) and source.VERSION


def test_the_files_of_a_year_exist_and_are_below_the_data_folder(source, data_root):
    files = source.files(2022)
    assert files and all(path.exists() and path.is_relative_to(data_root) for path in files)


def test_features_have_the_promised_shape_type_and_names(source, grid, cells):
    got = source.features(grid, cells, 2022)
    assert got["features"].dims == ("cell", "feature") and got["features"].dtype == np.float32
    np.testing.assert_array_equal(got["cell_ids"], cells["cell_ids"])
    assert got["cell_ids"].dtype == np.uint64 and got["cell_ids"].attrs == grid.attrs()
    for name in ("feature", "unit", "long_name"):
        assert got[name].dims == ("feature",) and all(isinstance(text, str) and text for text in got[name].values)
    assert len(set(got["feature"].values)) == got.sizes["feature"]
    assert not np.isinf(got["features"]).any() and np.isfinite(got["features"]).any(dim="cell").all()


def test_features_tell_their_origin_and_count_their_pixels(source, grid, cells):
    attrs = source.features(grid, cells, 2022).attrs
    assert {"title", "citation", "doi", "licence", "lag", "statement", "method", "notes", "counts"} <= set(attrs)
    counts = json.loads(attrs["counts"])
    for band in counts["bands"].values():
        masked = sum(n for reason, n in band.items() if reason.startswith("masked"))
        assert band["pixels"] == band["used"] + masked > 0
    json.loads(attrs["notes"])


def test_features_are_the_same_when_made_again_or_of_fewer_cells(source, grid, cells):
    whole = source.features(grid, cells, 2022)
    again = source.features(grid, cells, 2022)
    np.testing.assert_array_equal(whole["features"], again["features"])
    assert whole.attrs == again.attrs
    half = source.features(grid, cells.isel(cell=slice(0, None, 2)), 2022)
    # Which other cells there are decides how finely pixels are cut, so that a little changes, but not more.
    change = half["features"].values - whole["features"].values[::2]
    assert (np.nanstd(change, axis=0) <= 0.02 * np.nanstd(whole["features"], axis=0)).all()


def test_a_year_without_a_file_is_an_error_for_yearly_sources_only(source, grid, cells):
    if source.is_yearly:
        with pytest.raises(SourceError, match="1991"):
            source.features(grid, cells, 1991)
    else:
        np.testing.assert_array_equal(
            source.features(grid, cells, 1991)["features"], source.features(grid, cells, None)["features"]
        )
