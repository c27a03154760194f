"""Models that ask for a GPU wait for the GPU, others for each other; MLflow learns which run of Dagster it was."""

import json
from pathlib import Path

import pytest

from entropice_assets.assets.factory import needs_of, pool_of
from entropice_assets.build import build_defs
from entropice_assets.dask import RESOURCES_TAG
from entropice_assets.resources import EntropiceResource
from entropice_core.config import Settings, load_study
from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.errors import ConfigError
from entropice_core.pipeline.graph import build_graph
from entropice_core.sources import open_source


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


def test_a_step_says_what_it_needs_of_a_worker_and_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("ENTROPICE_MEMORY", raising=False)
    study = load_study("demo")
    on_gpu = study.models["logistic_regression"].model_copy(update={"params": {"device": "cuda"}})
    graph = build_graph(study.model_copy(update={"models": {"logistic_regression": on_gpu}}))
    assert needs_of(graph["model.logistic_regression"]) == {"MEMORY": 8, "GPU": 1}
    assert needs_of(graph["training_set"]) == {"MEMORY": 4}
    assert needs_of(graph["prediction.logistic_regression"]) == {"MEMORY": 3}
    monkeypatch.setenv("ENTROPICE_MEMORY", "model=64, training_set=32.5")
    assert needs_of(graph["model.logistic_regression"]) == {"MEMORY": 64, "GPU": 1}
    assert needs_of(graph["training_set"]) == {"MEMORY": 32.5}
    assert needs_of(graph["cells"]) == {"MEMORY": 3}
    monkeypatch.setenv("ENTROPICE_MEMORY", "model:64")
    with pytest.raises(ConfigError, match=r"ENTROPICE_MEMORY has 'model:64': give kinds"):
        needs_of(graph["cells"])


@pytest.mark.parametrize(
    ("compute", "route", "gpu"),
    [
        ("cuda", "files", 1),
        ("dask+cuda://127.0.0.1:8786", "files", 1),
        ("dask://127.0.0.1:8786", "files", None),
        ("cuda", "earth_engine", None),
    ],
)
def test_steps_that_add_pixels_up_on_a_gpu_ask_for_one_and_wait_for_each_other(monkeypatch, compute, route, gpu):
    study = load_study("demo")
    table = {"kind": "alphaearth", "title": "t", "path": "{data}/{year}.json", "route": route}
    sources = {**study.sources, "embedding": AlphaEarthConfig(**table)}
    sources["terrain_32m"] = ArcticDemConfig(kind="arcticdem", title="t", path="{data}/tiles.json")
    graph = build_graph(study.model_copy(update={"sources": sources}))
    monkeypatch.setenv("ENTROPICE_COMPUTE", compute)
    assert needs_of(graph["features.embedding"]).get("GPU") == gpu
    assert needs_of(graph["features.terrain_32m"]).get("GPU") == (1 if "cuda" in compute else None)
    assert pool_of(graph["features.embedding"]) == ("gpu" if gpu else None)
    others = [product for name, product in graph.items() if name not in ("features.embedding", "features.terrain_32m")]
    assert not any("GPU" in needs_of(product) for product in others)


def test_a_step_on_a_shared_worker_takes_no_more_tiles_at_a_time_than_its_memory_holds(monkeypatch):
    monkeypatch.setattr("entropice_core.sources.tiled._cores", lambda: 64)
    config = ArcticDemConfig(kind="arcticdem", title="t", path="{data}/tiles.json")
    source = open_source("dem", config, Path("nowhere"))
    for given, threads in (("", 8), ("features=48", 64), ("features=20", 28), ("features=0.5", 1)):
        monkeypatch.setenv("ENTROPICE_MEMORY", given)
        assert source.within(Settings.from_environment().memory_of("features")).workers == threads
    assert source.workers == 64


def test_the_assets_carry_what_their_steps_need(monkeypatch):
    monkeypatch.setenv("ENTROPICE_MEMORY", "training_set=32")
    defs = build_defs("demo")
    assert json.loads(defs.get_assets_def("training_set").op.tags[RESOURCES_TAG]) == {"MEMORY": 32}
