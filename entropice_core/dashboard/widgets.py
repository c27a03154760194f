"""How pages show a map, a figure, a table and a choice."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from matplotlib.figure import Figure

from entropice_core.dashboard.library import Library, cell_text, parse_place, position_of
from entropice_core.dashboard.words import explain_missing, plain, readable, save
from entropice_core.plots.files import figure_bytes, table_bytes
from entropice_core.plots.interactive import POINTS, interactive_map
from entropice_core.plots.layer import Layer
from entropice_core.plots.maps import geoparquet, map_figure
from entropice_core.plots.picture import view_of
from entropice_core.plots.view import PROJECTIONS, TURNED, View, scaled, zoom

NOT_NEEDED = ["lasso2d", "autoScale2d", "toImage", "zoom2d", "zoomIn2d", "zoomOut2d"]
MAP_BUTTONS = {
    "displaylogo": False,
    "scrollZoom": False,
    "modeBarButtonsToRemove": NOT_NEEDED,
}
CHOSEN_CELL = "chosen cell"
PROJECTION_NAMES = {TURNED: "turned to the study"}


def choose(label: str, options: Sequence[Any], key: str, default: Any = None, show: Callable[[Any], str] = str) -> Any:
    """Let the reader choose; the choice is kept when the page changes."""
    kept = f"kept {key}"
    wanted = [value for value in (st.session_state.get(kept), default) if value in options]
    index = options.index(wanted[0]) if wanted else 0
    chosen = st.selectbox(label, options, index=index, key=f"choose {key}", format_func=show)
    st.session_state[kept] = chosen
    return chosen


def choose_grid(library: Library, dataset: str) -> str | None:
    """Let the reader choose one of the published grids of a dataset; say how to build it where there is none."""
    grids = library.grids(dataset)
    if not grids:
        explain_missing(f"{dataset} was not built yet on any grid.", library.command(dataset))
        return None
    chosen: str = choose("Grid and level", grids, "grid")
    return chosen


def choose_year(library: Library, dataset: str, grid: str) -> int | None:
    """Let the reader choose one of the published years of a dataset."""
    years = library.years(dataset, grid)
    if not years:
        explain_missing(f"{dataset} has no year on {grid} yet.", library.command(dataset) + f" --grid {grid}")
        return None
    chosen: int = choose("Arctic year", years, "year", default=years[-1])
    return chosen


def show_table(table: pd.DataFrame, name: str, links: Sequence[str] = (), **options: Any) -> None:
    """Show a table with a button that saves it as CSV; numbers have four digits, as densities are far below 1.

    ``links`` : columns of addresses.
    """
    fractions = [str(name) for name, kind in table.dtypes.items() if kind.kind == "f"]
    config: dict[str, Any] = {name: st.column_config.NumberColumn(format="%.4g") for name in fractions}
    config |= {column: st.column_config.LinkColumn(display_text="open") for column in links}
    st.dataframe(table, hide_index=True, width="stretch", column_config=config, alt=readable(name), **options)
    save("CSV", lambda: table_bytes(table), f"{name}.csv", "text/csv")


def show_figure(figure: Figure, name: str, words: str) -> None:
    """Show a figure with buttons that save it as PNG and SVG; the words say what is seen, also to those who hear it."""
    st.image(figure_bytes(figure), alt=words)
    with st.container(horizontal=True):
        save("PNG", lambda: figure_bytes(figure, dpi=300), f"{name}.png", "image/png")
        save("SVG", lambda: figure_bytes(figure, "svg"), f"{name}.svg", "image/svg+xml")


def show_published(picture: bytes, name: str, words: str, again: Callable[[], Figure] | None) -> None:
    """Show a picture that was published, with a button for it; as SVG it is drawn again when that button is pressed."""
    st.image(picture, caption=words, alt=words)
    with st.container(horizontal=True):
        save("PNG", lambda: picture, f"{name}.png", "image/png")
        if again is not None:
            save("SVG", lambda: figure_bytes(again(), "svg"), f"{name}.svg", "image/svg+xml")


def show_map(layer: Layer, name: str, projection: str) -> int | None:
    """Show a map in which a box zooms and a click chooses a cell; return the chosen cell's position in the layer."""
    view = _kept_view(view_of(layer, projection), name)
    chosen = chosen_cell(layer)
    figure, picture = interactive_map(layer, view, marked=chosen)
    chart = f"chart {name} {st.session_state.get(f'turn {name}', 0)}"
    st.session_state[f"seen {name}"] = (picture.layer.grid.key, picture.layer.cell_ids[picture.visible])

    def selected() -> None:
        _react(st.session_state.get(chart), name, layer, view)

    st.plotly_chart(
        figure, key=chart, on_select=selected, selection_mode=("points", "box"), config=MAP_BUTTONS, theme=None,
        alt=f"Map: {layer.label}. {layer.subtitle}",
    )  # fmt: skip
    _buttons(layer, name, view)
    return chosen


def _kept_view(whole: View, name: str) -> View:
    kept = st.session_state.get(f"view {name}")
    return kept if isinstance(kept, View) and kept.crs == whole.crs else whole


