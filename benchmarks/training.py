"""Processor time and memory of every model: one fit on rows x features, and the prediction of many cells in chunks.

    python benchmarks/training.py --rows 10000 --features 400 --cells 1000000 > table.md

Data are made up: 400 features of which 20 tell, a quarter positive, a hundredth of the values missing. Each model runs
in a process of its own, so that peaks of memory are its own; its parameters are the defaults of its module, with one
thread, but for eSPA (40 boxes, 8 restarts). Cells are predicted 50,000 at a time, as maps are.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from entropice_core.models.base import load_module

PARAMS = {"espa": {"n_clusters": 40, "n_init": 8, "n_average": 8, "eps_c": 1.0, "eps_w": 3.0}}
MODELS = ("prevalence", "logistic_regression", "random_forest", "xgboost", "knn", "espa")
CHUNK = 50_000


def samples(n, n_features, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_features), dtype=np.float32)
    logit = X[:, :20] @ np.linspace(0.6, 0.05, 20) + np.sin(2 * X[:, 0]) - 1.3
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    X[rng.random(X.shape) < 0.01] = np.nan
    return X, y


def measure(model, rows, features, cells):
    names = tuple(f"f{i}" for i in range(features))
    X, y = samples(rows, features, 0)
    chunk, _ = samples(min(CHUNK, cells), features, 1)
    before = peak_mb()
    begun = time.process_time()
    fitted = load_module(model).build(PARAMS.get(model, {}), 0, names).fit(X, y)
    fit_s = time.process_time() - begun
    after_fit = peak_mb()
    read = load_module(model).from_arrays(*load_module(model).to_arrays(fitted))
    begun, done = time.process_time(), 0
    while done < cells:
        read.predict_proba(chunk)
        done += len(chunk)
    predict_s = time.process_time() - begun
    found = {"fit_s": fit_s, "fit_mb": after_fit - before, "predict_s": predict_s, "peak_mb": peak_mb(), "cells": done}
    print(json.dumps(found))


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=400)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--one", help="measure one model in this process")
    given = parser.parse_args()
    if given.one:
        measure(given.one, given.rows, given.features, given.cells)
        return
    print(
        "| model | rows | fit, CPU s | more memory in fit, MB | cells | predict, CPU s | cells per CPU s | peak, MB |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    sizes = ["--rows", str(given.rows), "--features", str(given.features), "--cells", str(given.cells)]
    for model in given.models:
        done = subprocess.run(
            [sys.executable, __file__, "--one", model, *sizes], capture_output=True, text=True, check=True
        )
        m = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {model} | {given.rows:,} | {m['fit_s']:.1f} | {m['fit_mb']:.0f} | {m['cells']:,} | "
            f"{m['predict_s']:.1f} | {m['cells'] / m['predict_s']:,.0f} | {m['peak_mb']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
