"""Steps of Dagster on a shared Dask scheduler: what the stock executor gets wrong, and what happens when things die."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from tests.cluster.conftest import STEPS, Cluster, kill, wait_for

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
