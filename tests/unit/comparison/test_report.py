"""From a training set to models, scores, pairs and the report: what is written, and that it says what was found."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from entropice_core.comparison.paired import read_entry, write_pairs
from entropice_core.comparison.report import Material, write_report
from entropice_core.comparison.table import read_scores, write_comparison
from entropice_core.config import ModelConfig, load_study
from entropice_core.errors import TrainingError
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea
from entropice_core.training.persist import load_model
from entropice_core.training.train import train_model

GRID = "healpix-6"
MODELS = {
    "prevalence": ModelConfig(model="prevalence"),
    "linear": ModelConfig(model="logistic_regression", search={"C": [0.1, 1.0]}),
    "linear_noise": ModelConfig(model="logistic_regression", sources=("embedding",)),
}


def a_table():
    """A training set of two years; ``terrain.slope`` tells, ``embedding.A00`` does not."""
    grid = parse_grid_key(GRID)
    cells = grid.cells(StudyArea(60.0, bounds=(70.0, 60.0, -170.0, 76.0)))
    lon, lat = grid.centers(cells)
    rng = np.random.default_rng(0)
    slope = np.sin(lon / 9.0) + rng.normal(size=cells.size)
    rows, year = np.repeat(np.arange(cells.size), 2), np.tile([2021, 2022], cells.size)
    density = np.maximum(slope[rows] + 0.5 * rng.normal(size=rows.size) - 0.5, 0) * 1e-4
    X = np.column_stack([slope[rows], rng.normal(size=rows.size)]).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    return xr.Dataset(
        {
            "features": (("row", "feature"), X),
            "density": ("row", density.astype(np.float32)),
            "count": ("row", np.ceil(density * 2e4)),
            "observed_area_m2": ("row", rng.uniform(1e9, 9e9, rows.size)),
        },
        coords={
            "cell_ids": ("row", cells[rows]),
            "year": ("row", year),
            "lon": ("row", lon[rows]),
            "lat": ("row", lat[rows]),
            "feature": ("feature", ["terrain.slope", "embedding.A00"]),
            "unit": ("feature", ["degree", "1"]),
            "source": ("feature", ["terrain", "embedding"]),
        },
    )


@pytest.fixture(scope="module")
def study():
    demo = load_study("demo")
    return demo.model_copy(
        update={
            "models": MODELS,
            "study": demo.study.model_copy(update={"grids": (GRID,)}),
            "target": demo.target.model_copy(update={"weights": "observed_area"}),
            "folds": demo.folds.model_copy(update={"train_until": 2021, "n_folds": 4, "inner_folds": 2}),
            "training": demo.training.model_copy(update={"importance_repeats": 1}),
        }
    )


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory):
    """Folder of each model on the grid."""
    folders = {}
    for name in MODELS:
        folders[name, GRID] = tmp_path_factory.mktemp(name)
        train_model(name, study, parse_grid_key(GRID), a_table(), folders[name, GRID])
    return folders


@pytest.fixture(scope="module")
def compared(study, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    write_comparison(folder, study, cvs(trained))
    write_pairs(folder, [read_entry(path, "demo") for path in trained.values()], study.study.title)
    return folder


def cvs(trained):
    return {key: json.loads((path / "cv.json").read_text()) for key, path in trained.items()}


def a_trust():
    """What ``trust.json`` holds, as far as the report reads it."""
    summary = {"coverage": {"mean": 0.88, "sd": 0.03}, "mean_size": {"mean": 1.4, "sd": 0.1}}
    distances = {"w_km": 127.0, "verdict": "the folds are pessimistic"}
    return {"conformal": {"sets": {"coverage": 0.9}, "measured": {"summary": summary}}, "distances": distances}


def test_a_model_says_its_folds_regions_years_and_controls(trained):
    cv = cvs(trained)["linear", GRID]
    assert cv["spatial"]["summary"]["log_loss_skill"]["mean"] > 0.2
    assert cv["temporal"]["folds"][0]["name"] == "after-2021"
    assert cv["permuted"]["is_chance"] is True
    assert {"60 to 90 E", "150 to 180 E", "-180 to -150 E"} <= set(cv["regions"])
    assert cv["weights"] == "observed_area" and cv["classes"]["names"] == ["0", "> 0"]
    assert len(cv["final"]["candidates"]) == 2


def test_a_model_of_some_sources_learns_from_their_features_only(trained):
    model = load_model(trained["linear_noise", GRID])
    assert model.feature_names == ("embedding.A00",)
    assert cvs(trained)["linear_noise", GRID]["spatial"]["summary"]["roc_auc"]["mean"] < 0.6


def test_time_and_memory_are_beside_the_result(trained):
    cost = json.loads((trained["linear", GRID] / "cost.json").read_text())
    assert cost["seconds"] > 0 and cost["peak_memory_mb_of_process"] > 50 and cost["device"] == "cpu"
    assert "numpy" in cost["packages"]
    assert "seconds" not in (trained["linear", GRID] / "cv.json").read_text()


def test_held_out_rows_carry_the_losses_that_pairs_are_made_of(trained):
    rows = pd.read_parquet(trained["linear", GRID] / "out_of_fold.parquet")
    cv = cvs(trained)["linear", GRID]
    of_fold = rows[rows["fold"] == "block-1"]
    mean = np.average(of_fold["loss"], weights=of_fold["weight"])
    assert mean == pytest.approx(cv["spatial"]["folds"][0]["metrics"]["log_loss"])


def test_the_table_and_the_pairs_tell_the_feature_sets_apart(compared):
    scores = read_scores(compared).set_index("model")
    assert scores.loc["prevalence", "skill"] == "0.000±0.000"
    pairs = pd.read_csv(compared / "pairs.csv")
    found = pairs[(pairs["first"] == f"{GRID} linear") & (pairs["second"] == f"{GRID} linear_noise")]
    skill = found[found["metric"] == "log_loss_skill"].iloc[0]
    assert skill["matched_by"] == "fold" and skill["high"] < 0


def test_the_report_says_from_what_how_good_and_what_to_doubt(study, trained, compared, tmp_path):
    importances = {key: json.loads((path / "importance.json").read_text()) for key, path in trained.items()}
    digests = [("training_set", f"{GRID}/all", "a" * 64)]
    trusts = dict.fromkeys(trained, a_trust())
    shares = dict.fromkeys(trained, {2021: 0.875})
    rows = {GRID: {"in": 9, "kept": 7}}
    material = Material(cvs(trained), importances, trusts, shares, trained, compared, {}, digests, rows)
    counts = write_report(tmp_path, study, material)
    text = (tmp_path / "report.md").read_text()
    for part in ("From which data", "Which differences are real", "Why believe it", "What to doubt", "Made from"):
        assert f"## {part}" in text
    assert f"{GRID}: linear has the lowest log loss" in text
    assert f"| {GRID} | prevalence | baseline |" in text
    assert "terrain.slope" in text and "a" * 16 in text and "in 9, kept 7" in text
    assert "this is mapping, not forecasting" in text
    assert "hold the truth in 90% of the cells; on held-out places they did in 0.880 ± 0.030" in text
    assert "87.5% of the cells of the map of 2021 are inside the area of applicability" in text
    assert "differ by 127 km: the folds are pessimistic" in text
    html = (tmp_path / "report.html").read_text()
    assert html.count("data:image/png;base64,") == counts["figures"] >= 4


def test_a_training_set_without_slumps_is_refused(study, tmp_path):
    table = a_table()
    table["density"] = xr.zeros_like(table["density"])
    with pytest.raises(TrainingError, match="Class 1 of 2"):
        train_model("prevalence", study, parse_grid_key(GRID), table, tmp_path)
