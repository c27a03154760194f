"""The services of docker-compose.yml as processes of this machine, without a Docker engine.

Commands, environment and configuration files are those of the compose file; only what a container would give is put in
place here: names of hosts become 127.0.0.1, ports become free ones, volumes become folders, the image becomes this
virtual environment. PostgreSQL comes from the system's packages.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.conftest import free_port

ROOT = Path(__file__).parents[2]
PASSWORD = "p@ss:w/ord%1"  # characters that an address must escape
PORTS = {
    "postgres": 5432, "mlflow": 5000, "code": 4000, "webserver": 3000, "dask-scheduler": 8786, "dashboard": 8501,
    "metrics": 9800,
}  # fmt: skip
VOLUMES = ("/store", "/data", "/dagster/files", "/dagster/home", "/mlflow", "/run/secrets", "/tmp/dask")


def postgres_program(name: str) -> str:
    """Find a program of PostgreSQL: on the path, or where Debian puts the server's."""
    found = shutil.which(name) or next(
        iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), ""
    )
    return str(found)


@dataclass
class Stack:
    """The running services."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        for volume in VOLUMES:
            self.path(volume).mkdir(parents=True, exist_ok=True)
        (self.path("/run/secrets") / "postgres_password").write_text(PASSWORD + "\n")
        shutil.copy(ROOT / "deployment/dagster.yaml", self.path("/dagster/home"))

    def path(self, inside: str) -> Path:
        """Give the folder that stands for one inside of a container."""
        return self.folder / "volumes" / inside.strip("/").replace("/", "-")

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def translate(self, text: str) -> str:
        """Put what this machine has into a line of the compose file."""
        text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: self.variables.get(m[1], m[2]), text)
        for volume in sorted(VOLUMES, key=len, reverse=True):
            text = re.sub(rf"(?<![\w.]){volume}(?![\w-])", str(self.path(volume)), text)
        text = re.sub(r"(?<![\w/])/app/", f"{ROOT}/", text)
        for service, port in PORTS.items():
            text = re.sub(rf"(?<![\w.-]){service}:{port}\b", f"127.0.0.1:{self.ports[service]}", text)
            text = re.sub(rf"^(--port=|-p |){port}$", rf"\g<1>{self.ports[service]}", text)
        return text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104

    def environment(self, service: str) -> dict[str, str]:
        """Give a service what the compose file gives it, and what a process needs to run at all."""
        given = {k: self.translate(str(v)) for k, v in self.compose["services"][service]["environment"].items()}
        hosts = {name: "127.0.0.1" for name in given if name.endswith("_HOST")}
        own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        kept = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "TMPDIR", "PYTHONPATH")}
        return {**kept, **own, **given, **hosts, **self.variables}

    def start(self, service: str, name: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a service through the entrypoint of the image."""
        command = [self.translate(str(word)) for word in self.compose["services"][service]["command"]]
        if service == "dask-scheduler":
            command = [word for word in command if "dashboard" not in word] + ["--no-dashboard"]
        if service == "dask-worker":
            command = [word for word in command if "nworkers" not in word] + ["--host", "127.0.0.1"]
        name = name or service
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "deployment/entrypoint.py"), *command], env=self.environment(service),
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.folder,
        )  # fmt: skip
        self.processes[name] = process
        return process

    def run(self, service: str, seconds: float = 180) -> None:
        """Run a service that comes to an end, such as init."""
        code = self.start(service).wait(seconds)
        del self.processes[service]
        assert code == 0, f"{service} ended with {code}: {self.log(service)}"

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def kill(self, name: str) -> None:
        """End a service and all that it started at once, as a power cut does."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def start_postgres(self) -> None:
        """Make a cluster of databases with the password of the secret, and the databases of the init script."""
        data = self.folder / "pgdata"
        secret = self.path("/run/secrets") / "postgres_password"
        user = self._postgres_user(data, secret)
        say = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": "/"}
        subprocess.run(
            [*user, postgres_program("initdb"), "-D", str(data), "-U", "entropice", f"--pwfile={secret}",
             "--auth=scram-sha-256", "--no-sync", "-E", "UTF8"], check=True, **say,
        )  # fmt: skip
        log = (self.folder / "postgres.log").open("ab")
        self.processes["postgres"] = subprocess.Popen(
            [*user, postgres_program("postgres"), "-D", str(data), "-p", str(self.ports["postgres"]), "-k", str(data),
             "-c", "listen_addresses=127.0.0.1"], stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd="/",
        )  # fmt: skip
        self.wait_for(lambda: self.sql("SELECT 1", check=False) == 0, 60, "PostgreSQL answers")
        self.sql((ROOT / "deployment/postgres/databases.sql").read_text())

    def _postgres_user(self, data: Path, secret: Path) -> list[str]:
        """PostgreSQL refuses to run as root: become the user that its package made."""
        if os.geteuid() != 0:
            return []
        data.mkdir()
        for folder in (self.folder, *list(self.folder.parents)[:3]):
            with contextlib.suppress(PermissionError):
                folder.chmod(folder.stat().st_mode | 0o011)
        shutil.chown(data, "postgres", "postgres")
        secret.chmod(0o644)
        secret.parent.chmod(0o755)
        secret.parent.parent.chmod(0o755)
        return ["runuser", "-u", "postgres", "--"]

    def sql(self, text: str, database: str = "postgres", check: bool = True) -> int:
        """Run statements as the owner."""
        done = self._psql(text, database)
        assert not check or done.returncode == 0, done.stderr
        return done.returncode

    def query(self, text: str, database: str) -> str:
        """Ask for one value."""
        done = self._psql(text, database)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _psql(self, text: str, database: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [postgres_program("psql"), "-h", "127.0.0.1", "-p", str(self.ports["postgres"]), "-U", "entropice",
             "-d", database, "-v", "ON_ERROR_STOP=1", "-q", "-t", "-A", "-f", "-"], input=text, capture_output=True,
            text=True, env={**os.environ, "PGPASSWORD": PASSWORD},
        )  # fmt: skip

    def wait_for(self, is_true: Any, seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not is_true():
            self.all_run()
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
            time.sleep(0.5)

    def all_run(self) -> None:
        """Fail with the last words of a service that ended, however it did."""
        dead = {name: process.returncode for name, process in self.processes.items() if process.poll() is not None}
        assert not dead, "\n".join(f"{name} ended with {code}: {self.log(name)}" for name, code in dead.items())

    def stop(self) -> None:
        for name in reversed(list(self.processes)):
            self.kill(name)
