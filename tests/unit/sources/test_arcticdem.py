"""ArcticDEM through the command line and the pipeline: from a catalogue to features of two grids in one pass."""

import json

import numpy as np
import pytest
from pyproj import CRS

from entropice_core.cli.fetch_arcticdem import arcticdem
from entropice_core.config import Settings, load_study
from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.describe import describe
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.tiles import Tile
from entropice_core.fetch.of_area import bring_tiles, needed_tiles
from entropice_core.fetch.patience import Patience
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import materialize
from entropice_core.sources import open_source
from entropice_core.storage.partition import Partition
from tests.servers.stac import Fault, StacServer, write_cog
from tests.unit.terrain.arctic import write_tiles

STUDY = """
schema_version = 1
[study]
name = "tiny"
title = "A corner of Siberia"
grids = ["h3-5", "healpix-9"]
years = {{ first = 2021, last = 2021 }}
[study_area]
min_latitude = 60.0
min_land_fraction = 0.0
bounds = [87.2, 64.6, 88.4, 65.1]
[inventories.slumps]
title = "none"
geometry = "polygon"
files = ["{{data}}/none.gpkg"]
year = {{ column = "year" }}
footprint = {{ kind = "study_area" }}
[sources.terrain]
kind = "arcticdem"
title = "Generated ArcticDEM"
path = "{{data}}/arcticdem/tiny.json"
api = "{api}"
tpi_radii_m = [96.0]
[target]
inventory = "slumps"
[models.prevalence]
model = "prevalence"
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    write_tiles(folder)
    return folder


@pytest.fixture
def server(published):
    with StacServer(published) as running:
        yield running


@pytest.fixture
def study(server, tmp_path, monkeypatch):
    """A study whose catalogue is the local server, and the context of its pipeline."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.format(api=server.api))
    monkeypatch.setenv("ENTROPICE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ENTROPICE_HOME", str(tmp_path / "home"))
    return path


def context_of(study, say=lambda _: None) -> Context:
    return Context(load_study(study), Settings.from_environment(), say)


def test_from_the_catalogue_to_features_of_all_grids_in_one_pass(study, server, capsys):
    arcticdem(study=str(study), dry_run=True)
    assert "terrain: 6 tiles of arcticdem-mosaics-v4.1-32m" in capsys.readouterr().out
    arcticdem(study=str(study))
    assert "6 tiles: 0 were there, 6 fetched" in capsys.readouterr().out
    told: list[str] = []
    context = context_of(study, told.append)
    graph = build_graph(context.study)
    for key in context.study.study.grids:
        materialize(context, graph, graph["cells"], Partition(key))
    made = {}
    for key in context.study.study.grids:
        told.clear()
        outcome = materialize(context, graph, graph["features.terrain"], Partition(key))
        made[key] = context.open("features.terrain", Partition(key)).load()
        units = [line for line in told if line.startswith("unit ")]
        first = key == "h3-5"
        assert units and all(("computed for h3-5" if first else "was there") in unit for unit in units)
        assert outcome.built and not materialize(context, graph, graph["features.terrain"], Partition(key)).built
    description = describe(context, graph["features.terrain"], outcome.manifest)
    assert all(png and png.startswith(b"\x89PNG") for png in (description.picture, description.histogram))
    grid, features = parse_grid_key("healpix-9"), made["healpix-9"]
    alone = open_source("terrain", context.study.sources["terrain"], context.data_root).features(
        grid, cell_coordinates(grid, features["cell_ids"].values), None
    )
    np.testing.assert_array_equal(alone["features"], features["features"])
    assert alone.attrs["counts"] == features.attrs["counts"]


@pytest.fixture
def fetched(study, server):
    arcticdem(study=str(study))
    context = context_of(study)
    return context.study.sources["terrain"], context.data_root


def test_features_are_those_of_the_terrain_and_say_what_was_valid(fetched):
    config, root = fetched
    grid = parse_grid_key("healpix-9")
    cells = cell_coordinates(grid, np.unique(grid.locate([87.5, 87.9, 88.2], [64.8, 64.9, 64.95])))
    got = open_source("terrain", config, root).features(grid, cells, None)
    table = {name: got["features"].values[:, i] for i, name in enumerate(got["feature"].values)}
    assert len(table) == 11 * 9 + 2 and {"relief", "hypsometric_integral", "tpi_96m_p95"} <= set(table)
    assert table["relief"] == pytest.approx(table["elevation_max"] - table["elevation_min"], abs=1e-3)
    assert ((table["hypsometric_integral"] > 0.2) & (table["hypsometric_integral"] < 0.8)).all()
    assert (table["elevation_p05"] < table["elevation_p50"]).all() and (table["slope_mean"] > 5).all()
    valid = got["valid_fraction"].values[:, 0]
    assert (valid > 0.85).all() and (valid < 0.99).all()  # voids and lakes
    assert "pixel_centres" in got.attrs["method"] and "slope 0.12 degree" in got.attrs["method"]
    assert got.attrs["height_above"] == "WGS84 ellipsoid"
    for name, values in table.items():
        low, high = config.bounds_of(name)
        assert (values >= low).all() and (values <= high).all() and high < 1e4, name


