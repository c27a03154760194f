"""What can be drawn on a map, with all words around it: quantity and unit, study, date, grid, licence, digest."""

import re
from calendar import month_name
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from entropice_core.dashboard.library import Library
from entropice_core.errors import ConfigError, nearest_hint
from entropice_core.plots.layer import LOGARITHMIC, Kind, Layer
from entropice_core.storage.partition import Partition

LABEL_VARIABLES = {
    "density": "RTS density: area of slumps per observed land area [m2 m-2]",
    "count": "number of RTS [1]",
    "rts_area_m2": "area of RTS [m2]",
    "observed_fraction": "observed share of the land [1]",
    "density_low": "RTS density, lower end of its interval [m2 m-2]",
    "density_high": "RTS density, upper end of its interval [m2 m-2]",
    "count_low": "number of RTS, lower end of its interval [1]",
    "count_high": "number of RTS, upper end of its interval [1]",
}
CELL_VARIABLES = {"land_fraction": "share of land [1]", "area_km2": "area of the cell [km2]"}
CLASS, OF, YES_NO = "likeliest class", ": ", ("no", "yes")
FIRST = ("probability", CLASS, "expected_density", "entropy", "is_applicable", "dissimilarity", "set_size")
"""What readers look for first."""

SHARES = ("land_fraction", "observed_fraction", "probability", "class_probability")
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
    dataset, partition = f"labels.{inventory}", Partition(grid, year)
    found = library.open(dataset, partition)
    _check(variable, label_variables(found), dataset)
    values = found[variable].values
    is_log = variable != "observed_fraction" and bool(np.nanmax(values, initial=0.0) > 0)
    words = LABEL_VARIABLES[variable] + (LOGARITHMIC if is_log else "")
    return _layer(library, dataset, partition, found, values, words, variable, inventory, is_log=is_log)


def label_variables(found: xr.Dataset) -> list[str]:
    """Name what labels hold for each cell; intervals are there for some inventories only."""
    return [name for name in LABEL_VARIABLES if name in found]


def feature_layer(library: Library, source: str, grid: str, year: int | None, feature: str) -> Layer:
    """One variable of one source."""
    partition = Partition(grid, year if library.study.sources[source].is_yearly else None)
    found = library.open(f"features.{source}", partition)
    names = found["feature"].values.astype(str).tolist()
    _check(feature, names, f"features.{source}")
    i = names.index(feature)
    words = quantity(str(found["long_name"].values[i]) or feature, str(found["unit"].values[i]))
    values = found["features"].isel(feature=i).values
    label = f"{named_month(feature, words)}: {words}"
    return _layer(library, f"features.{source}", partition, found, values, label, feature, source)


def named_month(feature: str, words: str) -> str:
    """Name the calendar month of a feature that was read along a dimension ``month``, as its long name says.

    Along other dimensions number 1 may be October, with which the Arctic year begins, or January: that is not guessed.

    >>> named_month("t2m_month_01", "2 m temperature, month 1"), named_month("t2m_month_01", "valid_time 1")
    ('t2m_month_01 (January)', 't2m_month_01')
    """
    found = re.search(r"\bmonth (1[0-2]|[1-9])\b", words)
    return f"{feature} ({month_name[int(found.group(1))]})" if found else feature


def prediction_variables(found: xr.Dataset) -> dict[str, str]:
    """Name what a prediction holds for each cell, with units; arrays of classes have one entry for each class."""
    known: dict[str, str] = {}
    for name, variable in found.data_vars.items():
        words = quantity(str(variable.attrs.get("long_name", name)), str(variable.attrs.get("units", "")))
        if variable.dims == ("cell",):
            known[str(name)] = words
        elif variable.dims == ("cell", "class"):
            known |= {f"{name}{OF}{c}": f"{words}: {c}" for c in found["class"].values.astype(str)}
    if "probability" in known:
        known[CLASS] = "likeliest class"
    first = [name for name in FIRST if name in known]
    return {name: known[name] for name in [*first, *sorted(set(known) - set(first))]}


def prediction_layer(library: Library, model: str, grid: str, year: int, variable: str = "probability") -> Layer:
    """What one model says about each cell in one year; cells outside the area of applicability are marked."""
    dataset, partition = f"prediction.{model}", Partition(grid, year)
    found = library.open(dataset, partition)
    known = prediction_variables(found)
    _check(variable, known, dataset)
    values, classes = prediction_values(found, variable)
    is_log = variable.startswith("expected_density") and bool(np.nanmax(values, initial=0.0) > 0)
    layer = _layer(
        library, dataset, partition, found, values, known[variable] + (LOGARITHMIC if is_log else ""),
        variable.partition(OF)[0], model, is_log=is_log, kind="classes" if classes else "sequential", classes=classes,
    )  # fmt: skip
    if "is_applicable" not in found or variable == "is_applicable":
        return layer
    return replace(layer, outside=found["is_applicable"].values == 0)


def prediction_values(found: xr.Dataset, variable: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Give the values (cell,) of a variable, and the names of its classes where its values are classes."""
    name, _, of_class = variable.partition(OF)
    if variable == CLASS:
        return likeliest_class(found)
    if of_class:
        at = found["class"].values.astype(str).tolist().index(of_class)
        return found[name].isel({"class": at}).values.astype(float), YES_NO if name == "in_set" else ()
    values = found[name].values.astype(float)
    if name == "observed_class" and "class" in found:
        return values, tuple(found["class"].values.astype(str))
    return values, {"is_applicable": ("outside", "inside"), "observed_positive": YES_NO}.get(name, ())


def likeliest_class(found: xr.Dataset) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Give the likeliest class of each cell (NaN without a prediction) and the names of the classes."""
    p = found["probability"].values
    if "class_probability" not in found:
        return np.where(np.isfinite(p), (p >= 0.5).astype(float), np.nan), ("negative", "positive")
    each = found["class_probability"].values
    likeliest = np.nan_to_num(each, nan=-1.0).argmax(axis=1).astype(float)
    return np.where(np.isfinite(p), likeliest, np.nan), tuple(found["class"].values.astype(str))


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
