"""What is learned about the trust in a model stands beside it, is read back whole, and is never silently changed."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from entropice_core.applicability.trust import held_out_probabilities, load_trust, measure_trust, trust_figures
from entropice_core.errors import SchemaError, StoreError
from entropice_core.plots.files import figure_bytes
from entropice_core.storage.content import read_dataset
from entropice_core.training.conformal import fit_sets
from tests.trained_study import trained


def test_sets_are_those_of_the_held_out_predictions_by_block():
    study = trained()
    trust = load_trust(study.model)
    held_out = pd.read_parquet(study.model / "out_of_fold.parquet")
    blocks = study.grid.parents(held_out["cell_ids"].to_numpy(), 3)
    p = held_out_probabilities(held_out)
    assert trust.sets == fit_sets(p, held_out["y"].to_numpy(), blocks, study.study.uncertainty.coverage)


def test_measured_coverage_and_the_numbers_of_the_manifest_agree():
    study = trained()
    report = load_trust(study.model).report
    assert study.counts["set coverage held out"] == report["conformal"]["measured"]["summary"]["coverage"]["mean"]
    assert 0.8 < study.counts["set coverage held out"] <= 1.0
    assert study.counts["distance match W km"] == report["distances"]["w_km"] > 0


def test_the_index_weighs_features_by_their_permutation_importance():
    trust = load_trust(trained().model)
    first = trust.report["applicability"]["weights"][0]
    assert first["name"] in ("era5.warmth", "terrain.slope") and first["weight"] > 0.3
    assert trust.applicability.is_weighted


def test_figures_stand_beside_the_model_and_are_drawn_again_byte_by_byte():
    study = trained()
    found = measure_trust("it", study.study, study.grid, study.table, open_cells(study), study.model)
    drawn = trust_figures("it", study.study, study.grid, found, study.model)
    assert sorted(drawn) == ["coverage", "dissimilarity", "distances", "reliability_by"]
    for name, figure in drawn.items():
        published = (study.model / f"{name}.png").read_bytes()
        assert figure_bytes(figure) == published and len(published) > 5000
        assert figure_bytes(figure, "svg").startswith(b"<?xml")


def open_cells(study):
    return read_dataset(study.cells)


def test_held_out_probabilities_of_more_classes_come_in_their_order():
    columns = {f"p_class_{k}": [k / 100] for k in (10, 2, 1, 0)}
    assert held_out_probabilities(pd.DataFrame({"p": [0.5], **columns})).tolist() == [[0.0, 0.01, 0.02, 0.1]]


def test_three_classes_get_three_thresholds():
    study = trained("logistic_regression", "density_class")
    trust = load_trust(study.model)
    assert len(trust.sets.least) == 3
    assert len(trust.report["conformal"]["measured"]["summary"]["coverage_by_class"]) == 3


@pytest.mark.parametrize("what", ["threshold", "arrays", "missing", "version", "text"])
def test_a_changed_missing_or_foreign_file_is_refused(what, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(trained().model, folder)
    path = folder / "trust.json"
    report = json.loads(path.read_text())
    if what == "threshold":
        report["applicability"]["threshold"] *= 100
    if what == "version":
        report["schema_version"] = 99
    path.write_text("{" if what == "text" else json.dumps(report))
    if what == "arrays":
        bytes_ = bytearray((folder / "trust.npz").read_bytes())
        bytes_[len(bytes_) // 2] ^= 1
        (folder / "trust.npz").write_bytes(bytes(bytes_))
    if what == "missing":
        path.unlink()
    error = SchemaError if what in ("version", "text") else (StoreError, SchemaError)
    with pytest.raises(error, match="build|not loaded"):
        load_trust(folder)


def test_the_same_training_gives_the_same_bytes(tmp_path):
    from entropice_core.applicability.trust import add_trust
    from entropice_core.storage.content import read_dataset

    study, folder = trained(), tmp_path / "model"
    shutil.copytree(study.model, folder)
    for name in ("trust.json", "trust.npz"):
        (folder / name).unlink()
    add_trust("it", study.study, study.grid, study.table, read_dataset(study.cells), folder)
    for name in ("trust.json", "trust.npz"):
        assert (folder / name).read_bytes() == (study.model / name).read_bytes()
    assert np.load(folder / "trust.npz", allow_pickle=False)["reference"].shape[1] <= 4
