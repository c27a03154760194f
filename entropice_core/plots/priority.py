"""The figure of a ranking: how much land need not be processed when its first cells are processed first."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from entropice_core.plots.scores import new_figure

BLUE, GREEN, ORANGE, GREY, DARK = "#2a6f97", "#4f772d", "#d17a22", "#8d99ae", "#444444"


def saved_words(report: Mapping[str, Any]) -> str:
    """Say in a line how much land need not be processed.

    >>> saved_words({"saved": {"0.9": {"share": 0.5, "low": 0.4, "high": 0.55}}})
    'land saved, held out: 50% (40% to 55%) at 90% of the slump area'
    """
    parts = [f"{e['share']:.0%} ({e['low']:.0%} to {e['high']:.0%}) at {float(r):.0%}" for r, e in _saved(report)]
    return f"land saved, held out: {', '.join(parts)} of the slump area"


def saved_land(report: Mapping[str, Any], title: str) -> Figure:
    """Draw the gain curve with its interval, the folds, the best ranking there could be, and chance.

    Parameters
    ----------
    report : what ``gain.json`` holds: ``land_processed``, ``found``, ``low``, ``high``, ``best`` and each of ``folds``
        are (n,) shares in [0, 1]; ``saved`` is the share of land that is saved at each recall
    """
    curves = {name: _numbers(report[name]) for name in ("land_processed", "found", "low", "high", "best")}
    at = curves["land_processed"]
    figure, axes = new_figure(6.4, 4.8)
    axes.fill_between(at, curves["low"], curves["high"], color=BLUE, alpha=0.2, linewidth=0,
                      label=f"{report['interval']:.0%} interval (blocks)".replace("%", " %"))  # fmt: skip
    for i, name in enumerate(sorted(report["folds"])):
        label = "single held-out folds" if i == 0 else None
        axes.plot(at, _numbers(report["folds"][name]), color=GREY, linewidth=0.7, label=label)
    axes.plot(at, curves["best"], color=GREEN, linewidth=1.0, linestyle="--", label="ranked by the truth")
    axes.plot([0, 1], [0, 1], color=DARK, linewidth=0.7, linestyle=":", label="any order")
    axes.plot(at, curves["found"], color=BLUE, linewidth=1.8, label="ranked by the model")
    for recall, entry in _saved(report):
        x = 1 - entry["share"]
        axes.plot([0, x, x], [float(recall), float(recall), 0], color=ORANGE, linewidth=0.6)
        axes.text(x + 0.008, 0.02, f"{float(recall):.0%}", fontsize=6.5, rotation=90, color=DARK, va="bottom")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="share of the land processed", ylabel="share of the slump area found")
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    axes.set_title("\n".join([title, *wrap(saved_words(report), 95)]), fontsize=8, loc="left")
    return figure


def _saved(report: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Give what is saved at each recall, the least recall first."""
    saved = sorted(report["saved"].items(), key=lambda item: float(item[0]))
    return [
        (recall, {name: float(_numbers(entry[name])) for name in ("share", "low", "high")}) for recall, entry in saved
    ]


def _numbers(values: Any) -> NDArray[np.float64]:
    """Read numbers from JSON, which says null for what is not known."""
    return np.asarray(values, dtype=np.float64)
