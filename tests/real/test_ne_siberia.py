"""The preset with real data, through the command line: labels, features, one model with its controls."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def store(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One grid of the study, up to the logistic regression."""
    home = tmp_path_factory.mktemp("home")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ENTROPICE_")}
    environment = {**clean, "ENTROPICE_HOME": str(home), "ENTROPICE_DATA": str(real_data), "OMP_NUM_THREADS": "1"}
    words = ["build", "map.logistic_regression", "model.prevalence", "-g", "h3-4", "-s", "ne_siberia"]
    command = [sys.executable, "-m", "entropice_core.cli", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return home / "store" / "ne_siberia"


def counts(store: Path, partition: str) -> dict[str, float]:
    found: dict[str, float] = json.loads((store / partition / "current.json").read_text())["counts"]
    return found


def test_the_active_objects_of_the_inventory_lie_in_the_cells(store: Path) -> None:
    for year, active, outside in ((2018, 13118, 14), (2019, 13749, 17)):
        found = counts(store, f"labels.runge2022/h3-4/{year}")
        assert (found["rts_count"], found["count_outside_cells"]) == (active, outside)
        assert found["unobserved_cells"] == 0


def test_logistic_regression_beats_prevalence_in_space_and_shuffled_labels_give_chance(store: Path) -> None:
    (path,) = (store / "model.logistic_regression/h3-4/all").glob("v-*/cv.json")
    (baseline,) = (store / "model.prevalence/h3-4/all").glob("v-*/cv.json")
    cv, nothing = json.loads(path.read_text()), json.loads(baseline.read_text())
    spatial, random = cv["spatial"]["summary"], cv["random"]["summary"]
    assert 0.80 < spatial["roc_auc"]["mean"] < 0.90
    assert spatial["log_loss"]["mean"] < 0.8 * nothing["spatial"]["summary"]["log_loss"]["mean"]
    assert random["roc_auc"]["mean"] > spatial["roc_auc"]["mean"]
    assert cv["permuted"]["is_chance"]
    assert all(fold["n_buffer_dropped"] > 0 for fold in cv["spatial"]["folds"])


def test_the_map_is_drawn_with_its_cells(store: Path) -> None:
    for year in (2018, 2019):
        (folder,) = (p for p in (store / f"map.logistic_regression/h3-4/{year}").glob("v-*") if p.is_dir())
        assert {"map.png", "map.svg", "cells.parquet"} <= {path.name for path in folder.iterdir()}
