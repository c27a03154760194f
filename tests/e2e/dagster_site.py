"""Dagster as a user runs it: webserver and daemon as processes of their own, in a home that is thrown away."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dagster as dg

ROOT = Path(__file__).parents[2]
CLOCK = ROOT / "tests" / "servers" / "moved_clock.py"

_LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


class DagsterSite:
    """A DAGSTER_HOME and the processes that work in it; they end with the block."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home, self.clock = home, home / "clock"
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "workspace.yaml", home)
        settings = (ROOT / "dagster.yaml").read_text()  # its places are relative; the test is in another folder
        (home / "dagster.yaml").write_text(settings.replace(".dagster/", f"{home}/.dagster/"))
        self.clock.write_text("0")
        self.environment = {**environment, "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.port = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    # ---- processes --------------------------------------------------------------------------------------------------

    def start_daemon(self) -> None:
        """Start the daemon; its clock is the file ``clock``."""
        self._start("daemon", "dagster._daemon.cli:main", "run", "-w", "workspace.yaml")

    def start_webserver(self) -> None:
        """Start the webserver and wait until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        words = ("-h", "127.0.0.1", "-p", str(self.port), "-w", "workspace.yaml")
        self._start("webserver", "dagster_webserver.cli:main", *words)
        wait_for(self._is_up, 180, "the webserver answers")

    def _start(self, name: str, program: str, *words: str) -> None:
        log = self._stack.enter_context((self.home / f"{name}.log").open("w"))
        process = subprocess.Popen(
            [sys.executable, str(CLOCK), str(self.clock), program, *words], cwd=self.home, env=self.environment,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._stack.callback(_end, process)

    def command(self, *words: str) -> str:
        """Run a command of Dagster with the moved clock."""
        done = subprocess.run(
            [sys.executable, str(CLOCK), str(self.clock), "dagster._cli:main", *words], cwd=self.home,
            env=self.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def set_clock(self, moment: str) -> None:
        """Move the clock of the processes to a moment (ISO, UTC)."""
        wanted = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        self.clock.write_text(str(wanted.timestamp() - time.time()))

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.home / f"{name}.log").read_text()

    def instance(self) -> dg.DagsterInstance:
        """The instance that the processes work on."""
        return dg.DagsterInstance.from_config(str(self.home))

    # ---- questions --------------------------------------------------------------------------------------------------

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the webserver, as its pages do."""
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        address = f"http://127.0.0.1:{self.port}/graphql"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        data: dict[str, Any] = found["data"]
        return data

    def backfill(self, asset: str, partitions: list[str]) -> str:
        """Launch a backfill as the dialog of an asset's page does; give its id."""
        params = {"assetSelection": [{"path": [asset]}], "partitionNames": partitions, "fromFailure": False}
        answer = self.ask(_LAUNCH, {"params": params})["launchPartitionBackfill"]
        return str(answer["backfillId"])

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/server_info", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def wait_for(is_true: Callable[[], Any], seconds: float, what: str) -> None:
    """Look every second until it is true."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(1)
