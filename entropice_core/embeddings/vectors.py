"""Mean vectors of cells and what becomes features of them, whichever way their pixels came."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from entropice_core.config.sources.alphaearth import Part
from entropice_core.fetch.alphaearth import BANDS
from entropice_core.grids.base import Float64, UInt64

_WORDS = {"mean": "mean in the cell", "direction": "mean in the cell, of length 1", "std": "std in the cell"}


@dataclass
class Vectors:
    """Embeddings of a list of cells.

    ``ids`` : (c,); ``mean``, ``std`` : (c, 64), NaN where there is no valid pixel; ``valid_m2`` : (c,) area of valid
    pixels; ``seen`` : (c,) whether a tile has a pixel there. ``counts`` : numbers for people.
    """

    ids: UInt64
    mean: Float64 = field(init=False)
    std: Float64 = field(init=False)
    valid_m2: Float64 = field(init=False)
    seen: Float64 = field(init=False)
    counts: dict[str, int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mean, self.std = (np.full((self.ids.size, BANDS), np.nan) for _ in range(2))
        self.valid_m2, self.seen = np.zeros(self.ids.size), np.zeros(self.ids.size)

    @property
    def length(self) -> Float64:
        """Length of the mean vector: (c,)."""
        found: Float64 = np.sqrt((self.mean**2).sum(axis=1))
        return found

    def columns(self, parts: Sequence[Part]) -> list[tuple[list[str], list[str], Float64]]:
        """Names, long names and values of each group of features."""
        length = self.length[:, None]
        with np.errstate(invalid="ignore"):
            direction = np.where(length > 0.0, self.mean / np.where(length > 0.0, length, 1.0), np.nan)
        values = {"mean": self.mean, "direction": direction, "std": self.std}
        bands = range(BANDS)
        made = [
            (
                [f"A{band:02d}_{part}" for band in bands],
                [f"embedding axis {band}, {_WORDS[part]}" for band in bands],
                values[part],
            )
            for part in parts
        ]
        return [*made, (["R"], ["length of the mean embedding, 1 where all pixels are alike"], length)]
