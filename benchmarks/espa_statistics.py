"""eSPA+ against tuned rivals on data that need no download, with the targets it should meet and whether it does.

Usage::

    python benchmarks/espa_statistics.py worms|tables|digits|imbalance|noise|basins [--out results.json]

Every part prints Markdown tables; docs/espa.md quotes them. Rivals are tuned on four inner folds of each training part
by log-loss: XGBoost (depth, trees), random forest (features per split, leaf size), logistic regression (penalty),
k nearest neighbours (k, weights) and an RBF support vector machine (C, gamma; Platt scaling). All but the trees see
standardised features. Spread is the standard deviation over the splits named.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from espa_common import (
    DIGITS_GRID,
    MINMAX_GRID,
    PIXEL_GRID,
    SMALL_GRID,
    Model,
    Row,
    compare,
    drawn,
    heavy_tailed,
    outer,
    run,
    show,
    worms,
)
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier

from entropice_core.espa import ESPAClassifier, ESPAEnsemble, ESPASearch

OURS, FOREST = "eSPA ensemble", "random forest"


def inner(model: Any, grid: dict[str, list[Any]]) -> GridSearchCV:
    """Tune on four stratified folds by log-loss."""
    return GridSearchCV(model, grid, scoring="neg_log_loss", cv=StratifiedKFold(4, shuffle=True, random_state=0))


def rivals() -> dict[str, Model]:
    """Builders that take a seed."""

    def svc(_: int) -> Any:
        machine = CalibratedClassifierCV(SVC(), cv=3, ensemble=False)
        name = "calibratedclassifiercv__estimator__"
        grid = {f"{name}C": [0.3, 3.0, 30.0], f"{name}gamma": ["scale", 0.003, 0.03]}
        return inner(make_pipeline(StandardScaler(), machine), grid)

    def neighbours(_: int) -> Any:
        grid = {
            "kneighborsclassifier__n_neighbors": [3, 7, 15, 31],
            "kneighborsclassifier__weights": ["uniform", "distance"],
        }
        return inner(make_pipeline(StandardScaler(), KNeighborsClassifier()), grid)

    def boost(seed: int) -> Any:
        model = XGBClassifier(learning_rate=0.1, subsample=0.8, colsample_bytree=0.5, n_jobs=1, random_state=seed)
        return inner(model, {"max_depth": [2, 4], "n_estimators": [60, 200]})

    def logistic(_: int) -> Any:
        grid = {"logisticregression__C": [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]}
        return inner(make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)), grid)

    def forest(seed: int) -> Any:
        grid = {"max_features": ["sqrt", 0.3], "min_samples_leaf": [1, 4]}
        return inner(RandomForestClassifier(200, random_state=seed), grid)

    return {"XGBoost": boost, FOREST: forest, "logistic regression": logistic, "kNN": neighbours, "RBF-SVC": svc}


def ours(grid: dict[str, Any], **fixed: Any) -> dict[str, Model]:
    """eSPA+ with its own search."""
    return {
        "eSPA search": lambda seed: ESPASearch(**grid, **fixed, random_state=seed),
        OURS: lambda seed: ESPAEnsemble(**grid, **fixed, random_state=seed),
    }


def verdict(scores: dict[str, list[Row]], our: str = OURS) -> None:
    """Print whether the log-loss is within one standard error of the best rival's and the ECE below the forest's."""

    def column(name: str, what: str) -> NDArray[Any]:
        return np.array([row[what] for row in scores[name]])

    if all("eSPA" in name for name in scores):
        return
    rival = min((name for name in scores if "eSPA" not in name), key=lambda name: column(name, "log_loss").mean())
    gap = column(our, "log_loss") - column(rival, "log_loss")
    error = column(rival, "log_loss").std(ddof=1) / math.sqrt(len(gap))
    paired = gap.std(ddof=1) / math.sqrt(len(gap))
    text = "met" if gap.mean() <= error else "not met"
    print(f"\n{our}: log-loss {gap.mean():+.4f} against {rival} (its standard error {error:.4f}, of the paired "
          f"difference {paired:.4f}): {text}.", end=" ")  # fmt: skip
    if FOREST not in scores:
        print(flush=True)
        return
    ece = column(our, "ece").mean() < column(FOREST, "ece").mean()
    print(f"ECE below the random forest's: {'met' if ece else 'not met'}.", flush=True)


def worms_part() -> dict[str, Any]:
    """Two features of use among many, five sizes, both scalings, and noise with heavy tails."""
    sizes = [(100, 50, worms), (100, 200, worms), (200, 100, worms), (200, 500, worms), (400, 50, worms)]
    results: dict[str, Any] = {}
    for n_rows, n_features, make in [*sizes, (200, 50, heavy_tailed)]:
        splits = drawn(make, n_rows, n_features)
        models: dict[str, Model] = {
            "eSPA ensemble, z-scored": ours(SMALL_GRID)[OURS],
            "eSPA ensemble, min-max": ours(MINMAX_GRID, scaling="minmax")[OURS],
            **rivals(),
        }
        kind = "" if make is worms else ", heavy-tailed noise"
        title = f"worms{kind}, {n_rows} rows, {n_features} features; 5 training sets, 2001 test rows each"
        scores = compare(models, splits)
        show(title, scores)
        for name in (name for name in scores if "eSPA" in name):
            least = min(row["accuracy"] for row in scores[name])
            mean = float(np.mean([row["accuracy"] for row in scores[name]]))
            text = "met" if mean >= 0.99 and least >= 0.9 else "not met"
            print(f"\n{name}: mean accuracy {mean:.3f}, worst seed {least:.3f}; .99 and no failed seed: {text}.")
        results[title] = scores
    return results


def tables() -> dict[str, Any]:
    """Two small tables."""
    results = {}
    for name, load in (("breast_cancer", load_breast_cancer), ("wine", load_wine)):
        X, y = load(return_X_y=True)
        title = f"{name}, {len(X)} rows, {X.shape[1]} features; 2 x 5 outer folds"
        results[title] = compare({**ours(SMALL_GRID), **rivals()}, outer(X, y, 2))
        show(title, results[title])
        verdict(results[title])
    return results


def digits() -> dict[str, Any]:
    """Ten classes, 64 pixels."""
    X, y = load_digits(return_X_y=True)
    pixels = {f"{name}, min-max": build for name, build in ours(PIXEL_GRID).items()}
    title = f"digits, {len(X)} rows, 64 features; 5 outer folds"
    scores = compare({**ours(DIGITS_GRID), **pixels, **rivals()}, outer(X, y, 1))
    show(title, scores)
    verdict(scores)
    verdict(scores, f"{OURS}, min-max")
    return {title: scores}


def imbalance() -> dict[str, Any]:
    """Few positives; the mean predicted rate of all held-out rows against the prevalence."""
    results: dict[str, Any] = {}
    data: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for share in (0.01, 0.03, 0.05, 0.1):
        rng = np.random.default_rng(0)
        X, y = worms(6000, 20, rng)
        few = round(1500 * share)
        rows = np.concatenate([rng.choice(np.flatnonzero(y == 0), 1500 - few, False), np.flatnonzero(y == 1)[:few]])
        data[f"worms, 1500 rows, {few} positive ({share:.0%})"] = (X[rows], y[rows])
    X, y = load_breast_cancer(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:20]])
    data["breast_cancer, 377 rows, 20 malignant (5%)"] = (X[rows], 1 - y[rows])
    for title, (X, y) in data.items():
        scores = compare({OURS: ours(SMALL_GRID)[OURS], **rivals()}, outer(X, y, 1))
        show(f"{title}; 5 outer folds", scores, ("auc", "log_loss", "ece"))
        print("\nmean predicted rate over prevalence, all held-out rows: ", end="")
        ratios = {n: sum(r["predicted"] for r in rows) / sum(r["positive"] for r in rows) for n, rows in scores.items()}
        print(", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items()), flush=True)
        results[title] = scores
    return results


def noise() -> dict[str, Any]:
    """Wrong labels in training, right ones in testing: what learnt row weights are worth."""
    results: dict[str, Any] = {}
    for name, load in (("breast_cancer", load_breast_cancer), ("wine", load_wine)):
        X, y = load(return_X_y=True)
        for share in (0.0, 0.1, 0.2):
            splits = []
            for seed, (X_train, y_train, X_test, y_test) in enumerate(outer(X, y, 2)):
                rng = np.random.default_rng(seed)
                wrong = rng.random(len(y_train)) < share
                shifted = (y_train + rng.integers(1, y.max() + 1, len(y_train))) % (y.max() + 1)
                splits.append((X_train, np.where(wrong, shifted, y_train), X_test, y_test))
            models: dict[str, Model] = {
                f"eps_t = {eps_t:g}": lambda seed, e=eps_t: ESPAClassifier(8, eps_t=e, random_state=seed)
                for eps_t in (math.inf, 2.0, 1.0, 0.5, 0.25)
            }
            title = f"{name}, {share:.0%} of the training labels wrong, K = 8; 2 x 5 outer folds"
            results[title] = compare(models, splits)
            show(title, results[title])
    return results


def basins() -> dict[str, Any]:
    """Share of restarts that end more than 1 % above the best known loss, without and with swaps.

    The unit is the larger of the best loss and the range of the entropy term, since the loss may be near zero.
    """
    X, y = load_breast_cancer(return_X_y=True)
    data: dict[str, tuple[NDArray[Any], NDArray[Any], dict[str, Any]]] = {
        "breast_cancer, K = 16": (X, y, {"n_clusters": 16}),
        "wine, K = 8": (*load_wine(return_X_y=True), {"n_clusters": 8}),
    }
    for n_features in (50, 200):
        drawn = worms(200, n_features, np.random.default_rng(0))
        data[f"worms, 200 x {n_features}, z-scored"] = (*drawn, {"n_clusters": 12, "eps_w": 0.15})
        small = {"n_clusters": 12, "eps_w": 0.02, "eps_c": 0.03, "scaling": "minmax"}
        data[f"worms, 200 x {n_features}, min-max"] = (*drawn, small)
    results: dict[str, Any] = {}
    print("\n| data | rounds | missed by 1 % | missed by 0.2 % | mean loss | best loss |\n|---|---|---|---|---|---|")
    for name, (X, y, options) in data.items():
        ends = {
            rounds: np.concatenate(
                [ESPAClassifier(**options, n_moves=rounds, random_state=s).fit(X, y).restart_losses_ for s in range(4)]
            )
            for rounds in (0, 2, 5, 10, 20)
        }
        best = min(losses.min() for losses in ends.values())
        unit = max(abs(best), options.get("eps_w", 0.5) * math.log(X.shape[1]))
        for rounds, losses in ends.items():
            shares = [float((losses > best + part * unit).mean()) for part in (0.01, 0.002)]
            print(
                f"| {name} | {rounds} | {shares[0]:.2f} | {shares[1]:.2f} | {losses.mean():.4f} | {losses.min():.4f} |",
                flush=True,
            )
            results[f"{name}, {rounds}"] = {"missed": shares, "losses": losses.tolist()}
    held_out = {
        f"{rounds} rounds": lambda seed, n=rounds: ESPAClassifier(n_moves=n, random_state=seed) for rounds in (0, 10)
    }
    title = "breast_cancer, K = 16, best restart; 2 x 5 outer folds"
    results[title] = compare(held_out, outer(*load_breast_cancer(return_X_y=True), 2))
    show(title, results[title])
    return results


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "worms": worms_part,
    "tables": tables,
    "digits": digits,
    "imbalance": imbalance,
    "noise": noise,
    "basins": basins,
}


if __name__ == "__main__":
    run(PARTS, __doc__)
