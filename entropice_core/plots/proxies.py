"""The picture that answers: which variables tell, and is that stable?"""

from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, GREY, DARK = "#2a6f97", "#8d99ae", "#333333"
COLOURS = ("#2a6f97", "#d17a22", "#4f772d", "#8a4f7d", "#9a8c1d", "#7a5c3e")
MOST, ACROSS = 20, 2


def proxies(report: dict[str, Any], title: str) -> Figure:
    """Draw, for every measure, its best features with the spread of folds and seeds, and for sources likewise.

    Parameters
    ----------
    report : what ``proxies.json`` holds
    """
    measures = dict(sorted(report["measures"].items(), key=lambda item: not item[0].startswith("permutation")))
    n = min(MOST, len(report["source_of"]))
    sources = list(dict.fromkeys(report["source_of"].values()))
    colour = {source: COLOURS[i % len(COLOURS)] for i, source in enumerate(sources)}
    across = min(len(measures), ACROSS)
    down = -(-len(measures) // across)
    heights = [*[0.17 * n + 1.1] * down, max(0.22 * len(sources) + 0.7, 1.9)]
    figure = Figure(figsize=(1.0 + 4.1 * across, sum(heights) + 0.5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(down + 1, across, height_ratios=heights)
    for at, (measure, described) in enumerate(measures.items()):
        axes = figure.add_subplot(grid[at // across, at % across])
        rows = described["features"][:n]
        _bars(axes, rows, [colour[report["source_of"][row["name"]]] for row in rows])
        axes.set_title(f"{_title(measure)}\n{_wrapped(described['verdict'])}", fontsize=7, loc="left")
        axes.set_xlabel(_unit(measure), fontsize=7)
    axes = figure.add_subplot(grid[down, 0])
    rows = report["sources"]["features"]
    _bars(axes, rows, [colour[row["name"]] for row in rows])
    axes.set_xlabel("whole source shuffled within blocks: increase of log loss (nat)", fontsize=7)
    if across > 1:
        note = figure.add_subplot(grid[down, 1:])
        note.set_axis_off()
        note.text(0.0, 0.98, _notes(report), fontsize=6.5, va="top", linespacing=1.4)
    figure.suptitle(f"{title}: which variables tell, and is that stable?", fontsize=9, x=0.01, ha="left")
    return figure


def _bars(axes: Axes, rows: list[dict[str, Any]], colours: list[str]) -> None:
    at = np.arange(len(rows))[::-1]
    mean = np.array([row["mean"] for row in rows])
    folds, seeds = (np.array([row[key] or 0.0 for row in rows]) for key in ("sd_over_folds", "sd_over_seeds"))
    axes.barh(at, mean, color=colours, height=0.72, alpha=0.85)
    axes.errorbar(mean, at + 0.15, xerr=folds, fmt="none", ecolor=DARK, elinewidth=0.9, capsize=1.5)
    axes.errorbar(mean, at - 0.15, xerr=seeds, fmt="none", ecolor="#b3324a", elinewidth=0.9, capsize=1.5)
    axes.set_yticks(at, [row["name"] for row in rows], fontsize=6)
    axes.tick_params(axis="x", labelsize=6.5)
    axes.axvline(0, color=DARK, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for y, row in zip(at, rows, strict=True):
        ranks = f" {row['best_rank']:.0f} to {row['worst_rank']:.0f}"
        axes.annotate(ranks, (1.0, y), xycoords=("axes fraction", "data"), fontsize=5.5, va="center", color=DARK)


def _notes(report: dict[str, Any]) -> str:
    lines = [
        f"{report['folds']} held-out folds x {report['seeds']} seeds; bars: mean of all fits; black lines: spread over "
        "folds (places), red lines: over seeds (chance); grey at the right: best and worst rank among all fits.",
        "Colours are sources. Values were shuffled within blocks, in held-out cells.",
    ]
    lines += [
        f"{pair['measures'][0]} and {pair['measures'][1]} agree with rank correlation {pair['rank_correlation']:.2f}"
        for pair in report["agreement"][:6]
    ]
    if report["constant_in_blocks"]:
        names = ", ".join(report["constant_in_blocks"][:4])
        lines.append(f"{len(report['constant_in_blocks'])} vary only between blocks and cannot be judged so: {names}")
    return "\n".join(fill(line, 68, subsequent_indent="  ") for line in lines)


def _wrapped(verdict: str) -> str:
    head, _, tail = verdict.partition(" (")
    return f"{head}\n({tail}" if tail else head


def _title(measure: str) -> str:
    return {"feature_weight": "W, eSPA's feature weights"}.get(measure, measure.replace("_", " "))


def _unit(measure: str) -> str:
    if measure.startswith("permutation"):
        return "increase of held-out log loss (nat)"
    return "mean |value| over held-out cells" if measure.startswith("Shapley") else "the model's own score"
