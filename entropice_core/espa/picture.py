"""A picture of the boxes: how large they are, which classes they hold, and where they lie.

Colours say how far a centre is from the mean of all rows, in units of the scaling, so that features of any unit share
one scale; the numbers in the squares are in input units. Columns are ordered by what sets the boxes apart.
What must not be here: computing anything that a table would not show.
"""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from entropice_core.espa.interpretation import check_member
from entropice_core.espa.predictor import Predictor

Floats = NDArray[np.float64]
REACH = 2.5  # units of the scaling at which colours end


def draw_boxes(
    predictor: Predictor, names: list[str], mass: Floats | None, member: int = 0, n_features: int = 10
) -> Figure:
    """Draw one member.

    Parameters
    ----------
    predictor : Predictor
    names : D feature names
    mass : (K',) float64 or None
        Share of the rows in each living box; None leaves the bars out.
    member : int
    n_features : int
        Columns shown.
    """
    check_member(predictor, member)
    boxes = np.flatnonzero(predictor.live[member])
    order = np.arange(len(boxes)) if mass is None else np.argsort(-mass, kind="stable")
    S, sizes = predictor.centroids[member][boxes][order], np.ones(len(boxes)) if mass is None else mass[order]
    pull = predictor.metric[member] * (sizes[:, None] * S**2).sum(axis=0)
    columns = np.argsort(-pull, kind="stable")[:n_features]
    figure = Figure(figsize=(4.5 + 0.75 * len(columns), 1.9 + 0.36 * len(boxes)), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=[1.2, 0.75 * len(columns) + 0.1, 1.8])
    _draw_sizes(left, None if mass is None else sizes, boxes[order])
    image = _draw_centres(middle, S[:, columns], (S * predictor.scale + predictor.center)[:, columns])
    middle.set_xticks(range(len(columns)), [names[d] for d in columns], rotation=40, ha="right")
    _draw_classes(right, predictor.class_probabilities[member][boxes][order], predictor.classes)
    figure.colorbar(
        image, ax=middle, location="bottom", shrink=0.6, aspect=40, label="centre less mean, units of the scaling"
    )
    return figure


def _draw_sizes(axes: Axes, sizes: Floats | None, boxes: NDArray[np.intp]) -> None:
    axes.set_yticks(range(len(boxes)), [f"box {box}" for box in boxes])
    axes.set_ylim(len(boxes) - 0.5, -0.5)
    if sizes is None:
        axes.set_xticks([])
        return
    axes.barh(range(len(boxes)), sizes, color="#7a8793")
    axes.set_xlabel("share of rows")


def _draw_centres(axes: Axes, inside: Floats, centres: Floats) -> Any:
    image = axes.imshow(inside, cmap="RdBu_r", vmin=-REACH, vmax=REACH, aspect="auto")
    for (row, column), value in np.ndenumerate(centres):
        dark = abs(inside[row, column]) > 0.65 * REACH
        axes.text(column, row, f"{value:.3g}", ha="center", va="center", size=7, color="white" if dark else "black")
    return image


def _draw_classes(axes: Axes, probabilities: Floats, classes: NDArray[Any]) -> None:
    before = np.zeros(len(probabilities))
    colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
    for column, name in enumerate(classes.tolist()):
        axes.barh(
            range(len(before)),
            probabilities[:, column],
            left=before,
            color=colours(column % colours.N),
            label=str(name),
        )
        before = before + probabilities[:, column]
    axes.set_xlabel("class probability")
    axes.set_xlim(0, 1)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(classes), 4), fontsize=7, frameon=False)
