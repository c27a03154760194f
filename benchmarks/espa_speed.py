"""How fast the batched search is against a loop of single fits in plain NumPy, and how time and memory grow.

Usage::

    python benchmarks/espa_speed.py search|scaling [--out results.json]

``search``: the same grid, folds, starts, stopping rule and scores, once as ``ESPASearch`` and once as a loop over plain
NumPy fits, written as one would write a single fit well (matrix products, one-hot sums). Their held-out log-losses are
compared first, so that both do the same work. The loop is handed its seeds, the search draws them within its time.
XGBoost searches 36 configurations on the same folds with scikit-learn's grid search.
``scaling``: one program of B fits, sweeps fixed, over rows T, features D, clusters K and fits B. No GPU was used.
"""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from espa_common import run
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from xgboost import XGBClassifier

from entropice_core.espa import ESPASearch
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows

Floats = NDArray[np.float64]
GRID = {"n_clusters": (6, 12, 24), "eps_c": (0.1, 0.3, 1.0), "eps_w": (0.1, 0.2, 0.5, 1.5), "mi_prior": (0.0,)}
TAUS, ALPHAS = (0.0, 0.1, 0.2, 0.4), (0.5, 1.0, 2.0, 4.0)
BOOST = {"max_depth": [2, 4, 6], "learning_rate": [0.03, 0.1, 0.3], "n_estimators": [50, 100, 200, 400]}
N_INIT, N_AVERAGE, TOL, MAX_ITER = 8, 4, 1e-6, 200


@dataclass(frozen=True)
class Fit:
    """A single finished fit."""

    W: Floats
    S: Floats
    loss: float


def distances(x: Floats, W: Floats, S: Floats) -> Floats:
    """(T, K) weighted squared distances less what all clusters share."""
    return (W * S**2).sum(1) - 2.0 * (x @ (W * S).T)


def single_fit(x: Floats, onehot: Floats, W: Floats, S: Floats, eps_c: float, eps_w: float, alpha: float) -> Fit:
    """One fit in plain NumPy: Gamma, pruning, W, S, Lambda until the loss has settled."""
    T, D = x.shape
    prior, strength = onehot.mean(0), alpha / T
    second = (x**2).mean(0)
    Lambda = np.tile(prior, (len(S), 1))
    n_start, previous, floor = len(S), np.inf, eps_w * np.log(D)
    codes = onehot.argmax(1)
    for _ in range(MAX_ITER):
        cost = distances(x, W, S) - eps_c * np.log(Lambda).T[codes]
        chosen = np.zeros_like(cost)
        chosen[np.arange(T), cost.argmin(1)] = 1.0 / T
        mass = chosen.sum(0)
        alive = mass > 0
        if not alive.all():
            chosen, mass, S = chosen[:, alive], mass[alive], S[alive]
        sums, counts = chosen.T @ x, chosen.T @ onehot
        b = np.maximum(second + (S * (mass[:, None] * S - 2.0 * sums)).sum(0), 0.0)
        W = np.exp(-(b - b.min()) / eps_w)
        W = W / W.sum()
        S = sums / mass[:, None]
        Lambda = (counts + strength * prior) / (mass + strength)[:, None]
        b = np.maximum(second - (mass[:, None] * S**2).sum(0), 0.0)
        labels = -((counts + strength * prior) * np.log(Lambda)).sum()
        labels -= (n_start - len(S)) * strength * float(prior @ np.log(prior))
        used = W > 0
        loss = float(W @ b + eps_c * labels + eps_w * (W[used] * np.log(W[used])).sum())
        if previous - loss <= TOL * max(abs(loss), floor):
            break
        previous = loss
    return Fit(W, S, loss)


