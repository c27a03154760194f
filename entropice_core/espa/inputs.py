"""What classifier and search share: checks of their input, prediction, storing.

What must not be here: training.
"""

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from entropice_core.espa.backend import Backend, choose_backend, is_foreign, to_host
from entropice_core.espa.predictor import Predictor
from entropice_core.espa.reading import ReadableESPA
from entropice_core.espa.validation import check_finite

Floats = NDArray[np.float64]
FLOAT_TYPES = [np.float64, np.float32]


class ESPAInput(ReadableESPA):
    """What the classifier and the search share: checks of their input, prediction, storing."""

    backend: str
    device: str
    dtype: str
    missing: str

    def predict_proba(self, X: Any) -> Any:
        """(T, M) class probabilities, in the library of X."""
        return _like(X, self._probabilities(X))

    def predict(self, X: Any) -> Any:
        """(T,) class labels: the largest probability, times the class weights if there are any."""
        probabilities = self._probabilities(X)
        return self.predictor_.decide(probabilities)

    def predict_cluster(self, X: Any) -> NDArray[np.intp]:
        """(T,) index of the nearest centroid in ``cluster_centers_``."""
        host, backend = self._validate_new(X)
        return self.predictor_.nearest_clusters(host, backend)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays (no objects) and JSON-able metadata from which ``from_arrays`` rebuilds a predictor."""
        check_is_fitted(self)
        return self.predictor_.to_arrays()

    @staticmethod
    def from_arrays(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> "StoredESPA":
        """Rebuild something with ``classes_``, ``predict_proba`` and ``predict`` that agrees to the last bit."""
        return StoredESPA(Predictor.from_arrays(arrays, meta))

    def _validate_training(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        host = to_host(X) if is_foreign(X) else X
        labels = to_host(y) if is_foreign(y) else y
        host, labels = validate_data(self, host, labels, dtype=FLOAT_TYPES, ensure_all_finite=False)
        check_finite(host, self.missing == "mask", getattr(self, "feature_names_in_", None))
        check_classification_targets(labels)
        return host, labels

    def _validate_new(self, X: Any) -> tuple[NDArray[Any], Backend]:
        check_is_fitted(self)
        backend = choose_backend(X, self.backend, self.device, self.dtype)
        host = to_host(X) if is_foreign(X) else X
        host = validate_data(self, host, dtype=FLOAT_TYPES, ensure_all_finite=False, reset=False)
        check_finite(host, self.missing == "mask", getattr(self, "feature_names_in_", None))
        return host, backend

    def _probabilities(self, X: Any) -> Floats:
        host, backend = self._validate_new(X)
        return self.predictor_.predict_proba(host, backend)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags


class StoredESPA:
    """A classifier rebuilt from arrays: predicts, and cannot be trained."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor_ = predictor
        self.classes_ = predictor.classes

    def predict_proba(self, X: Any) -> Floats:
        """(T, M) class probabilities of X (T, D) in input units."""
        X = np.asarray(X)
        check_finite(X, self.predictor_.masked, None)
        return self.predictor_.predict_proba(X, choose_backend(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """(T,) class labels."""
        return self.predictor_.decide(self.predict_proba(X))


def _like(X: Any, host: Floats) -> Any:
    """Move host numbers to the library and device of X."""
    if not is_foreign(X):
        return host
    namespace = array_api_compat.array_namespace(X)
    return namespace.asarray(host, device=array_api_compat.device(X))
