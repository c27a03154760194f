"""What the models say where, how two of them differ, and why a cell has its probability."""

import numpy as np
import streamlit as st

from entropice_core.dashboard import explain
from entropice_core.dashboard.layers import prediction_layer, prediction_values, prediction_variables
from entropice_core.dashboard.library import Library, cell_text
from entropice_core.dashboard.scores import best_model
from entropice_core.dashboard.widgets import (
    choose,
    choose_grid,
    choose_projection,
    choose_year,
    find_cell,
    show_figure,
    show_map,
    show_table,
)
from entropice_core.dashboard.words import explain_missing, plain, readable
from entropice_core.errors import EntropiceError
from entropice_core.plots.distributions import histogram
from entropice_core.plots.layer import Layer
from entropice_core.plots.maps import difference_map
from entropice_core.storage.partition import Partition

USUAL = {
    "expected_density": "expected density",
    "is_applicable": "area of applicability",
    "set_size": "conformal sets",
}
"""What a prediction may hold beside the probability; one of an older version does not, and the page says so."""


def show(library: Library) -> None:
    """Show one prediction, its difference to another, and the chosen cell."""
    models = [m for m in library.of_kind("model") if library.grids(f"prediction.{m}")]
    if not models:
        explain_missing("No prediction was made yet.", library.command("prediction"))
        return
    places = st.columns(5)
    with places[0]:
        model = choose("Model", models, "model", default=best_model(library, models))
    dataset = f"prediction.{model}"
    with places[1]:
        grid = choose_grid(library, dataset)
    if grid is None:
        return
    with places[2]:
        year = choose_year(library, dataset, grid)
    if year is None:
        return
    found = library.open(dataset, Partition(grid, year))
    known = prediction_variables(found)
    with places[3]:
        variable = choose("Variable", list(known), "prediction variable", "probability", show=readable)
    with places[4]:
        projection = choose_projection()
    layer = prediction_layer(library, model, grid, year, variable)
    compared = _compare(library, models, model, grid, year, variable, layer)
    name = f"{variable}_{model}_{grid}_{year}" + ("_difference" if compared is not layer else "")
    chosen = show_map(compared, name, projection)
    if absent := [words for key, words in USUAL.items() if key not in known]:
        st.caption(plain(f"This prediction holds no {', no '.join(absent)}: it was made by an older version."))
    find_cell(compared)
    what = f"{model}, {grid}, {year}" if compared is layer else compared.subtitle
    figure = histogram(compared.values, compared.label, what, is_log=compared.is_log)
    with st.expander("Distribution"):
        show_figure(figure, f"{name}_histogram", f"Histogram of {compared.label}")
    if chosen is None:
        st.info("Click a cell to see why it has its value and from which data it was made.")
    else:
        _cell(library, model, grid, year, int(compared.cell_ids[chosen]))


def _compare(
    library: Library, models: list[str], model: str, grid: str, year: int, variable: str, layer: Layer
) -> Layer:
    """Give the difference to another model, grid or year, where the reader asks for one."""
    if not st.toggle("Difference to another model, grid or year", key="compare"):
        return layer
    places = st.columns(3)
    others = [m for m in models if m not in (model, "prevalence")]
    with places[0]:
        other_model = choose("Minus model", models, "other model", others[0] if others else model)
    dataset = f"prediction.{other_model}"
    with places[1]:
        other_grid = choose("Minus grid", library.grids(dataset), "other grid", grid)
    years = library.years(dataset, other_grid)
    with places[2]:
        another = [y for y in years if y != year] if (other_model, other_grid) == (model, grid) else [year]
        other_year = choose("Minus year", years, "other year", another[-1] if another else year)
    if (other_model, other_grid, other_year) == (model, grid, year):
        st.info("Both are the same prediction: choose another model, grid or year to subtract.")
        return layer
    if layer.kind == "classes":
        st.info("Classes have no difference: choose another variable.")
        return layer
    if variable not in prediction_variables(library.open(dataset, Partition(other_grid, other_year))):
        st.info(plain(f"prediction.{other_model} {other_grid}/{other_year} has no {variable}: choose another one."))
        return layer
    other = prediction_layer(library, other_model, other_grid, other_year, variable)
    words = f"{model} {grid} {year} minus {other_model} {other_grid} {other_year}"
    return difference_map(layer, other, words)


@st.cache_resource(show_spinner=False, max_entries=4)
def _background(_library: Library, grid: str, digest: str) -> explain.Background:  # noqa: ARG001 - the cache's key
    return explain.background(_library, grid)


def _cell(library: Library, model: str, grid: str, year: int, cell: int) -> None:
    name, partition = grid.partition("-")[0], Partition(grid, year)
    text = cell_text(name, cell)
    lon, lat = (float(v[0]) for v in library.grid(grid).centers(np.array([cell], dtype=np.uint64)))
    st.subheader(f"Cell {text}")
    st.caption(plain(f"{lat:.3f} °N, {lon:.3f} °E · {grid} · Arctic year {year} · {model}"))
    _values(library, model, partition, cell)
    left, right = st.columns(2)
    try:
        ground = _background(library, grid, library.manifest("training_set", Partition(grid)).digest)
        features = explain.cell_features(library, grid, year, cell)
        with right:
            st.markdown("**Training cells most like it**")
            near = explain.nearest_rows(features, ground, lon, lat, name)
            show_table(near.round({"distance in features": 3, "distance [km]": 0}), f"nearest_{text}")
        with left:
            st.markdown("**What drives it**: change of the probability against an ordinary value of each feature")
            show_table(explain.drivers(library, model, grid, features, ground).head(12).round(4), f"drivers_{text}")
    except EntropiceError as error:
        left.warning(plain(f"Why this cell has its value cannot be said: {error}"))
    with st.expander("From which data: digests"):
        show_table(explain.digests(library, f"prediction.{model}", partition), f"digests_{model}_{grid}_{year}")


def _values(library: Library, model: str, partition: Partition, cell: int) -> None:
    found = library.open(f"prediction.{model}", partition)
    at = int(np.searchsorted(found["cell_ids"].values, np.uint64(cell)))
    known = prediction_variables(found)
    places = st.columns(4)
    for i, (variable, words) in enumerate(known.items()):
        values, classes = prediction_values(found, variable)
        places[i % 4].metric(plain(readable(variable)), _shown(float(values[at]), classes), help=plain(words))


def _shown(value: float, classes: tuple[str, ...]) -> str:
    if not np.isfinite(value):
        return "no value"
    return plain(classes[int(value)]) if classes else f"{value:.4g}"
