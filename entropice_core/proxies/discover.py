"""Fit a model anew for each fold and seed, and ask each fit, in every way there is, which variables tell.

No measure is right alone. Shuffling a feature in held-out rows measures what it adds to the skill, but finds nothing
dispensable whose likes are there: so whole sources are shuffled too. Values are shuffled within blocks, so that what a
feature tells inside a place counts and a mere label of the place does not; a feature that varies only between blocks
then gets nothing, which the table says. What a model says itself (eSPA's W, gain, impurity) and Shapley values of trees
stand beside. Each measure comes with its stability over folds (places) and seeds (chance).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from entropice_core.applicability.trust import blocks_of
from entropice_core.config import Study
from entropice_core.dataset.folds import Fold
from entropice_core.grids.base import Grid
from entropice_core.models.base import Estimator, Matrix
from entropice_core.models.preprocess import PreparedClassifier
from entropice_core.plots.files import write_figure
from entropice_core.plots.proxies import proxies
from entropice_core.training.calibrate import Calibrator
from entropice_core.training.class_metrics import class_log_loss
from entropice_core.training.folds_of_study import folds_of_study
from entropice_core.training.persist import LoadedModel
from entropice_core.training.problem import Problem, child_seed
from entropice_core.training.results import plain
from entropice_core.training.shap_trees import explain_trees, explains
from entropice_core.training.stability import describe_stability
from entropice_core.training.train import make_problem, of_sources

VERSION = "1"
TOP = 10
SHAP_ROWS = 200  # held-out rows of a fold that are explained: a mean over them, five folds and three seeds is steady
PERMUTATION, SHAP = "permutation within blocks", "Shapley values"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Say = Callable[[str], None]


def discover_proxies(
    name: str, study: Study, grid: Grid, table: xr.Dataset, model: LoadedModel, folder: Path, say: Say = lambda _: None
) -> dict[str, Any]:
    """Measure the variables of one model; write ``proxies.json``, ``proxies.csv`` and ``proxies.png``.

    Parameters
    ----------
    table : the training set
    model : the trained model, whose parameters and calibration are taken

    Returns
    -------
    dict of numbers for the manifest
    """
    table = of_sources(table, study.models[name].sources)
    problem, places = make_problem(name, study, table)
    folds, _ = folds_of_study(study.folds, grid, places, study.study.seed, problem.rough_classes())
    blocks = np.unique(blocks_of(study, grid, places), return_inverse=True)[1]
    sources = table["source"].values.astype(str)
    measured = measure_fits(problem, folds, blocks, sources, study, model, say)
    names = list(problem.feature_names)
    source_names = list(dict.fromkeys(sources.tolist()))
    report = {
        "model": name,
        "grid": grid.key,
        "measures": {m: describe_stability(v, names, TOP) for m, v in measured.items() if v.shape[2] == len(names)},
        "sources": describe_stability(measured["sources"], source_names, 1),
        "source_of": dict(zip(names, sources.tolist(), strict=True)),
        "constant_in_blocks": _constant_in_blocks(problem.X, blocks, names),
        "agreement": _agreement(measured, len(names)),
        "folds": len(folds),
        "seeds": study.proxies.seeds,
        "top": TOP,
    }
    written: dict[str, Any] = plain(report)
    (folder / "proxies.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _write_table(folder / "proxies.csv", written)
    write_figure(proxies(written, f"{name}, {grid.key}, {study.study.name}"), folder / "proxies.png")
    lead = written["measures"][PERMUTATION]
    return {
        "fits": len(folds) * study.proxies.seeds,
        "first variable": lead["features"][0]["name"],
        "rank correlation between folds": lead["between_folds"]["spearman"],
        "rank correlation between seeds": lead["between_seeds"]["spearman"],
        "verdict": lead["verdict"],
    }


def measure_fits(
    problem: Problem,
    folds: Sequence[Fold],
    blocks: Int64,
    sources: npt.NDArray[np.str_],
    study: Study,
    model: LoadedModel,
    say: Say,
) -> dict[str, Float64]:
    """Fit every fold with every seed and measure it: measure -> (n_folds, n_seeds, n_features).

    ``sources`` is (n_folds, n_seeds, n_sources): the increase of the log loss when all features of one are shuffled.
    """
    found: dict[str, list[list[Float64]]] = {}
    params, seed = dict(model.extras["params"]), study.study.seed
    for i, fold in enumerate(folds):
        classes = problem.learn_classes(fold.train)
        y, y_test = problem.classify(classes, fold.train), problem.classify(classes, fold.test)
        look = _thinned(np.arange(fold.test.size), study.proxies.rows)
        rows = fold.test[look]
        for k in range(study.proxies.seeds):
            say(f"proxies: {fold.name}, seed {k + 1} of {study.proxies.seeds}")
            own_seed = child_seed(seed, "proxies", fold.name, str(k))
            fitted = problem.module.build(params, own_seed, problem.feature_names, classes.n_classes)
            fitted.fit(problem.X[fold.train], y, problem.weights_of(fold.train))
            scores = _permuted(
                fitted, model.calibrator, problem, rows, y_test[look], blocks[rows], sources, study, own_seed
            )
            scores |= problem.module.feature_scores(fitted)
            if explains(model.model) and isinstance(fitted, PreparedClassifier):
                scores[SHAP] = explain_trees(model.model, fitted, problem.X[_thinned(rows, SHAP_ROWS)]).strength()
            for measure, values in scores.items():
                found.setdefault(measure, [[] for _ in folds])[i].append(values)
    return {measure: np.array(values) for measure, values in found.items()}


def _permuted(
    fitted: Estimator,
    calibrator: Calibrator,
    problem: Problem,
    rows: Int64,
    y: Int64,
    blocks: Int64,
    sources: npt.NDArray[np.str_],
    study: Study,
    seed: int,
) -> dict[str, Float64]:
    """Return the mean increase of the held-out log loss, nats, when features and sources are shuffled within blocks."""
    X, weight = problem.X[rows], problem.weights_of(rows)
    base = class_log_loss(y, calibrator(fitted.predict_proba(X)), weight)

    def increase(columns: Int64, name: str) -> float:
        rng = np.random.default_rng(child_seed(seed, "shuffle", name))
        rise = []
        for _ in range(study.proxies.repeats):
            shuffled = X.copy()
            shuffled[:, columns] = X[shuffle_within(blocks, rng)][:, columns]
            rise.append(class_log_loss(y, calibrator(fitted.predict_proba(shuffled)), weight) - base)
        return float(np.mean(rise))

    single = [increase(np.array([i]), name) for i, name in enumerate(problem.feature_names)]
    whole = [increase(np.flatnonzero(sources == s), f"source {s}") for s in dict.fromkeys(sources.tolist())]
    return {PERMUTATION: np.array(single), "sources": np.array(whole)}


def shuffle_within(groups: Int64, rng: np.random.Generator) -> Int64:
    """Return an order of rows : (n,) that keeps every row within its group.

    >>> shuffle_within(np.array([0, 1, 0, 1]), np.random.default_rng(0)).tolist()
    [2, 3, 0, 1]
    """
    order = np.empty(groups.size, dtype=np.int64)
    places = np.argsort(groups, kind="stable")
    order[places] = np.lexsort((rng.random(groups.size), groups))
    return order


def _constant_in_blocks(X: Matrix, blocks: Int64, names: Sequence[str]) -> list[str]:
    """Name the features that are the same all over every block: shuffling within blocks says nothing about them."""
    order = np.argsort(blocks, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(blocks[order]) > 0])
    filled = np.nan_to_num(X[order])
    spread = np.maximum.reduceat(filled, starts) - np.minimum.reduceat(filled, starts)
    return [name for name, varies in zip(names, spread.max(axis=0) > 0, strict=True) if not varies]


def _agreement(measured: dict[str, Float64], n_features: int) -> list[dict[str, Any]]:
    """Compare the rankings of the measures, by means over all fits: what they agree on is a finding of the data."""
    from itertools import combinations

    from scipy.stats import spearmanr

    means = {m: v.mean(axis=(0, 1)) for m, v in measured.items() if m != "sources" and v.shape[2] == n_features}
    pairs = [(a, b) for a, b in combinations(means, 2) if np.ptp(means[a]) > 0 and np.ptp(means[b]) > 0]
    return [{"measures": [a, b], "rank_correlation": float(spearmanr(means[a], means[b]).statistic)} for a, b in pairs]


def _write_table(path: Path, report: dict[str, Any]) -> None:
    """Write one row for each measure and feature, and for each source."""
    import pandas as pd

    rows = [
        {"measure": measure, "source": report["source_of"][row["name"]], **row}
        for measure, described in report["measures"].items()
        for row in described["features"]
    ]
    rows += [
        {"measure": "whole source permuted", "source": row["name"], **row} for row in report["sources"]["features"]
    ]
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")


def _thinned(rows: Int64, most: int) -> Int64:
    return rows if rows.size <= most else rows[np.linspace(0, rows.size - 1, most).round().astype(np.int64)]
