"""Steps of Dagster on a shared Dask scheduler: what the stock executor gets wrong, and what happens when things die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from distributed import Client

from entropice_core import __version__
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore
from tests.cluster.conftest import STEPS, Cluster, free_port, kill, wait_for
from tests.servers.other_clock import with_clock

PART = Partition("h3-4", 2018)

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(300)]


@dataclass
class Site:
    """A Dagster instance beside the cluster."""

    cluster: Cluster
    home: Path
    instance: dg.DagsterInstance

    def launch(self, job: str, partition: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a run in a process of its own, as the daemon does."""
        words = ["-m", "dagster", "job", "execute", "-f", str(STEPS), "-j", job]
        tags = ["--tags", f'{{"dagster/partition": "{partition}"}}'] if partition else []
        log = (self.cluster.folder / f"{job}-{partition}.log").open("wb")
        return subprocess.Popen(
            [sys.executable, *words, *tags], env={**self.cluster.environment, "DAGSTER_HOME": str(self.home)},
            stdout=log, stderr=subprocess.STDOUT, cwd=self.home, start_new_session=True,
        )  # fmt: skip

    def finish(self, process: "subprocess.Popen[bytes]", seconds: float = 120) -> None:
        process.wait(seconds)

    def last_run(self, job: str) -> dg.DagsterRun:
        (run,) = self.instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
        return run

    def messages(self, run: dg.DagsterRun) -> str:
        found = []
        for entry in self.instance.all_logs(run.run_id):
            event = entry.dagster_event
            error = getattr(event.event_specific_data, "error", None) if event else None
            found.append(f"{entry.user_message} {error.to_string() if error else ''}")
        return "\n".join(found)

    def noted(self, name: str) -> list[str]:
        path = self.cluster.folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("dagster_home")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Site(cluster, home, instance)


def test_two_runs_of_one_job_are_both_computed(site: Site) -> None:
    runs = [site.launch("quick", partition) for partition in ("one", "two")]
    for run in runs:
        site.finish(run)
    done = site.instance.get_materialized_partitions(dg.AssetKey("quick"))
    assert done == {"one", "two"}
    assert len(site.noted("quick-one")) == len(site.noted("quick-two")) == 1


def test_what_comes_after_a_failure_is_not_run(site: Site) -> None:
    site.finish(site.launch("failing_chain"))
    run = site.last_run("failing_chain")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "it fails on purpose" in site.messages(run)
    assert site.noted("after_failure") == []


def test_a_retry_policy_is_kept(site: Site) -> None:
    site.finish(site.launch("second_try"))
    assert site.last_run("second_try").status == dg.DagsterRunStatus.SUCCESS
    assert len(site.noted("second_try")) == 2


def test_a_step_in_a_pool_runs(site: Site) -> None:
    site.finish(site.launch("pooled"))
    assert site.last_run("pooled").status == dg.DagsterRunStatus.SUCCESS


def test_stopping_a_run_lets_the_step_clean_up(site: Site) -> None:
    process = site.launch("sleeper")
    wait_for(lambda: site.noted("sleeper"), 60, "the step begins")
    os.kill(process.pid, signal.SIGINT)
    wait_for(lambda: len(site.noted("sleeper")) == 2, 40, "the step ends")
    assert site.noted("sleeper")[1].endswith("ends")
    kill(process)


def test_a_step_that_is_killed_fails_its_run_with_the_reason(site: Site) -> None:
    site.finish(site.launch("killed"))
    run = site.last_run("killed")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "ended by SIGKILL: probably the machine ran out of memory" in site.messages(run)
    assert len(site.noted("killed")) == 1


def test_a_step_that_takes_more_memory_than_it_declared_is_stopped(site: Site) -> None:
    site.finish(site.launch("hungry"))
    run = site.last_run("hungry")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "had declared 0.5 GB" in site.messages(run)
    assert site.noted("hungry") == []


def test_a_gpu_step_waits_for_a_worker_with_a_gpu_and_says_so(site: Site) -> None:
    process = site.launch("on_gpu")
    running = dg.RunsFilter(job_name="on_gpu")
    wait_for(lambda: any("Waits since" in site.messages(r) for r in site.instance.get_runs(running)), 60, "it waits")
    assert site.noted("on_gpu") == []
    helper = site.cluster.start_worker("--resources", "GPU=1")
    site.finish(process)
    assert site.last_run("on_gpu").status == dg.DagsterRunStatus.SUCCESS
    assert len(site.noted("on_gpu")) == 1
    kill(helper)


def test_the_death_of_a_worker_fails_the_run_within_seconds_and_runs_nothing_twice(site: Site) -> None:
    (site.cluster.folder / "sleeper").unlink()
    process = site.launch("sleeper")
    wait_for(lambda: site.noted("sleeper"), 60, "the step begins")
    child = int(site.noted("sleeper")[0].split()[0])
    worker = worker_of(child)
    os.kill(worker, signal.SIGKILL)
    site.finish(process, 60)
    run = site.last_run("sleeper")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "was lost" in site.messages(run)
    assert len(site.noted("sleeper")) == 1
    assert not Path(f"/proc/{child}").exists()


def test_the_death_of_the_run_ends_its_steps(site: Site) -> None:
    (site.cluster.folder / "sleeper").unlink()
    process = site.launch("sleeper")
    wait_for(lambda: site.noted("sleeper"), 60, "the step begins")
    child = int(site.noted("sleeper")[0].split()[0])
    kill(process)
    wait_for(lambda: not Path(f"/proc/{child}").exists(), 60, "the step ends")


