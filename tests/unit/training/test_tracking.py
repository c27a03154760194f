"""Runs are told to a real tracking server, once, nested, with data and figures; a server that is down costs nothing."""

import json
import socket
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from entropice_core.errors import StoreError
from entropice_core.training.nested_cv import fit_final
from entropice_core.training.persist import Feature, save_model
from entropice_core.training.tracking import (
    TrackedInput,
    TrackedRun,
    crown,
    load_champion,
    open_client,
    read_receipt,
    receipt_path,
    record_map,
    record_once,
)
from entropice_core.training.tracking import server as tracking
from tests.servers.tracking import free_port, postgres_program, postgresql, tracking_server

FEATURES = [Feature("warmth", "K d"), Feature("slope", "degree"), Feature("noise", "1"), Feature("ripple", "1")]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)])
def server(request, tmp_path_factory):
    """A tracking server with its own database, as people run it: a file for one person, PostgreSQL for a group."""
    folder = tmp_path_factory.mktemp("mlflow")
    if request.param == "sqlite":
        database = nullcontext(f"sqlite:///{folder / 'runs.db'}")
    elif postgres_program("initdb"):
        database = postgresql(folder)
    else:
        pytest.skip("no PostgreSQL server on this machine (Debian: apt-get install postgresql)")
    with database as backend, tracking_server(folder, backend) as address:
        yield address


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Forget which servers did not answer, and do not wait long for them."""
    monkeypatch.setattr(tracking, "_silent_until", {})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


@pytest.fixture(scope="module")
def model(world, tmp_path_factory):
    """The folder of a model, and the model."""
    folder = tmp_path_factory.mktemp("model")
    final = fit_final(world.problem(search={"C": [0.1, 1.0]}), world.folds(), 0)
    save_model(folder, "logistic_regression", final.fitted, final.calibrator, final.classes, "healpix-6", FEATURES)
    (folder / "reliability.png").write_bytes(b"a picture")
    return folder, final


def a_run(model, digest="d1" * 32, study="s1" * 32, name="logistic_regression healpix-6"):
    folder, final = model
    return TrackedRun(
        experiment="tests", dataset="model.logistic_regression", partition="healpix-6.all", name=name, digest=digest,
        study=study, study_toml="seed = 1\n", parameters={"model": "logistic_regression", "final.C": "1.0"},
        metrics={"spatial.log_loss.mean": 0.4, "seconds": 3.5, "peak_memory_mb_of_process": 500.0},
        fold_metrics={"fold.log_loss": [0.3, 0.5, 0.4], "fold.roc_auc": [0.8, None, 0.7]},
        tags={"dagster.run_id": "abc", "entropice.device": "cpu"},
        artifacts=folder, candidates=final.candidates,
        inputs=[TrackedInput("training_set healpix-6/all", "f" * 64, "/store/training_set")],
    )  # fmt: skip


def test_a_run_is_nested_and_says_parameters_folds_data_cost_and_configuration(server, model, tmp_path):
    receipt = record_once(a_run(model), server, tmp_path)
    assert receipt.problem == ""
    client = open_client(server)
    run = client.get_run(receipt.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["final.C"] == "1.0"
    assert run.data.metrics["seconds"] == 3.5
    assert run.data.tags["dagster.run_id"] == "abc" and run.data.tags["entropice.device"] == "cpu"
    history = client.get_metric_history(receipt.run_id, "fold.log_loss")
    assert [(m.step, m.value) for m in history] == [(0, 0.3), (1, 0.5), (2, 0.4)]
    auc = client.get_metric_history(receipt.run_id, "fold.roc_auc")  # one class in the second fold: it keeps its place
    assert [(m.step, m.value) for m in auc] == [(0, 0.8), (2, 0.7)]
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("training_set healpix-6/all", "f" * 36)
    assert {f.path for f in client.list_artifacts(receipt.run_id)} >= {"model.json", "arrays.npz", "reliability.png"}
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["entropice.kind"] == "study"
    assert parent.data.metrics == {"log_loss/logistic_regression healpix-6": 0.4}
    assert [f.path for f in client.list_artifacts(parent.info.run_id)] == ["study.toml"]
    inside = f"tags.`mlflow.parentRunId` = '{receipt.run_id}'"
    candidates = client.search_runs([receipt.experiment_id], filter_string=inside)
    assert {c.data.params["C"] for c in candidates} == {"0.1", "1.0"}
    assert all(0 < c.data.metrics["log_loss"] < 1 for c in candidates)


def test_a_version_is_recorded_once_and_found_again_when_its_receipt_is_lost(server, model, tmp_path):
    first = record_once(a_run(model, "d2" * 32), server, tmp_path / "a")
    assert record_once(a_run(model, "d2" * 32), server, tmp_path / "a") == first
    assert record_once(a_run(model, "d2" * 32), server, tmp_path / "b") == first
    other = record_once(a_run(model, "d3" * 32, study="s2" * 32), server, tmp_path / "b")
    client = open_client(server)
    parents = {client.get_run(r.run_id).data.tags["mlflow.parentRunId"] for r in (first, other)}
    assert len(parents) == 2


def test_the_champion_is_an_alias_and_is_loaded_through_our_own_format(server, model, world, tmp_path):
    folder, final = model
    run = a_run(model, "d4" * 32)
    record_once(run, server, tmp_path)
    assert crown(tmp_path, (run.dataset, run.partition, run.digest), "entropice-tests-healpix-6") == ""
    assert crown(tmp_path, (run.dataset, run.partition, run.digest), "entropice-tests-healpix-6") == ""
    client = open_client(server)
    assert len(client.search_model_versions("name = 'entropice-tests-healpix-6'")) == 1
    loaded = load_champion(server, "entropice-tests-healpix-6")
    assert np.array_equal(loaded.predict_proba(world.X), final.calibrator(final.fitted.predict_proba(world.X)))
    with pytest.raises(StoreError, match="gives no champion of 'entropice-nothing'"):
        load_champion(server, "entropice-nothing")


def test_a_registered_model_that_was_tampered_with_is_refused(server, model, tmp_path):
    run = a_run(model, "d5" * 32)
    receipt = record_once(run, server, tmp_path)
    crown(tmp_path, (run.dataset, run.partition, run.digest), "entropice-tampered")
    changed = json.loads((model[0] / "model.json").read_text())
    changed["calibrator"]["bias"] = [0.0, 9.0]
    (tmp_path / "model.json").write_text(json.dumps(changed))
    open_client(server).log_artifact(receipt.run_id, str(tmp_path / "model.json"))
    with pytest.raises(StoreError, match="was changed after it was written"):
        load_champion(server, "entropice-tampered")


def test_a_map_is_added_to_the_run_of_its_model_once(server, model, tmp_path):
    run, picture = a_run(model, "d6" * 32), tmp_path / "map.png"
    picture.write_bytes(b"a map")
    at = (run.dataset, run.partition, run.digest)
    assert record_map(tmp_path, at, picture, "healpix-6/2019") == ""  # not recorded yet: nothing to add to
    receipt = record_once(run, server, tmp_path)
    for _ in range(2):
        assert record_map(tmp_path, at, picture, "healpix-6/2019") == ""
    found = open_client(server).list_artifacts(receipt.run_id, "maps/healpix-6/2019")
    assert [f.path for f in found] == ["maps/healpix-6/2019/map.png"]
    assert read_receipt(receipt_path(tmp_path, *at)).maps == ("healpix-6/2019",)


def test_a_server_that_is_down_costs_a_sentence_and_is_told_later(server, model, tmp_path, monkeypatch):
    run, nobody = a_run(model, "d7" * 32), f"http://127.0.0.1:{free_port()}"
    told = record_once(run, nobody, tmp_path)
    assert told.problem and told.run_id == ""
    begun = time.monotonic()
    assert "was not asked again" in record_once(run, nobody, tmp_path).problem
    assert time.monotonic() - begun < 1.0
    replayed = record_once(run, server, tmp_path)
    assert replayed.problem == "" and open_client(server).get_run(replayed.run_id).info.status == "FINISHED"


def test_a_server_that_accepts_and_never_answers_costs_seconds_not_a_training(model, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        told = record_once(a_run(model, "d8" * 32), f"http://127.0.0.1:{mute.getsockname()[1]}", tmp_path)
    assert told.problem
    assert Path(receipt_path(tmp_path, "model.logistic_regression", "healpix-6.all", "d8" * 32)).is_file()
