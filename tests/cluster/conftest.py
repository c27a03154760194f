"""A real Dask scheduler with two real workers, and runs of Dagster that use them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

STEPS = Path(__file__).with_name("steps_to_run.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(is_true: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


@dataclass
class Cluster:
    """A scheduler and workers, each a process group of its own."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        log = (self.folder / f"{words[0]}-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]],
            env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.folder,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def start_scheduler(self) -> None:
        self.start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")

    def start_worker(self, *more: str) -> "subprocess.Popen[bytes]":
        return self.start(
            "worker", self.address, "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard",
            "--local-directory", str(self.folder / "scratch"), *more,
        )  # fmt: skip

    def stop(self) -> None:
        for process in reversed(self.processes):
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers of one thread; their log is in their folder."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("cluster")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ENTROPICE_")}
    port = free_port()
    own = {"CLUSTER_TEST_FOLDER": str(folder), "CLUSTER_TEST_SCHEDULER": f"tcp://127.0.0.1:{port}"}
    running = Cluster(folder, {**clean, **own, "OMP_NUM_THREADS": "1"}, port)
    try:
        running.start_scheduler()
        running.start_worker()
        running.start_worker()
        yield running
    finally:
        running.stop()