def test_a_run_that_is_stopped_while_it_waits_leaves_nothing_behind(site: Site) -> None:
    (site.cluster.folder / "on_gpu").unlink(missing_ok=True)
    process = site.launch("on_gpu")
    running = dg.RunsFilter(job_name="on_gpu")

    def waits() -> bool:
        going = [run for run in site.instance.get_runs(running) if not run.is_finished]
        return any("handed to the Dask scheduler" in site.messages(run) for run in going)

    wait_for(waits, 90, "the step waits for a worker")
    os.kill(process.pid, signal.SIGINT)
    process.wait(60)
    helper = site.cluster.start_worker("--resources", "GPU=1")
    with Client(site.cluster.address, timeout=60) as client:
        wait_for(lambda: any("GPU" in w["resources"] for w in client.scheduler_info(n_workers=-1)["workers"].values()),
                 60, "the worker joins")  # fmt: skip
        time.sleep(3)
        assert client.run_on_scheduler(tasks_of) == [], "the scheduler still holds the step"
    assert site.noted("on_gpu") == []
    kill(helper)


def tasks_of(dask_scheduler: Any) -> list[str]:
    return [str(key) for key in dask_scheduler.tasks]


@pytest.fixture
def own_cluster(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A scheduler and a worker that a test may break; runs of the site go there."""
    port = free_port()
    own = Cluster(tmp_path, dict(site.cluster.environment), port)
    monkeypatch.setitem(site.cluster.environment, "CLUSTER_TEST_SCHEDULER", own.address)
    try:
        own.start_scheduler()
        yield own
    finally:
        own.stop()


def test_a_scheduler_that_dies_fails_the_run_and_ends_the_step(site: Site, own_cluster: Cluster) -> None:
    (site.cluster.folder / "sleeper").unlink(missing_ok=True)
    own_cluster.start_worker()
    process = site.launch("sleeper")
    wait_for(lambda: site.noted("sleeper"), 90, "the step begins")
    child = int(site.noted("sleeper")[0].split()[0])
    kill(own_cluster.processes[0])
    site.finish(process, 120)
    run = site.last_run("sleeper")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "the scheduler lost entropice-" in site.messages(run)
    wait_for(lambda: not Path(f"/proc/{child}").exists(), 90, "the step ends with its worker")
    assert len([line for line in site.noted("sleeper") if "begins" in line]) == 1


def test_a_worker_that_counts_no_memory_runs_as_many_steps_as_it_has_threads(site: Site, own_cluster: Cluster) -> None:
    own_cluster.start_worker()
    site.finish(site.launch("crowd"), 200)
    assert site.last_run("crowd").status == dg.DagsterRunStatus.SUCCESS
    marks = sorted((float(at), int(step)) for _, at, step in (line.split() for line in site.noted("crowd")))
    at_once = [sum(step for _, step in marks[: index + 1]) for index in range(len(marks))]
    assert len(marks) == 6
    assert max(at_once) == 1, marks


def test_a_worker_of_another_version_is_refused_and_named(site: Site, own_cluster: Cluster, tmp_path: Path) -> None:
    old = tmp_path / "site" / "entropice-0.0.9.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: entropice\nVersion: 0.0.9\n")
    path = os.pathsep.join(filter(None, (str(tmp_path / "site"), own_cluster.environment.get("PYTHONPATH"))))
    own_cluster.environment["PYTHONPATH"] = path
    own_cluster.start_worker()
    with Client(own_cluster.address, timeout=60) as client:
        wait_for(lambda: client.scheduler_info(n_workers=-1)["workers"], 60, "the worker joins")
    (site.cluster.folder / "pooled").unlink(missing_ok=True)
    site.finish(site.launch("pooled"))
    run = site.last_run("pooled")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "does not fit: tcp://" in site.messages(run)
    assert f"has entropice 0.0.9, this process {__version__}. Use one image for all" in site.messages(run)
    assert site.noted("pooled") == []


def test_a_worker_whose_clock_is_an_hour_off_runs_its_steps_and_their_retries(site: Site, own_cluster: Cluster) -> None:
    (site.cluster.folder / "second_try").unlink(missing_ok=True)
    own_cluster.environment.update(with_clock(1))
    own_cluster.start_worker()
    site.finish(site.launch("second_try"))
    run = site.last_run("second_try")
    assert run.status == dg.DagsterRunStatus.SUCCESS, site.messages(run)
    assert len(site.noted("second_try")) == 2
    times = [entry.timestamp for entry in site.instance.all_logs(run.run_id)]
    assert max(times) - min(times) > 3000, "the worker's clock was not moved"


def test_a_disk_that_fills_on_a_worker_is_named_and_nothing_published_is_lost(site: Site, tmp_path: Path) -> None:
    disk = site.cluster.folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        (tmp_path / "few").mkdir()
        (tmp_path / "few" / "one.txt").write_text("one")
        store = PartitionStore(disk / "store")
        before = store.publish("labels", PART, tmp_path / "few", Recipe("labels", "1"))
        site.finish(site.launch("fills_disk"))
        run = site.last_run("fills_disk")
        assert run.status == dg.DagsterRunStatus.FAILURE
        assert "No space left on device; up to " in site.messages(run)
        assert store.manifest("labels", PART) == before
        assert store.verify(full=True) == []
        assert list(store.layout.staging.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def worker_of(child: int) -> int:
    """Find the worker that started a step: the parent of the process that noted its number, or its grandparent."""
    import psutil

    for parent in psutil.Process(child).parents():
        if any("distributed" in word or "forkserver" in word or "spawn" in word for word in parent.cmdline()):
            return int(parent.pid)
    raise AssertionError("no worker above the step")


def test_no_scheduler_is_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(site.cluster.environment, "CLUSTER_TEST_SCHEDULER", "tcp://127.0.0.1:9")
    site.finish(site.launch("pooled"))
    run = site.last_run("pooled")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in site.messages(run)
