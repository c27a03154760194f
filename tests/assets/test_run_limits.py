"""Runs that hang or are lost are failed by the settings of deployment/dagster.yaml, as the daemon goes by them."""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget, GrpcServerTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._grpc.client import DagsterGrpcClient

FILE = Path(__file__).parents[2] / "deployment" / "dagster.yaml"
DAY_S = 86400.0


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the limits of deployment/dagster.yaml, and files instead of PostgreSQL."""
    settings: dict[str, Any] = yaml.safe_load(FILE.read_text())
    kept = {
        name: settings[name] for name in ("telemetry", "run_launcher", "run_monitoring", "run_retries", "retention")
    }
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


def test_a_code_server_that_does_not_answer_says_nothing_about_its_runs(instance: dg.DagsterInstance) -> None:
    at_work = begun(instance, 60.0, started=True)
    instance.add_run_tags(at_work, {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": 9})})
    look(instance)
    assert instance.get_run_by_id(at_work).status == dg.DagsterRunStatus.STARTED


SLOW = """
import time
import dagster as dg

@dg.asset
def slow():
    time.sleep(600)

defs = dg.Definitions(assets=[slow], jobs=[dg.define_asset_job("slowly")])
"""


def serve(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """A code server as in the compose file, with its log in a folder."""
    (folder / "slow.py").write_text(SLOW)
    words = ["code-server", "start", "--host=127.0.0.1", f"--port={port}", "--python-file", str(folder / "slow.py")]
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dagster", *words], env={**os.environ, "DAGSTER_HOME": str(folder)}, cwd=folder,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


@pytest.mark.nightly
def test_a_run_that_is_lost_with_its_code_server_is_failed_by_the_next_look(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name="slow")
    servers = [serve(tmp_path, port)]
    try:
        wait_for(lambda: serves(port), "it serves")
        with WorkspaceProcessContext(instance, target) as workspace:
            request = workspace.create_request_context()
            job = request.get_code_location("slow").get_repository("__repository__").get_full_job("slowly")
            run = create_run_for_test(
                instance, job_name="slowly", remote_job_origin=job.get_remote_origin(),
                job_code_origin=job.get_python_origin(),
            )  # fmt: skip
            instance.launch_run(run.run_id, request)
        status = lambda: instance.get_run_by_id(run.run_id).status  # noqa: E731
        wait_for(lambda: status() == dg.DagsterRunStatus.STARTED, "the run begins")
        look(instance)
        assert status() == dg.DagsterRunStatus.STARTED, "the code server has it"
        family = psutil.Process(servers[0].pid).children(recursive=True)
        for process in [servers[0], *family]:
            process.kill()  # as a container that is restarted
        servers[0].wait()
        look(instance)
        assert status() == dg.DagsterRunStatus.STARTED, "nobody answers"
        servers.append(serve(tmp_path, port))
        wait_for(lambda: serves(port), "it serves again")
        look(instance)
        assert status() == dg.DagsterRunStatus.FAILURE
        assert "its process is gone" in told(instance, run.run_id)
    finally:
        for server in servers:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                for process in psutil.Process(server.pid).children(recursive=True):
                    process.kill()
                server.kill()
                server.wait()


def serves(port: int) -> bool:
    try:
        return DagsterGrpcClient(port=port).list_repositories() is not None
    except DagsterUserCodeUnreachableError:
        return False


def wait_for(is_true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not is_true():
        assert time.monotonic() < end, f"{what}: not within two minutes"
        time.sleep(0.2)


def test_ticks_are_kept_for_as_long_as_the_file_says(instance: dg.DagsterInstance) -> None:
    sensors = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    assert {name.value: days for name, days in sensors.items() if name != TickStatus.STARTED} == {
        "SKIPPED": 7, "FAILURE": 30, "SUCCESS": 90,
    }  # fmt: skip
    assert set(instance.get_tick_retention_settings(InstigatorType.SCHEDULE).values()) == {90}
    assert instance.run_retries_enabled and instance.run_retries_max_retries == 1
    assert not instance.run_retries_retry_on_asset_or_op_failure
