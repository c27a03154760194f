"""The cells of a level: where, how large, how much land."""

import pandas as pd
import streamlit as st

from entropice_core.dashboard.layers import CELL_VARIABLES, cells_layer
from entropice_core.dashboard.library import Library
from entropice_core.dashboard.widgets import choose, choose_grid, choose_projection, show_figure, show_map, show_table
from entropice_core.plots.distributions import histogram
from entropice_core.storage.partition import Partition


def show(library: Library) -> None:
    """Show the cells of one grid and the distribution of their areas and land."""
    first, second, third = st.columns(3)
    with first:
        grid = choose_grid(library, "cells")
    if grid is None:
        return
    with second:
        variable = choose("Variable", list(CELL_VARIABLES), "cell variable", show=CELL_VARIABLES.__getitem__)
    with third:
        projection = choose_projection()
    layer = cells_layer(library, grid, variable)
    show_map(layer, f"cells_{grid}_{variable}", projection)
    for place, name in zip(st.columns(2), CELL_VARIABLES, strict=True):
        with place:
            shown = cells_layer(library, grid, name)
            figure = histogram(shown.values, shown.label, f"{grid}")
            show_figure(figure, f"cells_{grid}_{name}_histogram", f"Histogram of the {name} of cells of {grid}")
    show_table(_counts(library), "cells")


def _counts(library: Library) -> pd.DataFrame:
    rows = []
    for grid in library.grids("cells"):
        cells = library.cells(grid)
        counts = library.manifest("cells", Partition(grid)).counts
        area = cells["area_m2"].values / 1e6
        rows.append(
            {
                "grid": grid,
                "cells": area.size,
                "left out": ", ".join(f"{n:,}: {why}" for why, n in counts.get("rejected", {}).items()),
                "mean area [km2]": round(float(area.mean()), 2),
                "smallest [km2]": round(float(area.min()), 2),
                "largest [km2]": round(float(area.max()), 2),
                "land [km2]": round(float((area * cells["land_fraction"].values).sum())),
            }
        )
    return pd.DataFrame(rows)
