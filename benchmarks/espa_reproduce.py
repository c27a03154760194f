"""Measure eSPA+ against random forest and logistic regression on data that needs no download, with ablations.

Usage::

    python benchmarks/espa_reproduce.py synthetic|real|digits|calibration|starts|imbalance|speed [--out results.json]

Every part prints a Markdown table; docs/espa.md quotes those tables. All tuning happens inside the training part of
each fold, with the same folds for all models. One core is enough for every part.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from espa_common import DIGITS_GRID, PIXEL_GRID, SMALL_GRID, Model, Row, compare, drawn, outer, run, show, worms
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from entropice_core.espa import ESPAClassifier, ESPAEnsemble, ESPASearch


def random_forest(seed: int) -> Any:
    """500 trees, untuned."""
    return RandomForestClassifier(500, random_state=seed, n_jobs=1)


def logistic_regression(_: int) -> Any:
    """L2 penalty chosen among ten by inner folds on log-loss."""
    chosen = LogisticRegressionCV(
        Cs=10, cv=4, scoring="neg_log_loss", max_iter=2000, l1_ratios=(0.0,), use_legacy_attributes=False
    )
    return make_pipeline(StandardScaler(), chosen)


def tuned(kind: type, grid: dict[str, Any], **fixed: Any) -> Model:
    """eSPA+ with its own search."""
    return lambda seed: kind(**grid, **fixed, random_state=seed)


def tuned_models(grid: dict[str, Any]) -> dict[str, Model]:
    """Models of the main tables."""
    hard = {"tau": (0.0,), "n_average": 1, "calibrate": False}
    return {
        "eSPA hard": tuned(ESPASearch, grid, **hard),
        "eSPA search": tuned(ESPASearch, grid),
        "eSPA ensemble": tuned(ESPAEnsemble, grid),
        "random forest": random_forest,
        "logistic regression": logistic_regression,
    }


def synthetic() -> dict[str, Any]:
    """Few rows, many useless features."""
    results = {}
    for n_rows, n_features in ((100, 50), (200, 50), (200, 200)):
        splits = drawn(worms, n_rows, n_features)
        title = f"worms, {n_rows} rows, {n_features} features; 5 training sets, 2001 test rows each"
        results[title] = compare(tuned_models(SMALL_GRID), splits)
        show(title, results[title])
    return results


def real() -> dict[str, Any]:
    """Two small tables."""
    results = {}
    for name, load in (("breast_cancer", load_breast_cancer), ("wine", load_wine)):
        X, y = load(return_X_y=True)
        title = f"{name}, {len(X)} rows, {X.shape[1]} features; 5 outer folds"
        results[title] = compare(tuned_models(SMALL_GRID), outer(X, y, 1))
        show(title, results[title])
    return results


def digits() -> dict[str, Any]:
    """Ten classes, 64 pixels."""
    X, y = load_digits(return_X_y=True)
    title = f"digits, {len(X)} rows, 64 features; 5 outer folds"
    models = tuned_models(DIGITS_GRID)
    models["eSPA search, min-max"] = tuned(ESPASearch, PIXEL_GRID)
    models["eSPA ensemble, min-max"] = tuned(ESPAEnsemble, PIXEL_GRID)
    scores = compare(models, outer(X, y, 1))
    show(title, scores)
    return {title: scores}


def calibration() -> dict[str, Any]:
    """What each part of the prediction rule is worth, at fixed parameters of training."""
    rules: dict[str, dict[str, Any]] = {
        "labels kept, raw counts": {"unbias": False, "alpha": 0.0, "tau": 0.0},
        "published: label-free, raw counts": {"alpha": 0.0, "tau": 0.0},
        "+ smoothing alpha = 1": {"alpha": 1.0, "tau": 0.0},
        "+ soft, tau = 0.2 (default)": {"alpha": 1.0, "tau": 0.2},
        "hard, mean of 16 restarts": {"alpha": 1.0, "tau": 0.0, "n_average": 16},
        "soft, mean of 16 restarts": {"alpha": 1.0, "tau": 0.2, "n_average": 16},
        "affiliations soft in training, eps_a = 0.02": {"alpha": 1.0, "tau": None, "eps_a": 0.02},
    }
    results = {}
    for name, load, size in (("breast_cancer", load_breast_cancer, 16), ("wine", load_wine, 8)):
        X, y = load(return_X_y=True)
        splits = outer(X, y, 3)
        models: dict[str, Model] = {
            rule: lambda seed, c=change: ESPAClassifier(size, random_state=seed, **c)  # noqa: B023
            for rule, change in rules.items()
        }
        title = f"{name}, K = {size}, otherwise defaults; 3 x 5 folds"
        results[title] = compare(models, splits)
        show(title, results[title], ("accuracy", "auc", "log_loss", "ece"))
    return results


def starts() -> dict[str, Any]:
    """Whether the pattern is found: share of W on the two features that matter, and test accuracy."""
    variants: dict[str, dict[str, Any]] = {
        "half of the starts by information (default)": {},
        "even starts only": {"mi_start": 0.0},
        "information starts only": {"mi_start": 1.0},
        "one start": {"n_init": 1},
        "four starts": {"n_init": 4},
        "64 starts": {"n_init": 64},
        "even starts, 64 of them": {"mi_start": 0.0, "n_init": 64},
        "prior of W by information": {"mi_prior": 1.0},
        "min-max scaling, as published": {"scaling": "minmax", "eps_w": 0.02, "eps_c": 0.03},
        "k-means++ not balanced over classes": {"init": "k-means++"},
        "random rows": {"init": "random"},
        "no labels in training": {"eps_c": 0.0},
    }
    results: dict[str, Any] = {}
    for n_features in (50, 200):
        scores: dict[str, list[Row]] = {}
        for name, change in variants.items():
            scores[name] = [_start(change, n_features, seed) for seed in range(10)]
        title = f"worms, 200 rows, {n_features} features, K = 12, eps_w = 0.15; 10 training sets"
        results[title] = scores
        show(title, scores, ("weight_on_signal", "accuracy", "disagreement"))
    return results


def _start(change: dict[str, Any], n_features: int, seed: int) -> Row:
    rng = np.random.default_rng(seed)
    X, y = worms(200, n_features, rng)
    X_test, y_test = worms(2001, n_features, rng)
    model = ESPAClassifier(**{"n_clusters": 12, "eps_w": 0.15, "random_state": seed, **change}).fit(X, y)
    return {
        "weight_on_signal": float(model.feature_weights_[:2].sum()),
        "accuracy": float(model.score(X_test, y_test)),
        "disagreement": model.disagreement_,
    }


def imbalance() -> dict[str, Any]:
    """Five percent positives."""
    X, y = load_breast_cancer(return_X_y=True)
    keep = np.concatenate([np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:20]])
    rng = np.random.default_rng(0)
    pattern, label = worms(3000, 40, rng)
    rare = np.concatenate([rng.choice(np.flatnonzero(label == 0), 570, False), np.flatnonzero(label == 1)[:30]])
    data = {
        "breast_cancer, 377 rows, 20 malignant": (X[keep], 1 - y[keep]),
        "worms, 600 rows, 30 positive, 40 features": (pattern[rare], label[rare]),
    }
    models: dict[str, Model] = {
        "eSPA ensemble": tuned(ESPAEnsemble, SMALL_GRID),
        "eSPA ensemble, class_weight balanced": tuned(ESPAEnsemble, SMALL_GRID, class_weight="balanced"),
        "random forest": random_forest,
        "logistic regression": logistic_regression,
    }
    results = {}
    for title, (rows, codes) in data.items():
        results[title] = compare(models, outer(rows, codes, 1))
        show(title + "; 5 outer folds", results[title], ("auc", "average_precision", "log_loss", "share_ratio"))
    return results


def speed() -> dict[str, Any]:
    """CPU seconds of one fit of 16 restarts on data without structure, the slowest case."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6400, 34))
    y = (X[:, 0] + X[:, 1] ** 2 + rng.normal(size=6400) > 2.0).astype(int)
    results: dict[str, Any] = {}
    print("\n| n_clusters | dtype | CPU seconds | sweeps of the best restart |\n|---|---|---|---|")
    for size in (10, 20, 40):
        for dtype in ("float64", "float32"):
            start = time.process_time()
            model = ESPAClassifier(size, random_state=0, dtype=dtype).fit(X, y)
            seconds = time.process_time() - start
            results[f"{size} {dtype}"] = {"seconds": seconds, "sweeps": model.n_iter_}
            print(f"| {size} | {dtype} | {seconds:.2f} | {model.n_iter_} |", flush=True)
    return results


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "synthetic": synthetic,
    "real": real,
    "digits": digits,
    "calibration": calibration,
    "starts": starts,
    "imbalance": imbalance,
    "speed": speed,
}


if __name__ == "__main__":
    run(PARTS, __doc__)
