"""Figures of how good models are: reliability, precision and recall, gain, confusion, importance, search, folds.

Each takes arrays and gives a small labelled figure. Scores are always those of rows that the model did not see.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from entropice_core.plots.contrast import ink_on
from entropice_core.plots.files import plain_text

BLUE, BROWN, GREY, DARK = "#2a6f97", "#b08968", "#8d99ae", "#444444"
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#777777", "#000000")
"""Colours that stay apart for colour-blind readers (Okabe and Ito 2008)."""

MOST_BARS = 20
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def new_figure(width: float, height: float, title: str = "") -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes, quiet spines and small letters; size in inches."""
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    if title:
        axes.set_title(plain_text(title), fontsize=9, loc="left")
    return figure, axes


def colour_bar(figure: Figure, axes: Axes, image: Any, label: str, shrink: float = 1.0) -> None:
    """Put a colour bar with small letters beside a picture."""
    bar = figure.colorbar(image, ax=axes, shrink=shrink)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def reliability(y: Int64, forecasts: Mapping[str, Float64], title: str) -> Figure:
    """Draw observed frequency against forecast probability: on the dotted line a probability means what it says.

    Parameters
    ----------
    y : (n,) int64, 0 or 1
    forecasts : name -> (n,) float64 in [0, 1]
    """
    from entropice_core.training.metrics import reliability_table

    figure, axes = new_figure(4.6, 4.4, title)
    axes.plot([0, 1], [0, 1], color=DARK, linewidth=0.7, linestyle=":", label="perfect")
    axes.axhline(float(y.mean()), color=GREY, linewidth=0.7, label=f"prevalence {y.mean():.2f}")
    colours = (BROWN, BLUE) if len(forecasts) == 2 else SERIES
    for (name, p), colour in zip(forecasts.items(), colours, strict=False):
        table = reliability_table(y, p)
        axes.plot(table["p_mean"], table["observed"], marker="o", markersize=4, color=colour, linewidth=1.2, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="observed frequency, out of fold")
    axes.set_xlabel("forecast probability (ten bins of equal size)")
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    return figure


def precision_recall(y: Int64, forecasts: Mapping[str, Float64], title: str, weight: Float64 | None = None) -> Figure:
    """Draw precision against recall over all thresholds; the grey line is what guessing gives.

    Parameters
    ----------
    y : (n,) int64, 0 or 1
    forecasts : name -> (n,) float64 in [0, 1]
    weight : (n,) float64, optional
    """
    figure, axes = new_figure(4.6, 4.4, title)
    mass = np.ones(y.size) if weight is None else weight
    for (name, p), colour in zip(forecasts.items(), SERIES, strict=False):
        order = np.argsort(-p, kind="stable")
        last = np.append(np.diff(p[order]) != 0, True)  # equal forecasts are claimed together
        found, claimed = np.cumsum((mass * y)[order])[last], np.cumsum(mass[order])[last]
        if found[-1] > 0:
            axes.plot(found / found[-1], found / claimed, color=colour, linewidth=1.2, label=plain_text(name))
    prevalence = float(mass @ y / mass.sum())
    axes.axhline(prevalence, color=GREY, linewidth=0.8, label=f"prevalence {prevalence:.2f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall: share of positives found")
    axes.set_ylabel("precision: share of the claimed that are positive")
    axes.legend(fontsize=7, frameon=False, loc="upper right")
    return figure


def gain_curve(gain: Float64, rank: Float64, cost: Float64 | None = None) -> tuple[Float64, Float64]:
    """Give the share of all gain against the share of all cost, visiting the highest ranks first: two vectors.

    Cells of equal rank are visited in any order, so that the curve is a straight line over them.

    >>> x, y = gain_curve(np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.1, 0.9, 0.8, 0.2]))
    >>> x.tolist(), y.tolist()
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 1.0, 1.0, 1.0])
    """
    order = np.argsort(-rank, kind="stable")
    spent = np.ones_like(gain) if cost is None else cost
    last = np.append(np.diff(rank[order]) != 0, True)
    x = np.concatenate([[0.0], np.cumsum(spent[order])[last]])
    y = np.concatenate([[0.0], np.cumsum(gain[order])[last]])
    return x / (x[-1] or 1.0), y / (y[-1] or 1.0)


