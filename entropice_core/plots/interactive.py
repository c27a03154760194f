"""A layer as a Plotly figure: pixels below, invisible points on the cells above, so that hover and click find a cell.

What is sent to the browser is a picture and the centres of the cells that can be seen, so it stays below two megabytes
however many cells there are. Zooming in the browser only enlarges the picture; for finer cells the caller draws another
view. (Clicks reach Streamlit while the mouse pans or zooms, not while it selects.)
"""

from html import escape
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go
from matplotlib import colormaps

from entropice_core.plots.layer import COLOURS, Layer
from entropice_core.plots.picture import NO_VALUE, Picture, cell_pixels, draw_picture
from entropice_core.plots.view import View, graticule, scaled
from entropice_core.prediction.maps import ZERO

GRATICULE = "rgba(70, 90, 105, 0.45)"
MARK = "#e0218a"
SEA = "#eef3f7"
NOTE, QUIET = "#45525d", "#555555"
"""Colours of words on the map, and below it."""

POINTS = 1
"""Which trace holds the points that can be clicked."""

MOST_LINES = 9
FEW_POINTS = 4000
"""Up to so many points are drawn as SVG, which needs no WebGL."""


def interactive_map(
    layer: Layer, view: View, height: int = 640, marked: int | None = None
) -> tuple[go.Figure, Picture]:
    """Draw a map to look around in.

    Parameters
    ----------
    marked : position in ``layer.cell_ids`` (as given) of a cell to mark

    Returns
    -------
    figure : trace ``POINTS`` holds the visible cells; point i is ``picture.layer.cell_ids[picture.visible[i]]``
    picture : what is shown
    """
    picture = draw_picture(layer, view)
    left, right, bottom, top = view.extent
    figure = go.Figure()
    _lines(figure, view)
    _points(figure, picture)
    if marked is not None:
        _mark(figure, layer, view, marked)
    figure.add_layout_image(
        source=picture.data_uri(), xref="x", yref="y", x=left, y=top, sizex=right - left, sizey=top - bottom,
        sizing="stretch", layer="below", yanchor="top",
    )  # fmt: skip
    axis = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": "", "constrain": "domain"}
    frame = {"showline": True, "linecolor": "#8a97a3", "mirror": True}
    figure.update_xaxes(range=[left, right], constraintoward="left", **axis, **frame)
    figure.update_yaxes(range=[bottom, top], scaleanchor="x", scaleratio=1, **axis, **frame)
    _words(figure, picture.layer, view)
    reach = int(np.clip(cell_pixels(picture.layer, view), 20, 400))  # a click anywhere in a cell finds its centre
    figure.update_layout(
        height=height, showlegend=False, hovermode="closest", hoverdistance=reach, dragmode="pan",
        plot_bgcolor=SEA, paper_bgcolor="white", uirevision="map",
    )  # fmt: skip
    return figure, picture


