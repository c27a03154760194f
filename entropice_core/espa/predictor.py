"""Fitted numbers to probabilities, and those numbers as plain arrays.

A predictor is an average of one or more fits ("members"). It knows nothing about training, so that a stored model can
be read and used without it. It is stored as named arrays and JSON: nothing in a file can run code.
What must not be here: files (the caller writes npz and JSON), training.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from entropice_core.errors import SchemaError
from entropice_core.espa.backend import Array, Backend
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import Scaling
from entropice_core.espa.steps import cost_operator
from entropice_core.espa.sweep import soften

Floats = NDArray[np.float64]
SCHEMA = "espa-predictor-3"
_FLOATS = ("center", "scale", "metric", "centroids", "class_probabilities", "temperature", "power", "class_bias")
_ARRAYS = (*_FLOATS, "scores", "log_linear", "decision_weights", "live", "classes")


@dataclass(frozen=True)
class Predictor:
    """P(m | x) = mean over members of sum_k Gamma_k(x) Lambda_km, sharpened by a power and biased per class.

    Where a member is log-linear, its scores are mixed instead: softmax over m of sum_k Gamma_k(x) theta_km.

    Attributes
    ----------
    classes : (M,)
        Labels in the order of the probabilities.
    center, scale : (D,) float64, input units
    metric : (R, D) float64
        Feature weights of each member, per squared inside unit.
    centroids : (R, K, D) float64, inside units
    class_probabilities : (R, K, M) float64
    live : (R, K) bool
        Clusters that exist; others are padding.
    temperature : (R,) float64
        Temperature of the affiliations, in squared inside units; 0 = nearest centroid only.
    power, class_bias : (1,) and (M,) float64
        P <- softmax(power log P + class_bias); 1 and 0 change nothing.
    decision_weights : (M,) float64
        What ``predict`` multiplies the probabilities by before it takes the largest: costs of missing a class.
    scores : (R, K, M) float64
        theta of the log-linear read-out (``log_linear.py``); zeros where probabilities are counted.
    log_linear : (R,) bool
        Members that are read by their scores.
    masked : bool
        Whether missing values are left out of the distances (otherwise they are refused by the caller).
    """

    classes: NDArray[Any]
    center: Floats
    scale: Floats
    metric: Floats
    centroids: Floats
    class_probabilities: Floats
    live: NDArray[np.bool_]
    temperature: Floats
    power: Floats
    class_bias: Floats
    decision_weights: Floats
    scores: Floats
    log_linear: NDArray[np.bool_]
    masked: bool = False

    def mix(self, affiliation: Floats, member: int) -> Floats:
        """(n, M) class probabilities of a member from the affiliations (n, K) of rows to its boxes."""
        if not self.log_linear[member]:
            blend: Floats = affiliation @ self.class_probabilities[member]
            return blend
        mixed: Floats = np.asarray(softmax(affiliation @ self.scores[member], axis=1))
        return mixed

    def predict_proba(self, X: NDArray[Any], backend: Backend) -> Floats:
        """(T, M) probabilities of X (T, D) in input units."""
        rows = self._rows(X, backend)
        operator = self._operator(rows)
        parts = rows.with_room(lambda: [self._block(rows, operator, *span) for span in rows.ranges(self.live.size)])
        mean = np.concatenate(parts) if parts else np.zeros((0, len(self.classes)))
        return adjust_probabilities(mean, float(self.power[0]), self.class_bias)

    def member_probabilities(self, X: NDArray[Any], backend: Backend) -> Floats:
        """(R, T, M) probabilities of every member alone, before averaging and calibration."""
        rows = self._rows(X, backend)
        operator = self._operator(rows)
        size = self.live.size
        parts = rows.with_room(
            lambda: [np.stack(list(self._parts(rows, operator, *span))) for span in rows.ranges(size)]
        )
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(self.live), 0, len(self.classes)))

    def predict(self, X: NDArray[Any], backend: Backend) -> NDArray[Any]:
        """(T,) labels: the largest probability times the weight of the class."""
        return self.decide(self.predict_proba(X, backend))

    def decide(self, probabilities: Floats) -> NDArray[Any]:
        """(T,) labels from probabilities (T, M)."""
        chosen: NDArray[Any] = self.classes[np.argmax(probabilities * self.decision_weights, axis=1)]
        return chosen

    def nearest_clusters(self, X: NDArray[Any], backend: Backend, member: int = 0) -> NDArray[np.intp]:
        """(T,) index of the nearest centroid of one member."""
        rows, n_clusters = self._rows(X, backend), self.live.shape[1]
        flat = self._operator(rows)[member * n_clusters : (member + 1) * n_clusters, :]
        found = rows.with_room(lambda: [_nearest(rows, flat, *span) for span in rows.ranges(n_clusters)])
        return np.concatenate(found).astype(np.intp)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return named arrays (no objects) and JSON-able metadata from which :meth:`from_arrays` rebuilds this."""
        arrays = {name: np.array(getattr(self, name)) for name in _ARRAYS}
        arrays["classes"] = _plain(self.classes)
        meta = {"schema": SCHEMA, "masked": self.masked}
        return arrays, {**meta, "digest": _digest(arrays, meta)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> "Predictor":
        """Rebuild a predictor whose predictions are equal to the last bit."""
        if meta.get("schema") != SCHEMA:
            raise SchemaError(
                f"The stored eSPA model has schema {meta.get('schema')!r}, expected {SCHEMA!r}; refit it."
            )
        missing = sorted(set(_ARRAYS) - set(arrays))
        if missing:
            raise SchemaError(f"The stored eSPA model lacks the arrays {', '.join(missing)}; store it again.")
        chosen = {name: np.asarray(arrays[name]) for name in _ARRAYS}
        _check_shapes(chosen)
        if _digest(chosen, meta) != meta.get("digest"):
            raise SchemaError("The stored eSPA model is not what was stored: its digest differs; store it again.")
        return cls(**chosen, masked=bool(meta["masked"]))

    def _rows(self, X: NDArray[Any], backend: Backend) -> Rows:
        if X.ndim != 2 or X.shape[1] != len(self.center):
            raise SchemaError(
                f"X has shape {X.shape}, expected (rows, {len(self.center)}): the features of the training."
            )
        nothing = np.zeros_like(self.center)
        scaling = Scaling(self.center, self.scale, nothing, nothing)
        return Rows(X, scaling, backend, masked=self.masked, keep_bytes=0)

    def _operator(self, rows: Rows) -> Array:
        """(R K, columns) cost coefficients without labels."""
        backend = rows.backend
        metric, centroids = backend.numbers(self.metric), backend.numbers(self.centroids)
        operator = cost_operator(backend, rows.layout, metric, centroids, backend.integers(self.live) > 0)
        return backend.xp.reshape(operator, (self.live.size, rows.layout.n_columns))

    def _block(self, rows: Rows, flat: Array, start: int, stop: int) -> Floats:
        total = np.zeros((stop - start, len(self.classes)))
        for part in self._parts(rows, flat, start, stop):
            total += part
        mean: Floats = total / len(self.live)
        return mean

    def _parts(self, rows: Rows, flat: Array, start: int, stop: int) -> Iterator[Floats]:
        """Yield the probabilities (n, M) of each member for the rows of a block."""
        backend, xp = rows.backend, rows.backend.xp
        n_members, n_clusters = self.live.shape
        cost = xp.matmul(rows.block(start, stop), xp.permute_dims(flat, (1, 0)))
        cost = xp.reshape(cost, (stop - start, n_members, n_clusters))
        nearest = backend.to_host(xp.argmin(cost, axis=-1))
        soft = self.temperature > 0
        temperature = backend.numbers(np.where(soft, self.temperature, 1.0))
        blend = backend.to_host(soften(xp, cost, temperature)) if soft.any() else None
        for member in range(n_members):
            if blend is not None and soft[member]:
                yield self.mix(blend[:, member], member)
            else:
                yield self.class_probabilities[member][nearest[:, member]]


def _nearest(rows: Rows, flat: Array, start: int, stop: int) -> NDArray[Any]:
    xp = rows.backend.xp
    cost = xp.matmul(rows.block(start, stop), xp.permute_dims(flat, (1, 0)))
    return rows.backend.to_host(xp.argmin(cost, axis=-1))


def adjust_probabilities(probabilities: Floats, power: float, class_bias: Floats) -> Floats:
    """Normalise P^power exp(bias) over the classes; rows keep summing to one.

    >>> adjust_probabilities(np.array([[0.8, 0.2]]), 2.0, np.zeros(2)).round(3).tolist()
    [[0.941, 0.059]]
    """
    if power == 1.0 and not class_bias.any():
        normalised: Floats = probabilities / probabilities.sum(axis=1, keepdims=True)
        return normalised
    logits = power * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)) + class_bias
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    adjusted: Floats = raised / raised.sum(axis=1, keepdims=True)
    return adjusted


