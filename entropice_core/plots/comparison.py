"""Figures of comparisons: paired differences with their intervals, and where maps agree."""

from collections.abc import Mapping
from textwrap import fill

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, BROWN, GREY = "#2a6f97", "#b08968", "#8d99ae"
MOST_PAIRS = 60
EARTH_KM = 6371.0
Float64 = npt.NDArray[np.float64]


def pairs(table: pd.DataFrame, title: str) -> Figure:
    """Draw the difference in skill of every pair with its corrected interval; what stays clear of zero is blue.

    Parameters
    ----------
    table : what ``pairs.csv`` holds
    """
    wanted = table[table["metric"] == "log_loss_skill"]
    rows = wanted.head(MOST_PAIRS).iloc[::-1].reset_index(drop=True)
    if len(wanted) > len(rows):
        title = f"{title} (the first {len(rows)} of {len(wanted)} pairs; all are in pairs.csv)"
    figure = Figure(figsize=(8.2, 1.3 + 0.24 * max(len(rows), 1)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for at, row in enumerate(rows.to_dict("records")):
        clear = row["low"] > 0 or row["high"] < 0
        colour = BLUE if clear else GREY
        axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=1.4)
        axes.plot(row["difference"], at, marker="o", markersize=4.5, color=colour)
    axes.axvline(0, color="#444444", linewidth=0.7, linestyle=":")
    names = [f"{second}  −  {first}" for first, second in zip(rows["first"], rows["second"], strict=True)]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("difference in log loss skill, 95 % interval (Nadeau & Bengio); blue: clear of zero", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(fill(title, 90), fontsize=9, loc="left")
    return figure


def agreement(
    lon: Float64, lat: Float64, ranks: Mapping[tuple[str, str], Float64], families: Float64 | None, words: str
) -> Figure:
    """Draw the mean rank of all maps, how far they spread, and HEALPix less H3 where both are there.

    Parameters
    ----------
    lon, lat : (n,) float64, degrees
    ranks : model and grid -> (n,) float64 in [0, 1], NaN outside of a map
    families : (n,) float64, HEALPix less H3; None where one of the two is missing
    """
    stacked = np.stack(list(ranks.values()))
    n = np.isfinite(stacked).sum(axis=0)
    mean = np.nansum(stacked, axis=0) / np.maximum(n, 1)
    spread = np.sqrt(np.nansum((stacked - mean) ** 2, axis=0) / np.maximum(n, 1))
    panels: list[tuple[str, Float64, str, tuple[float, float]]] = [
        (f"mean rank of {len(ranks)} maps", np.where(n > 0, mean, np.nan), "viridis", (0, 1)),
        ("spread (sd of ranks)", np.where(n > 1, spread, np.nan), "magma_r", (0, 0.3)),
    ]
    if families is not None:
        panels.append(("HEALPix less H3 (mean rank)", families, "RdBu_r", (-0.5, 0.5)))
    x, y = _project(lon, lat)
    width, height = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    figure = Figure(figsize=(4.4 * len(panels), 1.1 + 4.2 * height / width), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    size = 72 * 4.0 * np.sqrt(width * height / max(lon.size, 1)) / width
    for at, (title, values, colours, limits) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), at + 1)
        known = np.isfinite(values)
        shown = axes.scatter(
            x[known], y[known], c=values[known], s=size**2, marker="s", linewidths=0, cmap=colours,
            vmin=limits[0], vmax=limits[1],
        )  # fmt: skip
        _graticule(axes, lon, (x.min(), x.max(), y.min(), y.max()))
        bar = figure.colorbar(shown, ax=axes, orientation="horizontal", shrink=0.8, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        axes.set_title(title, fontsize=9, loc="left")
    figure.suptitle(fill(words, 60 * len(panels)), fontsize=9, x=0.01, ha="left")
    return figure


def _centre(lon: Float64) -> float:
    """Return the longitude that points down, degrees: the middle of the points, or 0 when they lie all around."""
    middle = np.exp(1j * np.radians(lon)).mean()
    return float(np.degrees(np.angle(middle))) if abs(middle) > 0.3 else 0.0


def _project(lon: Float64, lat: Float64, centre: float | None = None) -> tuple[Float64, Float64]:
    """Lambert azimuthal equal area about the pole, km, on the sphere: good enough to look at."""
    turned = np.radians(lon - (_centre(lon) if centre is None else centre))
    radius = 2 * EARTH_KM * np.sin(np.radians(90 - lat) / 2)
    return radius * np.sin(turned), -radius * np.cos(turned)


def _graticule(axes: Axes, lon: Float64, extent: tuple[float, float, float, float]) -> None:
    centre, style = _centre(lon), {"color": "#8a97a3", "linewidth": 0.4, "zorder": 3}
    around, upwards = np.linspace(-180, 180, 361), np.linspace(40, 90, 51)
    for parallel in range(50, 90, 10):
        axes.plot(*_project(around, np.full(around.size, float(parallel)), centre), **style)  # type: ignore[arg-type]
    for meridian in range(-180, 180, 30):
        axes.plot(*_project(np.full(upwards.size, float(meridian)), upwards, centre), **style)  # type: ignore[arg-type]
    axes.set_xlim(extent[0] - 60, extent[1] + 60)
    axes.set_ylim(extent[2] - 60, extent[3] + 60)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
