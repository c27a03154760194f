"""Where to look next: unobserved cells by the slump area to be expected there, what that saves, and a download."""

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import streamlit as st

from entropice_core.dashboard import pictures
from entropice_core.dashboard.layers import table_layer
from entropice_core.dashboard.library import Library
from entropice_core.dashboard.scores import best_model
from entropice_core.dashboard.widgets import (
    choose,
    choose_grid,
    choose_projection,
    choose_year,
    show_figure,
    show_map,
    show_table,
)
from entropice_core.dashboard.words import explain_missing, plain, save
from entropice_core.storage.partition import Partition

MOST_ROWS = 1000
"""Rows of the ranking that are shown; the files have all."""


def show(library: Library) -> None:
    """Show the ranking of one model on one grid and year, its map and its gain curve."""
    models = [m for m in library.of_kind("priority") if library.grids(f"priority.{m}")]
    if not models:
        known = library.of_kind("priority")
        explain_missing(
            "No ranking of unobserved cells was made yet.",
            library.command(f"priority.{known[0]}" if known else "priority"),
        )
        return
    places = st.columns(4)
    with places[0]:
        model = choose("Model", models, "model", default=best_model(library, models))
    dataset = f"priority.{model}"
    with places[1]:
        grid = choose_grid(library, dataset)
    if grid is None:
        return
    with places[2]:
        year = choose_year(library, dataset, grid)
    with places[3]:
        projection = choose_projection()
    if year is not None:
        _ranking(library, model, Partition(grid, year), projection)


def _ranking(library: Library, model: str, partition: Partition, projection: str) -> None:
    dataset, name = f"priority.{model}", f"priority_{model}_{partition.key}"
    folder = library.folder(dataset, partition)
    ranked = gpd.read_parquet(folder / "priority.parquet")
    if not len(ranked):
        st.info("Every cell was observed already in this year: nothing is left to rank.")
    else:
        layer = table_layer(
            library, dataset, partition, pictures.ids_of(ranked["cell_id"].tolist(), str(partition.grid)),
            ranked["land_share"].to_numpy(dtype=float),
            "share of the unobserved land processed before a cell (0 = first; extrapolations last)",
        )  # fmt: skip
        show_map(replace(layer, low=0.0, high=1.0, kind="rank"), name, projection)
    _gain(library, model, partition, name)
    if len(ranked):
        table = ranked.drop(columns="geometry").head(MOST_ROWS)
        st.caption(plain(f"The first {len(table):,} of {len(ranked):,} cells."))
        show_table(table.replace([np.inf, -np.inf], np.nan), name)
    few = library.manifest(dataset, partition).counts.get("in GeoJSON", len(ranked))
    files = {
        "priority.parquet": (f"GeoParquet, all {len(ranked):,} cells", "application/octet-stream"),
        "priority.geojson": (f"GeoJSON, the first {few:,} cells", "application/geo+json"),
    }
    with st.container(horizontal=True):
        for file, (words, mime) in files.items():
            if (folder / file).is_file():
                save(words, (folder / file).read_bytes, f"{name}{Path(file).suffix}", mime)


def _gain(library: Library, model: str, partition: Partition, name: str) -> None:
    report = library.read_json(f"priority.{model}", partition, "gain.json")
    if not report:
        return
    left, right = st.columns([3, 2])
    with left:
        show_figure(pictures.saved_land(library, model, partition), f"gain_{name}", "Gain curve with its interval")
    for recall, entry in sorted(report.get("saved", {}).items()):
        span = f"{report.get('interval', 0.9):.0%} interval over blocks: {entry['low']:.0%} to {entry['high']:.0%}"
        words = f"land saved when {float(recall):.0%} of the slump area is wanted"
        right.metric(plain(words), f"{entry['share']:.0%}", help=plain(span))
