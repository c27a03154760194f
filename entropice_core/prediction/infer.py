"""Predict every cell of a study area from a stored model and assembled features."""

from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from entropice_core.errors import ProvenanceError

VERSION = "1"


class Predictor(Protocol):
    """What a stored model offers: the names of its features and calibrated probabilities."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of X."""

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated probability of the positive class, (n,) in 0..1."""


def predict_cells(
    model: Predictor, features: xr.Dataset, labels: xr.Dataset, edge: float, min_observed_fraction: float
) -> xr.Dataset:
    """Give each cell its susceptibility, beside what was observed there.

    Parameters
    ----------
    model : Predictor
        A model whose feature names equal those of ``features``, in the same order.
    features : Dataset
        Assembled ``features`` : (cell, feature).
    labels : Dataset
        Labels of the same cells and year; only shown beside the prediction, never used by it.
    edge : float
        Density, m2 m-2, above which a cell-year is positive, as learned by the model.
    min_observed_fraction : float
        Cells observed on a smaller share of their land count as unobserved, as in training.

    Returns
    -------
    Dataset
        ``probability`` : (cell,) float32, calibrated probability that the density lies above ``edge``; NaN where a
        cell has no feature at all. ``entropy`` : (cell,) float32, bit, of that probability. ``observed_positive`` :
        (cell,) float32, 1, 0 or NaN for unobserved. ``missing_features`` : (cell,) int16, features that were imputed.

    Raises
    ------
    ProvenanceError
        When the features are not those that the model was trained on.
    """
    names = tuple(features["feature"].values.astype(str))
    if names != tuple(model.feature_names):
        differing = sorted(set(names) ^ set(model.feature_names)) or ["their order"]
        raise ProvenanceError(
            f"The features of the cells and of the model differ in {', '.join(differing[:5])} "
            f"({len(names)} against {len(model.feature_names)}): build the model again from these features."
        )
    X = features["features"].values.astype(np.float64)
    missing = ~np.isfinite(X)
    p = np.where(missing.all(axis=1), np.nan, model.predict_proba(X))
    density = labels["density"].values
    seen = np.isfinite(density) & (labels["observed_fraction"].values >= min_observed_fraction)
    observed = np.where(seen, (density > edge).astype(np.float32), np.float32("nan"))
    coords: dict[str, Any] = {name: ("cell", features[name].values) for name in ("cell_ids", "lon", "lat")}
    out = xr.Dataset(
        {
            "probability": ("cell", p.astype(np.float32)),
            "entropy": ("cell", binary_entropy(p).astype(np.float32)),
            "observed_positive": ("cell", observed.astype(np.float32)),
            "missing_features": ("cell", missing.sum(axis=1).astype(np.int16)),
        },
        coords=coords,
    )
    _describe(out, edge)
    return out


def binary_entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of a yes/no probability, in bit: 1 where nothing is known, 0 where the model is certain.

    >>> binary_entropy(np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    q = 1.0 - p
    entropy = -(p * np.log2(np.where(p > 0, p, 1.0)) + q * np.log2(np.where(q > 0, q, 1.0)))
    return np.abs(entropy)  # no minus zero


def _describe(out: xr.Dataset, edge: float) -> None:
    what = f"an RTS density above {edge:.3g} m² m⁻²" if edge > 0 else "any RTS (density above 0)"
    out["probability"].attrs = {
        "units": "1",
        "long_name": f"calibrated probability of {what}",
        "edge_m2_per_m2": float(edge),
    }
    out["entropy"].attrs = {"units": "bit", "long_name": "entropy of the predicted class"}
    out["observed_positive"].attrs = {"units": "1", "long_name": "observed above the edge (NaN: not observed)"}
    out["missing_features"].attrs = {"units": "1", "long_name": "number of features without a value (imputed)"}