def _plain(classes: NDArray[Any]) -> NDArray[Any]:
    """Labels as an array that npz can hold without pickling."""
    if classes.dtype != object:
        return np.array(classes)
    kinds = {type(label) for label in classes}
    if kinds != {str}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise SchemaError(f"Class labels are objects of type {names}; eSPA stores text, numbers or booleans only.")
    return classes.astype(str)


def _digest(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> str:
    """SHA-256 of the arrays and the metadata but for the digest itself."""
    plain = {name: value for name, value in meta.items() if name != "digest"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {arrays[name].shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _check_shapes(arrays: dict[str, NDArray[Any]]) -> None:
    n_members, n_clusters, n_features = arrays["centroids"].shape
    n_classes = len(arrays["classes"])
    expected = {
        "center": (n_features,),
        "scale": (n_features,),
        "metric": (n_members, n_features),
        "class_probabilities": (n_members, n_clusters, n_classes),
        "live": (n_members, n_clusters),
        "scores": (n_members, n_clusters, n_classes),
        "log_linear": (n_members,),
        "temperature": (n_members,),
        "power": (1,),
        "class_bias": (n_classes,),
        "decision_weights": (n_classes,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise SchemaError(f"The stored eSPA array {name!r} has shape {arrays[name].shape}, expected {shape}.")
