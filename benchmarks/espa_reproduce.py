"""Measure eSPA+ against random forest and logistic regression on data that needs no download, with ablations.

Usage::

    python benchmarks/espa_reproduce.py synthetic|real|digits|calibration|starts|imbalance|speed [--out results.json]

Every part prints a Markdown table; docs/espa.md quotes those tables. All tuning happens inside the training part of
each fold, with the same folds for all models. One core is enough for every part.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from entropice_core.espa import ESPAClassifier, ESPAEnsemble, ESPASearch

Split = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
Row = dict[str, Any]
Model = Callable[[int], Any]
SMALL_GRID = {"n_clusters": (6, 12, 24), "eps_c": (0.1, 0.3, 1.0), "eps_w": (0.1, 0.2, 0.5, 1.5)}
DIGITS_GRID = {"n_clusters": (40, 80), "eps_c": (0.3, 1.0), "eps_w": (0.5, 1.5), "n_init": 4}
# pixels share one unit, and min-max keeps the quiet ones quiet; eps in units of their variance, about 0.1
PIXEL_GRID = {"n_clusters": (40, 80), "eps_c": (0.03, 0.1), "eps_w": (0.1, 0.3, 1.0), "n_init": 4, "scaling": "minmax"}


def worms(n_rows: int, n_features: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Three parallel elongated Gaussians, turned by 45 degrees; the middle one is class 1; the rest is uniform noise.

    After the description of the first synthetic example in Horenko (2020); lengths are ours (sd 1 and 0.2, 1.5 apart).
    No feature alone and no linear rule tells the classes apart well.
    """
    size, turn = n_rows // 3, np.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
    parts = [rng.normal(size=(size, 2)) * [0.2, 1.0] + [1.5 * place, 0.0] for place in (-1, 0, 1)]
    signal = np.vstack(parts) @ turn.T
    noise = rng.uniform(size=(3 * size, n_features - 2))
    return np.column_stack([signal, noise]), np.repeat([0, 1, 0], size)


def expected_calibration_error(y: NDArray[Any], P: NDArray[Any], n_bins: int = 15) -> float:
    """Gap between confidence and accuracy of the predicted class, averaged over equal bins of confidence."""
    confidence, right = P.max(1), P.argmax(1) == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(gaps))


def measure(model: Any, split: Split) -> Row:
    """Fit and score one model on one split; y are codes 0..M-1."""
    X, y, X_test, y_test = split
    start = time.process_time()
    P = model.fit(X, y).predict_proba(X_test)
    seconds = time.process_time() - start
    auc = roc_auc_score(y_test, P[:, 1]) if P.shape[1] == 2 else roc_auc_score(y_test, P, multi_class="ovr")
    scores: Row = {
        "accuracy": float((P.argmax(1) == y_test).mean()),
        "auc": float(auc),
        "log_loss": float(log_loss(y_test, P)),
        "ece": expected_calibration_error(y_test, P),
        "seconds": seconds,
    }
    if P.shape[1] == 2:
        scores["average_precision"] = float(average_precision_score(y_test, P[:, 1]))
        scores["share_ratio"] = float(P[:, 1].mean() / y_test.mean())
    return scores


def folds_of(X: NDArray[Any], y: NDArray[Any], n_folds: int = 5, seed: int = 0) -> Iterator[Split]:
    """Outer stratified folds."""
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(X, y):
        yield X[train], y[train], X[test], y[test]


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


def compare(models: dict[str, Model], splits: list[Split]) -> dict[str, list[Row]]:
    """Scores of every model on every split."""
    return {name: [measure(build(seed), split) for seed, split in enumerate(splits)] for name, build in models.items()}


COLUMNS = ("accuracy", "auc", "log_loss", "ece", "seconds")


def show(title: str, scores: dict[str, list[Row]], columns: tuple[str, ...] = COLUMNS) -> None:
    """Print a Markdown table of mean ± standard deviation over splits."""
    print(f"\n{title}\n\n| model | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, rows in scores.items():
        cells = [f"{np.mean([r[c] for r in rows]):.3f} ± {np.std([r[c] for r in rows], ddof=1):.3f}" for c in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def synthetic() -> dict[str, Any]:
    """Few rows, many useless features."""
    results = {}
    for n_rows, n_features in ((100, 50), (200, 50), (200, 200)):
        splits = []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            splits.append((*worms(n_rows, n_features, rng), *worms(2001, n_features, rng)))
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
        results[title] = compare(tuned_models(SMALL_GRID), list(folds_of(X, y)))
        show(title, results[title])
    return results


def digits() -> dict[str, Any]:
    """Ten classes, 64 pixels."""
    X, y = load_digits(return_X_y=True)
    title = f"digits, {len(X)} rows, 64 features; 5 outer folds"
    models = tuned_models(DIGITS_GRID)
    models["eSPA search, min-max"] = tuned(ESPASearch, PIXEL_GRID)
    models["eSPA ensemble, min-max"] = tuned(ESPAEnsemble, PIXEL_GRID)
    scores = compare(models, list(folds_of(X, y)))
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
        splits = [split for seed in range(3) for split in folds_of(X, y, seed=seed)]
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
        results[title] = compare(models, list(folds_of(rows, codes)))
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


def main() -> None:
    """Run one part and, if asked, keep all single scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = PARTS[arguments.part]()
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
