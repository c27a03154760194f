"""ESPASearch and ESPAEnsemble: one program, honest held-out scores, resumable, calibrated."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_blobs
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.utils.estimator_checks import parametrize_with_checks

from entropice_core.errors import ConfigError, TrainingError
from entropice_core.espa import ESPAClassifier, ESPAEnsemble, ESPASearch, Predictor
from entropice_core.espa.calibration import fit_calibration
from entropice_core.espa.predictor import adjust_probabilities

SMALL = {
    "n_clusters": (2, 6),
    "eps_c": (0.3,),
    "eps_w": (0.3, 1.0),
    "tau": (0.0, 0.2),
    "alpha": (1.0, 4.0),
    "n_init": 4,
    "n_average": 2,
    "n_screen": 2,
    "mi_prior": (0.0,),
    "scaling": "standard",
    "n_moves": 0,
}


@parametrize_with_checks([ESPASearch(**SMALL, keep=0.5), ESPAEnsemble(**SMALL, n_models=2, calibrate=False)])
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    return load_breast_cancer(return_X_y=True)


def small(**changes) -> ESPASearch:
    return ESPASearch(**{**SMALL, "random_state": 0, **changes})


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none"])
def test_held_out_scores_equal_those_of_fits_that_never_saw_the_held_out_rows(scaling) -> None:
    X, y = load_wine(return_X_y=True)
    splits = list(StratifiedKFold(3, shuffle=True, random_state=1).split(X, y))
    # huge values in held-out rows would leak through any shared unit
    X = X * np.linspace(1, 5, len(X))[:, None]
    chosen = {"eps_c": 0.3, "eps_w": 1.0, "alpha": 1.0, "tau": 0.2}
    # random_state decides the seeds of a fold; one restart from the even start of a single cluster has no randomness
    model = small(
        **{name: (value,) for name, value in chosen.items()},
        n_clusters=(1,),
        n_init=1,
        n_average=1,
        cv=splits,
        scaling=scaling,
        init="k-means++",
        tol=1e-10,
    ).fit(X, y)
    for fold, (train, test) in enumerate(splits):
        alone = ESPAClassifier(1, **chosen, n_init=1, scaling=scaling, init="k-means++", tol=1e-10, random_state=5)
        expected = log_loss(y[test], alone.fit(X[train], y[train]).predict_proba(X[test]))
        assert model.results_[f"log_loss_fold_{fold}"][0] == pytest.approx(expected, abs=1e-9)


def test_folds_in_one_matrix_fit_what_the_training_rows_alone_fit(cancer) -> None:
    X, y = cancer
    train = np.arange(0, 569, 2)
    test = np.setdiff1d(np.arange(569), train)
    model = ESPASearch(
        (6,),
        eps_c=(0.3,),
        eps_w=(0.5,),
        tau=(0.2,),
        alpha=(1.0,),
        mi_prior=(0.0,),
        scaling="standard",
        n_init=64,
        n_average=1,
        n_moves=0,
        cv=[(train, test)],
        random_state=0,
    ).fit(X, y)
    alone = ESPAClassifier(6, eps_c=0.3, eps_w=0.5, tau=0.2, alpha=1.0, n_init=64, random_state=1).fit(
        X[train], y[train]
    )
    expected = log_loss(y[test], alone.predict_proba(X[test]))
    # other draws, but 64 restarts reach the same optimum here
    assert model.results_["log_loss"][0] == pytest.approx(expected, abs=0.02)


def test_a_grid_of_one_point_refits_the_classifier_itself(cancer) -> None:
    X, y = cancer
    one = {"eps_c": (0.3,), "eps_w": (0.5,), "mi_prior": (0.0,), "tau": (0.2,), "alpha": (1.0,), "scaling": "standard"}
    search = ESPASearch((8,), **one, n_init=8, n_moves=0, calibrate=False, cv=2, tol=1e-8, random_state=3)
    model = ESPAClassifier(8, eps_c=0.3, eps_w=0.5, tau=0.2, alpha=1.0, n_init=8, n_average=4, random_state=3)
    np.testing.assert_allclose(search.fit(X, y).predict_proba(X), model.fit(X, y).predict_proba(X), atol=1e-12)


def test_the_search_is_deterministic_and_chunks_do_not_matter(cancer, monkeypatch) -> None:
    first = small().fit(*cancer)
    monkeypatch.setattr("entropice_core.espa.search.HOST_COLUMNS", 10)
    second = small().fit(*cancer)
    assert first.best_params_ == second.best_params_
    np.testing.assert_allclose(first.results_["log_loss"], second.results_["log_loss"], atol=1e-10)
    np.testing.assert_allclose(first.predict_proba(cancer[0]), second.predict_proba(cancer[0]), atol=1e-10)


def test_hopeless_configurations_leave_early_and_stay_in_the_table(cancer) -> None:
    model = small(keep=0.5).fit(*cancer)
    assert model.n_configurations_ == {"tried": 4, "run to the end": 2}
    stages = model.results_["stage"]
    assert (stages[:8] == "full").all()
    assert (stages[8:] == "screen").all()
    assert len(stages) == 16
    full = model.results_["log_loss"][:8]
    assert (np.diff(full) >= 0).all()
    assert model.best_score_ == -full[0]
    assert model.best_params_["n_clusters"] == model.results_["n_clusters"][0]


def test_early_removal_rarely_costs_anything(cancer) -> None:
    quick, complete = small(keep=0.5).fit(*cancer), small(keep=1.0).fit(*cancer)
    assert complete.n_configurations_["run to the end"] == 4
    assert quick.best_score_ == pytest.approx(complete.best_score_, abs=0.01)


def test_groups_reach_the_splitter_and_no_group_is_on_both_sides(cancer) -> None:
    X, y = cancer
    groups = np.arange(len(y)) // 60
    model = small(cv=GroupKFold(4)).fit(X, y, groups=groups)
    assert sum(name.startswith("log_loss_fold") for name in model.results_) == 4
    assert np.isfinite(model.held_out_probabilities_).all()


def test_rows_of_weight_zero_neither_train_nor_score(cancer) -> None:
    X, y = cancer
    weights = np.ones(len(y))
    weights[::3] = 0.0
    kept = weights > 0
    splits = list(StratifiedKFold(3).split(X, y))
    position = np.cumsum(kept) - 1
    inner = [(position[a[kept[a]]], position[b[kept[b]]]) for a, b in splits]
    full = small(cv=splits).fit(X, y, sample_weight=weights)
    alone = small(cv=inner).fit(X[kept], y[kept])
    np.testing.assert_allclose(full.predict_proba(X), alone.predict_proba(X), atol=1e-12)
    assert np.isnan(full.held_out_probabilities_[~kept]).all()
    np.testing.assert_allclose(full.held_out_probabilities_[kept], alone.held_out_probabilities_, atol=1e-12)


def test_an_interrupted_search_goes_on_and_ends_with_the_same_bits(cancer, tmp_path) -> None:
    class Interrupted(Exception):
        pass

    def stop_after_two(progress) -> None:
        seen.append(progress)
        if len(seen) == 2:
            raise Interrupted

    seen: list = []
    with pytest.raises(Interrupted):
        small(folder=tmp_path, progress=stop_after_two).fit(*cancer)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 2
    resumed = small(folder=tmp_path).fit(*cancer)
    undisturbed = small().fit(*cancer)
    assert all((tmp_path / name).stat().st_mtime_ns == stamp for name, stamp in kept.items())
    np.testing.assert_array_equal(resumed.predict_proba(cancer[0]), undisturbed.predict_proba(cancer[0]))
    for name, values in undisturbed.results_.items():
        np.testing.assert_array_equal(resumed.results_[name], values)


def test_a_damaged_chunk_is_computed_again_and_no_partial_file_stays(cancer, tmp_path: Path) -> None:
    expected = small(folder=tmp_path).fit(*cancer)
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        path.write_bytes(path.read_bytes()[: 100 * number])
    again = small(folder=tmp_path).fit(*cancer)
    np.testing.assert_array_equal(again.predict_proba(cancer[0]), expected.predict_proba(cancer[0]))
    assert not list(tmp_path.glob("*.part"))


def test_other_data_or_settings_never_meet_old_chunks(cancer, tmp_path) -> None:
    X, y = cancer
    small(folder=tmp_path).fit(X, y)
    n_files = len(list(tmp_path.iterdir()))
    moved = X.copy()
    moved[0, 0] += 1e-9
    small(folder=tmp_path).fit(moved, y)
    small(folder=tmp_path, mi_start=0.0).fit(X, y)
    assert len(list(tmp_path.iterdir())) == 3 * n_files


def test_progress_counts_configurations_up_to_all_of_them(cancer) -> None:
    seen: list = []
    small(keep=0.5, progress=seen.append).fit(*cancer)
    assert [(p.stage, p.done, p.total) for p in seen if p.done == p.total] == [("screen", 4, 4), ("full", 2, 2)]
    assert all(0 < p.best_log_loss < 1 for p in seen)


def test_the_ensemble_averages_configurations_and_is_stored_without_pickles(cancer) -> None:
    X, y = cancer
    model = ESPAEnsemble(**SMALL, n_models=3, random_state=0).fit(X, y)
    assert len(model.predictor_.metric) == 3 * 2
    rebuilt = Predictor.from_arrays(*model.to_arrays())
    np.testing.assert_array_equal(rebuilt.power, model.predictor_.power)
    np.testing.assert_array_equal(model.from_arrays(*model.to_arrays()).predict_proba(X), model.predict_proba(X))


def test_the_ensemble_is_as_good_as_measured_before() -> None:
    X, y = load_iris(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = ESPAEnsemble(n_clusters=(3, 6), scaling="standard", n_models=4, n_init=8, random_state=0)
    P = cross_val_predict(model, X, y, cv=folds, method="predict_proba")
    assert log_loss(y, P) < 0.16


def test_biases_put_the_share_of_a_rare_class_back() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(size=8000) * 2 - 4
    y = (rng.random(8000) < 1 / (1 + np.exp(-logit))).astype(int)
    off = 1 / (1 + np.exp(-(0.5 * logit - 0.5)))
    P = np.column_stack([1 - off, off])
    assert fit_calibration(P, y, np.ones(8000), trust=0.0).power == pytest.approx(2.0, abs=0.15)
    found = fit_calibration(P, y, np.ones(8000))
    assert 1.6 < found.power < 2.0
    fixed = adjust_probabilities(P, found.power, found.bias)
    assert fixed[:, 1].mean() == pytest.approx(y.mean(), rel=1e-3)
    assert log_loss(y, fixed) < log_loss(y, P)
    assert found.bias.sum() == pytest.approx(0.0, abs=1e-12)


def test_one_class_needs_no_calibration() -> None:
    found = fit_calibration(np.ones((5, 1)), np.zeros(5, dtype=int), np.ones(5))
    assert (found.power, found.bias.tolist()) == (1.0, [0.0])


def test_calibrated_probabilities_have_the_class_shares_of_the_data() -> None:
    X, y = make_blobs([1900, 100], 6, centers=[[0] * 6, [1.2] * 6], random_state=0)
    model = small().fit(X, y)
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_clusters": ()}, ConfigError, "n_clusters is empty"),
        ({"eps_w": (0.3, 0.0)}, ConfigError, "eps_w is 0.0"),
        ({"keep": 0.0}, ConfigError, "keep is 0.0, expected a share above 0"),
        ({"n_models": 0}, ConfigError, "n_models is 0"),
        ({"cv": [(np.arange(200, 569), np.arange(10))]}, None, ""),
        (
            {"cv": [(np.flatnonzero(load_breast_cancer().target), np.arange(9))]},
            TrainingError,
            "fold 0 has no row of class",
        ),
        ({"cv": [(np.arange(569), np.array([], dtype=int))]}, TrainingError, "Fold 0 holds out no row"),
    ],
)
def test_what_cannot_be_searched_is_said(cancer, change, error, message) -> None:
    if error is None:
        assert np.isnan(small(**change).fit(*cancer).held_out_probabilities_[10:]).all()
        return
    with pytest.raises(error, match=message):
        small(**change).fit(*cancer)


def test_a_class_of_one_row_cannot_be_held_out() -> None:
    with pytest.raises(TrainingError, match="Class 2 has only 1 sample"):
        small().fit(np.arange(12.0).reshape(6, 2), [0, 0, 0, 1, 1, 2])


def test_scalings_share_the_rows_and_each_fits_what_it_fits_alone() -> None:
    X, y = load_wine(return_X_y=True)
    test = np.arange(0, len(y), 3)
    train = np.setdiff1d(np.arange(len(y)), test)
    rules = {"n_init": 8, "n_moves": 2, "tol": 1e-8, "random_state": 0}
    one = {"eps_c": 0.3, "eps_w": 0.3, "mi_prior": 0.0, "tau": 0.2, "alpha": 1.0}
    scalings = ("standard", "minmax", "none")
    search = ESPASearch((3,), **one, **rules, scaling=scalings, keep=1.0, n_average=1, cv=[(train, test)]).fit(X, y)
    found = search.results_["scaling"][search.results_["stage"] == "moved"]
    assert sorted(found) == sorted(scalings)
    for name in scalings:
        alone = ESPAClassifier(3, **one, **rules, scaling=name).fit(X[train], y[train])
        row = (search.results_["stage"] == "moved") & (search.results_["scaling"] == name)
        expected = log_loss(y[test], alone.predict_proba(X[test]))
        # other draws, but the best of eight moved restarts is the same
        assert search.results_["log_loss"][row][0] == pytest.approx(expected, abs=1e-6)
    chosen = ESPASearch((3,), **one, **rules, scaling=("none", "standard"), keep=1.0, cv=3).fit(X, y)
    assert chosen.best_params_["scaling"] == "standard"
    assert chosen.score(X, y) > 0.9
    with pytest.raises(ConfigError, match="did you mean 'minmax'"):
        ESPASearch(scaling=("standard", "minmx")).fit(X, y)


def test_a_common_factor_of_all_features_changes_nothing_without_scaling() -> None:
    X, y = load_wine(return_X_y=True)
    first, second = (ESPAClassifier(3, scaling="none", random_state=0).fit(factor * X, y) for factor in (1.0, 1024.0))
    np.testing.assert_allclose(first.feature_weights_, second.feature_weights_, atol=1e-12)
    np.testing.assert_allclose(first.predict_proba(X), second.predict_proba(1024.0 * X), atol=1e-9)
