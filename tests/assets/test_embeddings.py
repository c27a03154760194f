"""Embeddings as Dagster assets: fetched by year by either route, and features with a map, a histogram and progress."""

import dagster as dg
import pytest

from entropice_assets.assets import embeddings
from entropice_assets.assets.factory import make_asset
from entropice_assets.build import build_defs
from entropice_assets.keys import asset_key, files_key
from entropice_assets.partitions import StudyPartitions
from entropice_assets.resources import EntropiceResource
from entropice_core.config import Settings, load_study
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import materialize
from entropice_core.storage.partition import Partition
from tests.servers.alphaearth import AefServer, AefTile, two_zones, write_index, write_tile
from tests.servers.earthengine import EarthEngineServer, EeFault, images_of_tiles, service_account
from tests.unit.alphaearth.test_features import STUDY

TILES: list[AefTile] = two_zones()[1:2]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return folder, {tile.name: write_tile(folder, tile) for tile in TILES}


@pytest.fixture
def server(published):
    with AefServer(published[0]) as running:
        write_index(published[0] / "aef_index.parquet", TILES, running.files)
        yield running


@pytest.fixture
def engine(published, tmp_path, monkeypatch):
    with EarthEngineServer(images_of_tiles(TILES, published[1], (4,)), tokens=set()) as running:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path / "key.json", running)))
        yield running


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the study, with keys of its source and a lag."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("ENTROPICE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ENTROPICE_HOME", str(tmp_path / "home"))

    def written(index="https://none.example/i.csv", keys="", lag=0):
        path = tmp_path / "tiny.toml"
        text = STUDY.format(index=index).replace("first = 2021, last = 2022", "first = 2021, last = 2021")
        path.write_text(text.replace("lag = 1", f"lag = {lag}\n{keys}"))
        return str(path)

    return written


def run(study, asset, key, raise_on_error=True):
    with dg.instance_for_test() as instance:
        resources = {"entropice": EntropiceResource(study=study)}
        made = dg.materialize(
            [asset], resources=resources, partition_key=key, instance=instance, raise_on_error=raise_on_error
        )
        log = [entry.user_message for entry in instance.all_logs(made.run_id)]
    return made, log


def fetch(study, **more):
    loaded = load_study(study)
    (asset,) = embeddings.build(build_graph(loaded), StudyPartitions(loaded))
    return run(study, asset, "2021", **more)


def metadata(result, node):
    (event,) = result.asset_materializations_for_node(node)
    return {key: value.value for key, value in event.metadata.items()}


def test_files_of_a_year_become_features_with_a_map_a_histogram_and_progress(server, write):
    study = write(f"{server.files}/aef_index.parquet")
    result, log = fetch(study)
    facts = metadata(result, "files_embedding")
    assert (facts["tiles"], facts["fetched_now"], facts["requests"]) == (1, 1, 2)
    assert any("(1 of 1, " in line for line in log)
    assert metadata(fetch(study)[0], "files_embedding")["already_there"] == 1
    context = Context(load_study(study), Settings.from_environment(), lambda _: None)
    graph = build_graph(context.study)
    for key in context.study.study.grids:
        materialize(context, graph, graph["cells"], Partition(key))
    features = make_asset(graph["features.embedding"], graph, StudyPartitions(context.study))
    result, log = run(study, features, dg.MultiPartitionKey({"grid": "h3-5", "year": "2021"}))
    shown = metadata(result, "features_embedding")
    for name in ("preview", "histogram"):
        assert "data:image/png;base64," in shown[name]
    assert any("computed for h3-5, healpix-8 (1 of 1 tiles)" in line for line in log)


def test_earth_engine_by_year_asks_once_and_a_failed_run_goes_on(engine, write):
    keys = f'route = "earth_engine"\nendpoint = "{engine.url}"\ncells_per_request = 3'
    study = write(keys=keys)
    engine.faults = [EeFault(404, "listing"), EeFault(404, "no such project")]
    failed, _ = fetch(study, raise_on_error=False)
    assert not failed.success
    engine.faults = []
    result, log = fetch(study)
    facts = metadata(result, "files_embedding")
    assert facts["images"] == 1 and facts["already_there"] == 0 and facts["fetched_now"] == facts["requests"] >= 2
    assert any("cells of h3-5" in line and f"of {facts['requests']}, " in line for line in log)
    calls = len(engine.calls)
    again = metadata(fetch(study)[0], "files_embedding")
    assert again["already_there"] == facts["fetched_now"] and len(engine.calls) == calls + 1
    assert again["digest"] == facts["digest"]


@pytest.mark.parametrize(("route", "pool"), [("files", "alphaearth"), ("earth_engine", "earth_engine")])
def test_each_route_has_its_pool_and_features_follow_their_year(write, route, pool):
    graph = build_defs(write(keys=f'route = "{route}"')).resolve_asset_graph()
    assert files_key("embedding") in graph.get(asset_key("features.embedding")).parent_keys
    assert graph.get(files_key("embedding")).pools == {pool}
    lagged = build_defs(write(keys=f'route = "{route}"', lag=3)).resolve_asset_graph()
    assert files_key("embedding") not in lagged.get(asset_key("features.embedding")).parent_keys
    assert lagged.get(files_key("embedding")).partitions_def.get_partition_keys() == ["2018"]
