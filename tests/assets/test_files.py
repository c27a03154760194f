"""Files that are fetched: their asset, the schedule that asks for new years, and the features that follow."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import ScheduleExecutionError

from entropice_assets.failures import as_failure
from entropice_assets.keys import asset_key, files_key
from entropice_core.describe import _telling
from entropice_core.errors import ConfigError
from entropice_core.fetch.newest import known_newest
from entropice_core.fetch.of_study import due_years, years_of
from entropice_core.fetch.patience import UnreachableError
from entropice_core.pipeline.status import states
from entropice_core.storage.partition import Partition
from tests.assets.conftest import Runner, quiet
from tests.assets.fetched import DAYS, Fetched, make_fetched, service
from tests.servers.cds import CdsServer, Fault

YEARS = "{ first = 2020, last = 2020, until = 2022 }"
FILES = files_key("climate")


@pytest.fixture
def fetched(tmp_path: Path) -> Iterator[Fetched]:
    """The study with a service whose newest month is December 2020, final up to September 2020."""
    with CdsServer(step=1.0) as server, quiet(), service(server):
        server.newest, server.final = (2020, 12), (2020, 9)
        yield make_fetched(tmp_path, server, YEARS)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def fetch(fetched: Fetched, instance: dg.DagsterInstance, year: int) -> Any:
    """Materialize the files of one year."""
    job = fetched.defs().resolve_job_def("fetch_climate")
    return job.execute_in_process(partition_key=str(year), instance=instance, raise_on_error=False)


def facts(result: Any) -> dict[str, Any]:
    """Metadata of the one materialization of a run."""
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def tick(fetched: Fetched, instance: dg.DagsterInstance, moment: str) -> Any:
    """Let the schedule look once, at a moment of its own."""
    defs = fetched.defs()
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=datetime.fromisoformat(moment).replace(tzinfo=UTC),
        repository_def=defs.get_repository_def(), resources={"entropice": fetched.resource()},
    )  # fmt: skip
    return defs.resolve_schedule_def("climate_new_years").evaluate_tick(context)


def test_a_year_shows_what_came_from_which_job_and_that_all_is_final(fetched: Fetched, instance: Any) -> None:
    result = fetch(fetched, instance, 2020)
    assert result.success
    found = facts(result)
    assert (found["months"], found["results"], found["fetched_now"]) == (12, 2, 2)
    assert (found["provisional"], found["provisional_months"]) == (False, "none")
    rows = [record.data for record in found["requests"].records]
    assert {row["job"] for row in rows} <= set(fetched.server.jobs)
    assert {row["data set"] for row in rows} == {"reanalysis-era5-single-levels-monthly-means"}
    assert Path(found["path"]) == fetched.data / "era5" / "era5_monthly_2020.nc"
    assert found["MB_fetched_now"] > 0 and found["queue_seconds"] >= 0
    log = [e.message for e in instance.all_logs(result.run_id) if "of 12 months" in str(e.message)]
    assert any("fetched monthly means of t2m, 2020-01 to 2020-09 (12 of 12 months" in line for line in log)


def test_a_second_run_asks_the_service_for_nothing_and_has_the_same_data_version(
    fetched: Fetched, instance: Any
) -> None:
    first, jobs = fetch(fetched, instance, 2020), len(fetched.server.jobs)
    again = facts(fetch(fetched, instance, 2020))
    assert len(fetched.server.jobs) == jobs
    assert (again["fetched_now"], again["already_there"]) == (0, 2)
    assert again["digest"] == facts(first)["digest"]


def test_one_failed_month_fails_the_run_keeps_the_others_and_is_not_retried_where_that_is_in_vain(
    fetched: Fetched, instance: Any
) -> None:
    def first_months_fail(process: str, inputs: dict[str, Any]) -> tuple[str, str] | None:
        return ("failed", "MARS returned no data") if inputs["month"] == ["10", "11", "12"] else None

    fetched.server.judge = first_months_fail
    result = fetch(fetched, instance, 2020)
    (failed,) = [e for e in result.all_events if e.is_step_failure]
    assert "2019-10 to 2019-12 cannot be had" in failed.event_specific_data.user_failure_data.description
    assert not [e for e in result.all_events if e.is_step_up_for_retry]
    jobs = len(fetched.server.jobs)
    fetched.server.judge = lambda process, inputs: None
    found = facts(fetch(fetched, instance, 2020))
    assert (found["fetched_now"], found["already_there"], len(fetched.server.jobs)) == (1, 1, jobs + 1)


def test_what_the_service_asks_to_wait_is_what_dagster_waits() -> None:
    with pytest.raises(dg.RetryRequested) as caught, as_failure():
        raise UnreachableError("busy", 1234.0)
    assert caught.value.seconds_to_wait == 1234.0


def test_the_schedule_asks_for_years_that_are_complete_and_not_there_once_a_month(
    fetched: Fetched, instance: Any
) -> None:
    first, second = tick(fetched, instance, "2020-12-07T06:00"), tick(fetched, instance, "2020-12-08T06:00")
    assert [r.partition_key for r in first.run_requests] == ["2020"]
    assert first.run_requests[0].run_key == second.run_requests[0].run_key == "climate-2020-final-202012"
    instance.create_run_for_job(
        fetched.defs().resolve_job_def("fetch_climate"), tags={"dagster/run_key": "climate-2020-final-202012"}
    )
    third = tick(fetched, instance, "2020-12-09T06:00")
    assert third.run_requests == [] and "Asked for in this month already: 2020." in third.skip_message
    assert tick(fetched, instance, "2021-01-08T06:00").run_requests[0].run_key == "climate-2020-final-202101"
    assert fetch(fetched, instance, 2020).success
    done = tick(fetched, instance, "2021-01-09T06:00")
    assert done.run_requests == []
    assert "2020 are there and final" in done.skip_message


def test_nothing_is_asked_of_the_service_when_it_could_have_no_news(fetched: Fetched, instance: Any) -> None:
    assert fetch(fetched, instance, 2020).success
    seen = len(fetched.server.seen)
    assert "there and final" in tick(fetched, instance, "2021-09-30T06:00").skip_message
    assert len(fetched.server.seen) == seen
    assert "waiting for 2021" in tick(fetched, instance, "2021-10-01T06:00").skip_message
    assert len(fetched.server.seen) > seen


def test_a_provisional_year_is_asked_for_again_when_it_is_final_and_only_its_months_are_fetched(
    fetched: Fetched, instance: Any
) -> None:
    fetched.server.final = (2020, 7)
    (request,) = tick(fetched, instance, "2020-10-08T06:00").run_requests
    assert request.run_key == "climate-2020-provisional-202010"
    found = facts(fetch(fetched, instance, 2020))
    assert (found["provisional"], found["provisional_months"]) == (True, "2020-08, 2020-09")
    waiting = tick(fetched, instance, "2020-11-08T06:00")
    assert waiting.run_requests == [] and "waiting for 2020" in waiting.skip_message
    fetched.server.final = (2020, 9)
    (request,) = tick(fetched, instance, "2021-01-08T06:00").run_requests
    assert request.run_key == "climate-2020-final-202101"
    jobs = set(fetched.server.jobs)
    found = facts(fetch(fetched, instance, 2020))
    assert found["provisional_months"] == "none"
    assert {row.data["not final"] for row in found["requests"].records} == {""}
    (job,) = set(fetched.server.jobs) - jobs
    assert fetched.server.jobs[job].inputs["month"] == ["08", "09"]


def state_of_features(fetched: Fetched) -> tuple[int, int, int, int]:
    """Partitions of the features, current, stale and provisional ones, as `entropice status` counts them."""
    graph = fetched.graph()
    _, row = states(fetched.context(), {name: graph[name] for name in ("cells", "features.climate")})
    return row.partitions, row.current, row.stale, row.provisional


def test_features_of_a_provisional_year_are_marked_and_stale_when_it_is_final(fetched: Fetched, instance: Any) -> None:
    fetched.server.final = (2020, 7)
    runner = Runner(fetched.defs(), instance)
    assert fetch(fetched, instance, 2020).success
    assert runner.run("cells", partition="h3-3").success
    assert runner.run("features/climate", partition="h3-3|2020").success
    manifest = fetched.context().store.manifest("features.climate", Partition("h3-3", 2020))
    assert manifest.provisional
    assert manifest.counts["provisional_months"] == 2
    assert manifest.notes == ("Made of ERA5T, which may still change, in 2020-08, 2020-09.",)
    assert state_of_features(fetched) == (1, 1, 0, 1)
    fetched.server.final = (2020, 9)
    assert tick(fetched, instance, "2021-01-08T06:00").run_requests
    assert fetch(fetched, instance, 2020).success
    assert state_of_features(fetched) == (1, 0, 1, 1)
    assert runner.run("features/climate", partition="h3-3|2020").success
    fresh = fetched.context().store.manifest("features.climate", Partition("h3-3", 2020))
    assert not fresh.provisional
    assert fresh.recipe.digest != manifest.recipe.digest
    fetched.server.newest, fetched.server.final = (2021, 9), (2021, 6)
    assert tick(fetched, instance, "2021-10-08T06:00").run_requests[0].partition_key == "2021"
    assert fetch(fetched, instance, 2021).success
    assert runner.run("features/climate", partition="h3-3|2021").success
    assert state_of_features(fetched) == (2, 2, 0, 1)  # a year after those of training is counted when it is there


def test_a_service_that_does_not_answer_in_time_is_asked_again_by_the_next_tick(
    fetched: Fetched, instance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entropice_core.fetch.of_study.TICK_QUEUE_S", 0.0)
    fetched.server.queue = (2, 2)
    skipped = tick(fetched, instance, "2020-12-07T06:00")
    assert skipped.run_requests == [] and "The next tick asks again" in skipped.skip_message
    (job,) = fetched.server.jobs
    fetched.server.queue = (0, 0)
    assert tick(fetched, instance, "2020-12-08T06:00").run_requests
    assert list(fetched.server.jobs) == [job]


def test_a_key_that_is_refused_fails_the_tick_with_the_sentence(fetched: Fetched, instance: Any) -> None:
    fetched.server.faults = [Fault("POST", "/constraints", 401, "permission denied", times=9)]
    with pytest.raises(ScheduleExecutionError) as caught:
        tick(fetched, instance, "2020-12-07T06:00")
    assert isinstance(caught.value.__cause__, ConfigError)
    assert "set CDSAPI_KEY" in str(caught.value.__cause__)


def test_years_after_those_of_training_are_offered_and_change_no_training_set(fetched: Fetched, instance: Any) -> None:
    graph, study = fetched.graph(), fetched.study()
    assert years_of(study, "climate") == [2020, 2021, 2022]
    assert graph["features.climate"].partitions(study) == [Partition("h3-3", 2020)]
    needed = graph["training_set"].upstream(graph["features.climate"], Partition("h3-3"), study)
    assert needed == [Partition("h3-3", 2020)]
    new = Partition("h3-3", 2022)
    assert graph["prediction.prevalence"].upstream(graph["features.climate"], new, study) == [new]
    keys = fetched.defs().resolve_asset_graph().get(asset_key("features.climate")).partitions_def.get_partition_keys()
    assert keys == ["h3-3|2020", "h3-3|2021", "h3-3|2022"]


def test_the_answer_of_a_tick_serves_the_runs_that_follow(fetched: Fetched, instance: Any) -> None:
    assert tick(fetched, instance, "2020-12-07T06:00").run_requests
    kept = known_newest(fetched.home, "era5")
    assert kept is not None and (kept.newest, kept.final) == ((2020, 12), (2020, 9))
    due = due_years(fetched.settings(), fetched.study(), "climate", [], datetime(2020, 12, 7, tzinfo=UTC))
    assert due.years == {2020: "final"}


def test_features_follow_their_files_and_nothing_else(fetched: Fetched, instance: Any) -> None:
    defs, features = fetched.defs(), asset_key("features.climate")

    def requested(cursor: Any = None) -> tuple[list[str], Any]:
        result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        return sorted(result.get_requested_partitions(features)), result.cursor

    def report(key: dg.AssetKey, partition: str) -> None:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))

    report(FILES, "2020")
    asked, cursor = requested()
    assert asked == []  # what was there before it was switched on starts nothing
    report(asset_key("cells"), "h3-3")
    asked, cursor = requested(cursor)
    assert asked == []  # new cells are no new year
    report(FILES, "2021")
    asked, cursor = requested(cursor)
    assert asked == ["h3-3|2021"]
    assert requested(cursor)[0] == []
    report(features, "h3-3|2021")
    asked, cursor = requested(cursor)
    report(FILES, "2021")
    assert requested(cursor)[0] == ["h3-3|2021"]  # a provisional year that has become final


def test_days_that_are_fetched_become_degree_days_with_a_map_and_marks_of_what_is_not_final(
    tmp_path: Path, instance: Any
) -> None:
    with CdsServer(step=2.0) as server, quiet(), service(server):
        server.newest, server.final = (2020, 12), (2020, 8)
        days = make_fetched(tmp_path, server, YEARS, climate=DAYS)
        assert tick(days, instance, "2020-12-07T06:00").run_requests[0].run_key == "climate-2020-provisional-202012"
        found = facts(fetch(days, instance, 2020))
        assert (found["months"], found["results"], found["provisional_months"]) == (12, 12, "2020-09")
        runner = Runner(days.defs(), instance)
        parents = runner.defs.resolve_asset_graph().get(asset_key("features.compared")).parent_keys
        assert FILES in parents  # the same files, fetched for another source
        assert runner.run("cells", partition="h3-3").success
        shown = facts(runner.run("features/climate", partition="h3-3|2020"))
        assert shown["provisional"] is True and "2020-09" in shown["notes"]
        columns = {column.name: column.description for column in shown["dagster/column_schema"].columns}
        assert columns["thawing_degree_days_year_sum_K_d"].endswith("[K d]")
        assert shown["preview"].startswith("![")
        product, context = days.graph()["features.climate"], days.context()
        with context.open("features.climate", Partition("h3-3", 2020)) as features:
            _, _, words = _telling(context, product, features)
        assert words["label"].startswith("thawing_degree_days_year_sum_K_d")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[fetch.climate]", "[fetch.climat]", "fetch.climat: name a source with files by year; did you mean 'climate'"),
        ("[fetch.climate]", "[fetch.relief]", "fetch.relief: name a source with files by year"),
        ("provisional = true", 'product = "daily"', "the files will be {data}/era5/daily/{year}, but the source reads"),
        ("provisional = true", 'ask = "daily"', "'daily' is no cron expression of five parts"),
        ("until = 2022", "until = 2019", "until .2019. lies before last"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_with_the_reason(
    fetched: Fetched, old: str, new: str, words: str
) -> None:
    fetched.toml.write_text(fetched.toml.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=words):
        fetched.study()


def test_only_a_study_that_fetches_has_files_schedule_and_sensor(fetched: Fetched, instance: Any) -> None:
    from entropice_assets.build import build_defs

    names = {s.name for s in build_defs("demo").sensors or ()}
    assert "features_of_new_years" not in names
    assert not build_defs("demo").schedules
    ours = fetched.defs()
    assert [s.name for s in ours.schedules or ()] == ["climate_new_years"]
    assert "features_of_new_years" in {s.name for s in ours.sensors or ()}
    node = ours.resolve_asset_graph().get(FILES)
    assert (node.pools, node.group_name) == ({"cds"}, "files")
