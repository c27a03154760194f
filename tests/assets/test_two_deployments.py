"""Two installations of Dagster, each with its own database, on one store."""

from pathlib import Path

import dagster as dg
import pytest

from entropice_assets import sensors
from entropice_assets.keys import asset_key
from entropice_core.storage.partition import Partition
from tests.assets.conftest import Runner, Tiny

HERE = Partition("h3-3")


def last(instance: dg.DagsterInstance) -> dg.AssetMaterialization:
    (record,) = instance.fetch_materializations(asset_key("cells"), limit=1).records
    assert record.asset_materialization is not None
    return record.asset_materialization


def version(instance: dg.DagsterInstance) -> str:
    return str((last(instance).tags or {})["dagster/data_version"])


def test_what_one_built_the_other_takes_over_and_both_name_the_same_version(tiny: Tiny) -> None:
    with dg.DagsterInstance.ephemeral() as one, dg.DagsterInstance.ephemeral() as two:
        assert Runner(tiny.defs(), one).run("cells", partition="h3-3").success
        assert Runner(tiny.defs(), two).run("cells", partition="h3-3").success
        assert version(one) == version(two) == tiny.context().store.manifest("cells", HERE).digest
        assert [bool(last(each).metadata["built"].value) for each in (one, two)] == [True, False]
        assert tiny.context().store.verify(full=True) == []


def test_what_one_replaced_the_other_hears_of_and_the_version_before_is_still_there(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(sensors, "LOOKING_SECONDS", 600)
    with dg.DagsterInstance.ephemeral() as one, dg.instance_for_test() as two:
        assert Runner(tiny.defs(), two).run("cells", partition="h3-3").success
        before = version(two)
        other = other_study(tiny)
        assert Runner(other.defs(), one).run("cells", partition="h3-3").success
        assert version(one) != before
        defs = tiny.defs()
        context = dg.build_sensor_context(two, definitions=defs, resources={"entropice": tiny.resource()})
        (event,) = defs.resolve_sensor_def("published_elsewhere").evaluate_tick(context).asset_events
        two.report_runless_asset_event(event)
        assert version(two) == version(one), "the page of the second shows what is in the store"
        assert tiny.context().store.manifest("cells", HERE, before).digest == before
        assert tiny.context().store.verify(full=True) == []


def other_study(tiny: Tiny) -> Tiny:
    """The same store for a study of the same name that says something else, as a branch beside the main one does."""
    toml = Path(tiny.toml).with_name("branch.toml")
    toml.write_text(tiny.toml.read_text().replace("min_latitude = 60.0", "min_latitude = 68.0"))
    return Tiny(toml, tiny.data, tiny.home)
