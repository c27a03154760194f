"""Validate, calibrate and fit one model of a study on one grid, and write all that a reviewer will ask for.

The folder gets ``model.json`` and ``arrays.npz`` (the model), ``cv.json`` (scores of every fold and region, with the
temporal hold-out and the random-fold and permuted-label controls), ``importance.json``, ``out_of_fold.parquet`` (the
predictions behind the scores), ``cost.json`` (time and memory, no part of the result) and figures.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from entropice_core.config import FoldsConfig, Study
from entropice_core.dataset.folds import Fold
from entropice_core.grids.base import Grid
from entropice_core.labels.uncertainty import training_weights
from entropice_core.models.base import load_module
from entropice_core.models.gpu import device_of
from entropice_core.training.controls import permuted_labels, random_cv
from entropice_core.training.cost import Clock
from entropice_core.training.figures import draw_importance, draw_precision_recall, draw_reliability, draw_search
from entropice_core.training.folds_of_study import folds_of_study, regions_of, time_fold
from entropice_core.training.importance import Importances, measure_importances
from entropice_core.training.nested_cv import fit_final, nested_cv
from entropice_core.training.persist import Feature, save_model
from entropice_core.training.problem import Places, Problem
from entropice_core.training.results import CVResult, FinalModel, plain

VERSION = "2"
COST = "cost.json"
"""The file that does not count for the digest of a model."""
Say = Callable[[str], None]


def train_model(
    name: str, study: Study, grid: Grid, table: xr.Dataset, folder: Path, say: Say = lambda _: None
) -> dict[str, Any]:
    """Train one model of a study and write its folder; return counts for the manifest.

    Parameters
    ----------
    name : str
        Name of the model in ``[models]`` of the study.
    table : Dataset
        The training set: ``features`` : (row, feature) float32, ``density`` : (row,) float32, m2 m-2, ``count`` and
        ``observed_area_m2`` : (row,), with the coordinates ``cell_ids``, ``year``, ``lon``, ``lat``, ``feature``,
        ``unit`` and ``source``.
    folder : Path
        An empty folder.
    say : function
        Called with what is being done.

    Raises
    ------
    TrainingError
        When the rows hold one class only, or too few blocks for the folds.
    """
    clock = Clock.start()
    table = of_sources(table, study.models[name].sources)
    problem, places = make_problem(name, study, table)
    seed = study.study.seed
    step = _teller(say, f"model.{name} {grid.key}")
    folds, inner = folds_of_study(study.folds, grid, places, seed, problem.rough_classes())
    cv = nested_cv(problem, folds, inner, seed, step("outer folds"))
    final = fit_final(problem, folds, seed, step("final model"))
    # The controls take the parameters of the final model: searching again would triple the time and not their meaning.
    fixed = {"params": final.params, "search": {}, "method": "grid"}
    chosen = replace(problem, config=study.models[name].model_copy(update=fixed))
    at = {"cell_ids": places.cell_ids, "lon": places.lon, "lat": places.lat}
    controls: dict[str, Any] = {"random": None, "permuted": None, "temporal": None}
    if study.training.random_cv:
        controls["random"] = random_cv(chosen, study.folds, grid, **at, seed=seed, progress=step("random folds"))
    if study.training.permuted_control:
        said = step("permuted labels")
        controls["permuted"] = permuted_labels(chosen, folds, inner, places.cell_ids, places.year, seed, said)
    if study.folds.train_until is not None and study.folds.kind != "temporal":
        fold = time_fold(study.folds, places)
        controls["temporal"] = nested_cv(chosen, [fold], inner, seed, step("temporal hold-out"))
    sources = table["source"].values.astype(str).tolist()
    importances = measure_importances(problem, cv, sources, study.training.importance_repeats, seed)
    report = _report(name, study, grid, problem, folds, cv, final, controls)
    _write(folder, name, study, table, report, cv, final, importances)
    _write_json(folder / COST, clock.stop(device_of(final.params)))
    return _counts(report, cv)


def of_sources(table: xr.Dataset, sources: Collection[str]) -> xr.Dataset:
    """Keep the features of some sources; of all when none is named."""
    if not sources:
        return table
    return table.isel(feature=np.flatnonzero(np.isin(table["source"].values.astype(str), list(sources))))


def make_problem(name: str, study: Study, table: xr.Dataset) -> tuple[Problem, Places]:
    """Take what is to be learned from a training set, and where its rows are."""
    config, target = study.models[name], study.target
    places = Places(
        cell_ids=table["cell_ids"].values,
        lon=table["lon"].values.astype(np.float64),
        lat=table["lat"].values.astype(np.float64),
        year=table["year"].values.astype(np.int64),
    )
    count = table["count"].values.astype(np.float64)
    by_area = target.weights == "observed_area"
    problem = Problem(
        module=load_module(config.model),
        config=config,
        X=table["features"].values,  # float32, as the store keeps them
        density=table["density"].values.astype(np.float64),
        target=target,
        feature_names=tuple(table["feature"].values.astype(str)),
        calibration=study.training.calibration,
        count=count if target.task == "count_class" else None,
        weight=training_weights(table["observed_area_m2"].values, count) if by_area else None,
        places=places,
    )
    return problem, places


def _teller(say: Say, what: str) -> Callable[[str], Callable[[int, int, str], None]]:
    def part(name: str) -> Callable[[int, int, str], None]:
        return lambda done, total, doing: say(f"{what}: {name} {done}/{total} {doing}")

    return part


def _report(
    name: str,
    study: Study,
    grid: Grid,
    problem: Problem,
    folds: list[Fold],
    cv: CVResult,
    final: FinalModel,
    controls: dict[str, Any],
) -> dict[str, Any]:
    report: dict[str, Any] = plain(
        {
            "study": study.study.name,
            "model": name,
            "grid": grid.key,
            "seed": study.study.seed,
            "rows": len(problem.X),
            "positives": final.n_positive,
            "features": list(problem.feature_names),
            "task": study.target.task,
            "classes": {
                "names": final.classes.names(),
                "quantity": final.classes.quantity,
                "edges": list(final.classes.edges),
                "rows": list(final.classes.n_rows),
            },
            "weights": study.target.weights,
            "folds": {
                **study.folds.model_dump(mode="json"),
                "made": [_fold(fold) for fold in folds],
            },
            "spatial": _scores(cv.to_dict()),
            "regions": _by_region(study.folds, problem, cv),
            "final": {
                "params": final.params,
                "edge": final.edge,
                "calibrator": final.calibrator.to_dict(),
                "candidates": final.candidates,
            },
            **{kind: _scores(result.to_dict()) if result else None for kind, result in controls.items()},
        }
    )
    return report


def _fold(fold: Fold) -> dict[str, Any]:
    dropped = {"buffer_dropped": fold.n_buffer_dropped, "pixel_dropped": fold.n_pixel_dropped}
    return {"name": fold.name, "train": fold.train.size, "test": fold.test.size, **dropped}


def _by_region(config: FoldsConfig, problem: Problem, cv: CVResult) -> dict[str, Any]:
    """Score the held-out predictions of each region; a region without a tested row is left out."""
    regions = {} if problem.places is None else regions_of(config, problem.places)
    inside = {name: rows[cv.row] for name, rows in regions.items()}
    return {name: cv.scores_of(rows) for name, rows in inside.items() if rows.any()}


def _scores(result: dict[str, Any]) -> dict[str, Any]:
    """Put calibrated scores where readers look first; the raw ones stay beside them."""
    summary = result.pop("summary")
    for fold in result["folds"]:
        fold["metrics"] = fold.pop("calibrated")
        fold["metrics_raw"] = fold.pop("raw")
    return {"summary": summary["calibrated"], "summary_raw": summary["raw"], **result}


def _write(
    folder: Path,
    name: str,
    study: Study,
    table: xr.Dataset,
    report: dict[str, Any],
    cv: CVResult,
    final: FinalModel,
    importances: Importances,
) -> None:
    names = table["feature"].values.astype(str)
    features = [Feature(n, u) for n, u in zip(names, table["unit"].values.astype(str), strict=True)]
    extras = {"params": final.params, "seed": final.seed, "rows": final.n_rows, "positives": final.n_positive}
    save_model(
        folder,
        study.models[name].model,
        final.fitted,
        final.calibrator,
        final.classes,
        str(report["grid"]),
        features,
        extras,
    )
    _write_json(folder / "cv.json", report)
    _write_json(folder / "importance.json", importances.to_dict())
    _out_of_fold(table, cv).to_parquet(folder / "out_of_fold.parquet", index=False)
    title = f"{name}, {report['grid']}, {study.study.name}: spatial folds"
    positive = (cv.y > 0).astype(np.int64)
    draw_reliability(folder / "reliability.png", positive, cv.p_raw, cv.p, title)
    draw_precision_recall(folder / "precision_recall.png", positive, cv.p, title, cv.weight)
    if importances.features.names:
        found = importances.features
        draw_importance(folder / "importance.png", found.names, found.mean(), _spread(found.sd_over_folds()), title)
    if len(final.candidates) > 1:
        draw_search(folder / "search.png", final.candidates, f"{name}, {report['grid']}: candidates")


def _spread(sd: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(sd), sd, 0.0)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _out_of_fold(table: xr.Dataset, cv: CVResult) -> pd.DataFrame:
    """Table every tested row with its cell, year, fold and prediction: what the scores were computed from."""
    found = {
        "cell_ids": table["cell_ids"].values[cv.row],
        "year": table["year"].values[cv.row],
        "fold": np.array([fold.name for fold in cv.folds])[cv.fold],
        "density": table["density"].values[cv.row],
        "y": cv.y,
        "p_raw": cv.p_raw,
        "p": cv.p,
        "weight": np.ones(cv.y.size) if cv.weight is None else cv.weight,
        **cv.losses,
    }
    n_classes = cv.proba.shape[1]
    if n_classes > 2:
        found |= {f"p_class_{k}": cv.proba[:, k] for k in range(n_classes)}
        found |= {f"p_raw_class_{k}": cv.proba_raw[:, k] for k in range(n_classes)}
    return pd.DataFrame(found)


def _counts(report: dict[str, Any], cv: CVResult) -> dict[str, Any]:
    summary = report["spatial"]["summary"]
    shown = {metric: summary[metric]["mean"] for metric in ("roc_auc", "log_loss", "brier") if metric in summary}
    return {
        "rows": report["rows"],
        "positives": report["positives"],
        "folds": len(cv.folds),
        "rows never tested": cv.n_never_tested,
        "features": len(report["features"]),
        **{f"spatial {metric}": value for metric, value in shown.items()},
    }