def held_out(fits: list[Fit], x: Floats, onehot: Floats, x_test: Floats, y_test: NDArray[Any]) -> Floats:
    """(n_taus, n_alphas) log-loss of the averaged fits on held-out rows, classes counted again without labels."""
    total = np.zeros((len(TAUS), len(ALPHAS), len(x_test), onehot.shape[1]))
    for fit in fits:
        d = distances(x, fit.W, fit.S)
        chosen = np.eye(len(fit.S))[d.argmin(1)]
        counts, prior = chosen.T @ onehot, onehot.mean(0)
        scale = float((d.min(1) + x**2 @ fit.W).mean())
        away = distances(x_test, fit.W, fit.S)
        away[:, counts.sum(1) == 0] = np.inf
        for t, tau in enumerate(TAUS):
            if tau > 0:
                soft = np.exp((away.min(1, keepdims=True) - away) / (tau * scale))
                soft = soft / soft.sum(1, keepdims=True)
            else:
                soft = np.eye(len(fit.S))[away.argmin(1)]
            for a, alpha in enumerate(ALPHAS):
                total[t, a] += soft @ ((counts + alpha * prior) / (counts.sum(1, keepdims=True) + alpha))
    true = (total / len(fits))[:, :, np.arange(len(x_test)), y_test]
    losses: Floats = -np.log(np.maximum(true, 1e-15)).mean(axis=2)
    return losses


def loop(X: Floats, y: NDArray[Any], program: Program, splits: list[Any]) -> dict[tuple[float, ...], float]:
    """Held-out log-loss of every combination, one fit after the other."""
    onehot = np.eye(int(y.max()) + 1)[y]
    found: dict[tuple[float, ...], float] = {}
    for K in GRID["n_clusters"]:
        for eps_c in GRID["eps_c"]:
            for eps_w in GRID["eps_w"]:
                total = np.zeros((len(TAUS), len(ALPHAS)))
                for number, (train, test) in enumerate(splits):
                    center, scale = X[train].mean(0), X[train].std(0)
                    x, x_test = (X[train] - center) / scale, (X[test] - center) / scale
                    fold = program.folds[number + 1]
                    seeds = (program.scaling.outside(fold.S) - center) / scale
                    fits = [
                        single_fit(x, onehot[train], fold.W[r], seeds[r, :K], eps_c, eps_w, min(ALPHAS))
                        for r in range(N_INIT)
                    ]
                    fits = sorted(fits, key=lambda fit: fit.loss)[:N_AVERAGE]
                    total += held_out(fits, x, onehot[train], x_test, y[test]) * len(test) / len(y)
                for t, a in np.ndindex(total.shape):
                    found[K, eps_c, eps_w, TAUS[t], ALPHAS[a]] = float(total[t, a])
    return found


