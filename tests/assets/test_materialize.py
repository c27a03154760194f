"""Assets build what the command line builds, say what they did, and fail with the sentence of the error."""

import base64
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from entropice_assets.build import build_defs
from entropice_assets.failures import MAX_RETRIES, as_failure
from entropice_assets.keys import asset_key
from entropice_assets.partitions import to_key
from entropice_core.describe import MAX_PICTURE_BYTES
from entropice_core.errors import RetryableSourceError
from entropice_core.pipeline.run import materialize, tasks
from entropice_core.storage.partition import Partition

from .conftest import ORDER, Runner, Tiny, Whole, make_tiny, write_raster

BUILT = [name.replace("/", ".", 1) for name in dict.fromkeys(key for key, _ in ORDER)]


def events(result: Any) -> list[dg.AssetMaterialization]:
    """Materializations of a run in the order of its log."""
    return [e.step_materialization_data.materialization for e in result.get_asset_materialization_events()]


def last(runner: Runner, dataset: str, partition: Partition) -> dg.AssetMaterialization:
    """What Dagster knows of a partition now."""
    key = to_key(partition)
    wanted = dg.AssetRecordsFilter(asset_key(dataset), asset_partitions=None if key is None else [key])
    found = runner.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert found is not None
    return found


def failure(result: Any) -> Any:
    """What a failed run says on top."""
    return next(e for e in result.all_events if e.is_step_failure).event_specific_data.user_failure_data


def value(event: dg.AssetMaterialization, name: str) -> Any:
    return event.metadata[name].value


def test_every_run_of_the_whole_study_succeeds(whole: Whole) -> None:
    assert [name for name, result in whole.results.items() if not result.success] == []


def test_the_command_line_publishes_the_same_digests_in_another_store(
    whole: Whole, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = make_tiny(tmp_path_factory.mktemp("other"), whole.tiny.data)
    context, graph = other.context(), other.graph()
    products = [product for product in graph.values() if product.dataset in BUILT]
    for product, partition in tasks(context, products, None, None):
        theirs = materialize(context, graph, product, partition).manifest.digest
        assert theirs == whole.tiny.context().store.manifest(product.dataset, partition).digest, product.dataset


@pytest.mark.parametrize("dataset", BUILT)
def test_the_data_version_of_every_partition_is_the_digest_in_the_store(whole: Whole, dataset: str) -> None:
    store = whole.tiny.context().store
    for partition in store.partitions(dataset):
        event = last(whole.runner, dataset, partition)
        digest = store.manifest(dataset, partition).digest
        assert (event.tags or {})["dagster/data_version"] == digest == value(event, "digest")


@pytest.mark.parametrize("dataset", BUILT)
def test_every_partition_shows_a_picture_counts_and_where_it_is(whole: Whole, dataset: str) -> None:
    event = last(whole.runner, dataset, whole.tiny.context().store.partitions(dataset)[0])
    head, _, picture = value(event, "preview").partition("base64,")
    png = base64.b64decode(picture.rstrip(")"))
    assert head.endswith("(data:image/png;") and png.startswith(b"\x89PNG") and len(png) <= MAX_PICTURE_BYTES
    assert value(event, "path").startswith(f"{dataset}/")
    assert value(event, "built") is True
    assert event.metadata["counts"].value is not None
    assert value(event, "dagster/row_count") > 0


def test_features_show_their_columns_with_units(whole: Whole) -> None:
    schema = value(last(whole.runner, "features.climate", Partition("h3-3", 2019)), "dagster/column_schema")
    described = {column.name: column.description for column in schema.columns}
    assert described["warmth_mean"].endswith("[degC]") and "warmth_std" in described


def test_inputs_and_source_files_are_named_with_their_digests(whole: Whole) -> None:
    event = last(whole.runner, "features.climate", Partition("h3-3", 2018))
    (source,) = event.metadata["sources"].records
    (cells,) = event.metadata["inputs"].records
    assert source.data["file"] == "climate_2018.tif" and len(str(source.data["sha256"])) == 64
    assert cells.data["digest"] == whole.tiny.context().store.manifest("cells", Partition("h3-3")).digest


def test_a_model_names_its_mlflow_run(whole: Whole) -> None:
    event = last(whole.runner, "model.logistic_regression", Partition("h3-3"))
    assert len(value(event, "mlflow_run_id")) == 32
    assert "tracking_problem" not in event.metadata


def test_each_check_has_a_result_with_a_sentence(whole: Whole) -> None:
    (result,) = [r for name, r in whole.results.items() if name.startswith("model/logistic")]
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    controls = {"better_than_prevalence", "better_than_climatology", "shuffled_labels_are_chance"}
    assert set(found) == {*controls, "well_calibrated", "sets_cover_as_promised"}
    assert found["better_than_prevalence"].description.startswith("Log loss 0.")


def test_a_check_of_a_ranged_run_lists_its_partitions(whole: Whole) -> None:
    result = whole.results["labels/squares h3-3|2018...h3-3|2019"]
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}["density_in_range"]
    assert found.passed and found.description == "Holds in all 2 partitions of this run."
    assert [r.data["partition"] for r in found.metadata["partitions"].records] == ["h3-3/2018", "h3-3/2019"]


def test_nothing_is_out_of_date_after_a_whole_build(whole: Whole) -> None:
    graph = whole.runner.defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(whole.runner.instance, graph, LoadingContextForTest(whole.runner.instance))
    store = whole.tiny.context().store
    for dataset in BUILT:
        for partition in store.partitions(dataset):
            causes = resolver.get_stale_causes(asset_key(dataset), to_key(partition))
            assert [cause.reason for cause in causes] == [], (dataset, partition)
            assert resolver.get_status(asset_key(dataset), to_key(partition)) == StaleStatus.FRESH