def _lines(figure: go.Figure, view: View) -> None:
    x: list[float] = []
    y: list[float] = []
    inner = scaled(view, 0.94)  # a name at the very edge would be cut
    for line in graticule(view):
        shown = np.where(view.shows(line.xy)[:, None], np.round(line.xy), np.nan)
        keep = np.flatnonzero(np.isfinite(shown[:, 0]) | np.isfinite(np.roll(shown[:, 0], 1)))
        x += [*shown[keep, 0].tolist(), float("nan")]
        y += [*shown[keep, 1].tolist(), float("nan")]
        middle = line.xy[inner.shows(line.xy)]
        if len(middle) > 4:
            at = middle[len(middle) // 12]
            figure.add_annotation(
                x=at[0], y=at[1], text=line.text, showarrow=False, font={"size": 10, "color": NOTE},
                bgcolor="rgba(255,255,255,0.55)", borderpad=1,
            )  # fmt: skip
    figure.add_scatter(x=x, y=y, mode="lines", line={"width": 0.7, "color": GRATICULE}, hoverinfo="skip")


def _points(figure: go.Figure, picture: Picture) -> None:
    layer, xy = picture.layer, np.round(picture.xy).astype(np.int32)
    values = layer.values[picture.visible].astype(np.float32)
    kind = go.Scatter if len(xy) <= FEW_POINTS else go.Scattergl
    low, high = layer.limits()
    shown = "%{text}" if layer.kind == "classes" else "%{customdata:.4g}"
    text = [_class_name(layer, v) for v in values] if layer.kind == "classes" else None
    figure.add_trace(
        kind(
            x=xy[:, 0],
            y=xy[:, 1],
            mode="markers",
            customdata=values,
            text=text,
            hovertemplate=f"{escape(layer.label)}<br><b>{shown}</b><extra></extra>",
            marker={"size": 9, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
        )
    )
    figure.add_scatter(
        x=[None], y=[None], mode="markers", hoverinfo="skip",
        marker={"color": [low], "colorscale": _colours(layer), "showscale": True, "colorbar": _bar(layer),
                "cmin": np.log10(low) if layer.is_log else low, "cmax": np.log10(high) if layer.is_log else high},
    )  # fmt: skip


def _class_name(layer: Layer, value: float) -> str:
    return escape(layer.classes[int(value)]) if np.isfinite(value) and int(value) < len(layer.classes) else "no value"


def _colours(layer: Layer) -> list[list[float | str]]:
    chosen = colormaps[COLOURS[layer.kind]]
    if layer.kind != "classes":
        return [[float(s), _hex(chosen(s))] for s in np.linspace(0, 1, 33)]
    n = max(len(layer.classes), 2)
    stops: list[list[float | str]] = []
    for i in range(n):
        colour = _hex(chosen(i / (n - 1)))
        stops += [[i / n, colour], [(i + 1) / n, colour]]
    return stops


def _hex(rgba: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgba[:3])


def _bar(layer: Layer) -> dict[str, object]:
    """Lay the colour bar under the words that say what it measures, so that it is beside them in any shape of map."""
    bar: dict[str, object] = {
        "orientation": "h", "thickness": 11, "len": 0.55, "x": 0, "xanchor": "left", "xpad": 0, "y": 1.0,
        "yanchor": "bottom", "ypad": 5, "outlinewidth": 0, "tickfont": {"size": 11}, "exponentformat": "e",
    }  # fmt: skip
    if layer.kind == "classes":
        n = max(len(layer.classes), 2)
        places = [(i + 0.5) * (n - 1) / n for i in range(len(layer.classes))]
        return {**bar, "tickvals": places, "ticktext": [escape(c) for c in layer.classes]}
    if not layer.is_log:
        return bar
    low, high = np.log10(layer.limits())
    decades = np.arange(np.ceil(low), np.floor(high) + 1)
    ticks = decades if decades.size > 1 else np.linspace(low, high, 3)
    return {**bar, "tickvals": ticks.tolist(), "ticktext": [f"{10**p:.2g}" for p in ticks]}


def _mark(figure: go.Figure, layer: Layer, view: View, marked: int) -> None:
    xy = view.project(*layer.grid.centers(layer.cell_ids[marked : marked + 1]))
    figure.add_scatter(
        x=xy[:, 0], y=xy[:, 1], mode="markers", hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 18, "line": {"width": 3}, "color": MARK},
    )  # fmt: skip


def _words(figure: go.Figure, layer: Layer, view: View) -> None:
    """Write on the picture what it shows, so that a copy of it still says so."""
    missing = int((~np.isfinite(layer.values)).sum())
    grey = f" · grey ({NO_VALUE}): no value, {missing:,} cells" if missing else ""
    striped = int(layer.outside.sum()) if layer.outside is not None else 0
    hatch = f" · striped: outside the area of applicability, {striped:,} cells" if striped else ""
    note = f" · {layer.note}" if layer.note else ""
    none = int((layer.values <= 0).sum()) if layer.is_log else 0
    zero = f" · pale ({ZERO}): 0, {none:,} cells" if none else ""
    lines = [f"{view.name} · grid {layer.grid.key}{note}{zero}{grey}{hatch}", *layer.footer]
    below = [part for line in lines for part in wrap(line, 165, break_on_hyphens=False)][
        :MOST_LINES
    ]  # licences are folded, not cut
    head = f"<b>{escape(layer.title)}</b><br><span style='font-size:12px'>{escape(layer.subtitle)}</span>"
    head += f"<br><span style='font-size:12px'>{escape(layer.label)}</span>"
    figure.update_layout(
        title={
            "text": head,
            "font": {"size": 15},
            "x": 0.0,
            "xanchor": "left",
            "yref": "paper",
            "y": 1.0,
            "yanchor": "bottom",
            "pad": {"b": 58},
        },
        margin={"l": 4, "r": 4, "t": 106, "b": 16 + 13 * len(below)},
    )
    for i, line in enumerate(below):
        figure.add_annotation(
            xref="paper", yref="paper", x=0, y=0, yshift=-6 - 13 * i, xanchor="left", yanchor="top", showarrow=False,
            text=escape(line), font={"size": 10, "color": QUIET},
        )  # fmt: skip
