"""The gain curve: which share of the slump area is found when the best-ranked share of the land is processed.

A segmentation of satellite scenes costs the same for every square kilometre, and most square kilometres hold no slump.
A ranking is worth what it saves: the land that need not be processed to find 80, 90 or 95 % of the slump area. It is
measured on cells that the model had not seen (held-out folds), and its interval comes from drawing whole blocks anew
(Efron and Tibshirani 1993), as cells of one place are alike.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError

VERSION = "1"
Float64 = npt.NDArray[np.float64]
AT: Float64 = np.linspace(0.0, 1.0, 201)
RECALLS = (0.8, 0.9, 0.95)
DRAWS = 500
INTERVAL = 0.9


@dataclass(frozen=True, eq=False)
class Gain:
    """Curves over the shares ``AT`` of land processed, each (201,) float64, share of the slump area found.

    Attributes
    ----------
    pooled : all held-out rows ranked together
    low, high : ends of the 90 % interval of ``pooled``, pointwise
    folds : each held-out fold ranked by itself; folds without any slump are left out
    best : ranked by the true density, which no ranking can beat
    saved : recall -> ``share`` of the land saved, ``low`` and ``high`` of its interval, ``folds``
    n_rows, n_blocks, n_empty_folds : what it rests on
    """

    pooled: Float64
    low: Float64
    high: Float64
    folds: dict[str, Float64]
    best: Float64
    saved: dict[float, dict[str, Any]]
    n_rows: int
    n_blocks: int
    n_empty_folds: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "land_processed": AT.tolist(),
            "found": self.pooled.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "best": self.best.tolist(),
            "folds": {name: curve.tolist() for name, curve in self.folds.items()},
            "saved": {f"{recall:g}": entry for recall, entry in self.saved.items()},
            "interval": INTERVAL,
            "n_rows": self.n_rows,
            "n_blocks": self.n_blocks,
            "n_empty_folds": self.n_empty_folds,
        }


def measure_gain(
    score: npt.ArrayLike,
    slump_m2: npt.ArrayLike,
    land_m2: npt.ArrayLike,
    blocks: npt.ArrayLike,
    folds: npt.ArrayLike,
    seed: int,
) -> Gain:
    """Measure the gain of a ranking of held-out rows.

    Parameters
    ----------
    score : (n,) float64, the higher the sooner; expected densities
    slump_m2, land_m2 : (n,) float64, slump area and processed land of each row
    blocks : (n,) the place of each row
    folds : (n,) the held-out fold of each row
    seed : for the draws of the interval
    """
    values, slump, land = (np.asarray(part, dtype=np.float64) for part in (score, slump_m2, land_m2))
    places, parts = np.asarray(blocks), np.asarray(folds)
    if not values.shape == slump.shape == land.shape == places.shape == parts.shape or values.ndim != 1:
        raise SchemaError(f"A gain curve needs one score, slump area, land area, block and fold a row: {values.shape}.")
    if not np.isfinite(values).all() or (slump < 0).any() or not (land > 0).all() or not slump.sum() > 0:
        raise SchemaError("A gain curve needs finite scores, land in every row, and some slump area.")
    names, code = np.unique(places, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(0, names.size, names.size), minlength=names.size)[code] for _ in range(DRAWS)]
    group = _groups(values)
    curves = [_curve(group, slump * drawn, land * drawn) for drawn in draws if (slump * drawn).sum() > 0]
    by_fold = {str(name): parts == name for name in np.unique(parts)}
    full = {name: rows for name, rows in by_fold.items() if slump[rows].sum() > 0}
    in_fold = {name: _curve(_groups(values[rows]), slump[rows], land[rows]) for name, rows in full.items()}
    pooled = _curve(group, slump, land)
    ends = np.quantile([found(AT) for found in curves], [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], axis=0)
    saved = {
        recall: {
            "share": pooled.saved(recall),
            **_interval([found.saved(recall) for found in curves]),
            "folds": {name: found.saved(recall) for name, found in in_fold.items()},
        }
        for recall in RECALLS
    }
    return Gain(
        pooled=pooled(AT),
        low=ends[0],
        high=ends[1],
        folds={name: found(AT) for name, found in in_fold.items()},
        best=_curve(_groups(slump / land), slump, land)(AT),
        saved=saved,
        n_rows=values.size,
        n_blocks=int(names.size),
        n_empty_folds=len(by_fold) - len(full),
    )


@dataclass(frozen=True, eq=False)
class _Curve:
    """A rising line: share of the land processed, share of the slump area found."""

    processed: Float64
    found: Float64

    def __call__(self, at: Float64) -> Float64:
        return np.interp(at, self.processed, self.found)

    def saved(self, recall: float) -> float:
        """Share of the land that need not be processed to find that share of the slump area."""
        reached = int(np.searchsorted(self.found, recall - 1e-12))
        if reached == 0:
            return 1.0
        rise = self.found[reached] - self.found[reached - 1]
        part = (recall - self.found[reached - 1]) / rise
        before = self.processed[reached - 1]
        return float(1.0 - before - part * (self.processed[reached] - before))


def _groups(score: Float64) -> npt.NDArray[np.int64]:
    """Number the scores from the highest on : (n,); rows of one score are taken together, as their order is chance."""
    return np.unique(-score, return_inverse=True)[1].astype(np.int64)


def _curve(group: npt.NDArray[np.int64], slump: Float64, land: Float64) -> _Curve:
    processed, found = np.cumsum(np.bincount(group, land)), np.cumsum(np.bincount(group, slump))
    return _Curve(np.r_[0.0, processed / processed[-1]], np.r_[0.0, found / found[-1]])


def _interval(values: list[float]) -> dict[str, float]:
    low, high = np.quantile(values, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return {"low": float(low), "high": float(high)}
