"""Other ways to train: soft and absent labels, learnt row weights."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine, make_blobs

from entropice_core.errors import ConfigError, TrainingError
from entropice_core.espa import ESPAClassifier
from entropice_core.espa.soft_labels import soft_labels


@pytest.fixture(scope="module")
def wine() -> tuple[np.ndarray, np.ndarray]:
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    return load_breast_cancer(return_X_y=True)


def falls(curve: np.ndarray) -> bool:
    return bool((np.diff(curve) <= 1e-10 * np.maximum(1.0, np.abs(curve[:-1]))).all())


@pytest.mark.parametrize("eps_a", [0.0, 0.02])
def test_soft_labels_lower_the_loss_and_their_share_comes_back(wine, eps_a) -> None:
    X, y = wine
    P = 0.8 * np.eye(3)[y] + 0.2 / 3
    model = ESPAClassifier(6, eps_a=eps_a, random_state=0).fit_soft(X, P, classes=["c", "b", "a"])
    assert falls(model.loss_curve_)
    assert model.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(model.predict_proba(X).mean(0), P.mean(0)[::-1], atol=0.02)
    assert (model.predict(X) == np.array(["c", "b", "a"])[y]).mean() > 0.95
    # a box of one class tells 0.8 + 0.2/3, never more
    assert model.class_probabilities_.max() <= 0.8 + 0.2 / 3 + 1e-9


def test_unlabelled_rows_shape_the_boxes_that_few_labels_name() -> None:
    X, y = make_blobs(600, 8, centers=6, cluster_std=1.0, random_state=2)
    y = y % 2
    few = np.full(len(y), -1)
    few[:30] = y[:30]
    P, classes = soft_labels(few)
    options = {"n_clusters": 6, "random_state": 0}
    with_rest = ESPAClassifier(**options).fit_soft(X, P, classes=classes).score(X[30:], y[30:])
    without = ESPAClassifier(**options).fit(X[:30], y[:30]).score(X[30:], y[30:])
    assert with_rest > 0.99
    assert with_rest >= without


def test_class_frequencies_are_those_of_the_labelled_rows_and_weights_count(wine) -> None:
    X, y = wine
    gaps = np.where(y == 0, np.nan, y.astype(float))
    P, classes = soft_labels(gaps)
    assert classes.tolist() == [1.0, 2.0]
    weights = np.where(y == 2, 3.0, 1.0)
    model = ESPAClassifier(1, random_state=0).fit_soft(X, P, weights, classes)
    share = 3.0 * (y == 2).sum() / ((y == 1).sum() + 3.0 * (y == 2).sum())
    np.testing.assert_allclose(model.predict_proba(X[:1]), [[1 - share, share]])
    assert model.class_probabilities_.shape == (1, 2)


def test_minus_one_is_an_ordinary_class_of_fit() -> None:
    X, y = make_blobs(60, 2, centers=2, random_state=0)
    model = ESPAClassifier(2, random_state=0).fit(X, np.where(y, 1, -1))
    assert model.classes_.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("P", "classes", "message"),
    [
        (np.ones((178, 2)), None, r"Row 0 of P is \[1.0, 1.0\], expected a distribution"),
        (np.full((178, 2), [[0.5, np.nan]]), None, "Row 0 of P is"),
        (np.full((178, 2), [[1.5, -0.5]]), None, "Row 0 of P is"),
        (np.ones((3, 1)), None, r"P has shape \(3, 1\), expected \(178, classes\)"),
        (np.full((178, 2), 0.5), ["a", "a"], "expected 2 different labels"),
        (np.full((178, 2), [[1.0, 0.0]]), ["a", "b"], "gives class 'b' any probability"),
    ],
)
def test_wrong_distributions_are_named(wine, P, classes, message) -> None:
    with pytest.raises(TrainingError, match=message):
        ESPAClassifier().fit_soft(wine[0], P, classes=classes)


def test_labels_with_nothing_but_gaps_are_refused() -> None:
    with pytest.raises(TrainingError, match="None of the 3 rows has a label"):
        soft_labels([-1, -1, -1])
    with pytest.raises(TrainingError, match="expected one label per row"):
        soft_labels([[1, 0]])


def test_wrong_labels_lose_their_weight_and_probabilities_gain() -> None:
    X, y = make_blobs(400, 10, centers=4, cluster_std=4.0, random_state=0)
    rng = np.random.default_rng(0)
    flipped = rng.random(400) < 0.1
    noisy = np.where(flipped, (y + rng.integers(1, 4, 400)) % 4, y)
    plain = ESPAClassifier(8, random_state=0).fit(X, noisy)
    robust = ESPAClassifier(8, eps_t=0.5, random_state=0).fit(X, noisy)
    assert plain.instance_weights_ is None
    weights = robust.instance_weights_
    assert weights.mean() == pytest.approx(1.0)
    assert weights[flipped].mean() < 0.4 * weights[~flipped].mean()

    def clean_loss(model: ESPAClassifier) -> float:
        return float(-np.log(model.predict_proba(X)[np.arange(400), y]).mean())

    assert clean_loss(robust) < clean_loss(plain) - 0.05


@pytest.mark.parametrize("options", [{}, {"eps_a": 0.05}, {"class_weight": "balanced"}, {"scaling": "minmax"}])
@pytest.mark.parametrize("eps_t", [0.05, 0.5, 5.0])
def test_learnt_weights_never_raise_the_loss(wine, options, eps_t) -> None:
    X, y = wine
    model = ESPAClassifier(6, eps_t=eps_t, random_state=0, **options).fit(X, y, 1.0 + y)
    assert falls(model.loss_curve_)
    np.testing.assert_allclose(model.instance_weights_ @ (1.0 + y) / (1.0 + y).sum(), 1.0)


def test_weights_at_a_huge_temperature_are_the_given_ones(wine) -> None:
    X, y = wine
    plain = ESPAClassifier(6, random_state=0).fit(X, y)
    hot = ESPAClassifier(6, eps_t=1e9, random_state=0).fit(X, y)
    np.testing.assert_allclose(hot.predict_proba(X), plain.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(hot.instance_weights_, 1.0, atol=1e-6)


def test_learnt_weights_of_absent_rows_are_zero_and_missing_values_are_allowed(wine) -> None:
    X, y = wine
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    given = (np.arange(len(X)) % 4 > 0).astype(float)
    model = ESPAClassifier(6, eps_t=1.0, missing="mask", random_state=0).fit(X, y, given)
    assert (model.instance_weights_[given == 0] == 0).all()
    assert falls(model.loss_curve_)


@pytest.mark.parametrize("backend", ["torch", "array_api_strict"])
@pytest.mark.parametrize("options", [{"n_moves": 2}, {"eps_t": 0.5}, {"eps_t": 0.5, "eps_a": 0.05}])
def test_every_library_gives_the_same_routes(wine, backend, options) -> None:
    namespace = pytest.importorskip(backend)
    X, y = wine
    given = namespace.asarray(X) if backend == "array_api_strict" else X
    library = "auto" if backend == "array_api_strict" else backend
    fixed = {"n_clusters": 5, "n_init": 4, "random_state": 0, **options}
    first = ESPAClassifier(**fixed).fit(X, y)
    second = ESPAClassifier(**fixed, backend=library, device="auto" if library == "auto" else "cpu").fit(given, y)
    np.testing.assert_allclose(second.restart_losses_, first.restart_losses_, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_moves": -1}, "n_moves is -1, expected an integer of at least 0"),
        ({"n_moves": 1.5}, "n_moves is 1.5"),
        ({"eps_t": 0.0}, "eps_t is 0.0, expected a number above 0"),
    ],
)
def test_wrong_options_of_the_routes_are_named(wine, change, message) -> None:
    with pytest.raises(ConfigError, match=message):
        ESPAClassifier(**change).fit(*wine)
