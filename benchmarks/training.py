"""Processor time and memory of every model: one fit on rows x features, and the prediction of many cells in chunks.

    python benchmarks/training.py --rows 10000 --features 400 --cells 1000000 > table.md
    python benchmarks/training.py --rows 1000000 --models espa --params '{"n_init": 1}' --cells 10000

Data are made up: 400 features of which 20 tell, a quarter positive, a hundredth of the values missing, in float32 as
the store keeps them. Each model runs in a process of its own, so that peaks of memory are its own; its parameters are
the defaults of its module, with one thread, but for eSPA (40 boxes, 8 restarts) and what ``--params`` sets. Cells are
predicted 32,768 at a time, as maps are. A model that takes more than ``--limit`` seconds of processor time is stopped,
and the table says so.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from entropice_core.models.base import load_module
from entropice_core.prediction.scale import CELLS

PARAMS = {"espa": {"n_clusters": 40, "n_init": 8, "n_average": 8, "eps_c": 1.0, "eps_w": 3.0}}
MODELS = ("prevalence", "logistic_regression", "random_forest", "xgboost", "knn", "espa")
BLOCK = 50_000
HEAD = ("model", "rows", "fit, CPU s", "peak in fit, MB", "of which data", "cells", "predict, CPU s", "cells per CPU s")


def samples(n, n_features, seed):
    """Make X : (n, n_features) float32 and y : (n,), a block at a time, so that making them needs no memory."""
    rng = np.random.default_rng(seed)
    X, y = np.empty((n, n_features), np.float32), np.empty(n, np.int64)
    for start in range(0, n, BLOCK):
        part = X[start : start + BLOCK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        logit = part[:, :20] @ np.linspace(0.6, 0.05, 20) + np.sin(2 * part[:, 0]) - 1.3
        y[start : start + BLOCK] = rng.random(len(part)) < 1 / (1 + np.exp(-logit))
        part[rng.random(part.shape, dtype=np.float32) < 0.01] = np.nan
    return X, y


def measure(model, rows, features, cells, params):
    names = tuple(f"f{i}" for i in range(features))
    X, y = samples(rows, features, 0)
    data = peak_mb()
    begun = time.process_time()
    fitted = load_module(model).build(params, 0, names).fit(X, y)
    fit_s = time.process_time() - begun
    after_fit = peak_mb()
    del X, y
    told = {"fit_s": fit_s, "fit_mb": after_fit, "data_mb": data}
    print(json.dumps(told), flush=True)  # a prediction that is stopped must not take the fit with it
    read = load_module(model).from_arrays(*load_module(model).to_arrays(fitted))
    chunk, _ = samples(min(CELLS, cells), features, 1)
    begun, done = time.process_time(), 0
    while done < cells:
        part = chunk[: cells - done]
        read.predict_proba(part)
        done += len(part)
    print(json.dumps({**told, "predict_s": time.process_time() - begun, "cells": done}))


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def limited(seconds):
    return lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


def row(model, given, params):
    sizes = ["--rows", str(given.rows), "--features", str(given.features), "--cells", str(given.cells)]
    done = subprocess.run(
        [sys.executable, __file__, "--one", model, *sizes, "--params", json.dumps(params)],
        capture_output=True, text=True, preexec_fn=limited(given.limit),
    )  # fmt: skip
    if done.returncode > 0:
        raise SystemExit(done.stderr)
    said = done.stdout.splitlines()
    m = json.loads(said[-1]) if said else {}
    stopped = f"stopped after {given.limit}"
    fit = [f"{m['fit_s']:.1f}", f"{m['fit_mb']:,.0f}", f"{m['data_mb']:,.0f}"] if m else [stopped, "-", "-"]
    predict = ["-", stopped if m else "-", "-"]
    if "cells" in m:
        predict = [f"{m['cells']:,}", f"{m['predict_s']:.1f}", f"{m['cells'] / m['predict_s']:,.0f}"]
    return [model, f"{given.rows:,}", *fit, *predict]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=400)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--params", type=json.loads, default={}, help="JSON, set for every model that is named")
    parser.add_argument("--limit", type=int, default=900, help="processor seconds for fit and prediction of a model")
    parser.add_argument("--one", help="measure one model in this process")
    given = parser.parse_args()
    if given.one:
        measure(given.one, given.rows, given.features, given.cells, given.params)
        return
    print("| " + " | ".join(HEAD) + " |")
    print("| --- |" + " ---: |" * (len(HEAD) - 1))
    for model in given.models:
        cells = row(model, given, {**PARAMS.get(model, {}), **given.params})
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
