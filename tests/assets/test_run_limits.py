"""Runs that hang or are lost are failed by the settings of deployment/dagster.yaml, as the daemon goes by them."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

FILE = Path(__file__).parents[2] / "deployment" / "dagster.yaml"
DAY_S = 86400.0


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the limits of deployment/dagster.yaml, and files instead of PostgreSQL."""
    settings: dict[str, Any] = yaml.safe_load(FILE.read_text())
    kept = {name: settings[name] for name in ("telemetry", "run_monitoring", "run_retries", "retention")}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(kept))
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


def begun(instance: dg.DagsterInstance, seconds_ago: float, *, started: bool) -> str:
    """A run that was handed out, or began, some time ago and of which nothing was heard since."""
    run = create_run_for_test(instance, job_name="job")
    kinds = [DagsterEventType.RUN_STARTING, DagsterEventType.RUN_START]
    for kind in kinds if started else kinds[:1]:
        event = DagsterEvent(event_type_value=kind.value, job_name="job")
        entry = EventLogEntry(
            error_info=None, level=logging.INFO, user_message="", run_id=run.run_id, job_name="job",
            timestamp=time.time() - seconds_ago, dagster_event=event,
        )  # fmt: skip
        instance.handle_new_event(entry)
    return run.run_id


def look(instance: dg.DagsterInstance) -> None:
    """One round of the daemon."""
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
        assert [error for error in execute_run_monitoring_iteration(workspace, logging.getLogger()) if error] == []


def told(instance: dg.DagsterInstance, run_id: str) -> str:
    return " ".join(entry.message for entry in instance.all_logs(run_id))


def test_runs_that_hang_are_failed_and_others_are_left(instance: dg.DagsterInstance) -> None:
    hanging = begun(instance, 2.1 * DAY_S, started=True)
    never_began = begun(instance, 400.0, started=False)
    at_work = begun(instance, 1.9 * DAY_S, started=True)
    beginning = begun(instance, 200.0, started=False)
    look(instance)
    status = {run: instance.get_run_by_id(run).status for run in (hanging, never_began, at_work, beginning)}
    assert status[hanging] == status[never_began] == dg.DagsterRunStatus.FAILURE
    assert status[at_work] == dg.DagsterRunStatus.STARTED
    assert status[beginning] == dg.DagsterRunStatus.STARTING
    assert "exceeding maximum runtime of 172800 seconds" in told(instance, hanging)
    assert "300 seconds" in told(instance, never_began)


def test_ticks_are_kept_for_as_long_as_the_file_says(instance: dg.DagsterInstance) -> None:
    sensors = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    assert {name.value: days for name, days in sensors.items() if name != TickStatus.STARTED} == {
        "SKIPPED": 7, "FAILURE": 30, "SUCCESS": 90,
    }  # fmt: skip
    assert set(instance.get_tick_retention_settings(InstigatorType.SCHEDULE).values()) == {90}
    assert instance.run_retries_enabled and instance.run_retries_max_retries == 1
    assert not instance.run_retries_retry_on_asset_or_op_failure
