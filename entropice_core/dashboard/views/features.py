"""Any variable of any source: where, how it differs between classes, which tell the same, and one cell's years."""

import numpy as np
import pandas as pd
import streamlit as st

from entropice_core.dashboard.explain import series_of_cell
from entropice_core.dashboard.layers import feature_layer, named_month
from entropice_core.dashboard.library import Library, cell_text
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
from entropice_core.dashboard.words import explain_missing, plain, say
from entropice_core.plots.distributions import (
    by_class,
    cluster_features,
    correlations,
    histogram,
    rank_correlation,
    series,
)
from entropice_core.storage.partition import Partition

MOST_ROWS = 20_000
"""Rows of the training set that correlations are taken from; every n-th row where there are more."""


def show(library: Library) -> None:
    """Show one variable on a map, its distribution by class, correlated features, and the series of a cell."""
    places = st.columns([4, 3, 3, 6, 4])  # a source that is the same for all years leaves the third empty
    with places[0]:
        source = choose("Source", list(library.study.sources), "source")
    dataset, config = f"features.{source}", library.study.sources[source]
    with places[1]:
        grid = choose_grid(library, dataset)
    if grid is None:
        return
    with places[2]:
        year = choose_year(library, dataset, grid) if config.is_yearly else None
    if config.is_yearly and year is None:
        return
    found = library.open(dataset, Partition(grid, year))
    with places[3]:
        names, what = (found[part].values.astype(str).tolist() for part in ("feature", "long_name"))
        months = {name: named_month(name, words) for name, words in zip(names, what, strict=True)}
        feature = choose("Variable", names, f"feature {source}", show=months.__getitem__)
    with places[4]:
        projection = choose_projection()
    licence = config.licence or "licence not stated in the study"
    say(f"{config.title}. {config.statement} {config.citation} {config.doi} ({licence})")
    layer = feature_layer(library, source, grid, year, feature)
    name = f"{source}_{feature}_{grid}_{year or 'all'}"
    chosen = show_map(layer, name, projection)
    find_cell(layer)
    left, right = st.columns(2)
    with left:
        show_figure(histogram(layer.values, layer.label, grid), f"{name}_histogram", f"Histogram of {feature}")
    with right:
        _by_class(library, grid, source, feature, layer.label)
    if chosen is not None:
        _series(library, source, grid, feature, int(layer.cell_ids[chosen]), layer.label)
    elif config.is_yearly:
        st.caption("Click a cell to see its values over all years.")
    _clusters(library, grid)


def _by_class(library: Library, grid: str, source: str, feature: str, label: str) -> None:
    partition = Partition(grid)
    if not library.has("training_set", partition):
        explain_missing("The distribution by class needs the training set.", library.command("training_set", partition))
        return
    rows = library.open("training_set", partition)
    names = rows["feature"].values.astype(str).tolist()
    full = f"{source}.{feature}"
    if full not in names:
        explain_missing(f"{full} is not in the training set.", library.command("training_set", partition))
        return
    values = rows["features"].isel(feature=names.index(full)).values.astype(float)
    has = (rows["density"].values > 0).astype(np.intp)
    figure = by_class(values, has, ("no RTS", "some RTS"), label, f"{grid}, rows of the training set")
    show_figure(figure, f"{full}_{grid}_by_class", f"Distribution of {feature} with and without RTS")


def _series(library: Library, source: str, grid: str, feature: str, cell: int, label: str) -> None:
    text = cell_text(grid.partition("-")[0], cell)
    if not library.study.sources[source].is_yearly:
        st.caption(plain(f"{source} is the same for all years: cell {text} has no series."))
        return
    years, values = series_of_cell(library, source, grid, feature, cell)
    figure = series(years, {f"cell {text}": values}, label, f"cell {text}, {grid}")
    show_figure(figure, f"{source}_{feature}_{text}", f"{feature} of cell {text} over years")


@st.cache_data(show_spinner=False, max_entries=8)
def _correlation(_library: Library, grid: str, digest: str) -> tuple[list[str], np.ndarray, int]:  # noqa: ARG001 - the cache's key
    rows = _library.open("training_set", Partition(grid))
    step = -(-rows.sizes["row"] // MOST_ROWS)
    X = rows["features"].values[::step].astype(float)
    return rows["feature"].values.astype(str).tolist(), rank_correlation(X), len(X)


def _clusters(library: Library, grid: str) -> None:
    partition = Partition(grid)
    if not st.toggle("Show clusters of features that tell the same", key="clusters"):
        return
    if not library.has("training_set", partition):
        explain_missing("Correlations need the training set.", library.command("training_set", partition))
        return
    digest = library.manifest("training_set", partition).digest
    names, found, n_rows = _correlation(library, grid, digest)
    least = st.slider("Least correlation within a cluster, by size", 0.5, 0.99, 0.8, 0.01, key="least correlation")
    clusters = cluster_features(found, least)
    title = f"{len(set(clusters.tolist()))} clusters of {len(names)} features, {n_rows:,} rows, {grid}"
    show_figure(correlations(found, names, clusters, title), f"clusters_{grid}", "Correlation of features in clusters")
    show_table(_cluster_table(names, found, clusters), f"clusters_{grid}")


def _cluster_table(names: list[str], found: np.ndarray, clusters: np.ndarray) -> pd.DataFrame:
    rows = []
    for number in np.unique(clusters):
        members = np.flatnonzero(clusters == number)
        inside = np.abs(found[np.ix_(members, members)])
        best = members[int(inside.mean(axis=1).argmax())]
        rows.append(
            {
                "cluster": int(number) + 1,
                "features": members.size,
                "stands for it": names[best],
                "least correlation": round(float(inside.min()), 3),
                "members": ", ".join(names[i] for i in members),
            }
        )
    return pd.DataFrame(rows)
