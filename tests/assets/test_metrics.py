"""What Prometheus is told, read back with Prometheus's own parser."""

import socket
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from entropice_assets.commands import metrics
from entropice_assets.metrics import Collector, registry_of, serve
from entropice_core.errors import ConfigError
from entropice_core.pipeline.run import materialize
from entropice_core.storage.partition import Partition
from tests.assets.conftest import Runner, Tiny

parser = pytest.importorskip("prometheus_client.parser")
Numbers = dict[tuple[str, ...], float]


def read(text: str) -> Numbers:
    """Read the exposition format: name and values of the labels, in the order of their names."""
    found: Numbers = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.type == "gauge", f"{family.name} is {family.type}"
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, *(sample.labels[name] for name in sorted(sample.labels)))
            assert key not in found, f"{key} comes twice"
            found[key] = sample.value
    return found


def partitions(numbers: Numbers, dataset: str) -> dict[str, float]:
    return {key[2]: value for key, value in numbers.items() if key[0] == "entropice_partitions" and key[1] == dataset}


@pytest.fixture
def home(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    for name, value in {"HOME": tiny.home, "DATA": tiny.data, "STUDY": tiny.toml}.items():
        monkeypatch.setenv(f"ENTROPICE_{name}", str(value))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def test_partitions_runs_and_their_failures_are_told(
    tiny: Tiny, instance: dg.DagsterInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner, begun = Runner(tiny.defs(), instance), time.time()
    assert runner.run("cells", partition="h3-3").success
    materialize(tiny.context(), tiny.graph(), tiny.graph()["inventory.squares"], Partition())
    assert not runner.run("training_set", partition="h3-3").success
    file = tmp_path / "entropice.prom"
    metrics(file=file)
    told = read(file.read_text())
    assert partitions(told, "cells") == {"current": 1, "stale": 0, "missing": 0}
    assert partitions(told, "labels.squares") == {"current": 0, "stale": 0, "missing": 2}
    assert told["entropice_up", "store"] == told["entropice_up", "dagster"] == 1
    assert told["entropice_dagster_runs", "success"] == 1
    assert told["entropice_dagster_runs", "failure"] == 1
    assert told["entropice_dagster_queue_oldest_age_seconds",] == 0
    assert told["entropice_dataset_size_bytes", "cells", "tiny"] > 1000
    assert begun - 1 < told["entropice_dataset_published_timestamp_seconds", "cells", "tiny"] < time.time() + 1
    ended = {
        key[2]: value for key, value in told.items() if key[0] == "entropice_dagster_last_run_end_timestamp_seconds"
    }
    assert set(ended) == {"success", "failure"}
    assert ended["success"] <= ended["failure"] <= time.time()
    assert 0 < told["entropice_home_disk_free_bytes",] < told["entropice_home_disk_size_bytes",]

    with next(tiny.data.glob("*.gpkg")).open("ab") as changed:
        changed.write(b"\0" * 4096)
    metrics()
    told = read(capsys.readouterr().out)
    assert partitions(told, "inventory.squares") == {"current": 0, "stale": 1, "missing": 0}


def test_a_queue_that_waits_shows_its_age(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    place = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("code", 4000), "__repository__")
    origin = RemoteJobOrigin(place, "step1")
    status = dg.DagsterRunStatus.QUEUED
    instance.add_run(dg.DagsterRun("step1", str(uuid.uuid4()), status=status, remote_job_origin=origin))
    time.sleep(0.2)
    told = gather(Collector(tiny.context(), tiny.graph(), lambda: instance))
    assert told["entropice_dagster_runs", "queued"] == 1
    assert 0.1 < told["entropice_dagster_queue_oldest_age_seconds",] < 60


def gather(collector: Collector) -> Numbers:
    from prometheus_client import generate_latest

    return read(generate_latest(registry_of(collector)).decode())


@pytest.mark.nightly  # twelve seconds of tries
def test_a_database_that_is_gone_is_told_and_the_store_is_told_all_the_same(
    tiny: Tiny, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("dagster_postgres")
    place = "scheme: postgresql+psycopg2, hostname: 127.0.0.1, port: 9, username: a, password: b, db_name: dagster"
    (home / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_db: {{{place}}}}}}}\n")
    metrics()
    out, problem = capsys.readouterr()
    told = read(out)
    assert (told["entropice_up", "dagster"], told["entropice_up", "store"]) == (0, 1)
    assert partitions(told, "cells")["missing"] == 1
    assert "dagster cannot be read: DagsterPostgresException" in problem


def test_numbers_are_served_and_a_port_in_use_is_named(tiny: Tiny) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    registry = registry_of(Collector(tiny.context(), tiny.graph(), keep_seconds=60))
    threading.Thread(target=serve, args=(registry, "127.0.0.1", port), daemon=True).start()
    time.sleep(0.5)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        told = read(answer.read().decode())
    assert partitions(told, "cells")["missing"] == 1
    assert ("entropice_up", "dagster") not in told
    materialize(tiny.context(), tiny.graph(), tiny.graph()["cells"], Partition("h3-3"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert partitions(read(answer.read().decode()), "cells")["missing"] == 1, "the look is kept for a minute"
    with pytest.raises(ConfigError, match=f"Nothing can listen at 127.0.0.1:{port} .*name another --port"):
        serve(registry, "127.0.0.1", port)
