"""The compose file and the files of deployment/: what can be said of them without a Docker engine."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.stack import ROOT

COMPOSE = ROOT / "docker-compose.yml"
ENTRYPOINT = ROOT / "deployment/entrypoint.py"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def check(file: Path) -> "subprocess.CompletedProcess[str]":
    """Compare with the schema of the compose specification that comes with check-jsonschema."""
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_compose_file_is_one_and_a_misspelt_key_is_not(tmp_path: Path) -> None:
    done = check(COMPOSE)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("healthcheck:", "healthchek:", 1))
    done = check(wrong)
    assert done.returncode == 1
    assert "healthchek" in done.stdout


def test_hadolint_has_nothing_to_say_of_the_dockerfile_and_something_of_a_careless_one(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("no hadolint in this environment: its wheel is for Linux on x86_64")
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python\nRUN apt-get install curl\n")
    for file, code in ((ROOT / "deployment/Dockerfile", 0), (careless, 1)):
        done = subprocess.run([program, str(file)], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout


def test_nothing_listens_to_the_world_but_the_proxy_and_no_secret_has_a_default(services: dict[str, Any]) -> None:
    assert sum(len(service.get("ports", [])) for service in services.values()) >= 6
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or service.get("profiles") == ["proxy"], f"{name} publishes {port}"
        assert not any("docker.sock" in str(volume) for volume in service.get("volumes", [])), name
        assert not service.get("privileged") and not service.get("network_mode"), name
        for key, value in service.get("environment", {}).items():
            if any(word in key for word in ("PASSWORD", "KEY", "SECRET", "TOKEN")):
                assert key.endswith("_FILE") or value == f"${{{key}:-}}", f"{name} {key} has a default"
    assert "{$ENTROPICE_PASSWORD_HASH}" in (ROOT / "deployment/proxy/Caddyfile").read_text()
    assert "basic_auth" in (ROOT / "deployment/proxy/Caddyfile").read_text()


def test_every_service_is_looked_after(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name == "init":  # runs once
            assert service["restart"] == "no"
            continue
        assert service["restart"] == "unless-stopped", name
        assert service.get("healthcheck") or name == "proxy", f"{name} has no health check"
        assert ":" in service["image"] and not service["image"].endswith(":latest"), f"{name} is not pinned"


def test_services_wait_for_what_they_need_and_know_it(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for need, how in service.get("depends_on", {}).items():
            assert need in services, f"{name} waits for {need}"
            if how["condition"] == "service_healthy":
                assert services[need].get("healthcheck"), f"{name} waits for the health of {need}"


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copies = [line for line in (ROOT / "deployment/Dockerfile").read_text().splitlines() if line.startswith("COPY")]
    sources = [
        word for line in copies if "--from" not in line for word in shlex.split(line)[1:-1] if not word.startswith("--")
    ]
    assert len(sources) >= 8
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in allowed, f"{source} is kept out by .dockerignore"


def test_every_volume_is_mounted_on_a_folder_of_the_user_of_the_image(services: dict[str, Any]) -> None:
    text = (ROOT / "deployment/Dockerfile").read_text().replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if "mkdir -p" in line]
    made = line.split("mkdir -p")[1].split("&&")[0].split()
    owned = line.split("chown -R entropice")[1].split()
    ours = [service for service in services.values() if str(service["image"]).startswith("entropice")]
    targets = {v.removesuffix(":ro").rsplit(":", 1)[1] for service in ours for v in service.get("volumes", [])}
    assert targets == {"/store", "/data", "/dagster/files", "/mlflow"}
    for target in targets:
        assert target in made, f"{target} would belong to root"
        assert any(target == folder or target.startswith(f"{folder}/") for folder in owned), target
    assert "\nUSER 10001\n" in text


def test_workers_with_a_gpu_have_the_dask_of_the_scheduler() -> None:
    def pinned(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text().splitlines()
        return dict(line.split(" ;")[0].strip().split("==") for line in lines if "==" in line and line[0].isalpha())

    cpu, gpu = pinned("constraints.txt"), pinned("constraints-gpu.txt")
    for package in ("dask", "distributed", "dagster", "dagster-dask", "dagster-postgres", "mlflow", "obstore"):
        assert cpu[package] == gpu[package], package


def start(environment: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    kept = {"PATH": os.environ["PATH"]}
    words = [sys.executable, str(ENTRYPOINT), *command]
    return subprocess.run(words, env={**kept, **environment}, capture_output=True, text=True, timeout=60)


def test_the_entrypoint_reads_secrets_and_shows_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("p@ss:w/ord\n")
    given = {"POSTGRES_PASSWORD_FILE": str(secret), "POSTGRES_HOST": "postgres", "POSTGRES_USER": "entropice"}
    code = "import os; print(os.environ['POSTGRES_PASSWORD'], os.environ['MLFLOW_BACKEND_STORE_URI'])"
    done = start(given, sys.executable, "-c", code)
    assert done.stdout.split() == [
        "p@ss:w/ord",
        "postgresql+psycopg2://entropice:p%40ss%3Aw%2Ford@postgres:5432/mlflow",
    ]
    secret.write_text("")
    done = start(given, "true")
    assert done.returncode == 1
    assert f"{secret}, which is missing or empty" in done.stderr
    assert "no command was given" in start({}).stderr
    assert start({"SSL_CERT_FILE": "/nowhere"}, "true").returncode == 0, "that is no secret"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_secret_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0)
    assert "may not read: chmod 644" in start({"POSTGRES_PASSWORD_FILE": str(secret)}, "true").stderr
