"""A table of unusual and impossible input: what is taken as it is, and what is refused with which sentence."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import make_blobs

from entropice_core.errors import TrainingError
from entropice_core.espa import ESPAClassifier, ESPAEnsemble, ESPASearch

ESTIMATORS = {
    "classifier": lambda: ESPAClassifier(6, n_init=4, random_state=0),
    "search": lambda: ESPASearch((3, 6), eps_w=(0.5,), n_init=2, n_average=1, random_state=0),
    "ensemble": lambda: ESPAEnsemble((3, 6), eps_w=(0.5,), n_models=2, n_init=2, n_average=1, random_state=0),
}


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    X, y = make_blobs(90, 4, centers=3, random_state=1)
    return X.astype(np.float16).astype(np.float64), y


def memory_mapped(X: np.ndarray, folder: Path) -> np.ndarray:
    np.save(folder / "X.npy", X)
    mapped = np.load(folder / "X.npy", mmap_mode="r")
    assert not mapped.flags.writeable
    return mapped


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(lambda X, folder: X.astype(np.float16), id="float16"),
        pytest.param(lambda X, folder: np.asfortranarray(X), id="Fortran order"),
        pytest.param(memory_mapped, id="read-only memory map"),
        pytest.param(lambda X, folder: X.tolist(), id="lists"),
        pytest.param(lambda X, folder: X.astype(object), id="objects that are numbers"),
        pytest.param(lambda X, folder: np.repeat(X, 2, axis=0)[::2], id="strided"),
        pytest.param(lambda X, folder: X.astype(">f8"), id="the other byte order"),
    ],
)
def test_every_form_of_the_same_numbers_gives_the_same_model(kind, turn, blobs, tmp_path) -> None:
    X, y = blobs
    expected = ESTIMATORS[kind]().fit(X, y).predict_proba(X)
    given = turn(X, tmp_path)
    np.testing.assert_allclose(ESTIMATORS[kind]().fit(given, y).predict_proba(given), expected, atol=1e-12)


def test_nothing_that_is_given_is_written_to(blobs) -> None:
    X, y = blobs
    X, y, weights = X.copy(), y.copy(), np.ones(len(y))
    copies = X.copy(), y.copy(), weights.copy()
    for array in (X, y, weights):
        array.flags.writeable = False
    model = ESPAClassifier(6, n_init=2, n_moves=1, eps_t=1.0, random_state=0).fit(X, y, weights)
    model.predict_proba(X)
    model.compare_importances(X, y, weights, n_repeats=1)
    for array, copy in zip((X, y, weights), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_integers_and_whole_tables_of_booleans_are_numbers() -> None:
    X = np.random.default_rng(0).integers(0, 5, (60, 3))
    y = X[:, 0] > 2
    model = ESPAClassifier(4, random_state=0)
    assert model.fit(X, y).score(X, y) == 1.0
    assert model.fit(X > 2, y).predict([[True, False, True]]).tolist() == [True]


Case = tuple[Callable[[np.ndarray, np.ndarray], Any], type[Exception], str]
REFUSED: dict[str, Case] = {
    "sparse": (lambda X, y: (scipy.sparse.csr_array(X), y), TypeError, "Sparse data was passed"),
    "no rows": (lambda X, y: (X[:0], y[:0]), ValueError, r"0 sample\(s\)"),
    "no features": (lambda X, y: (X[:, :0], y), ValueError, r"0 feature\(s\)"),
    "one dimension": (lambda X, y: (X[:, 0], y), ValueError, "Expected 2D array"),
    "fewer labels than rows": (lambda X, y: (X, y[:-1]), ValueError, "inconsistent numbers of samples"),
    "continuous labels": (lambda X, y: (X, y + 0.5), ValueError, "Unknown label type: continuous"),
    "missing labels": (lambda X, y: (X, np.where(y == 0, np.nan, y)), ValueError, "NaN"),
    "text": (lambda X, y: (np.full(X.shape, "warm"), y), ValueError, "could not convert string to float"),
    "a column of text": (
        lambda X, y: (pd.DataFrame(X, columns=list("abcd")).assign(soil="clay"), y),
        ValueError,
        "could not convert string to float",
    ),
    "complex numbers": (lambda X, y: (X + 1j, y), ValueError, "Complex data not supported"),
    "infinity": (lambda X, y: (np.where(X > 5, np.inf, X), y), TrainingError, "X holds infinity"),
    "missing values": (lambda X, y: (np.where(X > 5, np.nan, X), y), TrainingError, "NaN .*missing='mask'"),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_of_numbers_is_refused_and_said(kind, case, blobs) -> None:
    turn, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        ESTIMATORS[kind]().fit(*turn(*blobs))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_new_rows_are_checked_like_the_old_ones(kind, blobs) -> None:
    X, y = blobs
    model = ESTIMATORS[kind]().fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict_proba(X[:, :3])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        model.predict_proba(X[:0])
    with pytest.raises(TypeError, match="Sparse"):
        model.predict(scipy.sparse.csr_array(X))


def test_all_weight_on_one_class_leaves_that_class_alone(blobs) -> None:
    X, y = blobs
    model = ESPAClassifier(4, random_state=0).fit(X, y, (y == 2).astype(float))
    assert model.classes_.tolist() == [2]
    assert set(model.predict(X)) == {2}
    with pytest.raises(TrainingError, match="All sample weights are zero"):
        ESPAClassifier().fit(X, y, np.zeros(len(y)))


def test_weights_of_one_class_that_are_tiny_keep_the_class(blobs) -> None:
    X, y = blobs
    model = ESPAClassifier(6, random_state=0).fit(X, y, np.where(y == 0, 1e-12, 1.0))
    assert model.classes_.tolist() == [0, 1, 2]
    P = model.predict_proba(X)
    assert np.isfinite(P).all()
    np.testing.assert_allclose(P.sum(1), 1.0)


def test_labels_never_seen_in_training_are_no_prediction_and_no_score(blobs) -> None:
    X, y = blobs
    seen = y < 2
    model = ESPAClassifier(4, random_state=0).fit(X[seen], y[seen])
    assert model.predict_proba(X).shape == (len(X), 2)
    assert model.score(X, y) <= (y < 2).mean()
    with pytest.raises(TrainingError, match="label 2, which training never saw; known: 0, 1"):
        model.compare_importances(X, y)


@pytest.mark.parametrize("size", [1e-150, 1e-12, 1e12, 1e150])
def test_numbers_of_any_size_are_trained_on_without_warnings(size, blobs) -> None:
    X, y = blobs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ESPAClassifier(6, random_state=0).fit(X * size, y)
        P = model.predict_proba(X * size)
    np.testing.assert_allclose(P.sum(1), 1.0)
    assert model.score(X * size, y) > 0.9