def gain(
    curves: Mapping[str, tuple[Float64, Float64]],
    title: str,
    found: str = "RTS area",
) -> Figure:
    """Draw what share of something is found when the likeliest cells are visited first.

    Parameters
    ----------
    curves : name -> shares visited and shares found, (n,) each
    """
    figure, axes = new_figure(4.6, 4.4, title)
    axes.plot([0, 1], [0, 1], color=DARK, linewidth=0.7, linestyle=":", label="any order")
    for (name, (x, y)), colour in zip(curves.items(), SERIES, strict=False):
        fifth = float(np.interp(0.2, x, y))
        axes.plot(x, y, color=colour, linewidth=1.3, label=f"{plain_text(name)}: {fifth:.0%} in the first fifth")
    axes.axvline(0.2, color=GREY, linewidth=0.6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of cells visited, likeliest first")
    axes.set_ylabel(plain_text(f"share of {found} found, out of fold"))
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    return figure


def confusion(counts: Int64, names: Sequence[str], title: str) -> Figure:
    """Draw how many rows of each observed class (row) were given each class (column), with shares of the row."""
    figure, axes = new_figure(2.2 + 0.8 * len(names), 1.8 + 0.7 * len(names), title)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), n in np.ndenumerate(counts):
        colour = ink_on(image.to_rgba(share[i, j])[:3])
        axes.text(j, i, f"{n:,}\n{share[i, j]:.0%}", ha="center", va="center", fontsize=8, color=colour)
    words = [plain_text(name) for name in names]
    axes.set_xticks(range(len(words)), words, fontsize=8)
    axes.set_yticks(range(len(words)), words, fontsize=8)
    axes.set(xlabel="given class", ylabel="observed class")
    axes.spines[:].set_visible(False)
    return figure


def importance(
    names: Sequence[str], mean: Float64, sd: Float64, title: str, label: str, most: int = MOST_BARS
) -> Figure:
    """Draw the features that matter most, with their spread over folds.

    Parameters
    ----------
    mean, sd : (feature,) float64; NaN spread draws no whisker
    """
    order = np.argsort(-mean, kind="stable")[:most][::-1]
    figure, axes = new_figure(5.6, 0.9 + 0.19 * max(order.size, 1), title)
    spread = np.where(np.isfinite(sd), sd, 0.0)
    axes.barh(np.arange(order.size), mean[order], xerr=spread[order], color=BLUE, ecolor=GREY, height=0.7, capsize=1.5)
    axes.set_yticks(np.arange(order.size), [plain_text(names[i]) for i in order], fontsize=6.5)
    axes.axvline(0, color=DARK, linewidth=0.6)
    axes.set_xlabel(fill(plain_text(label), 70))
    return figure


