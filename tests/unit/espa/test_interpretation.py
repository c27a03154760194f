"""What a model tells about itself is what it computes with, in the units of the input."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine, make_blobs

from entropice_core.errors import TrainingError
from entropice_core.espa import ESPAClassifier, ESPAEnsemble
from entropice_core.espa.validation import DisagreementWarning


@pytest.fixture(scope="module")
def wine() -> tuple[pd.DataFrame, pd.Series]:
    X, y = load_wine(return_X_y=True, as_frame=True)
    return X, y.map({0: "first", 1: "second", 2: "third"})


@pytest.fixture(scope="module")
def model(wine) -> ESPAClassifier:
    return ESPAClassifier(6, n_average=4, random_state=0).fit(*wine)


@pytest.fixture(scope="module")
def ensemble(wine) -> ESPAEnsemble:
    return ESPAEnsemble((4, 8), eps_w=(0.5,), n_models=2, n_init=4, n_average=2, random_state=0).fit(*wine)


def test_the_box_table_holds_sizes_classes_and_centres_of_the_boxes(wine, model) -> None:
    X, y = wine
    table = model.box_table()
    assert table["mass"].is_monotonic_decreasing
    assert table["mass"].sum() == pytest.approx(1.0)
    classes = table[["P(first)", "P(second)", "P(third)"]].to_numpy()
    np.testing.assert_allclose(classes, model.class_probabilities_[table.index])
    assert (table["predicted"] == model.classes_[classes.argmax(1)]).all()
    counts = np.bincount(model.predict_cluster(X), minlength=len(table)) / len(X)
    np.testing.assert_allclose(table["mass"], counts[table.index])
    assert all(part.split()[0] in " ".join(X.columns) for part in table["defining"])


def test_box_features_are_the_centres_in_input_units_and_their_shares_sum_to_one(wine, model) -> None:
    X, _ = wine
    table = model.box_features()
    centres = table.pivot(index="box", columns="feature", values="centre")[list(X.columns)]
    np.testing.assert_allclose(centres, model.cluster_centers_)
    means = table.pivot(index="box", columns="feature", values="mean")[list(X.columns)]
    np.testing.assert_allclose(means, np.tile(X.mean(), (len(means), 1)))
    np.testing.assert_allclose(table.groupby("box")["share"].sum(), 1.0)
    assert table.groupby("box")["share"].apply(lambda share: share.is_monotonic_decreasing).all()


def test_the_feature_that_was_planted_defines_the_box() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    y = (np.arange(200) >= 100).astype(int)
    X[y == 1, 4] += 8.0
    table = ESPAClassifier(2, random_state=0).fit(pd.DataFrame(X, columns=list("abcdef")), y).box_table(n_defining=1)
    assert sorted(text.split()[0] for text in table["defining"]) == ["e", "e"]
    assert {text.split()[2][1:] for text in table["defining"]} == {"above", "below"}


@pytest.mark.parametrize("tau", [0.0, 0.2, None])
@pytest.mark.parametrize("member", [0, 3])
def test_an_explanation_ends_with_what_is_predicted_and_adds_up(wine, tau, member) -> None:
    X, y = wine
    model = ESPAClassifier(6, n_average=4, tau=tau, eps_a=0.02, random_state=0).fit(X, y)
    for row in (0, 70, 177):
        told = model.explain(X.iloc[row], member=member)
        np.testing.assert_allclose(told.path.iloc[-1], model.predict_proba(X.iloc[[row]])[0], atol=1e-12)
        blend = told.boxes["affiliation"] @ told.boxes[["P(first)", "P(second)", "P(third)"]]
        np.testing.assert_allclose(told.path.loc["all boxes by affiliation"], blend, atol=1e-12)
        assert told.boxes["affiliation"].sum() == pytest.approx(1.0)
        assert told.features["distance_share"].sum() == pytest.approx(1.0)
        gap = told.boxes["squared_distance"].loc[told.rival] - told.boxes["squared_distance"].loc[told.box]
        assert told.features["decides"].sum() == pytest.approx(gap)
        assert gap >= 0
        np.testing.assert_allclose(told.features["value"][list(X.columns)], X.iloc[row])
        if member == 0:
            assert told.box == model.predict_cluster(X.iloc[[row]])[0]


def test_an_ensemble_explains_the_way_from_a_box_through_the_mean_to_the_calibrated_result(wine, ensemble) -> None:
    X, _ = wine
    told = ensemble.explain(X.iloc[3].to_numpy()[None, :].tolist(), member=2)
    assert told.path.index.tolist() == [
        "nearest box",
        "all boxes by affiliation",
        f"mean of {len(ensemble.predictor_.live)} members",
        "returned",
    ]
    np.testing.assert_allclose(told.path.iloc[-1], ensemble.predict_proba(X.iloc[[3]])[0], atol=1e-12)
    assert "gets probability" in told.sentence()
    assert f"box {told.rival}" in told.sentence()


def test_a_single_box_has_no_rival_and_says_so_plainly(wine) -> None:
    X, y = wine
    told = ESPAClassifier(1, random_state=0).fit(X, y).explain(X.to_numpy()[0])
    assert told.rival is None
    assert told.sentence() == "Box 0 is nearest; class second gets probability 0.399."
    assert "decides" not in told.features


def test_a_missing_value_speaks_for_no_box() -> None:
    X, y = load_iris(return_X_y=True)
    model = ESPAClassifier(5, missing="mask", random_state=0).fit(X, y)
    told = model.explain([5.0, np.nan, 1.5, 0.2])
    assert told.features.loc["x1", ["distance_share", "decides"]].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(told.path.iloc[-1], model.predict_proba([[5.0, np.nan, 1.5, 0.2]])[0], atol=1e-12)


def test_a_search_without_rows_leaves_the_sizes_out_and_with_rows_counts_them(wine, ensemble) -> None:
    X, _ = wine
    assert "mass" not in ensemble.box_table()
    weights = np.where(np.arange(len(X)) < 50, 2.0, 0.5)
    table = ensemble.box_table(X, weights, member=3)
    labels = ensemble.predictor_.nearest_clusters(X.to_numpy(), _numpy(), 3)
    expected = np.bincount(labels, weights, len(table)) / weights.sum()
    np.testing.assert_allclose(table["mass"].sort_index(), expected)


def _numpy():
    from entropice_core.espa.backend import choose_backend

    return choose_backend([[0.0]])


def test_the_mean_of_the_members_calibrated_is_the_prediction(wine, ensemble) -> None:
    from entropice_core.espa.predictor import adjust_probabilities

    X = wine[0].to_numpy()
    members = ensemble.predictor_.member_probabilities(X, _numpy())
    assert members.shape == (len(ensemble.predictor_.live), len(X), 3)
    mean = adjust_probabilities(members.mean(0), float(ensemble.predictor_.power[0]), ensemble.predictor_.class_bias)
    np.testing.assert_allclose(mean, ensemble.predict_proba(X), atol=1e-12)


def test_importances_of_one_fit_are_those_of_its_attributes(wine) -> None:
    X, y = wine
    model = ESPAClassifier(6, random_state=0).fit(X, y)
    table = model.compare_importances(X, y, n_repeats=2).loc[X.columns]
    np.testing.assert_allclose(table["weight"], model.feature_weights_, atol=1e-12)
    np.testing.assert_allclose(table["explained_variance"], model.explained_variance_ratio_, atol=1e-9)
    np.testing.assert_allclose(table["importance"], model.feature_importances_, atol=1e-9)
    assert table["weight_sd"].isna().all()
    assert table["permutation_of_average_sd"].notna().all()


def test_importances_of_several_fits_come_with_their_spread_and_their_rank_correlation(wine, ensemble) -> None:
    table = ensemble.compare_importances(*wine, n_repeats=2)
    assert (table["weight_sd"] >= 0).all()
    assert table["weight"].sum() == pytest.approx(1.0)
    assert table["permutation_of_average"].is_monotonic_decreasing
    ranks = table.attrs["rank_correlation"]
    np.testing.assert_allclose(np.diag(ranks), 1.0)
    np.testing.assert_allclose(ranks, ranks.T)


def test_shuffling_finds_the_planted_features_where_the_weight_alone_is_fooled_by_a_quiet_one() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 5))
    y = (X[:, 0] > 0).astype(int)
    X[:, 0] += 3.0 * y
    X[:, 4] = np.where(np.arange(400) % 2, 1.0, -1.0)  # two values: no variance within clusters, no meaning either
    table = ESPAClassifier(4, eps_w=0.2, random_state=0).fit(X, y).compare_importances(X, y)
    assert table.index[0] == "x0"
    assert table.loc["x4", "weight"] > 0.2
    assert table.loc["x4", "permutation"] < 0.05 * table.loc["x0", "permutation"]


def test_within_blocks_a_mere_label_of_the_block_is_worth_nothing() -> None:
    X, _ = make_blobs(200, 3, centers=1, random_state=0)
    blocks = np.arange(200) // 50
    y = blocks % 2
    X = np.column_stack([X, 10.0 * y])
    model = ESPAClassifier(4, random_state=0).fit(X, y)
    assert model.compare_importances(X, y).loc["x3", "permutation"] > 0.5
    blocked = model.compare_importances(X, y, groups=blocks)
    assert blocked.loc["x3", "permutation"] == pytest.approx(0.0, abs=1e-12)


def test_rows_of_weight_zero_do_not_count_among_importances(wine, model) -> None:
    X, y = wine
    weights = (np.arange(len(X)) % 3 > 0).astype(float)
    all_rows = model.compare_importances(X, y, weights, n_repeats=2)
    kept = model.compare_importances(X[weights > 0], y[weights > 0], n_repeats=2)
    pd.testing.assert_frame_equal(all_rows, kept)


def test_the_picture_shows_every_box_and_the_numbers_of_the_table(wine, model) -> None:
    figure = model.draw_boxes(n_features=5)
    left, middle, right = figure.axes[:3]
    table = model.box_table()
    assert [text.get_text() for text in left.get_yticklabels()] == [f"box {box}" for box in table.index]
    np.testing.assert_allclose([bar.get_width() for bar in left.patches], table["mass"])
    names = [text.get_text() for text in middle.get_xticklabels()]
    column = list(wine[0].columns).index(names[0])
    assert middle.texts[0].get_text() == f"{model.cluster_centers_[table.index[0], column]:.3g}"
    widths = np.array([bar.get_width() for bar in right.patches]).reshape(3, -1).T
    np.testing.assert_allclose(widths, table[["P(first)", "P(second)", "P(third)"]])


def test_the_picture_of_an_ensemble_without_rows_draws_no_sizes(ensemble) -> None:
    assert not ensemble.draw_boxes(member=1).axes[0].patches


def test_labels_that_say_nothing_but_weigh_much_are_warned_of() -> None:
    X, y = make_blobs(240, 5, centers=4, random_state=3, cluster_std=2.0)
    shuffled = np.random.default_rng(0).permutation(y)
    with pytest.warns(DisagreementWarning, match=r"Labels put \d+% of the rows into other clusters.*lower eps_c"):
        ESPAClassifier(16, eps_c=20.0, random_state=0).fit(X, shuffled)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ESPAClassifier(16, random_state=0).fit(X, y)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m, X, y: m.box_table(member=4), "member is 4, but the model averages 4 fits; expected 0 to 3"),
        (lambda m, X, y: m.explain(X.iloc[:2]), "explain was given 2 rows"),
        (lambda m, X, y: m.compare_importances(X, y[:5]), r"y has shape \(5,\), expected \(178,\)"),
        (lambda m, X, y: m.compare_importances(X, ["fourth"] * 178), "label 'fourth', which training never saw"),
        (lambda m, X, y: m.compare_importances(X, y, groups=[1, 2]), r"groups has shape \(2,\)"),
        (lambda m, X, y: m.compare_importances(X, y, n_repeats=0), "n_repeats is 0"),
    ],
)
def test_what_cannot_be_told_is_said(wine, model, ask, message) -> None:
    with pytest.raises(TrainingError, match=message):
        ask(model, *wine)
