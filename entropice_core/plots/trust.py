"""Figures of trust: reliability by class and region, coverage by fold, distances of folds and map, dissimilarity."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
COLOURS = ("#2a6f97", "#d17a22", "#4f772d", "#8a4f7d", "#9a8c1d", "#7a5c3e", "#5b6c8f", "#c05a6a", "#3d8b87", "#666666")
GREY = "#8d99ae"
FEWEST = 30
"""Rows of which at least this many are needed for a curve: less would show noise."""


def reliability_by(y: Int64, p: Float64, class_names: Sequence[str], regions: Mapping[str, Bool], title: str) -> Figure:
    """Draw held-out reliability twice: a curve for each class, and a curve for each region.

    Parameters
    ----------
    y : (n,) int64, classes
    p : (n, n_classes) float64, calibrated held-out probabilities
    regions : name -> (n,) bool; their curves are of any class but the first
    """
    figure, (left, right) = _panels(10.4, 4.5, 2)
    columns = [1] if p.shape[1] == 2 else list(range(p.shape[1]))  # the curve of the other of two is its mirror image
    for i, k in enumerate(columns):
        _reliability(left, (y == k).astype(np.int64), p[:, k], f"class {class_names[k]}", COLOURS[i % 10])
    above, p_above = (y > 0).astype(np.int64), p[:, 1:].sum(axis=1)
    shown = {name: rows for name, rows in regions.items() if rows.sum() >= FEWEST}
    for i, (name, rows) in enumerate(shown.items()):
        words, line = f"{name} (n = {int(rows.sum()):,})", ("-", "--")[i // 10 % 2]
        _reliability(right, above[rows], p_above[rows], words, COLOURS[i % 10], line)
    left.set_title("by class", fontsize=9, loc="left")
    right.set_title(f"by region: any class but {class_names[0]!r}", fontsize=9, loc="left")
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color="#444444", linewidth=0.7, linestyle=":", zorder=0)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xlabel("forecast probability (bins of equal size)", fontsize=8)
        axes.set_ylabel("observed frequency, held out", fontsize=8)
    left.legend(fontsize=6.5, frameon=False, loc="upper left")
    right.legend(fontsize=6.5, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # a dozen names hide curves
    return _titled(figure, title)


def _reliability(axes: Axes, y: Int64, p: Float64, label: str, colour: str, line: str = "-") -> None:
    from entropice_core.training.metrics import reliability_table

    table = reliability_table(y, np.clip(p, 0.0, 1.0), n_bins=max(2, min(10, y.size // 20)))
    error = np.sqrt(table["observed"] * (1 - table["observed"]) / table["n"])
    axes.errorbar(
        table["p_mean"], table["observed"], yerr=error, color=colour, marker="o", markersize=3, linewidth=1.1,
        elinewidth=0.6, label=label, linestyle=line,
    )  # fmt: skip


def coverage(measured: Mapping[str, Any], class_names: Sequence[str], title: str) -> Figure:
    """Draw the coverage of conformal sets in each held-out fold, overall and by class, and the size of the sets.

    Parameters
    ----------
    measured : ``wanted`` and, of each of ``folds``, ``name``, ``coverage``, ``coverage_by_class``, ``mean_size``
    """
    folds = measured["folds"]
    figure, (left, right) = _panels(8.6, 1.1 + 0.34 * max(len(folds), 5), 2)
    at = np.arange(len(folds))[::-1]
    left.axvline(measured["wanted"], color="#444444", linewidth=0.8, linestyle=":", label="promised")
    left.scatter([f["coverage"] for f in folds], at, color="#222222", s=24, label="all cells", zorder=3)
    for k, name in enumerate(class_names):
        values = [np.nan if f["coverage_by_class"][k] is None else f["coverage_by_class"][k] for f in folds]
        left.scatter(
            values, at + 0.12 * (k + 1) / len(class_names), color=COLOURS[k % 10], s=14, marker="D", label=name
        )
    left.set_xlabel("share of held-out cells whose set holds their class", fontsize=8)
    left.set_xlim(right=1.01)
    left.legend(fontsize=6.5, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4)
    right.barh(at, [f["mean_size"] for f in folds], color=COLOURS[0], height=0.55)
    right.set_xlim(1, max(len(class_names), 2))
    right.set_xlabel("mean number of classes in a set (1 = decided)", fontsize=8)
    left.set_yticks(at, [f["name"] for f in folds], fontsize=7)
    right.set_yticks(at, [""] * len(folds))
    return _titled(figure, title)


def distances(folds: Float64, random: Float64, whole_map: Float64, w_km: float, title: str) -> Figure:
    """Draw the distributions of distances to training cells: of the folds, of random folds, and of the map.

    Parameters
    ----------
    folds, random, whole_map : (n,) float64 each, sorted, km
    w_km : mean difference between folds and map, km
    """
    figure, (axes,) = _panels(5.8, 3.9, 1)
    shown = (
        (whole_map, f"map: {whole_map.size:,} cells", COLOURS[0], "-"),
        (folds, "folds: test cells", COLOURS[1], "-"),
        (random, "random folds would have", GREY, "--"),
    )
    most = 1.05 * max(float(values[-1]) for values, *_ in shown) or 1.0
    for values, label, colour, line in shown:
        share = np.arange(1, values.size + 1) / values.size
        x, y = [0.0, *values, most], [0.0, *share, 1.0]
        axes.step(x, y, where="post", color=colour, linestyle=line, linewidth=1.6, label=label)
    axes.set_xlim(-0.01 * most, most)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("distance to the nearest training cell (km)", fontsize=8)
    axes.set_ylabel("share of cells at most so far away", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    axes.text(0.98, 0.42, f"W = {w_km:,.0f} km", transform=axes.transAxes, ha="right", fontsize=9)
    return _titled(figure, title)


def dissimilarity(index: Float64, threshold: float, title: str) -> Figure:
    """Draw the dissimilarity of training cells to what their folds learned from, with the threshold.

    Parameters
    ----------
    index : (n,) float64, NaN left out
    """
    figure, (axes,) = _panels(5.8, 3.5, 1)
    known = index[np.isfinite(index)]
    most = max(float(np.quantile(known, 0.999)), threshold * 1.1)
    axes.hist(np.minimum(known, most), bins=np.linspace(0, most, 60).tolist(), color=COLOURS[0])
    axes.axvline(threshold, color=COLOURS[1], linewidth=1.4)
    outside = int((known > threshold).sum())
    axes.text(threshold, axes.get_ylim()[1] * 0.92, f" threshold {threshold:.3f}", color="#444444", fontsize=8)
    axes.set_xlabel("dissimilarity index of held-out training cells (1 = mean distance between them)", fontsize=8)
    axes.set_ylabel("rows", fontsize=8)
    axes.text(
        0.98, 0.7, f"{outside:,} of {known.size:,} are outliers", transform=axes.transAxes, ha="right", fontsize=8
    )
    return _titled(figure, title)


def _panels(width: float, height: float, n: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, n, i + 1) for i in range(n)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, panels


def _titled(figure: Figure, title: str) -> Figure:
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure
