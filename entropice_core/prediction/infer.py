"""Predict cells from a stored model: probabilities, the density that they mean, and how far to trust them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree
from scipy.special import entr

from entropice_core.applicability.trust import Trust
from entropice_core.dataset.classes import ClassEdges, expected_density
from entropice_core.training.persist import Feature, LoadedModel

VERSION = "2"
Float64 = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]


def predict_rows(model: LoadedModel, trust: Trust, X: Float64, tree: cKDTree | None = None) -> Arrays:
    """Predict rows of features.

    Parameters
    ----------
    X : (n, n_features) float64, NaN = missing, in the order of the model's features
    tree : the search tree of ``trust.applicability``, where many chunks share it

    Returns
    -------
    dict of arrays, (n,) but for two
        ``probability`` : float32, of any class but the first; NaN where a row has no feature at all, as are the next.
        ``class_probability`` : (n, n_classes) float32. ``entropy`` : float32, bit.
        ``expected_density``, ``expected_density_low``, ``expected_density_high`` : float32, m2 m-2, the interval with
        the coverage of the study. ``dissimilarity`` : float32. ``is_applicable`` : int8, 1 inside the area of
        applicability. ``in_set`` : (n, n_classes) int8, 1 where a class cannot be ruled out; ``set_size`` : int8.
        ``missing_features`` : int16, features that were imputed.
    """
    missing = ~np.isfinite(X)
    p = model.predict_proba(X)
    p[missing.all(axis=1)] = np.nan
    expected = expected_density(p, model.edges, trust.sets.coverage)
    index = trust.applicability.index(X, tree)
    inside = trust.sets(p)
    return {
        "probability": p[:, 1:].sum(axis=1).astype(np.float32),
        "class_probability": p.astype(np.float32),
        "entropy": class_entropy(p).astype(np.float32),
        "expected_density": expected.mean.astype(np.float32),
        "expected_density_low": expected.low.astype(np.float32),
        "expected_density_high": expected.high.astype(np.float32),
        "dissimilarity": index.astype(np.float32),
        "is_applicable": trust.applicability.inside(index).astype(np.int8),
        "in_set": inside.astype(np.int8),
        "set_size": inside.sum(axis=1).astype(np.int8),
        "missing_features": missing.sum(axis=1).astype(np.int16),
    }


def check_features(model: LoadedModel, grid: str, features: xr.Dataset) -> None:
    """Refuse assembled features that are not those of the model: another grid, name, order or unit."""
    names, units = features["feature"].values.astype(str), features["unit"].values.astype(str)
    model.check_fits(grid, [Feature(str(n), str(u)) for n, u in zip(names, units, strict=True)])


def as_dataset(arrays: Arrays, cells: xr.Dataset, model: LoadedModel, trust: Trust) -> xr.Dataset:
    """Put the arrays of all cells into a dataset that says what they are."""
    coords: dict[str, Any] = {name: ("cell", cells[name].values) for name in ("cell_ids", "lon", "lat")}
    coords["class"] = ("class", np.array(model.edges.names()))
    dims = {2: ("cell", "class"), 1: ("cell",)}
    out = xr.Dataset({name: (dims[values.ndim], values) for name, values in arrays.items()}, coords=coords)
    for name, attrs in _meanings(model.edges, trust).items():
        out[name].attrs = attrs
    return out


def add_observations(predicted: xr.Dataset, labels: xr.Dataset, classes: ClassEdges, minimum: float) -> None:
    """Set what was observed beside what is predicted; it is shown, never used.

    ``observed_positive`` : (cell,) float32, 1 where not of the first class, 0 where it is, NaN = not observed;
    ``observed_class`` : (cell,) float32, likewise.

    Parameters
    ----------
    labels : labels of the same cells and year
    minimum : cells observed on a smaller share of their land count as unobserved, as in training
    """
    seen = np.isfinite(labels["density"].values) & (labels["observed_fraction"].values >= minimum)
    found = np.full(seen.size, np.nan)
    if seen.any():
        values = labels["count" if classes.quantity == "count" else "density"].values
        found[seen] = classes.apply(values[seen])
    positive = np.where(seen, found > 0, np.nan)
    predicted["observed_positive"] = ("cell", positive.astype(np.float32))
    predicted["observed_class"] = ("cell", found.astype(np.float32))
    predicted["observed_positive"].attrs = {"units": "1", "long_name": "observed above the edge (NaN: not observed)"}
    predicted["observed_class"].attrs = {"units": "1", "long_name": "observed class (NaN: not observed)"}


def class_entropy(p: Float64) -> Float64:
    """Entropy of class probabilities, in bit: 0 where the model is certain, log2(n_classes) where it knows nothing.

    >>> class_entropy(np.array([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]])).round(3).tolist()
    [0.0, 1.0, 0.811]
    """
    entropy: Float64 = entr(p).sum(axis=1) / np.log(2)
    return np.abs(entropy)  # no minus zero


def _meanings(classes: ClassEdges, trust: Trust) -> dict[str, dict[str, Any]]:
    unit = "m² m⁻²" if classes.quantity == "density" else "per cell"
    edge = classes.edges[0]
    what = f"an RTS {classes.quantity} above {edge:.3g} {unit}" if edge > 0 else f"any RTS ({classes.quantity} above 0)"
    share = f"{trust.sets.coverage:.0%}"
    edges = {"edge": float(edge), "quantity": classes.quantity}
    interval = f"end of the {share} interval of the RTS density of the cell"
    return {
        "probability": {"units": "1", "long_name": f"calibrated probability of {what}", **edges},
        "class_probability": {"units": "1", "long_name": f"calibrated probability of each class of {classes.quantity}"},
        "entropy": {"units": "bit", "long_name": "entropy of the predicted class"},
        "expected_density": {"units": "m2 m-2", "long_name": "expected RTS density"},
        "expected_density_low": {"units": "m2 m-2", "long_name": f"lower {interval}"},
        "expected_density_high": {"units": "m2 m-2", "long_name": f"upper {interval}"},
        "dissimilarity": {
            "units": "1",
            "long_name": "dissimilarity to the training cells (1 = their mean distance)",
            "threshold": trust.applicability.threshold,
        },
        "is_applicable": {"units": "1", "long_name": "1 inside the area of applicability, 0 outside: an extrapolation"},
        "in_set": {
            "units": "1",
            "long_name": f"1 where the class belongs to the conformal set of {share} coverage",
            "coverage": trust.sets.coverage,
        },
        "set_size": {"units": "1", "long_name": f"number of classes in the conformal set of {share} coverage"},
        "missing_features": {"units": "1", "long_name": "number of features without a value (imputed)"},
    }
