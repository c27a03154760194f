"""XGBoost and nearest neighbours compute what their libraries do, are kept without a pickle, and say what they lack."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.neighbors import KNeighborsClassifier

from entropice_core.errors import ConfigError, SchemaError, TrainingError
from entropice_core.models import gpu, knn, logistic_regression, xgboost
from entropice_core.models.base import load_module
from entropice_core.models.preprocess import Preprocess
from entropice_core.training.metrics import log_loss

NAMES = tuple(f"f{i}" for i in range(8))
HAS_GPU = gpu.has_cuml()


def problem(n=400, n_classes=2, seed=0):
    return make_classification(n, 8, n_informative=5, n_classes=n_classes, flip_y=0.1, random_state=seed)


def test_xgboost_is_the_library_with_the_same_settings():
    library = pytest.importorskip("xgboost")
    X, y = problem()
    params = {"n_estimators": 25, "max_depth": 3, "learning_rate": 0.1, "subsample": 0.7, "min_child_weight": 2.0}
    ours = xgboost.build(params, 11, NAMES).fit(X, y).predict_proba(X)
    theirs = library.XGBClassifier(
        **params, colsample_bytree=0.8, random_state=11, tree_method="hist", n_jobs=1, reg_lambda=1.0
    ).fit(X, y)
    assert np.allclose(ours, theirs.predict_proba(X), atol=1e-6, rtol=0)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_booster_comes_back_from_its_bytes_with_the_same_bits(n_classes):
    X, y = problem(n_classes=n_classes)
    fitted = xgboost.build({"n_estimators": 12}, 0, NAMES, n_classes).fit(X, y)
    arrays, meta = xgboost.to_arrays(fitted)
    assert arrays["booster"].dtype == np.uint8 and meta["n_trees"] == 12
    read = xgboost.from_arrays({name: array.copy() for name, array in arrays.items()}, meta)
    assert np.array_equal(read.predict_proba(X), fitted.predict_proba(X))


def test_bytes_that_are_no_booster_are_refused():
    X, y = problem()
    arrays, meta = xgboost.to_arrays(xgboost.build({"n_estimators": 2}, 0, NAMES).fit(X, y))
    arrays["booster"] = np.frombuffer(b"cos\nsystem\n(S'true'\ntR.", dtype=np.uint8)
    with pytest.raises(SchemaError, match="'booster' holds no XGBoost model"):
        xgboost.from_arrays(arrays, meta)


def test_threads_do_not_change_a_booster():
    X, y = problem(2000)
    one, two = (
        xgboost.build({"n_estimators": 10, "n_jobs": jobs}, 5, NAMES).fit(X, y).predict_proba(X) for jobs in (1, 2)
    )
    assert np.allclose(one, two, atol=1e-6, rtol=0)


def test_balanced_classes_raise_the_probability_of_the_rare_one():
    X, y = make_classification(600, 8, n_informative=4, weights=[0.9], flip_y=0.2, random_state=0)
    plain, balanced = (
        xgboost.build({"n_estimators": 20, "class_weight": w}, 0, NAMES).fit(X, y).predict_proba(X)[:, 1].mean()
        for w in (None, "balanced")
    )
    assert plain == pytest.approx(y.mean(), abs=0.03) and balanced > plain + 0.1


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbours_vote_as_in_scikit_learn(weights):
    X, y = problem(n_classes=3)
    other = problem(n_classes=3, seed=1)[0]
    ours = knn.build({"n_neighbors": 7, "weights": weights}, 0, NAMES, 3).fit(X, y)
    prepare = Preprocess.fit(X, NAMES, standardise=True)
    theirs = KNeighborsClassifier(7, weights=weights, algorithm="brute").fit(prepare.transform(X).astype(np.float32), y)
    expected = theirs.predict_proba(prepare.transform(other))
    assert np.allclose(ours.predict_proba(other), expected, atol=1e-6, rtol=0)


def test_a_cell_on_top_of_a_training_cell_hears_only_that_one_when_distance_counts():
    X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 0])
    fitted = knn.build({"n_neighbors": 3, "weights": "distance"}, 0, ("a",)).fit(X, y)
    assert fitted.predict_proba([[1.0]])[0].tolist() == [0.0, 1.0]


def test_equal_rows_are_taken_in_their_order_alone_and_among_others():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.integers(0, 3, (60, 2)).astype(float), 3, axis=0)  # many equal rows, as years of a cell are
    y = rng.integers(0, 2, len(X))
    fitted = knn.build({"n_neighbors": 5}, 0, ("a", "b")).fit(X, y)
    together = fitted.predict_proba(X)
    assert np.array_equal(together, np.concatenate([fitted.predict_proba(row[None]) for row in X]))


def test_more_neighbours_than_rows_are_refused():
    X, y = problem(30)
    with pytest.raises(TrainingError, match="n_neighbors = 31, and there are 30 training rows"):
        knn.build({"n_neighbors": 31}, 0, NAMES).fit(X, y)


def test_classes_without_an_own_row_keep_logistic_regression_whole():
    X, y = problem(n_classes=3)
    fitted = logistic_regression.build({}, 0, NAMES, 3).fit(X, y)
    assert set(logistic_regression.feature_scores(fitted)) == {"coefficient.0", "coefficient.1", "coefficient.2"}
    assert np.allclose(fitted.predict_proba(X).sum(axis=1), 1)


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU with cuML")
@pytest.mark.parametrize("model", ["logistic_regression", "knn", "random_forest"])
def test_a_gpu_that_is_asked_for_and_not_there_is_an_error_and_auto_takes_the_cpu(model):
    X, y = problem()
    with pytest.raises(ConfigError, match="device = 'cuda', and this machine has no cuML"):
        load_module(model).build({"device": "cuda"}, 0, NAMES).fit(X, y)
    auto, cpu = (load_module(model).build({"device": d}, 0, NAMES).fit(X, y).predict_proba(X) for d in ("auto", "cpu"))
    assert np.array_equal(auto, cpu)


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU with cuML")
@pytest.mark.parametrize(("model", "tolerance"), [("logistic_regression", 1e-4), ("knn", 1e-6)])
def test_a_gpu_gives_the_same_probabilities_within_the_promised_tolerance(model, tolerance):
    X, y = problem(2000)
    one, two = (load_module(model).build({"device": d}, 0, NAMES).fit(X, y).predict_proba(X) for d in ("cuda", "cpu"))
    assert np.allclose(one, two, atol=tolerance, rtol=0)


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU with cuML")
def test_a_forest_from_a_gpu_is_as_good_as_one_from_the_cpu():
    X, y = problem(4000)
    module = load_module("random_forest")
    losses = []
    for device in ("cuda", "cpu"):
        fitted = module.build({"device": device, "n_estimators": 200, "min_samples_leaf": 5}, 0, NAMES).fit(
            X[:2000], y[:2000]
        )
        read = module.from_arrays(*module.to_arrays(fitted))
        assert np.array_equal(read.predict_proba(X), fitted.predict_proba(X))
        losses.append(log_loss(y[2000:], read.predict_proba(X[2000:])[:, 1]))
    assert abs(losses[0] - losses[1]) < 0.02


def test_a_report_says_what_auto_was(monkeypatch):
    assert gpu.device_of({}) == gpu.device_of({"device": "cpu"}) == "cpu"
    assert gpu.device_of({"device": "cuda"}) == "cuda"
    for is_there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(gpu, "has_cuml", lambda is_there=is_there: is_there)
        assert gpu.device_of({"device": "auto"}) == device
