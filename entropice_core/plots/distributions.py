"""Figures of data: histograms, one variable by class, series over years, clusters of features that tell the same."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from entropice_core.plots.files import plain_text
from entropice_core.plots.scores import BLUE, BROWN, DARK, SERIES, colour_bar, new_figure

Float64 = NDArray[np.float64]
BINS = 40


def histogram(values: Float64, label: str, title: str, is_log: bool = False) -> Figure:
    """Draw how often values occur; those without a value, or at 0 on a logarithmic axis, are counted in the title."""
    known = values[np.isfinite(values)]
    shown = known[known > 0] if is_log else known
    left = f"{values.size - known.size:,} without a value" + (f", {known.size - shown.size:,} at 0" if is_log else "")
    figure, axes = new_figure(5.2, 3.0, f"{title} ({shown.size:,} cells; {left})")
    if shown.size:
        axes.hist(shown, bins=_edges(shown, is_log), color=BLUE)
    if is_log and shown.size:
        axes.set_xscale("log")
    axes.set(ylabel="cells")
    axes.set_xlabel(fill(plain_text(label), 60))
    return figure


def _edges(values: Float64, is_log: bool) -> list[float]:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        pad = abs(low) * 0.05 or 0.5
        return [low - pad, low + pad] if not is_log else [low / 1.1, low * 1.1]
    edges = np.geomspace(low, high, BINS + 1) if is_log else np.linspace(low, high, BINS + 1)
    return [float(edge) for edge in edges]


def by_class(values: Float64, classes: NDArray[np.intp], names: Sequence[str], label: str, title: str) -> Figure:
    """Draw the distribution of one variable for each class, each with area 1, so that rare classes can be compared."""
    figure, axes = new_figure(5.2, 3.0, title)
    known = np.isfinite(values)
    edges = _edges(values[known], False) if known.any() else [0.0, 1.0]
    colours = (BLUE, BROWN) if len(names) == 2 else SERIES
    for i, (name, colour) in enumerate(zip(names, colours, strict=False)):
        mine = values[known & (classes == i)]
        if mine.size:
            text = f"{plain_text(name)} ({mine.size:,})"
            axes.hist(mine, bins=edges, density=True, histtype="stepfilled", alpha=0.35, color=colour)
            axes.hist(mine, bins=edges, density=True, histtype="step", color=colour, linewidth=1.1, label=text)
    axes.set(ylabel="density of rows")
    axes.set_xlabel(fill(plain_text(label), 60))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, frameon=False)
    return figure


def series(
    years: Sequence[int], lines: Mapping[str, Float64], label: str, title: str, from_zero: bool = False,
    width: float = 6.4,
) -> Figure:  # fmt: skip
    """Draw values over years, a line for each name; a year without a value is a gap."""
    figure, axes = new_figure(width, 3.0, title)
    for (name, values), colour in zip(lines.items(), SERIES, strict=False):
        axes.plot(years, values, marker="o", markersize=3.5, linewidth=1.2, color=colour, label=plain_text(name))
    axes.set_ylabel(fill(plain_text(label), 42), fontsize=8)
    axes.set_xlabel("Arctic year (October to September, named by its end)")
    if from_zero:
        highest = max((float(np.nanmax(v)) for v in lines.values() if np.isfinite(v).any()), default=0.0)
        axes.set_ylim(0, 1.08 * highest if highest > 0 else 1.0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.6g}")
    axes.set_xticks(list(years)[:: max(1, len(years) // 12)])
    if len(lines) > 1:
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def bars(names: Sequence[str], values: Float64, label: str, title: str) -> Figure:
    """Draw one bar for each name, the number at its end."""
    figure, axes = new_figure(6.4, 0.8 + 0.24 * max(len(names), 1), title)
    places = np.arange(len(names))[::-1]
    axes.barh(places, values, color=BLUE, height=0.7)
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {value:,.0f}", va="center", fontsize=7.5, color=DARK)
    axes.set_yticks(places, [plain_text(name) for name in names], fontsize=7.5)
    axes.margins(x=0.14)
    axes.set_xlabel(label)
    return figure


def rank_correlation(X: Float64) -> Float64:
    """Spearman correlation of columns: (rows, features) -> (features, features); rows with a NaN are left out."""
    from scipy.stats import rankdata

    ranks = rankdata(X[np.isfinite(X).all(axis=1)], axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    unit = ranks / np.where(length > 0, length, 1.0)
    return np.asarray(unit.T @ unit)


def cluster_features(correlation: Float64, least: float = 0.8) -> NDArray[np.intp]:
    """Give each feature the number of its cluster, from 0: complete linkage on 1 - |correlation|.

    Within a cluster every pair is correlated by at least ``least`` in size, so that one can stand for the others.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(correlation) < 2:
        return np.zeros(len(correlation), dtype=np.intp)
    distance = np.clip(1.0 - np.abs((correlation + correlation.T) / 2), 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    found = fcluster(linkage(squareform(distance, checks=False), "complete"), 1.0 - least, "distance")
    order = {number: i for i, number in enumerate(dict.fromkeys(found.tolist()))}
    return np.array([order[number] for number in found.tolist()], dtype=np.intp)


def correlations(correlation: Float64, names: Sequence[str], clusters: NDArray[np.intp], title: str) -> Figure:
    """Draw the correlation of features, those of a cluster beside each other and framed."""
    order = np.argsort(clusters, kind="stable")
    side = min(2.6 + 0.14 * len(names), 12.0)
    figure, axes = new_figure(side + 0.8, side, title)
    image = axes.imshow(correlation[np.ix_(order, order)], cmap="PuOr_r", vmin=-1, vmax=1)
    words = [plain_text(names[i]) for i in order]
    size = 6 if len(names) <= 60 else 4
    axes.set_xticks(range(len(words)), words, rotation=90, fontsize=size)
    axes.set_yticks(range(len(words)), words, fontsize=size)
    for number in np.unique(clusters):
        where = np.flatnonzero(clusters[order] == number)
        if where.size > 1:
            box = [where[0] - 0.5, where[-1] + 0.5]
            axes.plot([box[0], box[1], box[1], box[0], box[0]], [box[0], box[0], box[1], box[1], box[0]],
                      color=DARK, linewidth=1.0)  # fmt: skip
    axes.spines[:].set_visible(False)
    colour_bar(figure, axes, image, "Spearman correlation", shrink=0.7)
    return figure
