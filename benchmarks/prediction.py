"""How long a million cells take to predict, with their sets, densities and dissimilarity, and how much memory.

Run ``python benchmarks/prediction.py`` for all rows of the table, or name models. Each row is a process of its own, so
that its peak memory is its own. Datasets are made in a scratch folder; no data are needed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr

from entropice_core.applicability.index import learn_applicability, nearest
from entropice_core.applicability.trust import save_trust
from entropice_core.compute import Compute
from entropice_core.dataset.classes import learn_classes
from entropice_core.models.base import load_module
from entropice_core.prediction.scale import predict_study
from entropice_core.storage.content import write_dataset
from entropice_core.storage.digest import dataset_digest
from entropice_core.training.calibrate import fit_calibrator
from entropice_core.training.conformal import fit_sets
from entropice_core.training.persist import Feature, save_model

MODELS = {
    "logistic_regression": {},
    "espa": {"n_clusters": 40, "n_init": 4, "n_average": 4},
    "xgboost": {"n_estimators": 200},
    "random_forest": {"n_estimators": 50, "min_samples_leaf": 20},
}
N_TRAIN, BLOCK = 6_000, 262_144


def rows(n: int, n_features: int, seed: int) -> np.ndarray:
    """Features with a common cause, as climate and relief have: (n, n_features) float32."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(n, 6)).astype(np.float32)
    mixing = np.random.default_rng(0).normal(size=(6, n_features)).astype(np.float32)
    return causes @ mixing + 0.3 * rng.normal(size=(n, n_features)).astype(np.float32)


def prepare(root: Path, n: int, n_features: int, models: list[str]) -> None:
    """Write cells, features, and a model of each kind with its trust."""
    names = [f"f{i:03d}" for i in range(n_features)]
    ids = np.arange(n, dtype=np.uint64)
    coords = {"cell_ids": ("cell", ids), "lon": ("cell", np.zeros(n)), "lat": ("cell", np.full(n, 70.0))}
    write_dataset(xr.Dataset(coords=coords), root / "cells")
    X = np.concatenate([rows(min(BLOCK, n - at), n_features, at + 1) for at in range(0, n, BLOCK)])
    more = {"feature": names, "unit": ("feature", ["1"] * n_features), "long_name": ("feature", names)}
    write_dataset(xr.Dataset({"features": (("cell", "feature"), X)}, coords={**coords, **more}), root / "climate")
    train = rows(N_TRAIN, n_features, 10**6).astype(np.float64)
    odds = train[:, 0] + 0.5 * train[:, 1]
    density = np.where(odds > np.quantile(odds, 0.7), np.exp(odds) * 1e-6, 0.0)
    classes = learn_classes(density, rule="presence")
    y, fold = classes.apply(density), np.arange(N_TRAIN) % 5
    features = [Feature(f"climate.{name}", "1") for name in names]
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]
    importance = np.exp(-np.arange(n_features) / 5.0)
    found, _ = learn_applicability(train, splits, importance, [f.name for f in features])
    for name in models:
        module = load_module(name)
        fitted = module.build(MODELS[name], 0, [f.name for f in features]).fit(train, y)
        p = fitted.predict_proba(train)
        folder = root / name
        save_model(folder, name, fitted, fit_calibrator("logistic", p, y), classes, "h3-6", features)
        sets = fit_sets(p, y, fold, 0.8)
        save_trust(
            folder,
            {"schema_version": 1, "conformal": {"sets": sets.to_dict()}, "applicability": found.to_dict()},
            found,
        )


def measure(root: Path, name: str, compute: str) -> dict:
    """Predict in this process and say what it took."""
    start, cpu = time.perf_counter(), time.process_time()
    made = predict_study(root / name, "h3-6", root / "cells", {"climate": root / "climate"}, Compute.parse(compute))
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "model": name, "compute": compute, "cells": made.sizes["cell"], "seconds": took, "cpu": cpu, "peak_mb": peak,
        "digest": dataset_digest(made)[:12],
    }  # fmt: skip


def distances(n_features: int) -> None:
    """Compare the search tree with all pairs at once, for one chunk of cells."""
    from scipy.spatial import cKDTree
    from scipy.spatial.distance import cdist

    weight = np.exp(-np.arange(n_features) / 5.0)
    reference, points = (rows(n, n_features, n) * weight / weight.sum() for n in (N_TRAIN, 8_192))
    start = time.process_time()
    by_tree = nearest(cKDTree(reference), points.astype(np.float64))
    tree = time.process_time() - start
    start = time.process_time()
    by_pairs = np.concatenate([cdist(points[i : i + 512], reference).min(axis=1) for i in range(0, len(points), 512)])
    pairs = time.process_time() - start
    worst = float(np.abs(by_tree - by_pairs).max())
    print(
        f"nearest of {N_TRAIN:,} rows, 8,192 cells x {n_features}: tree {tree:.2f} s, pairs {pairs:.2f} s, "
        f"differ by {worst:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "MODEL", "COMPUTE"), help="used by the script itself")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(Path(given.one[0]), given.one[1], given.one[2])))
        return
    distances(given.features)
    with TemporaryDirectory() as scratch:
        prepare(Path(scratch), given.cells, given.features, given.models)
        for name in given.models:
            for compute in ("serial", "threads:2") if name == given.models[0] else ("serial",):
                command = [sys.executable, __file__, "--one", scratch, name, compute]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                print(
                    f"| {name} | {compute} | {found['cells']:,} | {found['seconds']:.1f} | {found['cpu']:.1f} | "
                    f"{found['peak_mb']:,.0f} | {found['digest']} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
