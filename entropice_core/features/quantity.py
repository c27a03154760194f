"""A quantity as whole steps, so that sums of it are exact: what may be added in any order must be integers.

Sums of floating-point numbers depend on the order in which they are added; so would digests. Values are therefore
rounded to steps that are far finer than the data are good for (8 mm of elevation), and everything that is added up is
an integer.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError, SourceError
from entropice_core.features import kernels
from entropice_core.grids.base import Float64, Int64

MAX_LEVELS = (1 << 20) + 1

Int32 = npt.NDArray[np.int32]
UInt16 = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Quantity:
    """One quantity of pixels: its name, its range and how finely it is kept.

    Attributes
    ----------
    name, unit, long_name : for people
    low, high : values outside are masked and counted
    step : values are rounded to ``low + step * q`` with whole q; a power of two keeps the rounding exact
    bins : number of histogram bins for quantiles; 0 for none
    bend : 0 for bins of equal width; otherwise widths grow in proportion to the distance from zero beyond ``bend``

    Examples
    --------
    >>> slope = Quantity("slope", "degree", "slope", 0.0, 90.0, step=2.0**-10, bins=360)
    >>> slope.levels, slope.edges[:3].tolist()
    (92161, [0.0, 0.25, 0.5])
    >>> curvature = Quantity("c", "m-1", "curvature", -1.0, 1.0, step=2.0**-18, bins=4, bend=0.01)
    >>> curvature.edges.round(3).tolist()
    [-1.0, -0.07, 0.0, 0.07, 1.0]
    """

    name: str
    unit: str
    long_name: str
    low: float
    high: float
    step: float
    bins: int = 0
    bend: float = 0.0

    def __post_init__(self) -> None:
        if not (self.low < self.high and self.step > 0.0):
            raise SchemaError(
                f"The quantity {self.name!r} goes from {self.low:g} to {self.high:g} in steps of {self.step:g}; "
                "give low < high and a step above 0."
            )
        if not 2 <= self.levels <= MAX_LEVELS:
            raise SchemaError(
                f"The quantity {self.name!r} from {self.low:g} to {self.high:g} in steps of {self.step:g} needs "
                f"{self.levels} levels; take a step that gives 2 to {MAX_LEVELS}."
            )
        if not 0 <= self.bins <= min(self.levels, 1 << 16):
            raise SchemaError(f"The quantity {self.name!r} has {self.bins} bins; it may have 0 to {self.levels}.")

    @property
    def levels(self) -> int:
        """Number of whole steps from the lowest to the highest value."""
        return int(np.floor((self.high - self.low) / self.step + 0.5)) + 1

    @cached_property
    def _bin_starts(self) -> Int64:
        """First level of each bin, and the number of levels: (bins + 1,)."""
        if self.bend == 0.0:
            edges = np.linspace(self.low, self.high, self.bins + 1)
        else:
            ends = np.arcsinh(np.array([self.low, self.high]) / self.bend)
            edges = self.bend * np.sinh(np.linspace(ends[0], ends[1], self.bins + 1))
        starts = np.floor((edges - self.low) / self.step + 0.5).astype(np.int64)
        starts[0], starts[-1] = 0, self.levels
        for i in range(1, starts.size):  # bins narrower than a step would be empty
            starts[i] = max(starts[i], starts[i - 1] + 1)
        starts = np.minimum(starts, self.levels - np.arange(self.bins, -1, -1))
        return starts

    @cached_property
    def edges(self) -> Float64:
        """Borders of the bins: (bins + 1,). A quantile errs by less than the width of the bin it lies in."""
        edges = self.low + self.step * self._bin_starts.astype(np.float64)
        edges[-1] = self.low + self.step * (self.levels - 1)
        return edges

    @property
    def error_words(self) -> str:
        """By how much a quantile may be off, for the metadata: less than the width of a bin.

        >>> Quantity("slope", "degree", "slope", 0.0, 90.0, step=2.0**-10, bins=360).error_words
        '0.25 degree'
        """
        if not self.bins:
            return "no quantiles"
        unit = "" if self.unit == "1" else f" {self.unit}"
        if self.bend == 0.0:
            return f"{(self.high - self.low) / self.bins:.2g}{unit}"
        ends = np.arcsinh(np.array([self.low, self.high]) / self.bend)
        width = float(ends[1] - ends[0]) / self.bins  # a bin is width * sqrt(bend**2 + value**2) wide
        return f"{width * self.bend:.2g}{unit} + {width:.1%} of the value"

    @cached_property
    def bin_of(self) -> UInt16:
        """Bin of each level: (levels,)."""
        return np.repeat(np.arange(self.bins), np.diff(self._bin_starts)).astype(np.uint16)

    def quantise(self, values: npt.NDArray[np.floating[Any]], where: str) -> tuple[Int32, Int64]:
        """Round a field to steps: (rows, columns) -> int32, -1 where masked, and counts (used, NaN, outside): (3,).

        Raises
        ------
        SourceError
            For an infinite value: no instrument measures one.
        """
        made, counts = kernels.quantise(np.ascontiguousarray(values), self.low, self.step, self.levels)
        if counts[2]:
            raise SourceError(
                f"{where}, {self.name}: {int(counts[2])} of {values.size} pixels are infinite; "
                "write a finite number or NaN in their place."
            )
        return made, counts[[0, 1, 3]]

    def to_dict(self) -> dict[str, str | float | int]:
        """All that changes sums, as plain values for recipes and file headers."""
        names = ("name", "unit", "long_name", "low", "high", "step", "bins", "bend")
        return {name: getattr(self, name) for name in names}
