"""What is known of the pixels of each cell so far: sums that can be added in any order and stay exact.

For every cell and quantity: how many pixels, the sums of w, w q and w q q (w: true area of a pixel in whole units, q:
value in whole steps), the least and largest q, and a histogram of w over bins of q. All are integers; w q q needs 128
bits, kept as two numbers of 64. Adding is therefore associative and commutative to the last bit: tiles in any order,
on any number of workers, give the same sums and the same digest. Means, deviations and quantiles are computed at the
end, once.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError
from entropice_core.features.quantity import Quantity
from entropice_core.grids.base import Float64, Int64, UInt64

QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.50, "p75": 0.75, "p95": 0.95}
STATISTICS = ("mean", "std", "min", "max", *QUANTILES)

Int32 = npt.NDArray[np.int32]
_NO_LOW = np.int32(2**31 - 1)
_BIN_BITS = np.uint64(16)


@dataclass(frozen=True)
class Partials:
    """Sums of some pixels in cells of one grid level.

    Attributes
    ----------
    quantities : what was measured, v of them
    unit_m2 : area of one unit of weight
    cell_ids : (c,) uint64, sorted
    seen : (c,) uint64, weight of all pixels of the cell, masked ones too
    whole : (c, v, 5) uint64: pixels, sum w, sum w q, sum w q q in two parts (high and low 64 bits)
    low, high : (c, v) int32, least and largest q; 2**31 - 1 and -1 where there is no pixel
    bin_keys : (b,) uint64, sorted: (position of the cell * v + position of the quantity) * 2**16 + bin
    bin_weights : (b,) uint64, weight in that bin
    counts : (v, 3) int64: pixels used, nodata and outside the range, in all tiles together
    """

    quantities: tuple[Quantity, ...]
    unit_m2: float
    cell_ids: UInt64
    seen: UInt64
    whole: UInt64
    low: Int32
    high: Int32
    bin_keys: UInt64
    bin_weights: UInt64
    counts: Int64

    @classmethod
    def empty(cls, quantities: Sequence[Quantity], unit_m2: float, cell_ids: UInt64 | None = None) -> Self:
        """No pixels yet, of no cells or of the given ones."""
        ids = np.empty(0, dtype=np.uint64) if cell_ids is None else cell_ids
        shape = ids.size, len(quantities)
        return cls(
            tuple(quantities),
            unit_m2,
            ids,
            np.zeros(ids.size, dtype=np.uint64),
            np.zeros((*shape, 5), dtype=np.uint64),
            np.full(shape, _NO_LOW, dtype=np.int32),
            np.full(shape, -1, dtype=np.int32),
            np.empty(0, dtype=np.uint64),
            np.empty(0, dtype=np.uint64),
            np.zeros((len(quantities), 3), dtype=np.int64),
        )

    def merge(self, other: "Partials") -> "Partials":
        """Add the pixels of another: exact, so that neither order nor grouping changes a bit.

        Raises
        ------
        SchemaError
            When the two are of other quantities or units of weight.
        """
        if (self.quantities, self.unit_m2) != (other.quantities, other.unit_m2):
            raise SchemaError(
                f"Sums of {[q.name for q in self.quantities]} in units of {self.unit_m2:g} m2 cannot be added to sums "
                f"of {[q.name for q in other.quantities]} in units of {other.unit_m2:g} m2: compute them anew."
            )
        ids = np.union1d(self.cell_ids, other.cell_ids)
        a, b = self._spread(ids), other._spread(ids)
        whole = a.whole + b.whole
        whole[..., 3] += whole[..., 4] < b.whole[..., 4]  # carry into the upper 64 bits
        keys, weights = _add_bins(np.r_[a.bin_keys, b.bin_keys], np.r_[a.bin_weights, b.bin_weights])
        return Partials(
            self.quantities,
            self.unit_m2,
            ids,
            a.seen + b.seen,
            whole,
            np.minimum(a.low, b.low),
            np.maximum(a.high, b.high),
            keys,
            weights,
            self.counts + other.counts,
        )

    def take(self, cell_ids: UInt64) -> "Partials":
        """Keep only the given cells (sorted); those without a pixel are there too, empty."""
        inside = np.isin(self.cell_ids, cell_ids, assume_unique=True)
        return self._rows(np.flatnonzero(inside))._spread(cell_ids)

    def grouped(self, parents: UInt64) -> "Partials":
        """Add up cells that lie wholly in a larger one: ``parents`` (c,) gives each cell's, ascending."""
        ids, start, of = np.unique(parents, return_index=True, return_inverse=True)
        if (np.diff(parents.astype(np.int64)) < 0).any():
            raise SchemaError("Cells can be grouped only when their parents come in ascending order.")
        whole = np.add.reduceat(self.whole, start, axis=0)
        low64, high64 = _sum_pairs(self.whole[..., 4], start), whole[..., 3]
        whole[..., 3], whole[..., 4] = high64 + low64[0], low64[1]
        v = np.uint64(len(self.quantities))
        row, bins = self.bin_keys >> _BIN_BITS, self.bin_keys & np.uint64(0xFFFF)
        keys = ((of.astype(np.uint64)[row // v] * v + row % v) << _BIN_BITS) | bins
        keys, weights = _add_bins(keys, self.bin_weights)
        return replace(
            self,
            cell_ids=ids,
            seen=np.add.reduceat(self.seen, start),
            whole=whole,
            low=np.minimum.reduceat(self.low, start, axis=0),
            high=np.maximum.reduceat(self.high, start, axis=0),
            bin_keys=keys,
            bin_weights=weights,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the content: equal sums have equal digests, whatever they were added up from."""
        total = hashlib.sha256(json.dumps(self.header(), sort_keys=True).encode())
        for name, array in self.arrays().items():
            total.update(f"{name} {array.shape} {array.dtype.str}".encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()

    def header(self) -> dict[str, Any]:
        """What the arrays mean, as plain values."""
        return {"unit_m2": self.unit_m2, "quantities": [quantity.to_dict() for quantity in self.quantities]}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name, for files and digests."""
        names = ("cell_ids", "seen", "whole", "low", "high", "bin_keys", "bin_weights", "counts")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arrays(cls, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """The reverse of :meth:`header` and :meth:`arrays`."""
        return cls(tuple(Quantity(**q) for q in header["quantities"]), header["unit_m2"], **arrays)

    # --- results -----------------------------------------------------------------------------------------------------

    def statistic(self, name: str) -> Float64:
        """One of ``STATISTICS`` for every cell and quantity, NaN where there is no pixel: (c, v).

        ``std`` is the deviation of the pixels in the cell, weighted by area, without Bessel's correction. ``min`` and
        ``max`` are rounded to a step like all values. A quantile lies in the bin where the sorted pixels reach the
        share, and is interpolated linearly in it: it errs by less than the bin's width.
        """
        if name in QUANTILES:
            return self._quantile(QUANTILES[name])
        made = {"mean": self._mean, "std": self._std, "min": self._least, "max": self._largest}[name]()
        return np.where(self.whole[..., 1] > 0, made, np.nan)

    def pixels(self) -> Int64:
        """Number of valid pixels: (c, v)."""
        return self.whole[..., 0].astype(np.int64)

    def valid_area_m2(self) -> Float64:
        """True area of the valid pixels: (c, v)."""
        return self.whole[..., 1].astype(np.float64) * self.unit_m2

    def seen_area_m2(self) -> Float64:
        """True area of all pixels of the raster in the cell, masked ones too: (c,)."""
        return self.seen.astype(np.float64) * self.unit_m2

    def _scale(self) -> tuple[Float64, Float64]:
        return np.array([q.low for q in self.quantities]), np.array([q.step for q in self.quantities])

    def _mean(self) -> Float64:
        low, step = self._scale()
        return low + step * (self.whole[..., 2] / np.maximum(self.whole[..., 1], np.uint64(1)))

    def _std(self) -> Float64:
        """Root of (W sum w q q - (sum w q)^2) / W^2; the numerator in whole numbers of any length: nothing cancels."""
        flat = self.whole.reshape(-1, 5)
        out = np.zeros(flat.shape[0])
        for i in np.flatnonzero(self.high > self.low):
            _, w, wq, upper, lower = flat[i].tolist()
            out[i] = (w * ((upper << 64) + lower) - wq * wq) / (w * w)
        return np.sqrt(out).reshape(self.low.shape) * self._scale()[1]

    def _least(self) -> Float64:
        low, step = self._scale()
        return low + step * self.low

    def _largest(self) -> Float64:
        low, step = self._scale()
        return low + step * self.high

    def _quantile(self, share: float) -> Float64:
        rows, start = np.unique(self.bin_keys >> _BIN_BITS, return_index=True)
        out = np.full(self.low.size, np.nan)
        if rows.size:
            weights = self.bin_weights.astype(np.float64)
            cumulative = np.cumsum(self.bin_weights)  # whole numbers: exact
            before = np.r_[np.uint64(0), cumulative][start]
            total = np.add.reduceat(self.bin_weights, start).astype(np.float64)
            # first bin in which the sum reaches the share of the row's total
            row_of = np.repeat(np.arange(rows.size), np.diff(np.r_[start, self.bin_keys.size]))
            reached = (cumulative - before[row_of]).astype(np.float64) >= share * total[row_of]
            index = np.flatnonzero(reached)
            _, first = np.unique(row_of[index], return_index=True)
            at = index[first]
            below = (cumulative[at] - self.bin_weights[at] - before).astype(np.float64)
            inside = np.clip((share * total - below) / weights[at], 0.0, 1.0)
            out[rows.astype(np.int64)] = self._in_bin(rows, self.bin_keys[at] & np.uint64(0xFFFF), inside)
        found: Float64 = out.reshape(self.low.shape)
        return np.clip(found, self._least(), np.where(self.high >= 0, self._largest(), np.inf))

    def _in_bin(self, rows: UInt64, bins: UInt64, inside: Float64) -> Float64:
        quantity = (rows % np.uint64(len(self.quantities))).astype(np.int64)
        out = np.empty(rows.size)
        for v, each in enumerate(self.quantities):
            chosen = np.flatnonzero(quantity == v)
            b = bins[chosen].astype(np.int64)
            low, high = each.edges[b], each.edges[b + 1]
            out[chosen] = low + inside[chosen] * (high - low)
        return out

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _rows(self, rows: Int64) -> "Partials":
        """Cells at some positions, ascending."""
        v = np.uint64(len(self.quantities))
        new = np.full(self.cell_ids.size, -1, dtype=np.int64)
        new[rows] = np.arange(rows.size)
        row = self.bin_keys >> _BIN_BITS
        cell = new[(row // v).astype(np.int64)]
        kept = np.flatnonzero(cell >= 0)
        keys = ((cell[kept].astype(np.uint64) * v + row[kept] % v) << _BIN_BITS) | (
            self.bin_keys[kept] & np.uint64(0xFFFF)
        )
        return replace(
            self,
            cell_ids=self.cell_ids[rows],
            seen=self.seen[rows],
            whole=self.whole[rows],
            low=self.low[rows],
            high=self.high[rows],
            bin_keys=keys,
            bin_weights=self.bin_weights[kept],
        )

    def _spread(self, ids: UInt64) -> "Partials":
        """The same sums in a longer list of cells."""
        if ids.size == self.cell_ids.size:
            return self
        made = Partials.empty(self.quantities, self.unit_m2, ids)
        at = np.searchsorted(ids, self.cell_ids)
        for name in ("seen", "whole", "low", "high"):
            getattr(made, name)[at] = getattr(self, name)
        v = np.uint64(len(self.quantities))
        row = self.bin_keys >> _BIN_BITS
        cell = at.astype(np.uint64)[(row // v).astype(np.int64)]
        keys = ((cell * v + row % v) << _BIN_BITS) | (self.bin_keys & np.uint64(0xFFFF))
        return replace(made, bin_keys=keys, bin_weights=self.bin_weights, counts=self.counts)


def merge_all(parts: Iterable[Partials]) -> Partials:
    """Add up many, two by two, so that long lists cost little more than their size; at least one."""
    level = list(parts)
    if not level:
        raise SchemaError("There are no partial statistics to add up: no tile was processed.")
    while len(level) > 1:
        level = [reduce(Partials.merge, level[i : i + 2]) for i in range(0, len(level), 2)]
    return level[0]


def _add_bins(keys: UInt64, weights: UInt64) -> tuple[UInt64, UInt64]:
    """Add weights of equal keys: (n,), (n,) -> (m,), (m,), keys ascending."""
    if keys.size == 0:
        return keys, weights
    order = np.argsort(keys, kind="stable")
    keys, weights = keys[order], weights[order]
    start = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[start], np.add.reduceat(weights, start)


def _sum_pairs(values: UInt64, start: Int64) -> tuple[UInt64, UInt64]:
    """Sums of 64-bit numbers by group, with what goes beyond 64 bits: (c, v) -> carry (g, v), rest (g, v)."""
    half = np.uint64(32)
    lower = np.add.reduceat(values & np.uint64(0xFFFFFFFF), start, axis=0)
    upper = np.add.reduceat(values >> half, start, axis=0) + (lower >> half)
    return upper >> half, (upper << half) | (lower & np.uint64(0xFFFFFFFF))
