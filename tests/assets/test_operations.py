"""What keeps an installation running: Dagster hears of what a cluster built, and people hear of what failed."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from entropice_assets.alerts import failed_runs, sentence
from entropice_assets.commands import sync
from entropice_core.cli.study import status
from entropice_core.errors import ConfigError
from entropice_core.pipeline.run import materialize
from entropice_core.pipeline.status import states
from entropice_core.storage.partition import Partition
from tests.assets.conftest import Tiny


@pytest.fixture
def home(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home, and the variables that lead to the tiny study."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    for name, value in {"HOME": tiny.home, "DATA": tiny.data, "STUDY": tiny.toml}.items():
        monkeypatch.setenv(f"ENTROPICE_{name}", str(value))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def test_what_was_built_outside_is_told_to_dagster_once_with_its_version(
    tiny: Tiny, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context, graph = tiny.context(), tiny.graph()
    built = materialize(context, graph, graph["cells"], Partition("h3-3"))
    sync()
    assert "told Dagster: cells h3-3" in capsys.readouterr().out
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.fetch_materializations(dg.AssetKey("cells"), limit=5).records
        tags = record.asset_materialization.tags
        assert tags["dagster/data_version"] == built.manifest.digest
        assert record.partition_key == "h3-3"
    sync()
    assert "Dagster knows everything" in capsys.readouterr().out


def test_without_an_instance_the_command_says_where_it_looked(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="holds no dagster.yaml: set DAGSTER_HOME"):
        sync()


def test_a_missing_input_file_is_named_and_hides_nothing_else(
    tiny: Tiny, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context, graph = tiny.context(), tiny.graph()
    for dataset, partition in (("cells", Partition("h3-3")), ("features.relief", Partition("h3-3"))):
        materialize(context, graph, graph[dataset], partition)
    status()
    assert "Cannot be compared" not in capsys.readouterr().err
    for name in ("squares.gpkg", "climate_2019.tif", "relief.tif"):
        (tiny.data / name).unlink()
    with pytest.raises(SystemExit) as ended:
        status()
    assert ended.value.code == 1
    said = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:5] for line in said.out.splitlines() if len(line.split()) == 7}
    assert rows["cells"] == ["1", "1", "-", "-"]
    assert rows["features.relief"] == ["1", "-", "1", "-"]
    assert rows["features.climate"] == ["2", "-", "-", "2"]
    told = " ".join(said.err.split())
    assert "inventory.squares (1), features.climate (1), features.relief (1): " in told
    assert all(name in told for name in ("squares.gpkg", "climate_2019.tif", "relief.tif"))
    assert {state.dataset: state.unreadable for state in states(context, graph)}["features.climate"] == 1


class Mailbox(http.server.BaseHTTPRequestHandler):
    letters: list[str] = []

    def do_POST(self) -> None:
        self.letters.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def mailbox() -> Iterator[tuple[str, list[str]]]:
    Mailbox.letters = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mailbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", Mailbox.letters
        server.shutdown()


def failure_of_training_set(tiny: Tiny, instance: dg.DagsterInstance) -> dg.RunFailureSensorContext:
    """Run a step whose inputs are missing, for real."""
    job = tiny.defs().resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey("training_set")], partition_key="h3-3", instance=instance, raise_on_error=False
    )
    assert not result.success
    event = result.filter_events(lambda e: e.is_job_failure)[0]
    made = dg.build_run_status_sensor_context("failed_runs", event, instance, result.dagster_run)
    return made.for_run_failure()


def test_a_failed_run_is_told_in_one_sentence(
    tiny: Tiny, home: Path, mailbox: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, letters = mailbox
    monkeypatch.setenv("ENTROPICE_ALERT_URL", address)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        failed_runs(failure_of_training_set(tiny, instance), entropice=tiny.resource())
    (letter,) = letters
    assert "of training_set (h3-3) failed: " in letter
    assert "which was never built: build that first" in letter
    assert "\n" not in letter


def test_an_address_that_is_none_does_not_stop_the_sensor(
    tiny: Tiny, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTROPICE_ALERT_URL", "file:///etc/passwd")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        failed_runs(failure_of_training_set(tiny, instance), entropice=tiny.resource())


def test_the_sentence_names_assets_of_an_unnamed_job() -> None:
    run = dg.DagsterRun(job_name="__ASSET_JOB", run_id="0123456789", asset_selection={dg.AssetKey("cells")})
    assert sentence(run, "why") == "Run 01234567 of cells failed: why"
