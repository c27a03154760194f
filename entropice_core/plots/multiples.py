"""Maps of the same cells beside each other, filled pixel by pixel: one view, one scale of colours, one colour bar."""

from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from entropice_core.plots.files import plain_text
from entropice_core.plots.layer import COLOURS, Layer
from entropice_core.plots.picture import draw_picture, norm_of, view_of
from entropice_core.plots.view import View, graticule

ACROSS = 2
PANEL_INCHES = 4.6
COLUMNS = 560
"""Pixels across one of the maps."""


def maps_side_by_side(layers: Sequence[Layer], names: Sequence[str], projection: str) -> Figure:
    """Draw layers of one quantity beside each other, so that places can be compared by eye.

    Parameters
    ----------
    layers : of one grid and one quantity; the first gives title, date and footer
    names : what to call each
    projection : name of a polar projection
    """
    alike = _same_colours(layers)
    view = replace(view_of(alike[0], projection), columns=COLUMNS)
    across = min(len(alike), ACROSS)
    down = -(-len(alike) // across)
    size = (PANEL_INCHES * across + 0.9, PANEL_INCHES * view.rows / view.columns * down + 0.35 * down + 1.2)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(down, across, i + 1) for i in range(len(alike))]
    drawn = [_panel(*each, view) for each in zip(panels, alike, names, strict=True)]
    bar = figure.colorbar(ScalarMappable(norm_of(drawn[0]), COLOURS[drawn[0].kind]), ax=panels, shrink=0.8, pad=0.01)
    bar.ax.tick_params(labelsize=7)
    first = drawn[0]
    head = [first.title, f"{first.label} · {first.subtitle.split(' · ')[0]}"]
    figure.suptitle(plain_text("\n".join(head)), fontsize=9, x=0.01, ha="left")
    notes = [f"{view.name} · grid {first.grid.key}" + (f" · {first.note}" if first.note else ""), *_data(layers)]
    wrapped = "\n".join(fill(line, 90 * across) for line in notes)
    figure.supxlabel(plain_text(wrapped), fontsize=6, x=0.01, ha="left", color="#555555")
    return figure


def _same_colours(layers: Sequence[Layer]) -> list[Layer]:
    """Give all layers the range of colours that holds the values of each."""
    is_log = any(layer.is_log for layer in layers)
    scaled = [replace(layer, is_log=is_log) for layer in layers]
    limits = [layer.limits() for layer in scaled if _has_colours(layer)] or [layer.limits() for layer in scaled]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    return [replace(layer, low=low, high=high) for layer in scaled]


def _has_colours(layer: Layer) -> bool:
    known = layer.values[np.isfinite(layer.values)]
    return bool((known > 0).any() if layer.is_log else known.size)


def _data(layers: Sequence[Layer]) -> list[str]:
    return list(dict.fromkeys(" · ".join(layer.footer) for layer in layers))


def _panel(axes: Axes, layer: Layer, name: str, view: View) -> Layer:
    """Draw one map; return the layer as drawn, perhaps coarser."""
    picture = draw_picture(layer, view)
    left, right, bottom, top = view.extent
    axes.imshow(picture.rgb, extent=(left, right, bottom, top), interpolation="nearest")
    for line in graticule(view):
        axes.plot(line.xy[:, 0], line.xy[:, 1], color="#465a69", linewidth=0.4, alpha=0.5)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.spines[:].set_color("#8a97a3")
    unknown = int((~np.isfinite(layer.values)).sum())
    axes.set_title(plain_text(f"{name} (grey: no value, {unknown:,} of {layer.values.size:,} cells)"),
                   fontsize=8, loc="left")  # fmt: skip
    return picture.layer
