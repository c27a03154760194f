"""Tiles of an elevation model as a Dagster asset, from a local catalogue."""

import dagster as dg
import pytest

from entropice_assets.assets import tiles
from entropice_assets.build import build_defs
from entropice_assets.keys import asset_key, files_key
from entropice_assets.partitions import StudyPartitions
from entropice_assets.resources import EntropiceResource
from entropice_core.config import load_study
from entropice_core.pipeline.graph import build_graph
from tests.servers.stac import Fault, StacServer
from tests.unit.sources.test_arcticdem import STUDY
from tests.unit.terrain.arctic import write_tiles


@pytest.fixture
def server(tmp_path):
    write_tiles(tmp_path / "published", [(0, 1)])
    with StacServer(tmp_path / "published") as running:
        yield running


@pytest.fixture
def study(server, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.format(api=server.api))
    monkeypatch.setenv("ENTROPICE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ENTROPICE_HOME", str(tmp_path / "home"))
    return str(path)


def run(study, raise_on_error=True):
    loaded = load_study(study)
    (asset,) = tiles.build(build_graph(loaded), StudyPartitions(loaded))
    resources = {"entropice": EntropiceResource(study=study)}
    return dg.materialize([asset], resources=resources, raise_on_error=raise_on_error)


def test_tiles_are_an_asset_that_features_are_made_from(study):
    graph = build_defs(study).resolve_asset_graph()
    assert files_key("terrain") in graph.get(asset_key("features.terrain")).parent_keys
    assert graph.get(files_key("terrain")).pools == {tiles.POOL}


def test_a_run_fetches_the_tiles_and_says_how_many(study):
    first, second = run(study), run(study)
    for result, fetched in ((first, 1), (second, 0)):
        (event,) = result.asset_materializations_for_node("files_terrain")
        assert event.metadata["tiles"].value == 1 and event.metadata["fetched_now"].value == fetched
        assert event.metadata["path"].value.endswith("arcticdem/tiny.json")
    versions = {
        r.asset_materializations_for_node("files_terrain")[0].tags["dagster/data_version"] for r in (first, second)
    }
    assert len(versions) == 1


def test_a_tile_that_stays_damaged_fails_the_run_with_its_name(study, server):
    server.faults["/files/00_01_32m_v4.1_dem.tif"] = Fault(body=[b"<html>", b"<html>"])
    result = run(study, raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert not result.success and "00_01_32m_v4.1" in str(failure.step_failure_data.user_failure_data or failure)
