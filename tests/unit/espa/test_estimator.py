"""ESPAClassifier as a scikit-learn classifier and as a model one can trust."""

import io
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_wine, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

from entropice_core.errors import ConfigError, EntropiceError, SchemaError, TrainingError
from entropice_core.espa import ESPAClassifier, Predictor
from entropice_core.espa.inputs import StoredESPA

VARIANTS = [
    ESPAClassifier(),
    ESPAClassifier(missing="mask", n_average=4),
    ESPAClassifier(eps_a=0.01, tau=None, mi_prior=1.0, class_weight="balanced"),
    ESPAClassifier(tau=0.0, alpha=0.5, unbias=False, scaling="minmax", init="k-means++", eps_w=float("inf")),
]


@parametrize_with_checks(VARIANTS)
def test_scikit_learn_accepts_the_estimator(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    return make_blobs(240, 5, centers=4, random_state=3, cluster_std=2.0)


def test_it_predicts_breast_cancer_about_as_well_as_measured_before(cancer) -> None:
    model = ESPAClassifier(n_average=16, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert -cross_val_score(model, *cancer, cv=folds, scoring="neg_log_loss").mean() < 0.15
    assert cross_val_score(model, *cancer, cv=folds, scoring="roc_auc").mean() > 0.985


def test_it_works_in_a_pipeline_a_grid_search_and_a_calibrator(cancer) -> None:
    X, y = cancer
    pipeline = make_pipeline(PolynomialFeatures(1, include_bias=False), ESPAClassifier(n_init=2, random_state=0))
    search = GridSearchCV(pipeline, {"espaclassifier__n_clusters": [2, 8]}, scoring="neg_log_loss", cv=3).fit(X, y)
    assert search.best_params_ == {"espaclassifier__n_clusters": 8}
    calibrated = CalibratedClassifierCV(ESPAClassifier(n_init=2, random_state=0), cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.93


def test_labels_may_be_text_and_come_back_as_text() -> None:
    X, y = load_wine(return_X_y=True)
    names = np.array(["first", "second", "third"], dtype=object)[y]
    model = ESPAClassifier(random_state=0).fit(X, names)
    assert model.classes_.tolist() == ["first", "second", "third"]
    assert (model.predict(X) == names).mean() > 0.95


def test_one_class_is_always_predicted_with_certainty(blobs) -> None:
    X, _ = blobs
    model = ESPAClassifier(random_state=0).fit(X, np.full(len(X), "slump"))
    assert set(model.predict(X)) == {"slump"}
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((len(X), 1)))


def test_a_constant_feature_gets_no_weight_and_changes_nothing(blobs) -> None:
    X, y = blobs
    wider = np.column_stack([X, np.full(len(X), 1e6), np.full(len(X), 0.1) + 0.2])
    plain = ESPAClassifier(random_state=0).fit(X, y)
    model = ESPAClassifier(random_state=0).fit(wider, y)
    assert model.feature_weights_[-2:].tolist() == [0.0, 0.0]
    assert model.feature_importances_[-2:].tolist() == [0.0, 0.0]
    assert model.explained_variance_ratio_[-2:].tolist() == [0.0, 0.0]
    assert model.feature_weights_.sum() == pytest.approx(1.0)
    assert (model.predict(wider) == plain.predict(X)).mean() > 0.9


def test_features_that_never_vary_leave_the_class_frequencies() -> None:
    with pytest.warns(UserWarning, match="only enough for 1"):
        model = ESPAClassifier(random_state=0).fit(np.ones((8, 3)), [0, 0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_allclose(model.predict_proba([[1.0, 1.0, 1.0]]), [[0.75, 0.25]])
    assert model.feature_weights_.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("init", ["balanced", "k-means++", "random"])
def test_a_weight_of_zero_is_an_absent_row_and_of_two_a_repeated_one(blobs, init) -> None:
    X, y = blobs
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = ESPAClassifier(8, init=init, random_state=0).fit(X, y, weights)
    repeated = ESPAClassifier(8, init=init, random_state=0).fit(X.repeat(weights, 0), y.repeat(weights))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-10)
    np.testing.assert_allclose(weighted.feature_weights_, repeated.feature_weights_, atol=1e-10)


def test_the_order_of_the_rows_does_not_matter(blobs) -> None:
    X, y = blobs
    order = np.random.default_rng(1).permutation(len(X))
    first = ESPAClassifier(8, random_state=0).fit(X, y)
    second = ESPAClassifier(8, random_state=0).fit(X[order], y[order])
    np.testing.assert_allclose(first.predict_proba(X), second.predict_proba(X), atol=1e-10)


def test_units_of_the_features_do_not_matter_and_centres_are_in_them(blobs) -> None:
    X, y = blobs
    factor, shift = np.array([1e-3, 1.0, 40.0, 1e4, 7.0]), np.array([0.0, 273.15, -5.0, 1e5, 1.0])
    first = ESPAClassifier(8, random_state=0).fit(X, y)
    second = ESPAClassifier(8, random_state=0).fit(X * factor + shift, y)
    np.testing.assert_allclose(first.predict_proba(X), second.predict_proba(X * factor + shift), atol=1e-9)
    np.testing.assert_allclose(first.cluster_centers_ * factor + shift, second.cluster_centers_, rtol=1e-9)


def test_equal_seeds_give_equal_models_and_the_parameters_stay_as_given(blobs) -> None:
    model = ESPAClassifier(8, random_state=7)
    before = model.get_params()
    first = model.fit(*blobs).predict_proba(blobs[0])
    second = clone(model).fit(*blobs).predict_proba(blobs[0])
    np.testing.assert_array_equal(first, second)
    assert model.get_params() == before


def test_the_best_restart_is_the_one_of_lowest_loss_and_its_loss_never_rises(cancer) -> None:
    model = ESPAClassifier(random_state=0).fit(*cancer)
    assert model.loss_curve_[-1] == model.restart_losses_.min()
    assert len(model.loss_curve_) == model.n_iter_
    assert (np.diff(model.loss_curve_) <= 1e-12 * np.abs(model.loss_curve_[:-1])).all()


def test_attributes_fit_together(cancer) -> None:
    X, y = cancer
    model = ESPAClassifier(10, random_state=0).fit(X, y)
    n_clusters = len(model.cluster_centers_)
    assert model.cluster_centers_.shape == (n_clusters, 30)
    assert model.class_probabilities_.shape == (n_clusters, 2)
    np.testing.assert_allclose(model.class_probabilities_.sum(1), 1.0)
    np.testing.assert_allclose(np.bincount(model.labels_) / len(X), model.cluster_mass_)
    np.testing.assert_array_equal(model.labels_, model.predict_cluster(X))
    counts = np.array([[((model.labels_ == k) & (y == m)).sum() for m in (0, 1)] for k in range(n_clusters)])
    prior = np.bincount(y) / len(y)
    smoothed = (counts + prior) / (counts.sum(1, keepdims=True) + 1.0)
    np.testing.assert_allclose(model.class_probabilities_, smoothed, atol=1e-12)
    residual = X - model.cluster_centers_[model.labels_]
    np.testing.assert_allclose(model.explained_variance_ratio_, 1 - (residual**2).mean(0) / X.var(0), atol=1e-9)
    assert model.effective_dimension_ <= 30
    assert 0 <= model.disagreement_ < 0.3
    assert model.backend_ == "numpy on cpu, float64"


def test_labels_that_say_nothing_but_weigh_much_raise_the_alarm(blobs) -> None:
    X, y = blobs
    shuffled = np.random.default_rng(0).permutation(y)
    assert ESPAClassifier(16, eps_c=20.0, random_state=0).fit(X, shuffled).disagreement_ > 0.3


def test_restarts_averaged_have_a_better_log_loss_than_the_best_alone(cancer) -> None:
    X, y = cancer
    train, test = next(StratifiedKFold(2, shuffle=True, random_state=0).split(X, y))
    losses = [
        log_loss(
            y[test],
            ESPAClassifier(12, tau=0.0, n_average=n, random_state=0).fit(X[train], y[train]).predict_proba(X[test]),
        )
        for n in (1, 16)
    ]
    assert losses[1] < losses[0]


def test_class_weights_change_the_choice_and_leave_the_class_frequencies() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 4))
    y = (X[:, 0] + rng.normal(size=2000) > 2.3).astype(int)
    plain = ESPAClassifier(random_state=0).fit(X, y)
    balanced = ESPAClassifier(class_weight="balanced", random_state=0).fit(X, y)
    assert balanced.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), rel=0.1)
    assert balanced.predict(X)[y == 1].mean() > plain.predict(X)[y == 1].mean() + 0.3


