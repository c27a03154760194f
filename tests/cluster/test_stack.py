"""The services of the compose file, run natively: a study through PostgreSQL, gRPC, the daemon and two Dask workers."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entropice_core.config import load_study
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.parallel import with_what_they_need
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import select, tasks
from tests.assets.conftest import make_tiny
from tests.cluster.stack import ROOT, Stack, postgres_program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.nightly,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not postgres_program("initdb"), reason="no PostgreSQL server here: install postgresql"),
    pytest.mark.skipif(not shutil.which("runuser"), reason="no runuser to leave root with"),
]

BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  }
}
"""
STATE = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
RUNS = "{ runsOrError(limit: 200) { ... on Runs { results { runId status } } } }"
WANTED = ("labels.squares", "features.climate", "features.relief", "training_set", "model.logistic_regression")


def ask(stack: Stack, query: str, variables: dict[str, Any] | None = None) -> Any:
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    request = urllib.request.Request(f"{stack.url('webserver')}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        stack.all_run()
        told = "\n".join(f"{name}: {stack.log(name)}" for name in ("webserver", "postgres"))
        raise AssertionError(f"{error}: {error.read().decode(errors='replace')[:2000]}\n{told}") from error


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    tiny = make_tiny(folder, folder / "volumes" / "data")
    running = Stack(folder, {"ENTROPICE_STUDY": str(tiny.toml)})
    try:
        running.start_postgres()
        running.run("init")
        for service in ("code", "mlflow", "dask-scheduler"):
            running.start(service)
        running.start("dask-worker", "dask-worker-1")
        running.start("dask-worker", "dask-worker-2")
        running.wait_for(lambda: "Started Dagster code server" in running.log("code"), 120, "the code server is up")
        running.start("webserver")
        running.start("daemon")
        running.wait_for(lambda: answers(f"{running.url('webserver')}/server_info"), 120, "the webserver answers")
        running.wait_for(lambda: answers(f"{running.url('mlflow')}/health"), 120, "MLflow answers")
        yield running
    finally:
        running.stop()


def digests(store: Path) -> dict[str, str]:
    return {
        str(path.parent.relative_to(store)): json.loads(path.read_text())["digest"]
        for path in sorted(store.glob("*/*/*/current.json"))
    }


def single_process(stack: Stack) -> dict[str, str]:
    """Build the same in one process of the command line, with SQLite."""
    home = stack.folder / "alone"
    given = stack.environment("code")
    own = {"ENTROPICE_HOME": str(home), "ENTROPICE_COMPUTE": "serial", "ENTROPICE_TRACKING_URI": ""}
    command = [sys.executable, "-m", "entropice_core.cli", "build", *WANTED]
    done = subprocess.run(command, env={**given, **own}, cwd=stack.folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return digests(home / "store" / "tiny")


def test_a_study_survives_the_loss_of_a_worker_and_of_the_daemon_with_the_same_digests(stack: Stack) -> None:
    study = load_study(stack.variables["ENTROPICE_STUDY"])
    graph = build_graph(study)
    context = Context(study, make_tiny(stack.folder, stack.path("/data")).settings())
    todo = with_what_they_need(graph, study, tasks(context, select(graph, WANTED), None, None))
    selection = [{"path": [name.replace(".", "_")]} for name in dict.fromkeys(p.dataset for p, _ in todo)]
    params = {"assetSelection": selection, "allPartitions": True, "title": "everything"}
    launched = ask(stack, BACKFILL, {"params": params})["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    store = stack.path("/store") / "store" / "tiny"
    stack.wait_for(lambda: len(digests(store)) >= 1, 240, "the first partition is published")
    stack.kill("dask-worker-1")
    stack.kill("daemon")
    stack.start("daemon")
    stack.start("dask-worker", "dask-worker-3")

    def status() -> str:
        found = ask(stack, STATE, {"id": launched["backfillId"]})["partitionBackfillOrError"]
        return str(found["status"])

    stack.wait_for(lambda: status().startswith("COMPLETED") or status() == "FAILED", 900, "the backfill ends")
    expected = single_process(stack)
    missing = set(expected) - set(digests(store))
    if missing:  # a step that was on the lost worker fails its run; asking again builds just that
        again = ask(stack, BACKFILL, {"params": params})["launchPartitionBackfill"]["backfillId"]
        launched["backfillId"] = again
        stack.wait_for(lambda: status().startswith("COMPLETED"), 900, "the second backfill ends")
    assert digests(store) == expected
    with urllib.request.urlopen(f"{stack.url('mlflow')}/health", timeout=5) as answer:
        assert answer.status == 200
    assert "model.logistic_regression" in {name.split("/")[0] for name in expected}


def test_prometheus_is_told_of_the_store_the_runs_and_the_daemons(stack: Stack) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    stack.start("metrics")
    address = f"{stack.url('metrics')}/metrics"
    stack.wait_for(lambda: answers(address), 120, "the numbers are served")
    with urllib.request.urlopen(address, timeout=60) as answer:
        families = {f.name: f.samples for f in parser.text_string_to_metric_families(answer.read().decode())}
    assert {sample.labels["part"]: sample.value for sample in families["entropice_up"]} == {"store": 1, "dagster": 1}
    runs = {sample.labels["status"]: sample.value for sample in families["entropice_dagster_runs"]}
    assert runs["success"] >= 3
    counts = {(s.labels["dataset"], s.labels["state"]): s.value for s in families["entropice_partitions"]}
    assert counts["training_set", "current"] == 1
    beats = {s.labels["daemon"]: s.value for s in families["entropice_dagster_daemon_heartbeat_timestamp_seconds"]}
    assert time.time() - beats["queued_run_coordinator"] < 120
    stack.kill("metrics")


@pytest.mark.parametrize("service", ["mlflow", "code", "webserver", "dask-scheduler"])
def test_a_port_in_use_ends_the_start_and_names_the_port(
    stack: Stack, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{service}-again"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        monkeypatch.setitem(stack.ports, service, port)
        process = stack.start(service, name)
        try:
            code = process.wait(180)
        finally:
            stack.kill(name)
    said = (stack.folder / f"{name}.log").read_text(errors="replace")
    assert "in use" in said or f"Failed to bind to address 127.0.0.1:{port}" in said, said[-2000:]
    assert str(port) in said or service == "dask-scheduler", "Dask does not say which"
    assert code != 0 or service == "mlflow", "MLflow ends with 0 all the same"


def test_a_backup_comes_back_on_another_server_with_the_same_digests(stack: Stack, tmp_path: Path) -> None:
    def script(name: str, of: Stack, home: Path) -> None:
        secret = (stack.path("/run/secrets") / "postgres_password").read_text().strip()
        given = {"POSTGRES_PORT": str(of.ports["postgres"]), "PGPASSWORD": secret, "ENTROPICE_HOME": str(home)}
        command = [str(ROOT / f"deployment/{name}.sh"), str(tmp_path / "backup")]
        environment = {**of.environment("code"), **given}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    counted = "SELECT count(*) FROM event_logs"
    script("backup", stack, stack.path("/store"))
    other = Stack(tmp_path / "other", stack.variables)
    try:
        other.start_postgres()
        script("restore", other, other.path("/store"))
        assert other.query(counted, "dagster") == stack.query(counted, "dagster") != "0"
        assert other.query("SELECT count(*) FROM runs", "mlflow") == stack.query("SELECT count(*) FROM runs", "mlflow")
    finally:
        other.stop()
    found = digests(other.path("/store") / "store" / "tiny")
    assert found == digests(stack.path("/store") / "store" / "tiny")
    assert "training_set/h3-3/all" in found


def test_a_wrong_password_ends_the_start_with_a_sentence_of_postgresql(stack: Stack) -> None:
    secret = stack.path("/run/secrets") / "postgres_password"
    right = secret.read_text()
    try:
        secret.write_text("wrong\n")
        process = stack.start("init", "init-wrong")
        assert process.wait(60) != 0
        stack.processes.pop("init-wrong")
        assert "password authentication failed" in (stack.folder / "init-wrong.log").read_text()
        secret.write_text("")
        process = stack.start("init", "init-empty")
        assert process.wait(60) != 0
        stack.processes.pop("init-empty")
        assert "is missing or empty: write the secret into it" in stack.log("init-empty")
    finally:
        secret.write_text(right)
