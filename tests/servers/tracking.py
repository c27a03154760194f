"""A tracking server of MLflow as people run it, and a PostgreSQL for it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def tracking_server(folder: Path, backend: str, port: int | None = None) -> Iterator[str]:
    """Run a server with a database, and give its address; killed at the end, as a power cut does."""
    port = port or free_port()
    words = ["--backend-store-uri", backend, "--artifacts-destination", str(folder / "files")]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words], cwd=folder, env=env, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(lambda: _is_healthy(address), process, folder / "log")
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, and said why
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def postgres_program(name: str) -> str | None:
    """Find a program of PostgreSQL: on the path, or where Debian puts the server's."""
    return shutil.which(name) or next(
        (str(p) for p in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Make a database ``runs`` and give its address; PostgreSQL refuses to run as root, and becomes its own user."""
    data, port = folder / "pgdata", free_port()
    data.mkdir()
    user: list[str] = []
    if os.geteuid() == 0:
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(data, "postgres", "postgres")
        for above in (folder, *list(folder.parents)[:3]):
            with contextlib.suppress(PermissionError):
                above.chmod(above.stat().st_mode | 0o011)
    log = (folder / "postgres.log").open("ab")
    quiet = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": "/"}
    initdb, server = str(postgres_program("initdb")), str(postgres_program("postgres"))
    subprocess.run(
        [*user, initdb, "-D", str(data), "-U", "entropice", "--auth=trust", "--no-sync"], check=True, **quiet
    )
    process = subprocess.Popen(
        [*user, server, "-D", str(data), "-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1",
         "-c", "fsync=off"], start_new_session=True, **quiet,
    )  # fmt: skip
    at = ["-h", "127.0.0.1", "-p", str(port), "-U", "entropice"]
    create = [str(postgres_program("createdb")), *at, "runs"]
    try:
        _wait(lambda: subprocess.run(create, capture_output=True).returncode == 0, process, folder / "postgres.log")
        yield f"postgresql+psycopg2://entropice@127.0.0.1:{port}/runs"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait(is_true: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(240):
        if is_true():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())
