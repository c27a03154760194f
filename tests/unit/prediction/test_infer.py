"""Predictions say what they mean and how far to trust them, and are refused when the features are not the model's."""

import numpy as np
import pytest
import xarray as xr

from entropice_core.applicability.trust import load_trust
from entropice_core.compute import Compute
from entropice_core.dataset.classes import expected_density, learn_classes
from entropice_core.errors import ProvenanceError
from entropice_core.prediction.infer import add_observations, check_features, class_entropy, predict_rows
from entropice_core.prediction.scale import predict_study
from entropice_core.storage.digest import dataset_digest
from entropice_core.training.persist import load_model
from tests.trained_study import trained


def predicted(study=None, **changes):
    study = study or trained()
    return predict_study(study.model, "healpix-6", study.cells, study.sources, Compute(), **changes)


def matrix(study):
    return study.table["features"].values.astype(float)


def test_every_number_of_a_row_is_what_its_part_says():
    study = trained()
    model, trust = load_model(study.model), load_trust(study.model)
    X = matrix(study)[:200]
    found, p = predict_rows(model, trust, X), model.predict_proba(X)
    np.testing.assert_allclose(found["probability"], p[:, 1], rtol=1e-6)
    np.testing.assert_allclose(found["entropy"], -(p * np.log2(p)).sum(axis=1), rtol=1e-5)
    expected = expected_density(p, model.edges, study.study.uncertainty.coverage)
    np.testing.assert_allclose(found["expected_density"], expected.mean, rtol=1e-6)
    assert (found["expected_density_low"] <= found["expected_density_high"]).all()
    assert np.array_equal(found["in_set"] == 1, trust.sets(p))
    assert np.array_equal(found["set_size"], found["in_set"].sum(axis=1))
    np.testing.assert_allclose(found["dissimilarity"], trust.applicability.index(X), rtol=1e-6)


def test_a_row_without_any_feature_has_no_number_and_nothing_is_ruled_out():
    study = trained()
    found = predict_rows(load_model(study.model), load_trust(study.model), np.full((1, 4), np.nan))
    for name in ("probability", "entropy", "expected_density", "expected_density_high", "dissimilarity"):
        assert np.isnan(found[name]).all(), name
    assert (found["is_applicable"][0], found["set_size"][0], found["missing_features"][0]) == (0, 2, 4)


def test_cells_of_a_climate_that_no_training_cell_has_are_outside_and_most_others_inside():
    made = predicted()
    lon = made["lon"].values
    strange = (lon < 0) | (lon > 178)
    assert not made["is_applicable"].values[strange].any()
    assert made["is_applicable"].values[~strange].mean() > 0.9


@pytest.mark.parametrize("where", ["threads:2", pytest.param("processes:1", marks=pytest.mark.nightly)])
def test_chunks_here_and_elsewhere_give_the_same_digest(where):
    study = trained()
    here = predict_study(study.model, "healpix-6", study.cells, study.sources, Compute(), size=100)
    there = predict_study(study.model, "healpix-6", study.cells, study.sources, Compute.parse(where), size=100)
    assert dataset_digest(here) == dataset_digest(there)
    whole = predicted()
    np.testing.assert_allclose(here["probability"], whole["probability"], rtol=1e-6)
    assert here.sizes["cell"] == whole.sizes["cell"] > 600


def test_chunks_on_a_dask_cluster_give_the_same_digest():
    distributed = pytest.importorskip("distributed")
    study = trained()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        where = Compute("dask", address=cluster.scheduler_address)
        there = predict_study(study.model, "healpix-6", study.cells, study.sources, where, size=100)
    here = predict_study(study.model, "healpix-6", study.cells, study.sources, Compute(), size=100)
    assert dataset_digest(here) == dataset_digest(there)


def test_features_of_another_grid_name_or_unit_are_refused():
    study = trained()
    model = load_model(study.model)
    features = xr.Dataset(coords={name: ("feature", study.table[name].values) for name in ("feature", "unit")})
    check_features(model, "healpix-6", features)
    with pytest.raises(ProvenanceError, match="healpix-7"):
        check_features(model, "healpix-7", features)
    with pytest.raises(ProvenanceError, match=r"missing era5\.warmth"):
        check_features(model, "healpix-6", features.isel(feature=slice(1, None)))


def test_three_classes_have_a_probability_and_a_place_in_the_set_each():
    made = predicted(trained("logistic_regression", "density_class"))
    assert made["class_probability"].dims == ("cell", "class") and made.sizes["class"] == 3
    np.testing.assert_allclose(made["class_probability"].values.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(made["probability"], 1 - made["class_probability"].values[:, 0], atol=1e-6)
    assert made["entropy"].values.max() > 1.0


def test_what_was_observed_stands_beside_and_cells_seen_on_too_little_land_do_not_count():
    made = xr.Dataset(coords={"cell": [0, 1, 2, 3]})
    labels = xr.Dataset({
        "density": ("cell", [0.0, 0.5, np.nan, 0.5]), "count": ("cell", [0.0, 9.0, 0.0, 9.0]),
        "observed_fraction": ("cell", [1.0, 1.0, 0.0, 0.05]),
    })  # fmt: skip
    add_observations(made, labels, learn_classes([0, 0.1, 0.2], rule="presence"), 0.1)
    np.testing.assert_array_equal(made["observed_positive"].values, np.array([0, 1, np.nan, np.nan], np.float32))
    counts = learn_classes([0, 1, 9], rule="given", edges=(0.0, 5.0), quantity="count", density=[0, 0.1, 0.2])
    add_observations(made, labels, counts, 0.1)
    np.testing.assert_array_equal(made["observed_class"].values, np.array([0, 2, np.nan, np.nan], np.float32))


def test_entropy_is_largest_where_nothing_is_known():
    p = np.linspace(0, 1, 101)
    entropy = class_entropy(np.column_stack([1 - p, p]))
    assert entropy.argmax() == 50 and entropy[50] == pytest.approx(1.0)
    np.testing.assert_allclose(entropy, entropy[::-1], atol=1e-12)


def test_a_stored_prediction_is_decoded_by_xdggs(tmp_path):
    xdggs = pytest.importorskip("xdggs")
    from entropice_core.storage.content import write_dataset
    from entropice_core.storage.conventions import apply_conventions

    study = trained()
    made = predicted()
    write_dataset(apply_conventions(made, study.grid.attrs()), tmp_path / "prediction.zarr")
    decoded = xr.open_zarr(tmp_path / "prediction.zarr", consolidated=False).pipe(xdggs.decode)
    assert decoded.dggs.grid_info.level == 6
    lon, _ = study.grid.centers(made["cell_ids"].values)
    np.testing.assert_allclose(decoded.dggs.cell_centers()["longitude"].values, lon % 360, atol=1e-6)
    assert decoded["in_set"].dims == ("cell", "class")