def test_a_second_run_builds_nothing_and_says_so(runner: Runner, tiny: Tiny) -> None:
    (first,) = events(runner.run("cells", partition="h3-3"))
    (second,) = events(runner.run("cells", partition="h3-3"))
    assert (value(first, "built"), value(second, "built")) == (True, False)
    assert value(first, "published") == value(second, "published")


def test_a_forced_run_builds_again_and_gives_the_same_digest(runner: Runner) -> None:
    (first,) = events(runner.run("cells", partition="h3-3"))
    (second,) = events(runner.run("cells", partition="h3-3", config={"force": True}))
    assert value(second, "built") is True
    assert value(first, "digest") == value(second, "digest")


def test_what_the_command_line_built_is_recognised(runner: Runner, tiny: Tiny) -> None:
    context, graph = tiny.context(), tiny.graph()
    outcome = materialize(context, graph, graph["cells"], Partition("h3-3"))
    (event,) = events(runner.run("cells", partition="h3-3"))
    assert value(event, "built") is False and value(event, "digest") == outcome.manifest.digest


def test_a_missing_input_fails_with_the_sentence_and_without_a_new_attempt(runner: Runner) -> None:
    result = runner.run("labels/squares", partition="h3-3|2018")
    said = failure(result)
    assert not result.success and said.metadata["error"].value == "MissingPartitionError"
    assert said.description.startswith("labels.squares h3-3/2018 is made from cells h3-3/all, which was never built")


def test_a_ranged_run_that_fails_keeps_the_partitions_it_finished(runner: Runner, tiny: Tiny) -> None:
    (tiny.data / "climate_2019.tif").unlink()
    assert runner.run("cells", partition="h3-3").success
    result = runner.run("features/climate", partition="h3-3|2018...h3-3|2019")
    assert not result.success
    assert "climate_2019.tif is missing and files exist for 2018" in failure(result).description
    done = runner.instance.get_materialized_partitions(asset_key("features.climate"))
    assert done == {"h3-3|2018"}
    digest = tiny.context().store.manifest("features.climate", Partition("h3-3", 2018)).digest
    assert (last(runner, "features.climate", Partition("h3-3", 2018)).tags or {})["dagster/data_version"] == digest


def test_a_source_file_that_changed_is_read_again(runner: Runner, tiny: Tiny) -> None:
    assert runner.run("cells", partition="h3-3").success
    (before,) = events(runner.run("features/relief", partition="h3-3"))
    write_raster(tiny.data / "relief.tif", np.full((24, 72), 9.0))
    (after,) = events(runner.run("features/relief", partition="h3-3"))
    assert value(after, "built") is True and value(before, "digest") != value(after, "digest")


def test_an_impossible_value_fails_its_check_and_stops_the_run(runner: Runner, tiny: Tiny) -> None:
    """A store from other code may hold what ours would not write; the check says so by cell counts."""
    context, graph = tiny.context(), tiny.graph()
    product = graph["cells"]
    manifest = materialize(context, graph, product, Partition("h3-3")).manifest
    cells = context.open("cells", Partition("h3-3")).load()
    cells["area_m2"][0] = -1.0
    context.store.publish("cells", Partition("h3-3"), cells, manifest.recipe, schema="cells")
    result = runner.run("cells", "features/relief", partition="h3-3")
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}["areas_are_positive"]
    assert not found.passed and found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description == "1 of 55 cells have no area."
    assert not result.success
    assert runner.instance.get_materialized_partitions(asset_key("features.relief")) == set()


def test_a_run_for_another_study_than_the_assets_were_made_for_is_refused(runner: Runner, tiny: Tiny) -> None:
    tiny.toml.write_text(tiny.toml.read_text().replace("seed = 7", "seed = 8"))
    said = failure(runner.run("cells", partition="h3-3"))
    assert said.metadata["error"].value == "ProvenanceError"
    assert said.description.endswith("set ENTROPICE_STUDY and reload the definitions.")
    assert tiny.context().store.datasets() == []


def test_a_source_that_may_answer_later_is_tried_again() -> None:
    with pytest.raises(dg.RetryRequested) as caught, as_failure():
        raise RetryableSourceError("The service is busy; try again in a minute.")
    assert caught.value.max_retries == MAX_RETRIES


def test_an_error_that_is_not_ours_passes_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), as_failure():
        raise ZeroDivisionError


def test_definitions_of_a_study_file_use_the_folders_of_the_resource(tiny: Tiny) -> None:
    defs = build_defs(str(tiny.toml), {"entropice": tiny.resource()})
    assert tiny.settings().store_root(tiny.context().study).is_relative_to(tiny.home)
    assert defs.resources is not None and defs.resources["entropice"].study == str(tiny.toml)


def test_a_control_can_be_asked_for_in_the_launchpad_and_changes_no_result(whole: Whole) -> None:
    dataset, where = "model/logistic_regression", Partition("h3-3")
    before = last(whole.runner, "model.logistic_regression", where).tags
    asked = {"control": "PERMUTED_LABELS", "control_seed": 3}
    (event,) = events(whole.runner.run(dataset, partition="h3-3", config=asked))
    assert value(event, "built") is False
    assert "shuffled with seed 3: AUC 0." in value(event, "permuted_labels_again")
    assert event.tags["dagster/data_version"] == before["dagster/data_version"]
    form = whole.runner.defs.get_assets_def(asset_key("model.logistic_regression")).op.config_schema.as_field()
    shown = form.config_type.fields
    assert {one.config_value for one in shown["control"].config_type.inner_type.enum_values} == {
        "NONE",
        "PERMUTED_LABELS",
    }
    assert all(shown[name].description for name in ("force", "control", "control_seed"))