def test_smoothing_leaves_no_zero_and_no_smoothing_does(cancer) -> None:
    X, y = cancer
    assert ESPAClassifier(alpha=0.0, tau=0.0, random_state=0).fit(X, y).predict_proba(X).min() == 0.0
    assert ESPAClassifier(alpha=1.0, tau=0.0, random_state=0).fit(X, y).predict_proba(X).min() > 0.0


def test_hard_prediction_has_one_output_per_cluster(cancer) -> None:
    X, y = cancer
    model = ESPAClassifier(6, tau=0.0, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), model.class_probabilities_[model.labels_], atol=1e-15)
    assert len(np.unique(ESPAClassifier(6, tau=0.3, random_state=0).fit(X, y).predict_proba(X)[:, 0])) > 100


def test_a_mutual_information_start_finds_two_features_among_many() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 60))
    y = (np.abs(X[:, 0]) + np.abs(X[:, 1]) > 1.4).astype(int)
    informed = ESPAClassifier(10, eps_w=0.15, mi_start=0.5, random_state=0).fit(X, y)
    assert informed.feature_weights_[:2].sum() > 0.8


def test_more_clusters_than_distinct_rows_are_capped_with_a_warning() -> None:
    X = np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]], 4, axis=0)
    with pytest.warns(UserWarning, match="n_clusters is 16, but the rows are only enough for 3"):
        model = ESPAClassifier(random_state=0).fit(X, [0] * 8 + [1] * 4)
    assert len(model.cluster_centers_) <= 3


