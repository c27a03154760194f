"""Figures in the folder of a validated model, drawn by ``plots.scores``; the same bytes each time.

Dagster and MLflow show these files, the dashboard and ``entropice plot`` call the same functions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.plots import scores
from entropice_core.plots.files import write_figure

PERMUTED = "increase of log loss when permuted, held-out rows (nat), mean ± sd"


def draw_reliability(
    path: Path, y: NDArray[np.int64], p_raw: NDArray[np.float64], p: NDArray[np.float64], title: str
) -> None:
    """Draw observed frequency against forecast probability, out of fold, before and after calibration.

    Parameters
    ----------
    y : (n,) int64, 0 or 1
    p_raw, p : (n,) float64, probabilities before and after calibration
    """
    write_figure(scores.reliability(y, {"raw": p_raw, "calibrated": p}, title), path)


def draw_precision_recall(
    path: Path, y: NDArray[np.int64], p: NDArray[np.float64], title: str, weight: NDArray[np.float64] | None = None
) -> None:
    """Draw precision against recall, out of fold: what share of the cells that one looks at holds slumps.

    Parameters
    ----------
    y : (n,) int64, 0 or 1
    p : (n,) float64, calibrated probabilities
    """
    write_figure(scores.precision_recall(y, {"model": p}, title, weight), path)


def draw_importance(
    path: Path, names: Sequence[str], mean: NDArray[np.float64], sd: NDArray[np.float64], title: str
) -> None:
    """Draw the features whose permutation costs most, with the spread over folds and repeats.

    Parameters
    ----------
    mean, sd : (feature,) float64, increase of the log loss on held-out rows, nat
    """
    write_figure(scores.importance(names, mean, sd, title, PERMUTED), path)


def draw_search(path: Path, candidates: Sequence[dict[str, Any]], title: str) -> None:
    """Draw the log loss of every candidate of the final search, the chosen one marked."""
    write_figure(scores.search(candidates, title), path)
