"""Figures of a validated model: reliability, importance, where it errs. Small, labelled, the same bytes each time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from entropice_core.training.metrics import reliability_table

BLUE, BROWN, GREY = "#2a6f97", "#b08968", "#8d99ae"


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})


def draw_reliability(
    path: Path, y: NDArray[np.int64], p_raw: NDArray[np.float64], p: NDArray[np.float64], title: str
) -> None:
    """Draw observed frequency against forecast probability, out of fold, before and after calibration.

    Parameters
    ----------
    y : (n,) int64, 0 or 1
    p_raw, p : (n,) float64, probabilities before and after calibration
    """
    figure, axes = _figure(4.6, 4.4)
    axes.plot([0, 1], [0, 1], color="#444444", linewidth=0.7, linestyle=":", label="perfect")
    axes.axhline(float(y.mean()), color=GREY, linewidth=0.7, label=f"prevalence {y.mean():.2f}")
    for values, colour, label in ((p_raw, BROWN, "raw"), (p, BLUE, "calibrated")):
        table = reliability_table(y, values)
        axes.plot(
            table["p_mean"], table["observed"], marker="o", markersize=4, color=colour, linewidth=1.2, label=label
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("forecast probability (ten bins of equal size)", fontsize=8)
    axes.set_ylabel("observed frequency, out of fold", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    _save(figure, path)


def draw_precision_recall(
    path: Path, y: NDArray[np.int64], p: NDArray[np.float64], title: str, weight: NDArray[np.float64] | None = None
) -> None:
    """Draw precision against recall, out of fold: what share of the cells that one looks at holds slumps.

    Parameters
    ----------
    y : (n,) int64, 0 or 1
    p : (n,) float64, calibrated probabilities
    """
    order = np.argsort(-p, kind="stable")
    mass = np.ones(y.size) if weight is None else weight
    found, looked = np.cumsum((mass * y)[order]), np.cumsum(mass[order])
    last = np.append(np.diff(p[order]) != 0, True)  # equal forecasts are taken together
    figure, axes = _figure(4.6, 4.0)
    if found[-1] > 0:
        axes.plot(found[last] / found[-1], found[last] / looked[last], color=BLUE, linewidth=1.4, label="model")
    prevalence = float(mass @ y / mass.sum())
    axes.axhline(prevalence, color=GREY, linewidth=0.7, label=f"prevalence {prevalence:.2f}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall: share of the positive cell-years found", fontsize=8)
    axes.set_ylabel("precision: share of the claimed that are positive", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.legend(fontsize=7, frameon=False, loc="upper right")
    _save(figure, path)


def draw_importance(
    path: Path, names: Sequence[str], mean: NDArray[np.float64], sd: NDArray[np.float64], title: str, most: int = 20
) -> None:
    """Draw the features whose permutation costs most, with the spread over folds and repeats.

    Parameters
    ----------
    mean, sd : (feature,) float64, increase of the log loss on held-out rows, nat
    """
    order = np.argsort(-mean, kind="stable")[:most][::-1]
    figure, axes = _figure(5.6, 0.9 + 0.19 * order.size)
    axes.barh(np.arange(order.size), mean[order], xerr=sd[order], color=BLUE, ecolor=GREY, height=0.7, capsize=1.5)
    axes.set_yticks(np.arange(order.size), [names[i] for i in order], fontsize=6.5)
    axes.axvline(0, color="#444444", linewidth=0.6)
    axes.set_xlabel("increase of log loss when permuted, held-out rows (nat), mean ± sd", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    _save(figure, path)


def draw_search(path: Path, candidates: Sequence[dict[str, Any]], title: str) -> None:
    """Draw the log loss of every candidate of the final search, the chosen one marked."""
    losses = np.array([c["log_loss"] for c in candidates], dtype=float)
    labels = [", ".join(f"{k}={v}" for k, v in c["params"].items()) for c in candidates]
    order = np.argsort(losses, kind="stable")[::-1]
    figure, axes = _figure(6.0, 0.9 + 0.19 * order.size)
    colours = [BLUE if i == order[-1] else GREY for i in order]
    axes.scatter(losses[order], np.arange(order.size), color=colours, s=16)
    axes.set_yticks(np.arange(order.size), [labels[i] for i in order], fontsize=6.5)
    axes.set_xlabel("log loss of calibrated out-of-fold predictions (nat)", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    _save(figure, path)
