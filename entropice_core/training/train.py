"""Validate, calibrate and fit one model of a study on one grid, and write all that a reviewer will ask for.

The folder gets ``model.json`` and ``arrays.npz`` (the model), ``cv.json`` (scores of every fold, with the random-fold
and permuted-label controls), ``importance.json``, ``out_of_fold.parquet`` (the predictions behind the scores) and
figures.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from entropice_core.config import Study
from entropice_core.dataset.folds import Fold, check_no_leakage, inner_folds_maker, make_folds
from entropice_core.grids.base import Grid
from entropice_core.models.base import load_module
from entropice_core.training.controls import permuted_labels, random_cv
from entropice_core.training.figures import draw_importance, draw_reliability, draw_search
from entropice_core.training.importance import Importances, measure_importances
from entropice_core.training.nested_cv import fit_final, nested_cv
from entropice_core.training.persist import Feature, save_model
from entropice_core.training.problem import Problem, child_seed, learn_edge
from entropice_core.training.results import CVResult, FinalModel, plain

VERSION = "1"
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
        The training set: ``features`` : (row, feature) float32, ``density`` : (row,) float32, m2 m-2, with the
        coordinates ``cell_ids``, ``year``, ``lon``, ``lat``, ``feature``, ``unit`` and ``source``.
    folder : Path
        An empty folder.
    say : function
        Called with what is being done.

    Raises
    ------
    TrainingError
        When the rows hold one class only, or too few blocks for the folds.
    """
    problem = _problem(name, study, table)
    at = {key: table[key].values for key in ("cell_ids", "lon", "lat")}
    seed = study.study.seed
    y = (problem.density > learn_edge(problem.target, problem.density)).astype(np.int64)
    folds = make_folds(study.folds, grid, at["cell_ids"], at["lon"], at["lat"], child_seed(seed, "folds"), y=y)
    check_no_leakage(folds, at["cell_ids"])
    inner = inner_folds_maker(study.folds, grid, at["cell_ids"], at["lon"], at["lat"])
    step = _teller(say, f"model.{name} {grid.key}")

    cv = nested_cv(problem, folds, inner, seed, step("spatial folds"))
    final = fit_final(problem, folds, seed, step("final model"))
    # The controls take the parameters of the final model: searching again would triple the time and not their meaning.
    chosen = replace(problem, config=study.models[name].model_copy(update={"params": final.params, "search": {}}))
    controls: dict[str, Any] = {"random": None, "permuted": None}
    if study.training.random_cv:
        controls["random"] = random_cv(chosen, study.folds, grid, **at, seed=seed, progress=step("random folds"))
    if study.training.permuted_control:
        years = table["year"].values
        controls["permuted"] = permuted_labels(chosen, folds, inner, at["cell_ids"], years, seed, step("permuted"))
    sources = table["source"].values.astype(str).tolist()
    importances = measure_importances(problem, cv, sources, study.training.importance_repeats, seed)
    report = _report(name, study, grid, problem, folds, cv, final, controls)
    _write(folder, name, study, table, report, cv, final, importances)
    return _counts(report, cv)


def _problem(name: str, study: Study, table: xr.Dataset) -> Problem:
    config = study.models[name]
    return Problem(
        module=load_module(config.model),
        config=config,
        X=table["features"].values.astype(np.float64),
        density=table["density"].values.astype(np.float64),
        target=study.target,
        feature_names=tuple(table["feature"].values.astype(str)),
        calibration=study.training.calibration,
    )


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
            "folds": {
                **study.folds.model_dump(mode="json"),
                "made": [
                    {"name": f.name, "train": f.train.size, "test": f.test.size, "buffer_dropped": f.n_buffer_dropped}
                    for f in folds
                ],
            },
            "spatial": _scores(cv.to_dict()),
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
    save_model(folder, study.models[name].model, final.fitted, final.calibrator, final.edge, features, extras)
    _write_json(folder / "cv.json", report)
    _write_json(folder / "importance.json", importances.to_dict())
    _out_of_fold(table, cv).to_parquet(folder / "out_of_fold.parquet", index=False)
    title = f"{name}, {report['grid']}, {study.study.name}: spatial folds"
    draw_reliability(folder / "reliability.png", cv.y, cv.p_raw, cv.p, title)
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
    return pd.DataFrame(
        {
            "cell_ids": table["cell_ids"].values[cv.row],
            "year": table["year"].values[cv.row],
            "fold": np.array([fold.name for fold in cv.folds])[cv.fold],
            "density": table["density"].values[cv.row],
            "y": cv.y,
            "p_raw": cv.p_raw,
            "p": cv.p,
        }
    )


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