def timed(action: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, seconds by the clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def search() -> dict[str, Any]:
    """Batched search against the loop."""
    rng = np.random.default_rng(0)
    tall = rng.normal(size=(2000, 40))
    data = {
        "breast_cancer, 569 x 30": load_breast_cancer(return_X_y=True),
        "noise, 75 x 50": (rng.normal(size=(75, 50)), np.arange(75) % 2),
        "noise, 2000 x 40": (tall, (tall[:, 0] + rng.normal(size=2000) > 1).astype(int)),
    }
    n_fits = len(GRID["n_clusters"]) * len(GRID["eps_c"]) * len(GRID["eps_w"]) * 4 * N_INIT
    print(f"\n{n_fits} fits: 36 configurations x 4 folds x {N_INIT} restarts\n")
    print("| data | how | seconds | CPU seconds | times faster | in CPU seconds | largest difference of log-loss |")
    print("|---|---|---|---|---|---|---|")
    results: dict[str, Any] = {}
    for name, (X, y) in data.items():
        splits = list(StratifiedKFold(4, shuffle=True, random_state=0).split(X, y))
        settings = Settings(24, 0.0, True, "standard", None, 0.0, 0.5, "balanced", N_INIT, MAX_ITER, TOL, "error")
        rows = TrainingRows.select(X, y, np.ones(len(y)))
        program = Program(rows, settings, np.random.RandomState(0), choose_backend(X), [train for train, _ in splits])
        slow, wall, cpu = timed(lambda: loop(X, y, program, splits))  # noqa: B023
        print(f"| {name} | loop of single fits | {wall:.2f} | {cpu:.2f} | 1.0 | 1.0 | |", flush=True)
        results[f"{name}, loop"] = {"seconds": wall, "cpu": cpu}
        fixed = {"cv": splits, "n_init": N_INIT, "n_average": N_AVERAGE, "n_moves": 0, "tol": TOL, "random_state": 0}
        fixed["scaling"] = ("standard",)
        ways = {
            "ESPASearch": {"keep": 1.0},
            "ESPASearch, two threads": {"keep": 1.0, "n_jobs": 2},
            "ESPASearch, early removal": {"keep": 0.25},
            "ESPASearch, early removal, two threads": {"keep": 0.25, "n_jobs": 2},
        }
        for how, change in ways.items():
            model = ESPASearch(**GRID, **fixed, **change)
            _, seconds, used = timed(lambda: model.fit(X, y))  # noqa: B023
            table = model.results_
            keys = zip(*(table[k].tolist() for k in ("n_clusters", "eps_c", "eps_w", "tau", "alpha")), strict=True)
            full = table["stage"] == "full"
            gap = np.abs(np.array([slow[key] for key in keys]) - table["log_loss"])[full].max()
            print(
                f"| {name} | {how} | {seconds:.2f} | {used:.2f} | {wall / seconds:.1f} | {cpu / used:.1f} | {gap:.0e} |"
            )
            results[f"{name}, {how}"] = {"seconds": seconds, "cpu": used, "gap": float(gap)}
        for n_jobs in (1, 2):
            rival = GridSearchCV(XGBClassifier(n_jobs=1, random_state=0), BOOST, cv=splits, n_jobs=n_jobs, refit=False)
            _, seconds, used = timed(lambda: rival.set_params(scoring="neg_log_loss").fit(X, y))  # noqa: B023
            how = f"XGBoost, 36 configurations, {n_jobs} process(es)"
            print(f"| {name} | {how} | {seconds:.2f} | | {wall / seconds:.1f} | | |", flush=True)
            results[f"{name}, {how}"] = {"seconds": seconds}
    return results


def scaling() -> dict[str, Any]:
    """Twenty sweeps of B fits on structureless data."""
    base = {"T": 4000, "D": 40, "K": 16, "B": 16}
    changes = {"T": (1000, 4000, 16000, 64000), "D": (10, 40, 160, 640), "K": (4, 16, 64), "B": (1, 4, 16, 64, 256)}
    results: dict[str, Any] = {}
    print("\n| T | D | K | B | seconds per sweep | CPU ns per row, feature, cluster, fit | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for name, values in changes.items():
        for value in values:
            size = {**base, name: value}
            if size in [entry["size"] for entry in results.values()]:
                continue
            T, D, K, B = size.values()
            X = np.random.default_rng(0).normal(size=(T, D))
            y = np.arange(T) % 2
            settings = Settings(K, 0.0, True, "standard", None, 0.0, 0.0, "random", B, 20, 0.0, "error")
            program = Program(
                TrainingRows.select(X, y, np.ones(T)), settings, np.random.RandomState(0), choose_backend(X)
            )
            jobs = Jobs.restarts_of_all_rows(K, 1.0, 0.3, 0.5, B)
            result, wall, cpu = timed(lambda: program.run(jobs, 20))  # noqa: B023
            tracemalloc.start()
            program.run(jobs, 2)
            peak = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
            sweeps = sum(map(len, result.curves)) / B
            each = cpu / (sweeps * T * D * K * B) * 1e9
            print(f"| {T} | {D} | {K} | {B} | {wall / sweeps:.4f} | {each:.3f} | {peak:.1f} |", flush=True)
            results[str(len(results))] = {"size": size, "seconds": wall, "cpu": cpu, "peak_mb": peak}
    print("\nPeak memory is what the sweeps take beyond the rows themselves (8 bytes x T x (D + 1 + M)).")
    return results


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"search": search, "scaling": scaling}


if __name__ == "__main__":
    run(PARTS, __doc__)
