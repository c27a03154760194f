"""Figures of published models, as the dashboard shows them and ``entropice plot`` writes them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from entropice_core.dashboard import layers, scores
from entropice_core.dashboard.library import Library
from entropice_core.dashboard.overview import PROVISIONAL, PUBLISHED, entries
from entropice_core.errors import ConfigError, MissingPartitionError, nearest_hint
from entropice_core.plots import priority, trust
from entropice_core.plots import scores as figures
from entropice_core.plots.layer import Layer
from entropice_core.plots.proxies import proxies as draw_proxies
from entropice_core.storage.partition import Partition


def tested_rows(library: Library, model: str, grid: str) -> pd.DataFrame:
    """Read the out-of-fold rows of a model; an error says how to make them."""
    rows = scores.out_of_fold(library, model, grid)
    if rows is None or not len(rows):
        partition = Partition(grid)
        raise MissingPartitionError(
            f"model.{model} {partition} holds no out-of-fold predictions: train it again "
            f"({library.command(f'model.{model}', partition, '--force')})."
        )
    return rows


def reliability(library: Library, model: str, grid: str) -> Figure:
    """Draw the reliability of one model before and after calibration."""
    rows = tested_rows(library, model, grid)
    forecasts = {"raw": rows["p_raw"].to_numpy(), "calibrated": rows["p"].to_numpy()}
    return figures.reliability(
        _positive(rows), forecasts, f"{model}, {grid}, {library.study.study.name}: spatial folds"
    )


def precision_recall(library: Library, models: list[str], grid: str) -> Figure:
    """Draw precision and recall of several models on their common rows."""
    tables = _common(library, models, grid)
    forecasts = {name: table["p"].to_numpy() for name, table in tables.items()}
    return figures.precision_recall(_positive(next(iter(tables.values()))), forecasts, f"{grid}: spatial folds")


def gain(library: Library, models: list[str], grid: str) -> Figure:
    """Draw what share of all slump density several models find when they may choose the cells to visit."""
    curves = {
        name: figures.gain_curve(np.nan_to_num(t["density"].to_numpy(dtype=float)), t["p"].to_numpy())
        for name, t in _common(library, models, grid).items()
    }
    return figures.gain(curves, f"{grid}, {library.study.study.name}: spatial folds", "RTS density")


def importance(library: Library, model: str, grid: str, measure: str = "features") -> Figure:
    """Draw one measure of importance with its spread over folds."""
    table = importance_table(library, model, grid, measure)
    label = scores.IMPORTANCE_LABELS.get(measure, measure)
    mean, spread = table["mean"].to_numpy(), table["sd_over_folds"].to_numpy()
    return figures.importance(table["name"].tolist(), mean, spread, f"{model}, {grid}", label)


def importance_table(library: Library, model: str, grid: str, measure: str) -> pd.DataFrame:
    """Read one measure of importance."""
    tables = scores.importance_tables(library.read_json(f"model.{model}", Partition(grid), "importance.json"))
    if measure not in tables:
        raise ConfigError(f"model.{model} {grid} has no importance {measure!r}; {nearest_hint(measure, tables)}.")
    return tables[measure]


def layer_of(library: Library, dataset: str, partition: Partition, variable: str | None = None) -> Layer:
    """Make the map of any dataset of cells; without a variable the one that tells most."""
    kind, _, name = dataset.partition(".")
    if not library.has(dataset, partition):
        raise MissingPartitionError(library.missing_words(dataset, partition))
    grid, year = str(partition.grid), partition.year
    if kind == "cells":
        return layers.cells_layer(library, grid, variable or "land_fraction")
    if kind == "labels":
        return layers.labels_layer(library, name, grid, int(year or 0), variable or "density")
    if kind == "features":
        first = str(library.open(dataset, partition)["feature"].values[0])
        return layers.feature_layer(library, name, grid, year, variable or first)
    if kind == "prediction":
        return layers.prediction_layer(library, name, grid, int(year or 0), variable or "probability")
    raise ConfigError(f"{dataset} is not on cells: maps are drawn of cells, labels.*, features.* and prediction.*.")


def saved_land(library: Library, model: str, partition: Partition) -> Figure:
    """Draw the gain of a ranking on held-out cells with its interval, the best there could be, and chance."""
    dataset = f"priority.{model}"
    report = library.read_json(dataset, partition, "gain.json")
    if not report:
        raise MissingPartitionError(library.missing_words(dataset, partition))
    return priority.saved_land(report, f"{model}, {partition.grid}, {library.study.study.name}: held-out cells")


def coverage(library: Library, model: str, grid: str) -> Figure:
    """Draw how often conformal sets hold the truth in each held-out fold, and how large they are."""
    partition = Partition(grid)
    found = library.read_json(f"model.{model}", partition, "trust.json")
    if not found:
        command = library.command(f"model.{model}", partition, "--force")
        raise MissingPartitionError(f"model.{model} {partition} holds no conformal sets: train it again ({command}).")
    measured = found["conformal"]["measured"]
    cv = library.read_json(f"model.{model}", partition, "cv.json") or {}
    return trust.coverage(measured, scores.class_names(cv), f"{model}, {grid}: conformal sets")


TRUST = {
    "reliability_by": "Reliability by class and by region",
    "dissimilarity": "Dissimilarity to the training cells, and the edge of the area of applicability",
    "distances": "Distances to training cells: folds against the map",
}
"""Figures that were published as PNG beside a model, and what they show."""


def why_not_again(library: Library, model: str, grid: str) -> str:
    """Say why figures of trust cannot be drawn again: what the model was made from is no longer there; or nothing."""
    dataset, partition = f"model.{model}", Partition(grid)
    found = next(e for e in entries(library, [grid]) if (e.dataset, e.partition) == (dataset, partition))
    if found.state in (PUBLISHED, PROVISIONAL):
        return ""
    return (
        f"{dataset} {partition} is {found.state} ({found.reason or 'it was not built yet'}), so that its figures of "
        f"trust cannot be drawn again: {library.command(dataset, partition)}"
    )


def trust_figure(library: Library, model: str, grid: str, name: str) -> Figure:
    """Draw a figure of ``TRUST`` from the same numbers, measured again, by the function that drew the published one."""
    from entropice_core.applicability.trust import measure_trust, trust_figures

    if name not in TRUST:
        raise ConfigError(f"There is no figure of trust {name!r}; {nearest_hint(name, TRUST)}.")
    if problem := why_not_again(library, model, grid):
        raise MissingPartitionError(problem)
    partition, on_grid, study = Partition(grid), library.grid(grid), library.study
    folder, table = library.folder(f"model.{model}", partition), library.open("training_set", partition).load()
    found = measure_trust(model, study, on_grid, table, library.open("cells", partition), folder)
    return trust_figures(model, study, on_grid, found, folder)[name]


def proxies(library: Library, model: str, grid: str) -> Figure:
    """Draw every measure of importance with its spread over folds and seeds."""
    dataset, partition = f"proxies.{model}", Partition(grid)
    report = library.read_json(dataset, partition, "proxies.json")
    if not report:
        raise MissingPartitionError(library.missing_words(dataset, partition))
    return draw_proxies(report, f"{model}, {grid}, {library.study.study.name}")


def ids_of(texts: list[object], grid: str) -> np.ndarray:
    """Read cell ids as files write them: hexadecimal for H3, numbers for HEALPix.

    >>> ids_of(["8404a4dffffffff"], "h3-4").tolist(), ids_of([12.0], "healpix-6").tolist()
    ([594556849680809983], [12])
    """
    if grid.startswith("h3"):
        return np.array([int(str(text), 16) for text in texts], dtype=np.uint64)
    return np.array([int(float(str(text))) for text in texts], dtype=np.uint64)


def _positive(rows: pd.DataFrame) -> np.ndarray:
    return np.asarray((rows["y"].to_numpy() > 0).astype(np.int64))


def _common(library: Library, models: list[str], grid: str) -> dict[str, pd.DataFrame]:
    """Read the tested rows of several models; those that were tested on other rows are left out after the first."""
    tables = {name: tested_rows(library, name, grid) for name in models}
    first = next(iter(tables.values()))
    return {name: t for name, t in tables.items() if t["cell_ids"].equals(first["cell_ids"])}
