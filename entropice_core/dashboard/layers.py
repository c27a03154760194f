"""What can be drawn on a map, with all words around it: quantity and unit, study, date, grid, licence, digest."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from entropice_core.dashboard.library import Library
from entropice_core.errors import ConfigError, nearest_hint
from entropice_core.plots.layer import Kind, Layer
from entropice_core.storage.partition import Partition

LABEL_VARIABLES = {
    "density": "RTS density: area of slumps per observed land area [m2 m-2]",
    "count": "number of RTS [1]",
    "rts_area_m2": "area of RTS [m2]",
    "observed_fraction": "observed share of the land [1]",
}
CELL_VARIABLES = {"land_fraction": "share of land [1]", "area_km2": "area of the cell [km2]"}
SHARES = ("land_fraction", "observed_fraction", "probability", "observed_positive")
"""Quantities that are drawn from 0 to 1, so that maps can be compared."""


def cells_layer(library: Library, grid: str, variable: str) -> Layer:
    """Area or land share of the cells of a grid."""
    _check(variable, CELL_VARIABLES, "cells")
    found = library.cells(grid)
    values = found["area_m2"].values / 1e6 if variable == "area_km2" else found[variable].values
    return _layer(
        library, "cells", Partition(grid), found, values, CELL_VARIABLES[variable], variable, "land and cells"
    )


def labels_layer(library: Library, inventory: str, grid: str, year: int, variable: str) -> Layer:
    """What one inventory says about each cell in one year."""
    _check(variable, LABEL_VARIABLES, "labels")
    dataset, partition = f"labels.{inventory}", Partition(grid, year)
    found = library.open(dataset, partition)
    values = found[variable].values
    is_log = variable in ("density", "rts_area_m2", "count") and bool(np.nanmax(values, initial=0.0) > 0)
    words = LABEL_VARIABLES[variable] + (", logarithmic; 0 has the lowest colour" if is_log else "")
    return _layer(library, dataset, partition, found, values, words, variable, inventory, is_log=is_log)


def feature_layer(library: Library, source: str, grid: str, year: int | None, feature: str) -> Layer:
    """One variable of one source."""
    partition = Partition(grid, year if library.study.sources[source].is_yearly else None)
    found = library.open(f"features.{source}", partition)
    names = found["feature"].values.astype(str).tolist()
    _check(feature, names, f"features.{source}")
    i = names.index(feature)
    words = quantity(str(found["long_name"].values[i]) or feature, str(found["unit"].values[i]))
    values = found["features"].isel(feature=i).values
    return _layer(library, f"features.{source}", partition, found, values, f"{feature}: {words}", feature, source)


def prediction_variables(found: xr.Dataset) -> dict[str, str]:
    """Name what a prediction holds for each cell, with units; the class is worked out from the probability."""
    names = {str(n): v for n, v in found.data_vars.items() if v.dims == ("cell",)}
    first = [n for n in ("probability", "predicted_class", "entropy", "expected_density") if n in names]
    ordered = [*first, *sorted(set(names) - set(first))]
    known = {
        n: quantity(str(names[n].attrs.get("long_name", n)), str(names[n].attrs.get("units", ""))) for n in ordered
    }
    if "probability" in known and "predicted_class" not in known:
        known["class"] = "likelier class (probability of 0.5 and more)"
    return known


def prediction_layer(library: Library, model: str, grid: str, year: int, variable: str = "probability") -> Layer:
    """What one model says about each cell in one year."""
    dataset, partition = f"prediction.{model}", Partition(grid, year)
    found = library.open(dataset, partition)
    known = prediction_variables(found)
    _check(variable, known, dataset)
    kind: Kind = "sequential"
    classes: tuple[str, ...] = ()
    if variable == "class":
        p = found["probability"].values
        values = np.where(np.isfinite(p), (p >= 0.5).astype(float), np.nan)
        kind, classes = "classes", ("negative", "positive")
    else:
        values = found[variable].values.astype(float)
        classes = _class_names(found[variable])
        kind = "classes" if classes else "sequential"
    return _layer(
        library, dataset, partition, found, values, known[variable], variable, model, kind=kind, classes=classes
    )


def _class_names(variable: xr.DataArray) -> tuple[str, ...]:
    """Read CF ``flag_meanings``; a yes/no variable of small integers or truth values has two."""
    meanings = variable.attrs.get("flag_meanings")
    if isinstance(meanings, str):
        return tuple(word.replace("_", " ") for word in meanings.split())
    if variable.dtype.kind == "b":
        return ("no", "yes")
    return ()


def map_extra(library: Library, model: str, grid: str, year: int) -> xr.Dataset:
    """Open a prediction, for what is shown beside the map."""
    return library.open(f"prediction.{model}", Partition(grid, year))


def table_layer(
    library: Library, dataset: str, partition: Partition, ids: NDArray[np.uint64], values: NDArray[np.float64],
    label: str, kind: Kind = "sequential", classes: tuple[str, ...] = (),
) -> Layer:  # fmt: skip
    """Values of any cells, in any order, that belong to a published dataset."""
    order = np.argsort(ids, kind="stable")
    found = xr.Dataset(coords={"cell_ids": ("cell", ids[order])})
    name = dataset.partition(".")[2]
    return _layer(library, dataset, partition, found, values[order], label, "", name, kind=kind, classes=classes)


def _layer(
    library: Library, dataset: str, partition: Partition, found: xr.Dataset, values: NDArray[np.float64],
    label: str, variable: str, who: str, is_log: bool = False, kind: Kind = "sequential", classes: tuple[str, ...] = (),
) -> Layer:  # fmt: skip
    manifest = library.manifest(dataset, partition)
    when = "all years" if partition.year is None else f"Arctic year {partition.year}"
    ids = found["cell_ids"].values.astype(np.uint64)
    provisional = " · provisional" if manifest.provisional else ""
    return Layer(
        grid=library.grid(str(partition.grid)),
        cell_ids=ids,
        values=np.asarray(values, dtype=np.float64),
        label=label,
        title=library.study.study.title,
        subtitle=f"{when} · {who} · grid {partition.grid} ({ids.size:,} cells){provisional}",
        footer=(f"{dataset} {partition} · digest {manifest.digest[:12]}", *library.licence_words(dataset)),
        low=0.0 if variable in SHARES else None,
        high=1.0 if variable in SHARES else None,
        is_log=is_log,
        kind=kind,
        classes=classes,
    )


def quantity(words: str, unit: str) -> str:
    """Put the unit after the words.

    >>> quantity("2 m temperature", "degC"), quantity("class", "")
    ('2 m temperature [degC]', 'class')
    """
    return f"{words} [{unit}]" if unit and not words.endswith(f"[{unit}]") else words


def _check(name: str, known: Iterable[str], what: str) -> None:
    if name not in list(known):
        raise ConfigError(f"{what} has no variable {name!r}; {nearest_hint(name, known)}.")
