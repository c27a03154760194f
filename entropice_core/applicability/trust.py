"""How far a trained model may be trusted: conformal sets, area of applicability, distances; kept beside the model.

Everything is learned from the held-out predictions and the folds of the training, never from the final model's own
fit. ``trust.json`` and ``trust.npz`` stand in the folder of the model, with figures; predictions read them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from entropice_core.applicability.distances import DistanceMatch, match_distances
from entropice_core.applicability.index import Applicability, learn_applicability
from entropice_core.config import Study
from entropice_core.dataset.folds import Fold
from entropice_core.errors import SchemaError, StoreError
from entropice_core.grids.base import Grid
from entropice_core.plots import trust as figures
from entropice_core.plots.files import write_figure
from entropice_core.training.conformal import ConformalSets, fit_sets, measure_coverage
from entropice_core.training.folds_of_study import folds_of_study, regions_of
from entropice_core.training.persist import digest_arrays, digest_description, read_npz, write_npz
from entropice_core.training.problem import Places
from entropice_core.training.results import plain
from entropice_core.training.train import make_problem, of_sources

VERSION = "1"
TRUST_FILE, TRUST_ARRAYS = "trust.json", "trust.npz"
SCHEMA_VERSION = 1
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trust:
    """What predictions need to say how far they may be trusted."""

    sets: ConformalSets
    applicability: Applicability
    report: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of the trust in one model.

    Attributes
    ----------
    y, p : (n,) int64 and (n, n_classes) float64, classes and calibrated probabilities of the held-out rows
    regions : name -> (n,) bool, held-out rows of each region
    coverage : what ``measure_coverage`` found
    index : (n_training_rows,) float64, dissimilarity to the rows that a fold learned from, NaN where not measured
    n_folds : number of folds
    """

    sets: ConformalSets
    applicability: Applicability
    match: DistanceMatch
    y: npt.NDArray[np.int64]
    p: Float64
    regions: Mapping[str, npt.NDArray[np.bool_]]
    coverage: dict[str, Any]
    index: Float64
    n_folds: int


def add_trust(
    name: str, study: Study, grid: Grid, table: xr.Dataset, cells: xr.Dataset, folder: Path
) -> dict[str, float | str | None]:
    """Write the files of trust into the folder that ``train_model`` filled; return numbers for the manifest.

    Parameters
    ----------
    table : the training set
    cells : the cells of the study area, which are what a map will show
    """
    found = measure_trust(name, study, grid, table, cells, folder)
    report = {
        "schema_version": SCHEMA_VERSION,
        "conformal": {"sets": found.sets.to_dict(), "measured": found.coverage},
        "applicability": found.applicability.to_dict(),
        "distances": found.match.to_dict(),
    }
    save_trust(folder, report, found.applicability)
    for file, figure in trust_figures(name, study, grid, found, folder).items():
        write_figure(figure, folder / f"{file}.png")
    summary = found.coverage["summary"]
    return {
        "set coverage wanted": study.uncertainty.coverage,
        "set coverage held out": summary["coverage"]["mean"],
        "set size held out": summary["mean_size"]["mean"],
        "dissimilarity threshold": found.applicability.threshold,
        "distance match W km": found.match.w_km,
    }


def measure_trust(name: str, study: Study, grid: Grid, table: xr.Dataset, cells: xr.Dataset, folder: Path) -> Measured:
    """Measure how far the model in a folder may be trusted; the same inputs give the same numbers again."""
    problem, places = make_problem(name, study, of_sources(table, study.models[name].sources))
    folds, _ = folds_of_study(study.folds, grid, places, study.study.seed, problem.rough_classes())
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    held_out = pd.read_parquet(folder / "out_of_fold.parquet")
    if not np.array_equal(held_out["cell_ids"].to_numpy(), places.cell_ids[tested]):
        raise SchemaError(f"The held-out predictions of model.{name} are not those of the folds: train it again.")
    p, y = held_out_probabilities(held_out), held_out["y"].to_numpy()
    blocks = blocks_of(study, grid, places)[tested]
    parts = held_out["fold"].to_numpy() if len(folds) > 1 else blocks
    names = problem.feature_names
    splits = [(f.train, f.test) for f in folds]
    applicability, index = learn_applicability(problem.X, splits, importance_of(folder, names), names)
    return Measured(
        sets=fit_sets(p, y, blocks, study.uncertainty.coverage),
        applicability=applicability,
        match=match_cells(places, folds, cells),
        y=y,
        p=p,
        regions={region: rows[tested] for region, rows in regions_of(study.folds, places).items()},
        coverage=measure_coverage(p, y, blocks, parts, study.uncertainty.coverage),
        index=index,
        n_folds=len(folds),
    )


