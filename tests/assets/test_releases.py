"""A new release at the data centre, or a new file in the folder, is noticed once and asked for."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import geopandas as gpd
import pytest
from shapely.geometry import box

from entropice_assets.build import build_defs
from entropice_assets.keys import asset_key
from entropice_assets.releases import JOB, ArcticDataCenterResource, make_release_sensors, released
from entropice_core.config import load_study
from entropice_core.fetch.darts import DOI, read_receipt
from entropice_core.pipeline.run import materialize
from entropice_core.storage.partition import Partition
from tests.servers.dataone import DataOneServer

from .conftest import Tiny, quiet

NEWER = "10.18739/A2NEWER"
FILES = {"DARTS_v1_features_level2.parquet": b"a" * 500, "DARTS_v1_coverage_level2.parquet": b"b" * 500}


class Watched:
    """The tiny study, whose inventory is of the Arctic Data Center, with the sensor and a local data centre."""

    def __init__(self, tiny: Tiny, server: DataOneServer) -> None:
        text = tiny.toml.read_text().replace("10.0000/squares", DOI)
        tiny.toml.write_text(text.replace('files = ["{data}/squares.gpkg"]', 'files = ["{data}/squares*.gpkg"]'))
        self.tiny, self.server = tiny, server
        centre = ArcticDataCenterResource(node=server.url)
        self.resources = {"entropice": tiny.resource(), "arctic_data_center": centre}
        self.defs = build_defs(str(tiny.toml), self.resources)

    def look(self, instance: dg.DagsterInstance, name: str = "new_inventory_release") -> Any:
        sensor = self.defs.resolve_sensor_def(name)
        context = dg.build_sensor_context(instance, definitions=self.defs, resources=self.resources)
        return sensor.evaluate_tick(context)


@pytest.fixture
def watched(tiny: Tiny) -> Iterator[Watched]:
    with quiet(), DataOneServer() as server:
        server.publish(DOI, FILES, "DARTS v1")
        yield Watched(tiny, server)


def test_a_successor_of_the_doi_is_told_and_its_files_are_fetched_once(watched: Watched) -> None:
    with dg.instance_for_test() as instance:
        assert "has no release that is not here" in str(watched.look(instance).skip_message)
        watched.server.publish(NEWER, {"DARTS_v2_features_level2.parquet": b"n" * 900}, "DARTS v2")
        watched.server.replace(DOI, NEWER)
        tick = watched.look(instance)
        (request,), (event,) = tick.run_requests, tick.asset_events
        assert event.asset_key == asset_key("inventory.squares")
        assert event.metadata["release"].value == f"doi:{NEWER}" and "DARTS v2" in event.description
        assert watched.look(instance).run_requests[0].run_key == request.run_key  # Dagster runs a key once
        job = watched.defs.resolve_job_def(JOB)
        assert job.execute_in_process(run_config=request.run_config, instance=instance).success
        fetched = watched.tiny.data / "darts" / "DARTS_v2_features_level2.parquet"
        assert fetched.read_bytes() == b"n" * 900
        receipt = read_receipt(watched.tiny.data)
        assert receipt is not None and receipt["identifier"] == f"doi:{NEWER}"
        assert watched.look(instance).run_requests == []


def test_a_data_centre_that_is_down_makes_no_run_and_says_why(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entropice_assets.releases.SENSOR_BUDGET_S", 0.0)
    watched.server.faults["meta"] = ["503"] * 10
    with dg.instance_for_test() as instance:
        tick = watched.look(instance)
    assert tick.run_requests == [] and "answered 503: gave up" in str(tick.skip_message)


def test_a_file_that_a_release_adds_to_the_folder_asks_for_the_inventory(watched: Watched) -> None:
    context, graph = watched.tiny.context(), watched.tiny.graph()
    materialize(context, graph, graph["inventory.squares"], Partition())
    with dg.instance_for_test() as instance:
        assert watched.look(instance, "changed_input_files").run_requests == []
        more = gpd.GeoDataFrame({"year": [2018]}, geometry=[box(130, 70, 130.01, 70.01)], crs="EPSG:4326")
        more.to_file(watched.tiny.data / "squares_v2.gpkg", driver="GPKG")
        (request,) = watched.look(instance, "changed_input_files").run_requests
    assert request.asset_selection == [asset_key("inventory.squares")]


def test_the_sensor_is_off_and_only_there_for_inventories_of_the_data_centre() -> None:
    (sensor,) = make_release_sensors(load_study("pan_arctic"))
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert make_release_sensors(load_study("demo")) == [] and released(load_study("ne_siberia")) == {}
