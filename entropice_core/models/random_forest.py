"""Random forest (Breiman 2001, doi:10.1023/A:1010933404324): trained by scikit-learn or cuML, kept as node arrays.

A saved forest is predicted by a walk over its arrays in NumPy, as the only other form scikit-learn offers is a
pickle. The walk adds the trees in the same order and compares in the same precision: the results are the same bits.
With ``device`` the forest is grown by cuML on a GPU, and read in the same way (``models.forest``).
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from sklearn.ensemble import RandomForestClassifier

from entropice_core.config import Strict
from entropice_core.errors import ConfigError
from entropice_core.models.base import Arrays, Float64, Int64, Matrix, Predictor, check_params
from entropice_core.models.forest import INDEX_ARRAYS, NODE_ARRAYS, NodeRule, from_sklearn, from_treelite, shares
from entropice_core.models.gpu import Device, cuml, is_on_gpu
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "2"


class Params(Strict):
    """As in scikit-learn. ``n_jobs`` is the number of threads and never changes a result.

    ``device``: "cpu", "cuda" (cuML), or "auto" for a GPU where there is one; see ``models.gpu`` for what is promised.
    """

    n_estimators: int = Field(default=300, ge=1)
    criterion: Literal["gini", "entropy", "log_loss"] = "gini"
    max_depth: Annotated[int, Field(ge=1)] | None = None
    min_samples_leaf: int = Field(default=1, ge=1)
    max_features: Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] | None = "sqrt"
    max_samples: Annotated[float, Field(gt=0, le=1)] | None = None
    class_weight: Literal["balanced", "balanced_subsample"] | None = None
    n_jobs: int = Field(default=1, ge=1)
    device: Device = "cpu"


@dataclass(frozen=True, eq=False)
class ForestRule:
    """A forest as scikit-learn trained it: the same predictions as ``NodeRule``, several times faster."""

    forest: Any

    def predict_proba(self, prepared: Matrix) -> Float64:
        """Return (n, n_seen) probabilities.

        The mean over the trees as ``RandomForestClassifier`` takes it, to the last bit, without its threads:
        for a few thousand rows these take longer than the trees.
        """
        X = np.ascontiguousarray(prepared, dtype=np.float32)
        total = np.zeros((len(X), self.forest.n_classes_))
        for tree in self.forest.estimators_:
            total += tree.tree_.predict(X)
        return shares(total / len(self.forest.estimators_))

    @cached_property
    def nodes(self) -> NodeRule:
        """The same forest as arrays."""
        return from_sklearn(self.forest)

    @property
    def importances(self) -> Float64:
        """Mean decrease in impurity : (n_kept,), sum 1."""
        return np.asarray(self.forest.feature_importances_, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ExportedRule:
    """A forest that was grown elsewhere and came back as arrays, with its own importances : (n_kept,)."""

    nodes: NodeRule
    importances: Float64

    def predict_proba(self, prepared: Matrix) -> Float64:
        """Return (n, n_seen) probabilities."""
        return self.nodes.predict_proba(prepared)


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Keep scikit-learn from a warning a tree where the process has no filter of warnings: it takes that for misuse."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`sklearn.utils.parallel.delayed`")
        yield


def _learner(params: Params, seed: int) -> Callable[[Matrix, Int64, Float64 | None], ForestRule | ExportedRule]:
    def learn(prepared: Matrix, y: Int64, sample_weight: Float64 | None) -> ForestRule | ExportedRule:
        if is_on_gpu(params.device, "random_forest"):
            grown = cuml("ensemble").RandomForestClassifier(**gpu_settings(params, seed))
            return exported(grown.fit(prepared.astype(np.float32, copy=False), y.astype(np.int32), sample_weight))
        forest = RandomForestClassifier(**params.model_dump(exclude={"device"}), random_state=seed)
        with quiet_threads():
            forest.fit(prepared, y, sample_weight)
        forest.n_jobs = 1  # threads add the trees in any order, which changes the last bits
        return ForestRule(forest)

    return learn


def gpu_settings(params: Params, seed: int) -> dict[str, Any]:
    """Say to cuML (26.10) what the parameters mean.

    One stream, as several would draw the random numbers in any order. cuML splits at quantiles of a feature, here at
    256 of them.

    Raises
    ------
    ConfigError
        For class weights that it does not know.
    """
    if params.class_weight == "balanced_subsample":
        raise ConfigError(
            "Model 'random_forest' has class_weight = 'balanced_subsample', which cuML does not know: take 'balanced', "
            "or device = 'cpu'."
        )
    same = ("n_estimators", "max_depth", "min_samples_leaf", "max_features", "class_weight")
    return {
        **params.model_dump(include=set(same)),
        "split_criterion": "gini" if params.criterion == "gini" else "entropy",
        "max_samples": 1.0 if params.max_samples is None else params.max_samples,
        "n_bins": 256,
        "n_streams": 1,
        "random_state": seed % 2**31,
        "output_type": "numpy",
    }


def exported(grown: Any) -> ExportedRule:
    """Take a forest out of what grew it: anything with ``as_treelite`` and ``feature_importances_``."""
    return ExportedRule(from_treelite(grown.as_treelite()), np.asarray(grown.feature_importances_, dtype=np.float64))


def build(params: Mapping[str, Any], seed: int, feature_names: Sequence[str], n_classes: int = 2) -> PreparedClassifier:
    """Return an unfitted model."""
    checked = check_params("random_forest", Params, params)
    return PreparedClassifier(_learner(checked, seed), feature_names, standardise=False, n_classes=n_classes)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata; indices as int32, which halves the file."""
    nodes = fitted.rule_.nodes
    arrays: Arrays = {name: getattr(nodes, name) for name in NODE_ARRAYS}
    for name in INDEX_ARRAYS:
        arrays[name] = arrays[name].astype(np.int32)
    return pack(fitted, arrays, {"n_trees": len(nodes.tree_start)})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    state: dict[str, Any] = {name: arrays[name] for name in NODE_ARRAYS}
    for name in INDEX_ARRAYS:  # NumPy gathers fastest with its own index type
        state[name] = state[name].astype(np.int64)
    return unpack(arrays, meta, NodeRule(**state))


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:
    """Return the mean decrease in impurity, which favours features with many values: compare with permutation."""
    return {"impurity_decrease": fitted.preprocess_.expand(fitted.rule_.importances)}