def trust_figures(name: str, study: Study, grid: Grid, found: Measured, folder: Path) -> dict[str, Figure]:
    """Draw what was measured: name of the figure -> figure, as they stand beside the model as PNG."""
    classes = json.loads((folder / "cv.json").read_text(encoding="utf-8"))["classes"]["names"]
    title, match = f"{name}, {grid.key}, {study.study.name}", found.match
    drawn = {
        "reliability_by": figures.reliability_by(found.y, found.p, classes, found.regions, title),
        "distances": figures.distances(match.cv, match.random, match.prediction, match.w_km, f"{title}: distances"),
        "dissimilarity": figures.dissimilarity(
            found.index, found.applicability.threshold, f"{title}: area of applicability"
        ),
    }
    if found.n_folds > 1:
        drawn["coverage"] = figures.coverage(found.coverage, classes, f"{title}: conformal sets")
    return drawn


def load_trust(folder: Path) -> Trust:
    """Read what ``add_trust`` wrote.

    Raises
    ------
    StoreError
        A file is missing, or was changed after it was written.
    SchemaError
        A file is not what it should be.
    """
    path = folder / TRUST_FILE
    if not path.is_file():
        raise StoreError(f"{path} is not there: the model was not saved whole, build it again.")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SchemaError(f"{path} is not JSON ({error}): build the model again.") from error
    if not isinstance(report, dict) or report.get("schema_version") != SCHEMA_VERSION:
        raise SchemaError(f"{path} is of another version than {SCHEMA_VERSION}: build the model again.")
    arrays = read_npz(folder / TRUST_ARRAYS)
    if digest_description(report) != report.get("sha256") or digest_arrays(arrays) != report["arrays"]["sha256"]:
        raise StoreError(f"{path} or {TRUST_ARRAYS} was changed after it was written: build the model again.")
    sets = ConformalSets.from_dict(report["conformal"]["sets"])
    return Trust(sets, Applicability.from_parts(arrays, report["applicability"]), report)


def held_out_probabilities(held_out: pd.DataFrame) -> Float64:
    """Return the calibrated probabilities : (n, n_classes) of a table of held-out predictions."""
    columns = sorted((c for c in held_out if str(c).startswith("p_class_")), key=lambda c: int(str(c).split("_")[-1]))
    if columns:
        return held_out[columns].to_numpy(dtype=np.float64)
    p = held_out["p"].to_numpy(dtype=np.float64)
    return np.column_stack([1.0 - p, p])


def blocks_of(study: Study, grid: Grid, places: Places) -> npt.NDArray[np.uint64]:
    """Return the block of each row : (n,), the unit in which cells count as alike: parents at the block level."""
    level = min(dict(study.folds.block_level).get(grid.name, grid.level), grid.level)  # type: ignore[call-overload]
    return grid.parents(places.cell_ids, level)


def importance_of(folder: Path, names: Sequence[str]) -> Float64 | None:
    """Read the permutation importance of each feature : (n_features,), None where it was not measured."""
    rows = json.loads((folder / "importance.json").read_text(encoding="utf-8"))["features"]
    known = {row["name"]: row["log_loss_increase"] for row in rows}
    return np.array([known[name] or 0.0 for name in names]) if known else None


def match_cells(places: Places, folds: Sequence[Fold], cells: xr.Dataset) -> DistanceMatch:
    """Compare the distances of folds and map, each cell counted once whatever its years."""
    _, first, of_row = np.unique(places.cell_ids, return_index=True, return_inverse=True)
    splits = [(np.unique(of_row[fold.train]), np.unique(of_row[fold.test])) for fold in folds]
    return match_distances(places.lon[first], places.lat[first], splits, cells["lon"].values, cells["lat"].values)


def save_trust(folder: Path, report: dict[str, Any], found: Applicability) -> None:
    """Write ``trust.json`` and ``trust.npz``, with digests of both."""
    arrays = found.to_arrays()
    description = plain({**report, "arrays": {"file": TRUST_ARRAYS, "sha256": digest_arrays(arrays)}})
    description["sha256"] = digest_description(description)
    write_npz(folder / TRUST_ARRAYS, arrays)
    text = json.dumps(description, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    (folder / TRUST_FILE).write_text(text, encoding="utf-8")
