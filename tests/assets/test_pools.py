"""Models that ask for a GPU wait for the GPU, others for each other; MLflow learns which run of Dagster it was."""

import pytest

from entropice_assets.assets.factory import pool_of
from entropice_assets.resources import EntropiceResource
from entropice_core.config import load_study
from entropice_core.pipeline.graph import build_graph


@pytest.mark.parametrize(
    ("device", "pool"), [(None, "training"), ("cpu", "training"), ("auto", "gpu"), ("cuda", "gpu")]
)
def test_the_device_of_a_model_chooses_its_pool(device, pool):
    study = load_study("demo")
    forest = study.models["logistic_regression"]
    changed = forest.model_copy(update={"params": {} if device is None else {"device": device}})
    graph = build_graph(study.model_copy(update={"models": {"logistic_regression": changed}}))
    assert pool_of(graph["model.logistic_regression"]) == pool
    assert pool_of(graph["training_set"]) is None


def test_a_run_is_named_for_mlflow_with_its_address_where_there_is_one(monkeypatch):
    monkeypatch.delenv("ENTROPICE_DAGSTER_URL", raising=False)
    assert EntropiceResource(study="demo").run_tags("abc") == {"dagster.run_id": "abc"}
    monkeypatch.setenv("ENTROPICE_DAGSTER_URL", "http://localhost:3000/")
    assert EntropiceResource(study="demo").run_tags("abc")["dagster.run_url"] == "http://localhost:3000/runs/abc"