def test_a_fit_that_does_not_settle_says_so(cancer) -> None:
    with pytest.warns(ConvergenceWarning, match="not settled after 2 sweeps"):
        ESPAClassifier(max_iter=2, random_state=0).fit(*cancer)


@pytest.mark.parametrize("n_average", [1, 5])
def test_a_stored_model_predicts_equally_to_the_last_bit(cancer, n_average) -> None:
    X, y = cancer
    model = ESPAClassifier(n_average=n_average, random_state=0).fit(X, np.where(y > 0, "benign", "malignant"))
    arrays, meta = model.to_arrays()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as stored:
        rebuilt = ESPAClassifier.from_arrays(dict(stored), json.loads(json.dumps(meta)))
    assert isinstance(rebuilt, StoredESPA)
    np.testing.assert_array_equal(rebuilt.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(rebuilt.predict(X), model.predict(X))
    np.testing.assert_array_equal(rebuilt.classes_, model.classes_)


def test_a_damaged_store_is_refused(blobs) -> None:
    arrays, meta = ESPAClassifier(random_state=0).fit(*blobs).to_arrays()
    with pytest.raises(SchemaError, match="has schema 'espa-0'"):
        ESPAClassifier.from_arrays(arrays, {**meta, "schema": "espa-0"})
    with pytest.raises(SchemaError, match="lacks the arrays metric"):
        ESPAClassifier.from_arrays({k: v for k, v in arrays.items() if k != "metric"}, meta)
    with pytest.raises(SchemaError, match="'scale' has shape"):
        ESPAClassifier.from_arrays({**arrays, "scale": np.ones(2)}, meta)
    with pytest.raises(SchemaError, match="digest differs"):
        ESPAClassifier.from_arrays({**arrays, "scale": arrays["scale"] + 1e-9}, meta)
    with pytest.raises(SchemaError, match="digest differs"):
        ESPAClassifier.from_arrays(arrays, {**meta, "log_linear": True})


def test_a_stored_model_refuses_rows_of_other_features(blobs) -> None:
    X, y = blobs
    stored = ESPAClassifier.from_arrays(*ESPAClassifier(random_state=0).fit(X, y).to_arrays())
    with pytest.raises(SchemaError, match=r"shape \(240, 4\), expected \(rows, 5\)"):
        stored.predict_proba(X[:, :4])
    with pytest.raises(TrainingError, match="NaN"):
        stored.predict_proba(np.full((1, 5), np.nan))


def test_text_labels_are_stored_as_text_and_other_objects_are_refused(blobs) -> None:
    X, y = blobs
    text = np.array(["a", "b", "c", "d"], dtype=object)[y]
    arrays, meta = ESPAClassifier(random_state=0).fit(X, text).to_arrays()
    assert arrays["classes"].dtype.kind == "U"
    assert all(array.dtype != object for array in arrays.values())
    rows = Predictor.from_arrays(arrays, meta)
    odd = replace(rows, classes=np.array([None, (1,), 2, 3], dtype=object))
    with pytest.raises(SchemaError, match="objects of type NoneType, int, tuple"):
        odd.to_arrays()


def test_missing_values_are_refused_with_row_and_feature(blobs) -> None:
    X, y = blobs
    X = X.copy()
    X[3, 2] = np.nan
    with pytest.raises(TrainingError, match="NaN .* row 3, feature 2.*missing='mask'"):
        ESPAClassifier().fit(X, y)
    X[3, 2] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        ESPAClassifier(missing="mask").fit(X, y)


def test_masking_equals_ordinary_training_when_nothing_is_missing(blobs) -> None:
    X, y = blobs
    plain = ESPAClassifier(random_state=0).fit(X, y)
    masked = ESPAClassifier(missing="mask", random_state=0).fit(X, y)
    np.testing.assert_allclose(plain.predict_proba(X), masked.predict_proba(X), atol=1e-10)


def test_with_a_tenth_of_the_values_missing_the_loss_still_falls_and_most_is_still_known(cancer) -> None:
    X, y = cancer
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    model = ESPAClassifier(missing="mask", random_state=0).fit(X, y)
    assert (np.diff(model.loss_curve_) <= 1e-12).all()
    assert model.score(X, y) > 0.92
    assert np.isfinite(model.predict_proba(np.full((1, 30), np.nan))).all()


def test_a_feature_that_is_mostly_missing_is_not_favoured(cancer) -> None:
    X, y = cancer
    noise = np.random.default_rng(0).normal(size=len(X))
    complete = np.column_stack([X, noise])
    rare = complete.copy()
    rare[np.arange(len(X)) % 10 > 0, -1] = np.nan
    even = 1 / 31
    assert ESPAClassifier(random_state=0).fit(complete, y).feature_weights_[-1] < even
    # counted over all rows instead of the observed ones its dispersion would be a tenth, its weight several times even
    assert ESPAClassifier(missing="mask", random_state=0).fit(rare, y).feature_weights_[-1] < 1.5 * even


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 0}, "n_clusters is 0, expected an integer of at least 1"),
        ({"n_clusters": 2.0}, "n_clusters is 2.0"),
        ({"eps_c": -0.1}, "eps_c is -0.1, expected a finite number"),
        ({"eps_w": 0.0}, "eps_w is 0.0, expected a number above 0"),
        ({"eps_w": float("nan")}, "eps_w is nan"),
        ({"mi_start": 1.5}, "mi_start is 1.5, expected a share"),
        ({"tau": -1.0}, "tau is -1.0"),
        ({"scaling": "minmx"}, "did you mean 'minmax'"),
        ({"init": "kmeans"}, "init='kmeans'"),
        ({"missing": "drop"}, "missing='drop'"),
        ({"class_weight": "even"}, "class_weight is 'even'"),
        ({"class_weight": {9: 1.0}}, "class_weight names 9"),
        ({"class_weight": [1, 2]}, "expected None, 'balanced' or a mapping"),
        ({"backend": "jax"}, "no array backend called 'jax'"),
        ({"device": "cuda:0", "backend": "numpy"}, "NumPy computes on 'cpu' only"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_accepted(blobs, change, message) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ESPAClassifier(**change).fit(*blobs)
    assert isinstance(caught.value, EntropiceError)


def test_wrong_weights_are_named(blobs) -> None:
    X, y = blobs
    weights = np.ones(len(X))
    weights[5] = -1.0
    with pytest.raises(TrainingError, match="row 5 is -1.0"):
        ESPAClassifier().fit(X, y, weights)
    with pytest.raises(TrainingError, match=r"shape \(3,\), expected \(240,\)"):
        ESPAClassifier().fit(X, y, [1.0, 1.0, 1.0])


def test_a_memory_mapped_matrix_gives_the_same_model(tmp_path, cancer) -> None:
    X, y = cancer
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    first = ESPAClassifier(random_state=0).fit(X, y)
    second = ESPAClassifier(random_state=0).fit(mapped, y)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(mapped))
