"""AutoGluon (Erickson et al. 2020, arXiv:2003.06505): the rival that chooses and weighs models by itself.

It trains in an interpreter of its own (``ENTROPICE_AUTOGLUON_PYTHON``), as it wants another pandas than Entropice:
arrays go there and come back (``models.autogluon_worker``). It may use gradient boosting (LightGBM), random forests and
extremely randomised trees: their trees and weights come back as numbers, so that the ensemble is kept like every
other model, is read with NumPy, and needs neither AutoGluon nor a pickle. What comes back is compared with what
AutoGluon itself says of some rows. Its own hold-out, by which it stops and weighs, is random rows of the training rows:
it flatters itself in there, and is judged like every other model by the spatial folds outside.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import softmax

from entropice_core.config import Strict
from entropice_core.errors import ConfigError, TrainingError
from entropice_core.models.base import Arrays, Bool, Float64, Int64, Matrix, Predictor, check_params
from entropice_core.models.forest import INDEX_ARRAYS, NODE_ARRAYS, NodeRule, joined, shares
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "1"
PYTHON = "ENTROPICE_AUTOGLUON_PYTHON"
WORKER = Path(__file__).with_name("autogluon_worker.py")
TOLERANCE = 1e-6
"""Largest difference between the probabilities of AutoGluon (float32) and those of its trees as read here."""


class Params(Strict):
    """``families``: which models AutoGluon may use; ``n_estimators``: trees of each forest; ``n_jobs``: threads.

    There is no limit of time: a result must not depend on how busy a machine was.
    """

    families: list[Literal["GBM", "RF", "XT"]] = Field(default=["GBM", "RF", "XT"], min_length=1)
    n_estimators: int = Field(default=300, ge=1)
    n_jobs: int = Field(default=1, ge=1)


@dataclass(frozen=True, eq=False)
class EnsembleRule:
    """A weighted mean of forests and boosted trees.

    Attributes
    ----------
    nodes : all trees of all members; ``p`` holds shares, or scores that are summed
    member : (n_trees,) int64, the member that a tree belongs to
    is_sum : (n_members,) bool, whether the scores of its trees are summed and go through a softmax
    weight : (n_members,) float64, sum 1
    about : version of AutoGluon, names of the members, and its own leaderboard (on its random hold-out)
    """

    nodes: NodeRule
    member: Int64
    is_sum: Bool
    weight: Float64
    about: dict[str, Any] = field(default_factory=dict)

    def predict_proba(self, prepared: Matrix) -> Float64:
        """Return (n, n_seen) probabilities."""
        values = prepared.astype(np.float32, copy=False)
        total = np.zeros((self.weight.size, len(values), self.nodes.p.shape[1]))
        for root, member in zip(self.nodes.tree_start.tolist(), self.member.tolist(), strict=True):
            total[member] += self.nodes.reached(values, root)
        n_trees = np.bincount(self.member, minlength=self.weight.size)
        of_member = [
            softmax(scores, axis=1) if is_sum else scores / n
            for scores, is_sum, n in zip(total, self.is_sum, n_trees, strict=True)
        ]
        return shares(np.tensordot(self.weight, np.stack(of_member), axes=1))


def interpreter() -> Path:
    """Return the interpreter that has AutoGluon; a ``ConfigError`` says how to make one."""
    named = os.environ.get(PYTHON)
    how = (
        f'python -m venv autogluon && autogluon/bin/pip install "autogluon.tabular[lightgbm]==1.6.*", then set '
        f"{PYTHON} to autogluon/bin/python (AutoGluon 1.6 wants pandas < 2.4, Entropice pandas 3: one environment "
        "cannot hold both)"
    )
    if not named:
        raise ConfigError(f"Model 'autogluon' trains in an interpreter of its own, and {PYTHON} is not set: {how}.")
    if not Path(named).is_file():
        raise ConfigError(f"{PYTHON} names {named}, which is no file: {how}.")
    return Path(named)


def _learner(params: Params, seed: int) -> Callable[[Matrix, Int64, Float64 | None], EnsembleRule]:
    def learn(prepared: Matrix, y: Int64, sample_weight: Float64 | None) -> EnsembleRule:
        X = prepared.astype(np.float32, copy=False)
        given: Arrays = {"X": X, "y": y, **({} if sample_weight is None else {"weight": sample_weight})}
        own = {"RF": {"n_estimators": params.n_estimators}, "XT": {"n_estimators": params.n_estimators}, "GBM": {}}
        wanted = {
            "n_classes": int(y.max()) + 1,
            "seed": seed % 2**31,
            "n_jobs": params.n_jobs,
            "hyperparameters": {family: own[family] for family in params.families},
        }
        arrays, about = _train(given, wanted)
        rule = _ensemble(arrays, about)
        _check_same(rule, X[arrays["rows"]], arrays["p"])
        return rule

    return learn


def _train(given: Arrays, wanted: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """Run the worker on arrays; return what it wrote."""
    python = interpreter()
    with TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("given.npz", "settings.json", "trees.npz", "about.json")]
        np.savez(files[0], allow_pickle=False, **given)
        Path(files[1]).write_text(json.dumps(wanted), encoding="utf-8")
        env = {**os.environ, "OMP_NUM_THREADS": str(wanted["n_jobs"])}
        # Isolated (-I): the folder of the worker holds modules named like the libraries that AutoGluon imports.
        done = subprocess.run(
            [str(python), "-I", str(WORKER), *files], capture_output=True, text=True, cwd=folder, env=env, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise TrainingError(f"AutoGluon ({python}) did not train: {said[-1]}.")
        with np.load(files[2], allow_pickle=False) as stored:
            arrays = dict(stored)
        about: dict[str, Any] = json.loads(Path(files[3]).read_text(encoding="utf-8"))
        return arrays, about


def _ensemble(arrays: Arrays, about: dict[str, Any]) -> EnsembleRule:
    ends = np.cumsum(arrays["n_nodes"])
    own = {name: np.split(arrays[name], ends[:-1]) for name in ("feature", "threshold", "left", "right", "value")}
    trees = [
        {"feature": f, "threshold": t, "left": left, "right": right, "p": v, "cover": np.zeros(f.size)}
        for f, t, left, right, v in zip(*own.values(), strict=True)
    ]
    return EnsembleRule(joined(trees), arrays["member"], arrays["is_sum"], arrays["weight"], about)


def _check_same(rule: EnsembleRule, X: Matrix, expected: Float64) -> None:
    worst = float(np.abs(rule.predict_proba(X) - expected).max())
    if not worst <= TOLERANCE:
        raise TrainingError(
            f"The trees that AutoGluon {rule.about.get('version')} gave answer otherwise than AutoGluon itself (by "
            f"{worst:.2g}): take a version that this was tested with (1.6)."
        )


def build(params: Mapping[str, Any], seed: int, feature_names: Sequence[str], n_classes: int = 2) -> PreparedClassifier:
    """Return an unfitted model."""
    checked = check_params("autogluon", Params, params)
    return PreparedClassifier(_learner(checked, seed), feature_names, standardise=False, n_classes=n_classes)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata; times are no part of it."""
    rule: EnsembleRule = fitted.rule_
    arrays: Arrays = {name: getattr(rule.nodes, name) for name in NODE_ARRAYS}
    arrays = {name: value.astype(np.int32) if name in INDEX_ARRAYS else value for name, value in arrays.items()}
    arrays |= {"member": rule.member, "is_sum": rule.is_sum, "weight": rule.weight}
    board = [{"model": row["model"], "score_val": row["score_val"]} for row in rule.about["leaderboard"]]
    return pack(fitted, arrays, {"autogluon": {**rule.about, "leaderboard": board}})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    state: dict[str, Any] = {name: arrays[name] for name in NODE_ARRAYS}
    for name in INDEX_ARRAYS:
        state[name] = state[name].astype(np.int64)
    rule = EnsembleRule(NodeRule(**state), arrays["member"], arrays["is_sum"], arrays["weight"], meta["autogluon"])
    return unpack(arrays, meta, rule)


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:  # noqa: ARG001
    """Return nothing: its members have scores of different kinds; permutation importance is measured for all models."""
    return {}
