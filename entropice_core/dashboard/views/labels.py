"""What inventories say: density, count and where they looked; over years; side by side; what was rejected and why."""

import numpy as np
import pandas as pd
import streamlit as st

from entropice_core.dashboard.layers import LABEL_VARIABLES, label_variables, labels_layer
from entropice_core.dashboard.library import Library
from entropice_core.dashboard.widgets import (
    choose,
    choose_grid,
    choose_projection,
    choose_year,
    columns_for,
    show_figure,
    show_map,
    show_table,
)
from entropice_core.dashboard.words import explain_missing, plain, readable, say
from entropice_core.labels.report import REASONS
from entropice_core.plots.distributions import bars, histogram, series
from entropice_core.plots.multiples import maps_side_by_side
from entropice_core.storage.partition import Partition

SUMMARY = {
    "rts_count": "number of RTS",
    "rts_area_km2": "area of RTS [km2]",
    "positive_cells": "cells with RTS",
    "observed_area_km2": "observed area [km2]",
}


def show(library: Library) -> None:
    """Show one inventory on one grid and year, then all years, all inventories, and the rejected features."""
    places = st.columns(5)
    with places[0]:
        inventory = choose("Inventory", list(library.study.inventories), "inventory", library.study.target.inventory)
    dataset = f"labels.{inventory}"
    with places[1]:
        grid = choose_grid(library, dataset)
    if grid is not None:
        with places[2]:
            year = choose_year(library, dataset, grid)
        if year is not None:
            known = label_variables(library.open(dataset, Partition(grid, year)))
            with places[3]:
                variable = choose("Variable", known, "label variable", show=readable)
            with places[4]:
                projection = choose_projection()
            _one(library, inventory, grid, year, variable, projection)
        _years(library, inventory, grid)
        _compared(library, grid)
        if year is not None:
            _side_by_side(library, grid, year, variable, projection)
    _rejected(library, inventory)


def _one(library: Library, inventory: str, grid: str, year: int, variable: str, projection: str) -> None:
    layer = labels_layer(library, inventory, grid, year, variable)
    name = f"labels_{inventory}_{grid}_{year}_{variable}"
    show_map(layer, name, projection)
    words = LABEL_VARIABLES[variable]
    figure = histogram(layer.values, words, f"{inventory}, {grid}, {year}", is_log=layer.is_log)
    show_figure(figure, f"{name}_histogram", f"Histogram: {words}")


def year_table(library: Library, inventory: str, grid: str) -> pd.DataFrame:
    """Counts of each published year of an inventory on a grid."""
    dataset = f"labels.{inventory}"
    rows = []
    for year in library.years(dataset, grid):
        counts = library.manifest(dataset, Partition(grid, year)).counts
        rows.append({"year": year, **{name: counts.get(name) for name in SUMMARY}})
    return pd.DataFrame(rows)


def _years(library: Library, inventory: str, grid: str) -> None:
    table = year_table(library, inventory, grid)
    if table.empty:
        return
    st.subheader("Year by year")
    for place, (name, words) in zip(columns_for(len(SUMMARY)), SUMMARY.items(), strict=True):
        with place:
            values = pd.to_numeric(table[name]).to_numpy(dtype=float)
            figure = series(table["year"].tolist(), {inventory: values}, words, f"{inventory}, {grid}", True, 5.0)
            show_figure(figure, f"labels_{inventory}_{grid}_{name}", f"{words} over years")
    show_table(table.rename(columns=SUMMARY), f"labels_{inventory}_{grid}_years")


def _compared(library: Library, grid: str) -> None:
    names = [name for name in library.study.inventories if library.years(f"labels.{name}", grid)]
    if len(names) < 2:
        return
    st.subheader("Inventories side by side")
    tables = [year_table(library, name, grid).assign(inventory=name) for name in names]
    together = pd.concat(tables, ignore_index=True)
    show_table(together[["inventory", "year", *SUMMARY]].rename(columns=SUMMARY), f"inventories_{grid}")
    show_table(agreement(library, names, grid), f"agreement_{grid}")


def _side_by_side(library: Library, grid: str, year: int, variable: str, projection: str) -> None:
    """Show what each inventory says of one year, in one view and one scale of colours."""
    names = [name for name in library.study.inventories if library.has(f"labels.{name}", Partition(grid, year))]
    shown = [n for n in names if variable in library.open(f"labels.{n}", Partition(grid, year))]
    if len(library.study.inventories) < 2:
        return
    if len(shown) < 2:
        say(f"In {year} only one inventory has {readable(variable)} on {grid}: choose another year or variable.")
        return
    drawn = [labels_layer(library, name, grid, year, variable) for name in shown]
    figure = maps_side_by_side(drawn, shown, projection)
    words = f"{readable(variable)} of {len(shown)} inventories in {year}, side by side"
    show_figure(figure, f"inventories_{grid}_{year}_{variable}", words)
    if rest := [name for name in library.study.inventories if name not in shown]:
        say(f"Without {readable(variable)} on {grid} in {year}: {', '.join(rest)}.")


def agreement(library: Library, names: list[str], grid: str) -> pd.DataFrame:
    """Compare inventories pair by pair on the cell-years that both looked at."""
    rows = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            years = sorted(set(library.years(f"labels.{a}", grid)) & set(library.years(f"labels.{b}", grid)))
            pairs = [_both(library, a, b, grid, year) for year in years]
            x, y = (np.concatenate(parts) for parts in zip(*pairs, strict=True)) if pairs else (np.empty(0),) * 2
            rows.append({"first": a, "second": b, "cell-years both observed": x.size, **_agree(x > 0, y > 0)})
    return pd.DataFrame(rows)


def _both(library: Library, a: str, b: str, grid: str, year: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = (library.open(f"labels.{name}", Partition(grid, year))["density"].values for name in (a, b))
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _agree(x: np.ndarray, y: np.ndarray) -> dict[str, float | int]:
    both, either = int((x & y).sum()), int((x | y).sum())
    shared = both / either if either else float("nan")
    return {"RTS in both": both, "only in the first": int((x & ~y).sum()), "only in the second": int((y & ~x).sum()),
            "share of cells with RTS that both have": round(shared, 3)}  # fmt: skip


def _rejected(library: Library, inventory: str) -> None:
    st.subheader("What was rejected, and why")
    dataset = f"inventory.{inventory}"
    if not library.has(dataset, Partition()):
        explain_missing(f"{dataset} was not built yet.", library.command(dataset))
        return
    counts = library.manifest(dataset, Partition()).counts
    total = counts.get("total", counts)
    rejected = dict(total.get("rejected", {}))
    config = library.study.inventories[inventory]
    say(f"{config.title}. {config.citation} {config.doi} Licence: {config.licence or 'not stated in the study'}.")
    st.markdown(plain(f"{total.get('in', 0):,} features read, {total.get('kept', 0):,} kept."))
    if not rejected:
        st.markdown("None was rejected.")
        return
    names = sorted(rejected, key=rejected.__getitem__, reverse=True)
    figure = bars(
        [n.replace("_", " ") for n in names], np.array([float(rejected[n]) for n in names]), "features", inventory
    )
    show_figure(figure, f"rejected_{inventory}", "Rejected features by reason")
    table = pd.DataFrame(
        [(n, rejected[n], REASONS.get(n, "")) for n in names], columns=["reason", "features", "meaning"]
    )
    show_table(table, f"rejected_{inventory}")
