"""A forest that comes back from a GPU as a Treelite model is read like any other; only cuML itself is stood in for.

Treelite divides the shares of scikit-learn's leaves by their sum, which may change their last bit; all else is equal.
"""

import inspect

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from entropice_core.errors import ConfigError, SchemaError
from entropice_core.models import random_forest
from entropice_core.models.forest import NODE_ARRAYS, from_sklearn, from_treelite
from entropice_core.training.shap_trees import explain_trees

treelite = pytest.importorskip("treelite")
NAMES = tuple(f"f{i}" for i in range(8))


def problem(n=400, n_classes=2, seed=0):
    X, y = make_classification(n, 8, n_informative=5, n_classes=n_classes, flip_y=0.1, random_state=seed)
    return X.astype(np.float32), y


class CumlForest:
    """Takes what ``cuml.ensemble.RandomForestClassifier`` of 26.10 takes and answers as it does; grows on the CPU."""

    def __init__(
        self, *, n_estimators=100, split_criterion="gini", bootstrap=True, max_samples=1.0, max_depth=None,
        max_leaves=-1, max_features="sqrt", n_bins=128, min_samples_leaf=1, min_samples_split=2,
        min_impurity_decrease=0.0, max_batch_size=4096, random_state=None, n_streams=4, oob_score=False,
        class_weight=None, verbose=False, output_type=None,
    ):  # fmt: skip
        assert split_criterion in ("gini", "entropy")
        assert 0 < max_samples <= 1.0
        self.grown = RandomForestClassifier(
            n_estimators, criterion=split_criterion, max_depth=max_depth, min_samples_leaf=min_samples_leaf,
            max_features=max_features, max_samples=max_samples if max_samples < 1 else None, class_weight=class_weight,
            random_state=random_state,
        )  # fmt: skip

    def fit(self, X, y, sample_weight=None):
        assert X.dtype == np.float32 and y.dtype == np.int32
        self.grown.fit(X, y, sample_weight)
        self.feature_importances_ = self.grown.feature_importances_.astype(np.float32)
        return self

    def as_treelite(self):
        return treelite.Model.deserialize_bytes(treelite.sklearn.import_model(self.grown).serialize_bytes())


@pytest.fixture
def on_gpu(monkeypatch):
    ensemble = type("ensemble", (), {"RandomForestClassifier": CumlForest})
    monkeypatch.setattr(random_forest, "is_on_gpu", lambda device, model: device == "cuda")
    monkeypatch.setattr(random_forest, "cuml", lambda part: ensemble)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"max_depth": 2}, {"min_samples_leaf": 400}])
def test_the_nodes_of_a_treelite_model_are_those_of_scikit_learn(n_classes, settings):
    X, y = problem(n_classes=n_classes)
    forest = RandomForestClassifier(12, random_state=1, **settings).fit(X, y)
    ours, theirs = from_treelite(treelite.sklearn.import_model(forest)), from_sklearn(forest)
    for name in (*NODE_ARRAYS, "cover"):
        mine, expected = getattr(ours, name), getattr(theirs, name)
        assert mine.dtype == expected.dtype
        is_leaf = theirs.feature < 0
        if name == "p":
            assert np.allclose(mine[is_leaf], expected[is_leaf], rtol=3e-16, atol=0)
        else:
            at = ~is_leaf if name == "threshold" else slice(None)  # a leaf has none
            assert np.array_equal(mine[at], expected[at]), name
    other = problem(seed=1)[0]
    assert np.allclose(ours.predict_proba(other), theirs.predict_proba(other), rtol=0, atol=1e-15)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_forest_of_a_gpu_is_kept_read_scored_and_explained_like_any_other(on_gpu, n_classes):
    X, y = problem(n_classes=n_classes)
    X[::7, 2] = np.nan
    weight = np.linspace(0.5, 1.5, len(y))
    params = {"n_estimators": 15, "min_samples_leaf": 3, "max_features": 0.5, "criterion": "log_loss"}
    there, here = (
        random_forest.build({**params, "device": device}, 7, NAMES, n_classes).fit(X, y, weight)
        for device in ("cuda", "cpu")
    )
    assert isinstance(there.rule_, random_forest.ExportedRule)
    assert np.allclose(there.predict_proba(X), here.predict_proba(X), rtol=0, atol=1e-15)
    read = random_forest.from_arrays(*random_forest.to_arrays(there))
    assert np.array_equal(read.predict_proba(X), there.predict_proba(X))
    scores = [random_forest.feature_scores(one)["impurity_decrease"] for one in (there, here)]
    assert np.allclose(*scores, atol=1e-6) and scores[0].dtype == np.float64
    explained = [explain_trees("random_forest", one, X[:20]).values for one in (there, here)]
    assert np.allclose(*explained, atol=1e-12) and np.abs(explained[0]).max() > 0.01


def test_every_setting_for_a_gpu_is_one_that_cuml_knows_and_every_parameter_of_ours_reaches_it():
    params = random_forest.Params(
        n_estimators=9, criterion="entropy", max_depth=4, min_samples_leaf=2, max_features="log2", max_samples=0.5,
        class_weight="balanced", device="cuda",
    )  # fmt: skip
    settings = random_forest.gpu_settings(params, 5)
    assert set(settings) <= set(inspect.signature(CumlForest).parameters)
    told = {"n_estimators": 9, "split_criterion": "entropy", "max_depth": 4, "min_samples_leaf": 2,
            "max_features": "log2", "max_samples": 0.5, "class_weight": "balanced", "random_state": 5,
            "n_streams": 1}  # fmt: skip
    assert told.items() <= settings.items()


def test_what_cuml_cannot_do_is_refused_by_name(on_gpu):
    X, y = problem()
    model = random_forest.build({"class_weight": "balanced_subsample", "device": "cuda"}, 0, NAMES)
    with pytest.raises(ConfigError, match="'balanced_subsample', which cuML does not know"):
        model.fit(X, y)


def test_a_forest_that_is_no_mean_of_shares_is_refused():
    X, y = problem()
    with pytest.raises(SchemaError, match="expected the mean of trees whose leaves hold the share"):
        from_treelite(treelite.sklearn.import_model(RandomForestRegressor(3, random_state=0).fit(X, y)))


def test_another_comparison_or_shares_that_are_none_are_refused():
    X, y = problem()
    model = treelite.sklearn.import_model(RandomForestClassifier(2, max_depth=2, random_state=0).fit(X, y))
    leaves = model.get_tree_accessor(1)
    leaves.set_field("leaf_vector", leaves.get_field("leaf_vector") * 2)
    with pytest.raises(SchemaError, match="do not hold shares that sum to 1"):
        from_treelite(model)
    tree = model.get_tree_accessor(0)
    tree.set_field("cmp", np.where(tree.get_field("cmp") == 3, 2, 0).astype(np.int8))
    with pytest.raises(SchemaError, match=r"operators \[2\] of Treelite; expected 3"):
        from_treelite(model)