def _react(event: Any, name: str, layer: Layer, view: View) -> None:
    """Take a box as the new view, and a click as the chosen cell."""
    selection = (event or {}).get("selection", {})
    boxes = selection.get("box") or []
    if boxes:
        x, y = boxes[-1]["x"], boxes[-1]["y"]
        _turn(name, zoom(view, (x[0], x[1]), (y[0], y[1])))
        return
    points = [p for p in selection.get("points") or [] if p.get("curve_number") == POINTS]
    seen = st.session_state.get(f"seen {name}")
    if points and seen is not None and points[0]["point_index"] < seen[1].size:
        _choose_cell(int(seen[1][points[0]["point_index"]]), seen[0], layer)


def _turn(name: str, view: View | None) -> None:
    """Keep another view of a map (none is the whole area); the chart gets a new key, which forgets its selection."""
    st.session_state[f"view {name}"] = view
    st.session_state[f"turn {name}"] = st.session_state.get(f"turn {name}", 0) + 1


def _choose_cell(cell: int, grid_key: str, layer: Layer) -> None:
    """Keep a cell as chosen; one that was joined of many stands for the cell in its middle."""
    if grid_key != layer.grid.key:
        from entropice_core.grids import parse_grid_key

        lon, lat = parse_grid_key(grid_key).centers(np.array([cell], dtype=np.uint64))
        cell = int(layer.grid.locate(lon, lat)[0])
        if position_of(layer.cell_ids, cell) is None:
            lons, lats = layer.grid.centers(layer.cell_ids)
            away = (lats - lat[0]) ** 2 + (((lons - lon[0] + 180) % 360 - 180) * np.cos(np.radians(lat[0]))) ** 2
            cell = int(layer.cell_ids[int(np.argmin(away))])
    st.session_state[CHOSEN_CELL] = (layer.grid.key, cell)


def chosen_cell(layer: Layer) -> int | None:
    """Position of the chosen cell in a layer, where the layer has it."""
    grid_key, cell = st.session_state.get(CHOSEN_CELL, ("", 0))
    return position_of(layer.cell_ids, cell) if grid_key == layer.grid.key else None


def _buttons(layer: Layer, name: str, view: View) -> None:
    stem = f"map_{name}"
    closer, farther = scaled(view, 0.5, _middle(layer, view)), scaled(view, 2.0)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for label, icon, other in (("Closer", "zoom_in", closer), ("Farther", "zoom_out", farther)):
            st.button(label, key=f"{label} {name}", icon=f":material/{icon}:", on_click=_turn, args=(name, other))
        st.button("Whole area", key=f"whole {name}", icon=":material/zoom_out_map:", on_click=_turn, args=(name, None))
        save("PNG", lambda: figure_bytes(map_figure(layer)), f"{stem}.png", "image/png")
        save("SVG", lambda: figure_bytes(map_figure(layer), "svg"), f"{stem}.svg", "image/svg+xml")
        save("GeoParquet", lambda: geoparquet(layer, "value"), f"{stem}.parquet", "application/octet-stream")
        save("CSV", lambda: table_bytes(layer_table(layer)), f"{stem}.csv", "text/csv")
    st.caption("Click a cell to choose it; “Closer” goes there. Box select redraws a part with finer cells.")


def _middle(layer: Layer, view: View) -> tuple[float, float] | None:
    """Where "closer" goes: to the chosen cell, where it is in the picture."""
    at = chosen_cell(layer)
    if at is None:
        return None
    xy = view.project(*layer.grid.centers(layer.cell_ids[at : at + 1]))
    return (float(xy[0, 0]), float(xy[0, 1])) if view.shows(xy)[0] else None


def layer_table(layer: Layer) -> pd.DataFrame:
    """Cells of a layer as a table: id, centre, value."""
    lon, lat = layer.grid.centers(layer.cell_ids)
    ids = [cell_text(layer.grid.name, int(i)) for i in layer.cell_ids]
    return pd.DataFrame({"cell_id": ids, "longitude": lon, "latitude": lat, "value": layer.values})


def choose_projection() -> str:
    """Let the reader choose a polar projection."""
    chosen: str = choose("Polar projection", list(PROJECTIONS), "projection", show=lambda p: PROJECTION_NAMES.get(p, p))
    return chosen


def find_cell(layer: Layer) -> None:
    """Let the reader name a cell by its id or by a place, as a click can hit the wrong one."""
    text = st.text_input("Cell id, or longitude, latitude", key="find cell", placeholder="129.5, 68.2")
    if not text or text == st.session_state.get("found cell"):
        return
    st.session_state["found cell"] = text
    cell = parse_place(text, layer.grid)
    if cell is None or position_of(layer.cell_ids, cell) is None:
        st.warning(
            plain(f"{text} is no cell of {layer.grid.key} in this study: give an id, or longitude and latitude.")
        )
        return
    st.session_state[CHOSEN_CELL] = (layer.grid.key, cell)
    st.rerun()  # the map above marks it


def columns_for(count: int, most: int = 2) -> Iterable[Any]:
    """Give places beside each other for so many pictures, row by row."""
    for start in range(0, count, most):
        yield from st.columns(most)[: min(most, count - start)]