def search(candidates: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw the log loss of the candidates: over a plane where two parameters vary, otherwise as a list.

    The plane is a surface where half of all pairs of values or more were tried (a grid), otherwise points (a random
    search).
    """
    varied = varied_params(candidates)
    if len(varied) != 2:
        return _listed(candidates, varied, title)
    across = [{str(c["params"].get(name)) for c in candidates} for name in varied]
    is_grid = len(candidates) >= 0.5 * len(across[0]) * len(across[1])
    return _surface(candidates, varied, title) if is_grid else _points(candidates, varied, title)


def varied_params(candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the parameters that differ between candidates.

    >>> varied_params([{"params": {"C": 1, "n": 5}}, {"params": {"C": 2, "n": 5}}])
    ['C']
    """
    names = sorted({name for c in candidates for name in c["params"]})
    return [name for name in names if len({str(c["params"].get(name)) for c in candidates}) > 1]


def _surface(candidates: Sequence[Mapping[str, Any]], varied: list[str], title: str) -> Figure:
    down, across = ([c["params"].get(name) for c in candidates] for name in varied)
    rows, columns = (sorted(set(values), key=lambda v: (str(type(v)), v)) for values in (down, across))
    loss = np.full((len(rows), len(columns)), np.nan)
    for c, r, k in zip(candidates, down, across, strict=True):
        loss[rows.index(r), columns.index(k)] = c["log_loss"]
    figure, axes = new_figure(2.6 + 0.75 * len(columns), 1.8 + 0.5 * len(rows), title)
    image = axes.imshow(loss, cmap="viridis_r", aspect="auto")
    best = np.nanmin(loss)
    for (i, j), value in np.ndenumerate(loss):
        colour = ink_on(image.to_rgba(value)[:3])
        weight = "bold" if value == best else "normal"
        axes.text(
            j,
            i,
            f"{value:.4f}" if np.isfinite(value) else "",
            ha="center",
            va="center",
            fontsize=8,
            color=colour,
            weight=weight,
        )
    axes.set_xticks(range(len(columns)), [str(v) for v in columns], fontsize=8)
    axes.set_yticks(range(len(rows)), [str(v) for v in rows], fontsize=8)
    axes.set(xlabel=plain_text(varied[1]), ylabel=plain_text(varied[0]))
    colour_bar(figure, axes, image, "log loss, out of fold (nat)")
    return figure


def _points(candidates: Sequence[Mapping[str, Any]], varied: list[str], title: str) -> Figure:
    """Draw each candidate as a point; an axis of numbers over two decades or more is logarithmic."""
    loss = np.array([c["log_loss"] for c in candidates], dtype=float)
    up, across = (_on_an_axis([c["params"].get(name) for c in candidates]) for name in varied)
    figure, axes = new_figure(5.4, 4.2, title)
    for values, scale in ((across, axes.set_xscale), (up, axes.set_yscale)):
        numbers = [v for v in values if not isinstance(v, str)]
        if numbers and min(numbers) > 0 and max(numbers) >= 100 * min(numbers):
            scale("log")
    image = axes.scatter(across, up, c=loss, cmap="viridis_r", s=42, edgecolors=DARK, linewidths=0.4)
    best = int(np.nanargmin(loss))
    axes.scatter(across[best], up[best], s=130, facecolors="none", edgecolors=DARK, linewidths=1.2)
    axes.annotate(f"{loss[best]:.4f}", (across[best], up[best]), (8, 8), textcoords="offset points", fontsize=8)
    axes.set(xlabel=plain_text(varied[1]), ylabel=plain_text(varied[0]))
    colour_bar(figure, axes, image, "log loss, out of fold (nat)")
    return figure


def _on_an_axis(values: Sequence[Any]) -> list[Any]:
    """Keep numbers; where any value is a word, all are words.

    >>> _on_an_axis([1, 2.5]), _on_an_axis([0.5, "sqrt"])
    ([1, 2.5], ['0.5', 'sqrt'])
    """
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return list(values) if is_number else [str(v) for v in values]


def _listed(candidates: Sequence[Mapping[str, Any]], varied: list[str], title: str) -> Figure:
    losses = np.array([c["log_loss"] for c in candidates], dtype=float)
    labels = [", ".join(f"{k}={c['params'].get(k)}" for k in varied) or "no search" for c in candidates]
    order = np.argsort(losses, kind="stable")[::-1]
    figure, axes = new_figure(6.0, 0.9 + 0.19 * max(order.size, 1), title)
    colours = [BLUE if i == order[-1] else GREY for i in order]
    axes.scatter(losses[order], np.arange(order.size), color=colours, s=16)
    axes.set_yticks(np.arange(order.size), [plain_text(labels[i]) for i in order], fontsize=6.5)
    axes.set_xlabel("log loss of calibrated out-of-fold predictions (nat)")
    return figure


def intervals(names: Sequence[str], groups: Mapping[str, tuple[Float64, Float64]], title: str, label: str) -> Figure:
    """Draw means with spreads, a line for each name and a mark for each group.

    Parameters
    ----------
    groups : name of the group -> mean (names,) and spread: (names,), or below and above (2, names); NaN is left out
    """
    figure, axes = new_figure(6.4, 1.1 + 0.24 * len(names) + 0.1 * len(groups), title)
    places = np.arange(len(names))[::-1]
    for i, ((group, (mean, sd)), colour) in enumerate(zip(groups.items(), SERIES, strict=False)):
        shift = 0.16 * ((len(groups) - 1) / 2 - i)
        axes.errorbar(
            mean, places + shift, xerr=np.where(np.isfinite(sd), sd, 0.0), color=colour, marker="os^D"[i % 4],
            markersize=4, capsize=2, linewidth=1, linestyle="", label=plain_text(group),
        )  # fmt: skip
    axes.set_yticks(places, [plain_text(name) for name in names], fontsize=7.5)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(label)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    if len(groups) > 1:
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
