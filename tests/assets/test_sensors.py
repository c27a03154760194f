"""The sensor asks for what was made from a file that changed, and for nothing else."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pytest

from entropice_assets import sensors
from entropice_assets.keys import asset_key
from entropice_assets.sensors import make_sensors
from entropice_core.pipeline.run import materialize
from entropice_core.storage.partition import Partition

from .conftest import Tiny, quiet, write_raster

HERE = Partition("h3-3")


@pytest.fixture
def built(tiny: Tiny) -> Iterator[Tiny]:
    """The tiny study with cells, relief and one year of climate."""
    context, graph = tiny.context(), tiny.graph()
    with quiet():
        for name, partition in (
            ("cells", HERE),
            ("features.relief", HERE),
            ("features.climate", Partition("h3-3", 2018)),
        ):
            materialize(context, graph, graph[name], partition)
        yield tiny


def look(tiny: Tiny) -> Any:
    """Let the sensor look once."""
    defs = tiny.defs()
    sensor = defs.resolve_sensor_def("changed_input_files")
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(instance, definitions=defs, resources={"entropice": tiny.resource()})
        return sensor.evaluate_tick(context)


def test_nothing_is_asked_for_while_no_file_changes(built: Tiny) -> None:
    tick = look(built)
    assert tick.run_requests == [] and tick.skip_message == "No input file has changed."


def test_a_changed_file_asks_for_its_partitions_once(built: Tiny) -> None:
    write_raster(built.data / "climate_2018.tif", np.zeros((24, 72)))
    (first,), (second,) = look(built).run_requests, look(built).run_requests
    assert first.asset_selection == [asset_key("features.climate")]
    assert (first.partition_key, first.job_name) == ("h3-3|2018", "step2_labels_features")
    assert first.run_key == second.run_key


def test_a_change_of_another_year_that_was_never_built_starts_nothing(built: Tiny) -> None:
    write_raster(built.data / "climate_2019.tif", np.zeros((24, 72)))
    assert look(built).run_requests == []


def test_a_touched_file_with_the_same_bytes_has_not_changed(built: Tiny) -> None:
    os.utime(built.data / "relief.tif")
    assert look(built).run_requests == []


def test_a_file_that_is_gone_is_named_and_does_not_hide_other_changes(built: Tiny) -> None:
    (built.data / "climate_2018.tif").unlink()
    assert "climate_2018.tif is missing" in str(look(built).skip_message)
    write_raster(built.data / "relief.tif", np.zeros((24, 72)))
    (request,) = look(built).run_requests
    assert request.asset_selection == [asset_key("features.relief")]


def test_the_sensor_waits_until_somebody_switches_it_on(tiny: Tiny) -> None:
    sensor, _ = make_sensors(tiny.graph(), [])
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def test_what_the_command_line_published_is_reported_once_with_its_digest_and_picture(
    built: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(sensors, "LOOKING_SECONDS", 600)  # a busy machine takes long for a picture
    defs = built.defs()
    sensor = defs.resolve_sensor_def("published_elsewhere")
    with dg.instance_for_test() as instance:

        def tick() -> Any:
            context = dg.build_sensor_context(instance, definitions=defs, resources={"entropice": built.resource()})
            return sensor.evaluate_tick(context)

        events = tick().asset_events
        store = built.context().store
        reported = {(e.asset_key, e.partition): e.tags["dagster/data_version"] for e in events}
        assert reported == {
            (asset_key("cells"), "h3-3"): store.manifest("cells", HERE).digest,
            (asset_key("features.relief"), "h3-3"): store.manifest("features.relief", HERE).digest,
            (asset_key("features.climate"), "h3-3|2018"): store.manifest(
                "features.climate", Partition("h3-3", 2018)
            ).digest,
        }
        assert all("preview" in event.metadata for event in events)
        for event in events:
            instance.report_runless_asset_event(event)
        assert tick().asset_events == []
        assert instance.get_materialized_partitions(asset_key("features.climate")) == {"h3-3|2018"}


@pytest.fixture
def ticks(built: Tiny, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let ``published_elsewhere`` look again and again, each look from where the one before ended."""
    monkeypatch.setattr(sensors, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(sensors, "LOOKING_SECONDS", 600)  # a busy machine takes long for a picture
    defs = built.defs()
    sensor = defs.resolve_sensor_def("published_elsewhere")
    with dg.instance_for_test() as instance:
        cursor: list[str | None] = [None]

        def tick() -> list[str]:
            context = dg.build_sensor_context(
                instance, cursor=cursor[0], definitions=defs, resources={"entropice": built.resource()}
            )
            done = sensor.evaluate_tick(context)
            cursor[0] = done.cursor
            for event in done.asset_events:
                instance.report_runless_asset_event(event)
            return [event.asset_key.path[-1] for event in done.asset_events]

        yield tick


def test_a_look_that_takes_too_long_is_gone_on_with_by_the_next(ticks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "LOOKING_SECONDS", 0)
    assert [ticks() for _ in range(4)] == [["cells"], ["features_climate"], ["features_relief"], []]


def test_a_partition_that_cannot_be_read_does_not_hide_the_others(built: Tiny, ticks: Any) -> None:
    built.context().store.layout.pointer("cells", HERE).write_text("{not a manifest")
    assert ticks() == ["features_climate", "features_relief"]


def test_what_a_machine_with_a_fast_clock_published_is_reported(
    built: Tiny, ticks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "SETTLED_SECONDS", 1800)
    store = built.context().store
    manifest = store.manifest("cells", HERE)
    ahead = datetime.fromisoformat(manifest.created) + timedelta(hours=3)
    store.layout.pointer("cells", HERE).write_text(replace(manifest, created=ahead.isoformat()).to_json())
    assert ticks() == ["cells"]
