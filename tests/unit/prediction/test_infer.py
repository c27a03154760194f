"""Predictions: probabilities for every cell that has features, refused when the features are not the model's."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from entropice_core.errors import ProvenanceError
from entropice_core.prediction.infer import binary_entropy, predict_cells


@dataclass
class Constant:
    feature_names: tuple[str, ...] = ("a.x", "a.y")

    def predict_proba(self, X):
        p = np.where(np.isnan(X).any(axis=1), 0.5, 0.25)
        return np.column_stack([1 - p, p])


def features(values):
    ids = np.arange(len(values), dtype=np.uint64)
    return xr.Dataset(
        {"features": (("cell", "feature"), np.array(values, dtype=np.float32))},
        coords={
            "cell_ids": ("cell", ids),
            "lon": ("cell", ids * 1.0),
            "lat": ("cell", ids * 1.0),
            "feature": ("feature", np.array(["a.x", "a.y"])),
        },
    )


def labels(density, fraction=None):
    density = np.array(density, dtype=np.float32)
    observed = np.ones(density.size, dtype=np.float32) if fraction is None else np.array(fraction, dtype=np.float32)
    return xr.Dataset({"density": ("cell", density), "observed_fraction": ("cell", observed)})


def test_a_cell_without_any_feature_has_no_probability_and_missing_ones_are_counted():
    nan = np.nan
    found = predict_cells(Constant(), features([[1, 2], [nan, 2], [nan, nan]]), labels([0, 0.5, nan]), 0.1, 0.1)
    np.testing.assert_array_equal(found["probability"].values, np.array([0.25, 0.5, nan], dtype=np.float32))
    assert found["missing_features"].values.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found["observed_positive"].values, np.array([0, 1, nan], dtype=np.float32))


def test_features_of_another_model_are_refused_by_name():
    with pytest.raises(ProvenanceError, match=r"a\.z"):
        predict_cells(Constant(("a.x", "a.z")), features([[1, 2]]), labels([0]), 0.0, 0.1)


def test_entropy_is_largest_where_nothing_is_known():
    p = np.linspace(0, 1, 101)
    entropy = binary_entropy(p)
    assert entropy.argmax() == 50
    assert entropy[50] == 1.0
    np.testing.assert_allclose(entropy, entropy[::-1], atol=1e-12)


def test_a_cell_observed_on_too_little_of_its_land_is_not_shown_as_observed():
    found = predict_cells(Constant(), features([[1, 2], [1, 2]]), labels([0, 0], [0.05, 0.5]), 0.0, 0.1)
    np.testing.assert_array_equal(found["observed_positive"].values, np.array([np.nan, 0], dtype=np.float32))