def test_a_missing_tile_is_named_before_anything_is_computed(fetched):
    config, root = fetched
    victim = next(root.rglob("00_01_32m_v4.1_dem.tif"))
    victim.unlink()
    with pytest.raises(SourceError, match=r"lacks 1 of 6 tiles \(00_01_32m_v4.1_dem.tif\)"):
        open_source("terrain", config, root).files(None)


def test_another_collection_in_the_study_than_in_the_list_is_refused(fetched):
    config, root = fetched
    other = config.model_copy(update={"collection": "cop-dem-glo-30"})
    with pytest.raises(ConfigError, match="but sources.terrain has 'cop-dem-glo-30'"):
        open_source("terrain", other, root).files(None)


def test_a_study_without_tiles_says_how_to_fetch_them(study, server):
    context = context_of(study)
    with pytest.raises(SourceError, match="entropice fetch arcticdem"):
        open_source("terrain", context.study.sources["terrain"], context.data_root).files(None)


def test_a_damaged_tile_fails_the_fetch_and_its_name_is_told(study, server):
    path = "/files/01_02_32m_v4.1_dem.tif"
    server.faults[path] = Fault(body=[b"<html>", b"<html>"])
    with pytest.raises(SourceError, match="1 of 6 tiles could not be fetched.*01_02_32m_v4.1"):
        arcticdem(study=str(study))
    arcticdem(study=str(study))
    assert server.calls[path] == 3 and server.calls["/files/00_00_32m_v4.1_dem.tif"] == 1


def test_only_tiles_that_a_cell_touches_are_fetched(study, server):
    study.write_text(study.read_text().replace("[87.2, 64.6, 88.4, 65.1]", "[87.3, 64.75, 87.35, 64.8]"))
    study.write_text(study.read_text().replace('"h3-5", "healpix-9"', '"healpix-10"'))
    arcticdem(study=str(study))
    listing = json.loads((study.parent / "data/arcticdem/tiny.json").read_text())
    assert 1 <= len(listing["tiles"]) < 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lag": 1}, "leave lag out"),
        ({"path": "{data}/tiles.tif"}, "must be the name of a .json file"),
        ({"path": "{year}.json"}, "{year}"),
        ({"water_values": [2]}, "give both or none"),
        ({"tpi_radii_m": [10.0]}, "at least a pixel"),
        ({"collection": "../x"}, "names a folder"),
    ],
)
def test_tables_that_cannot_be_are_refused(change, message):
    table = {"kind": "arcticdem", "title": "t", "path": "{data}/tiles.json", **change}
    with pytest.raises(ValueError, match=message):
        ArcticDemConfig(**table)


def test_glo30_south_of_60_n_is_configuration_only(tmp_path, monkeypatch):
    """Tiles in degrees, of two widths of pixels, with heights above the geoid and an asset of another name."""
    published, south = tmp_path / "published", StudyArea(58.0, (149.9, 58.9, 150.2, 59.2))
    published.mkdir()
    for name, top, step in (("N59", 59.16, 1.0), ("N58", 59.0, 1.5)):
        n = round(0.16 * 3600 / step)
        tile = Tile(name, CRS("EPSG:4326"), 150.0, top, step / 3600, -1 / 3600, (576, n))
        rows = np.linspace(0.0, 1.0, 576)[:, None]
        write_cog(published / f"{name}_dem.tif", tile, (100.0 + 50.0 * rows + np.zeros((1, n))).astype(np.float32))
    with StacServer(published, collection="cop-dem-glo-30", asset="data") as server:
        text = STUDY.format(api=server.api).replace("Generated ArcticDEM", "Copernicus GLO-30")
        keys = 'collection = "cop-dem-glo-30"\nasset = "data"\npixel_m = 31.0\nheight = "EGM2008 geoid"\n[target]'
        (tmp_path / "south.toml").write_text(text.replace("[target]", keys))
        config = load_study(tmp_path / "south.toml").sources["terrain"]
        refs = needed_tiles(config, south, ["healpix-10"], Patience())
        bring_tiles(config, refs, tmp_path, Patience(), lambda _: None)
    grid = parse_grid_key("healpix-10")
    got = open_source("terrain", config, tmp_path).features(grid, cell_coordinates(grid, grid.cells(south)), None)
    table = {name: got["features"].values[:, i] for i, name in enumerate(got["feature"].values)}
    known = np.isfinite(table["elevation_mean"])
    assert len(refs) == 2 and known.sum() >= 4 and got.attrs["height_above"] == "EGM2008 geoid"
    assert (np.abs(table["elevation_mean"][known] - 125.0) < 25.1).all()
    # 50 m over 0.16 degrees to the north, whatever the width of a pixel
    slope = np.degrees(np.arctan(50.0 / (0.16 * 111_400)))
    np.testing.assert_allclose(table["slope_p50"][known], slope, atol=0.125)
    assert "collection" in got.attrs and got.attrs["collection"] == "cop-dem-glo-30"
