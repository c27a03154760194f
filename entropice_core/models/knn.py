"""Nearest neighbours (Fix & Hodges 1951; Cover & Hart 1967, doi:10.1109/TIT.1967.1053964): what happened in the
training cells that are most alike.

It has no training: the model *is* its training rows, standardised, in float32. Neighbours are found by the distances of
a matrix product and then ordered by exact distances, equal ones by their place, so that the same cell gets the same
neighbours alone or among a million others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from entropice_core.config import Strict
from entropice_core.errors import TrainingError
from entropice_core.models.base import Arrays, Float64, Int64, Predictor, check_params
from entropice_core.models.gpu import Device, cuml, is_on_gpu
from entropice_core.models.preprocess import PreparedClassifier, pack, unpack

VERSION = "1"
SPARE = 16  # neighbours beyond n_neighbors that are ordered exactly: the years of a cell often are equal rows
CHUNK_NUMBERS = 8_000_000  # distances held at a time: 64 MB


class Params(Strict):
    """``weights``: each neighbour has one vote ("uniform") or 1 / distance votes; ``device`` as in ``models.gpu``."""

    n_neighbors: int = Field(default=25, ge=1)
    weights: Literal["uniform", "distance"] = "uniform"
    device: Device = "cpu"


@dataclass(frozen=True, eq=False)
class NeighbourRule:
    """The training rows.

    Attributes
    ----------
    rows : (n_train, n_kept) float32, prepared features
    y : (n_train,) int64
    weight : (n_train,) float64, votes of a row
    """

    rows: NDArray[np.float32]
    y: Int64
    weight: Float64
    n_neighbors: int
    by_distance: bool
    on_gpu: bool = False

    def predict_proba(self, prepared: Float64) -> Float64:
        """Return the share of the neighbours' votes : (n, n_seen)."""
        known = self.rows.astype(np.float64)
        prepared = prepared.astype(np.float32).astype(np.float64)  # as the rows are: the same cell is at distance 0
        n_seen = int(self.y.max()) + 1
        out = np.empty((len(prepared), n_seen))
        done = 0
        for part, candidates in self._candidates(prepared, known):
            nearest, squared = _exact(part, known, candidates, self.n_neighbors)
            votes = self.weight[nearest] * (_closeness(squared) if self.by_distance else 1.0)
            for label in range(n_seen):
                out[done : done + len(part), label] = np.where(self.y[nearest] == label, votes, 0.0).sum(axis=1)
            done += len(part)
        shares: Float64 = out / out.sum(axis=1, keepdims=True)
        return shares

    def _candidates(self, prepared: Float64, known: Float64) -> Iterator[tuple[Float64, Int64]]:
        """Give parts of the rows with a few more neighbours than are needed : (n, at least n_neighbors)."""
        n = min(self.n_neighbors + SPARE, len(known))
        find = _on_gpu(known, n) if self.on_gpu else _on_cpu(known, n)
        size = max(1, min(CHUNK_NUMBERS // len(known), CHUNK_NUMBERS // (n * known.shape[1])))
        for start in range(0, len(prepared), size):
            part = prepared[start : start + size]
            yield part, find(part)


def _on_cpu(known: Float64, n: int) -> Callable[[Float64], Int64]:
    half = (known**2).sum(axis=1) / 2

    def find(part: Float64) -> Int64:
        distance = half - part @ known.T  # half the squared distance, less what is the same for a row
        if n == len(known):
            return np.tile(np.arange(n), (len(part), 1))
        return np.argpartition(distance, n - 1, axis=1)[:, :n]

    return find


def _on_gpu(known: Float64, n: int) -> Callable[[Float64], Int64]:
    index = cuml("neighbors").NearestNeighbors(n_neighbors=n, algorithm="brute", output_type="numpy").fit(known)
    return lambda part: np.asarray(index.kneighbors(part, return_distance=False), dtype=np.int64)


def _exact(part: Float64, known: Float64, candidates: Int64, n: int) -> tuple[Int64, Float64]:
    """Return the n nearest of the candidates and their squared distances : (rows, n); the earlier row of equals."""
    candidates = np.sort(candidates, axis=1)
    squared = ((known[candidates] - part[:, None, :]) ** 2).sum(axis=2)
    order = np.argsort(squared, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(squared, order, axis=1)


def _closeness(squared: Float64) -> Float64:
    """Return 1 / distance; where a neighbour is the same point, only such neighbours vote."""
    same = squared == 0
    distance = np.sqrt(np.where(same, 1.0, squared))
    return np.where(same.any(axis=1, keepdims=True), same.astype(np.float64), 1.0 / distance)


def _learner(params: Params) -> Callable[[Float64, Int64, Float64 | None], NeighbourRule]:
    def learn(prepared: Float64, y: Int64, sample_weight: Float64 | None) -> NeighbourRule:
        weight = np.ones(y.size) if sample_weight is None else sample_weight
        counts = weight > 0
        if params.n_neighbors > counts.sum():
            raise TrainingError(
                f"Model 'knn' has n_neighbors = {params.n_neighbors}, and there are {int(counts.sum())} training rows: "
                "take fewer neighbours."
            )
        rows = prepared[counts].astype(np.float32)
        on_gpu = is_on_gpu(params.device, "knn")
        by_distance = params.weights == "distance"
        return NeighbourRule(rows, y[counts], weight[counts], params.n_neighbors, by_distance, on_gpu)

    return learn


def build(
    params: Mapping[str, Any],
    seed: int,  # noqa: ARG001
    feature_names: Sequence[str],
    n_classes: int = 2,
) -> PreparedClassifier:
    """Return an unfitted model; nothing is random."""
    checked = check_params("knn", Params, params)
    return PreparedClassifier(_learner(checked), feature_names, standardise=True, n_classes=n_classes)


def to_arrays(fitted: PreparedClassifier) -> tuple[Arrays, dict[str, Any]]:
    """Return the state as arrays and JSON-able metadata."""
    rule: NeighbourRule = fitted.rule_
    arrays: Arrays = {"rows": rule.rows, "y": rule.y.astype(np.int16), "weight": rule.weight}
    return pack(fitted, arrays, {"n_neighbors": rule.n_neighbors, "by_distance": rule.by_distance})


def from_arrays(arrays: Arrays, meta: dict[str, Any]) -> Predictor:
    """Return a predictor with equal predictions."""
    y = arrays["y"].astype(np.int64)
    rule = NeighbourRule(arrays["rows"], y, arrays["weight"], int(meta["n_neighbors"]), bool(meta["by_distance"]))
    return unpack(arrays, meta, rule)


def feature_scores(fitted: PreparedClassifier) -> dict[str, Float64]:  # noqa: ARG001
    """Return nothing: all standardised features count alike."""
    return {}
