"""Parts of a search in threads and on the workers of a cluster: the same bits as in one process."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_wine

from entropice_core.errors import ConfigError
from entropice_core.espa import ESPAEnsemble
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows

OPTIONS = {"n_clusters": (3, 6), "eps_c": (0.3,), "eps_w": (0.3, 1.0), "cv": 3, "n_init": 4, "n_average": 2}
MODEL = {**OPTIONS, "n_models": 3, "keep": 0.5, "random_state": 0}


@pytest.fixture(scope="module")
def wine() -> tuple[np.ndarray, np.ndarray]:
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def alone(wine) -> ESPAEnsemble:
    return ESPAEnsemble(**MODEL).fit(*wine)


def assert_equal(first: ESPAEnsemble, second: ESPAEnsemble, X: np.ndarray) -> None:
    assert first.results_.keys() == second.results_.keys()
    for name, column in first.results_.items():
        np.testing.assert_array_equal(column, second.results_[name])
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_threads_give_the_same_bits(wine, alone) -> None:
    assert_equal(alone, ESPAEnsemble(**MODEL, n_jobs=2).fit(*wine), wine[0])


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as found:
        yield found


def test_two_processes_of_a_cluster_give_the_same_bits_and_both_work(wine, alone, client, tmp_path) -> None:
    told = []
    model = ESPAEnsemble(**MODEL, client=client, folder=tmp_path, progress=told.append).fit(*wine)
    assert_equal(alone, model, wine[0])
    assert told[-1].done == told[-1].total
    assert list(tmp_path.glob("chunk-*.npz"))
    held = client.run(lambda dask_worker: len(dask_worker.data))
    assert len(held) == 2


def test_a_model_with_a_client_can_be_cloned_and_shares_it(wine, alone, client) -> None:
    copied = clone(ESPAEnsemble(**MODEL, client=client))
    assert copied.client is client
    assert copied.cv == 3
    assert_equal(alone, copied.fit(*wine), wine[0])


@pytest.mark.torch
def test_rows_on_another_library_reach_the_workers(wine, client) -> None:
    pytest.importorskip("torch")
    here = ESPAEnsemble(**MODEL, backend="torch", device="cpu").fit(*wine)
    there = ESPAEnsemble(**MODEL, backend="torch", device="cpu", client=client).fit(*wine)
    assert there.backend_ == "torch on cpu, float64"
    np.testing.assert_allclose(here.predict_proba(wine[0]), there.predict_proba(wine[0]), atol=1e-12)


def program(X: np.ndarray, y: np.ndarray) -> Program:
    settings = Settings.of({**ESPAEnsemble(**MODEL).get_params(), "n_clusters": 6, "mi_prior": 1.0})
    data = TrainingRows.select(X, y, np.ones(len(y)))
    return Program(data, settings, np.random.RandomState(0), choose_backend(X), [np.arange(0, len(y), 2)])


def test_a_program_that_travelled_computes_the_same_bits(wine) -> None:
    here = program(*wine)
    there = pickle.loads(pickle.dumps(here))
    jobs = Jobs(6, 1.0, np.array([0, 1, 1]), np.arange(3), *(np.full(3, v) for v in (0.3, 0.5, 1.0)))
    np.testing.assert_array_equal(here.run(jobs).losses, there.run(jobs).losses)


def test_a_library_that_workers_cannot_open_is_refused() -> None:
    strict = pytest.importorskip("array_api_strict")
    backend = choose_backend(strict.asarray([[0.0]]))
    with pytest.raises(ConfigError, match="cannot be sent to workers"):
        pickle.loads(pickle.dumps(backend))
