"""The doctor names what is wrong and what to do, and finds nothing where nothing is."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from entropice_core.config import Settings
from entropice_core.doctor import Finding, report


def settings(home: Path, **more: object) -> Settings:
    return Settings.from_environment(
        {"ENTROPICE_HOME": str(home), **{f"ENTROPICE_{k}": str(v) for k, v in more.items()}}
    )


def found(made: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in report(made)}


def test_a_plain_machine_needs_nothing(tmp_path: Path) -> None:
    remedies = [f"{f.name}: {f.remedy}" for f in report(settings(tmp_path)) if f.remedy]
    assert [r for r in remedies if "free some space" not in r] == []


def test_services_that_do_not_answer_are_named_with_what_to_do(tmp_path: Path) -> None:
    sick = found(
        settings(tmp_path, TRACKING_URI="http://127.0.0.1:9", COMPUTE="dask://127.0.0.1:9", DATA=tmp_path / "no")
    )
    assert sick["tracking"].remedy.startswith("start the MLflow server")
    assert "dask scheduler" in sick["ENTROPICE_COMPUTE"].remedy
    assert "is not a folder" in sick["ENTROPICE_DATA"].found


def test_a_study_that_cannot_be_read_and_a_wrong_setting_are_named(tmp_path: Path) -> None:
    sick = found(settings(tmp_path, STUDY="demmo", COMPUTE="clouds"))
    assert "did you mean 'demo'" in sick["ENTROPICE_STUDY"].found
    assert "give serial, threads" in sick["ENTROPICE_COMPUTE"].remedy


def test_credentials_of_earth_engine_are_found_and_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    assert found(settings(tmp_path))["Earth Engine"].found.startswith("no credentials")
    left = tmp_path / ".config" / "earthengine" / "credentials"
    left.parent.mkdir(parents=True)
    left.write_text("secret")
    assert found(settings(tmp_path))["Earth Engine"] == Finding("Earth Engine", f"{left} is there")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert "name a file" in found(settings(tmp_path))["Earth Engine"].remedy


def test_a_damaged_store_is_found(tmp_path: Path) -> None:
    from tests.unit.storage.test_backup import PartitionStore, publish

    store = PartitionStore(tmp_path / "store" / "demo")
    publish(store, 2020, 1.0)
    next(store.root.rglob("zarr.json")).unlink()
    assert "1 damaged files" in found(settings(tmp_path))["store"].found
    assert "build it again" in found(settings(tmp_path))["store"].remedy


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port
        running.shutdown()


def test_services_that_answer_are_said_to(tmp_path: Path, server: int) -> None:
    well = found(settings(tmp_path, TRACKING_URI=f"http://127.0.0.1:{server}", COMPUTE=f"dask://127.0.0.1:{server}"))
    assert well["tracking"].found.endswith("answers")
    assert well["ENTROPICE_COMPUTE"].found.endswith("answers")


def test_a_key_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDSAPI_KEY", "very-secret")
    assert "very-secret" not in " ".join(f.found + f.remedy for f in report(settings(tmp_path)))


def test_the_interpreter_of_autogluon_is_named_and_one_that_is_not_there_is_pointed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    monkeypatch.setenv("ENTROPICE_AUTOGLUON_PYTHON", str(python))
    assert found(settings(tmp_path))["AutoGluon"].remedy
    python.touch()
    assert found(settings(tmp_path))["AutoGluon"] == Finding("AutoGluon", f"trains with {python}")
