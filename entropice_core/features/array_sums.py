"""The sums of ``kernels.add_runs`` in the words of the array API, for arrays on a GPU (CuPy).

Pixels are sorted by (cell, value); then sums of a cell are differences of running sums, its least and largest value the
ends of its stretch, and its histogram the stretches of equal bins. Running sums wrap around at 2**64, and their
differences are right all the same, as no cell's own sum reaches 2**64. Integers throughout, so that the result is that
of the compiled loops to the last bit. Tried with NumPy and with the strict reference of the standard; not run on a GPU.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

_VALUE_BITS = 21  # values are at most 2**20


def array_sums(labels: Any, steps: Any, weights: Any, n_cells: int) -> tuple[npt.NDArray[Any], ...]:
    """Sums of pixels by cell, like ``kernels.add_runs`` on zeroed arrays.

    Parameters
    ----------
    labels : (n,) int64, position of each pixel's cell
    steps : (n,) int64, -1 where masked
    weights : (n,) int64, 0 for pixels that do not count
    n_cells : number of cells

    Returns
    -------
    whole, low, high : NumPy arrays (cells, 5) uint64, (cells,) int32, (cells,) int32
    """
    xp = array_namespace(labels, steps, weights)
    key, w, q = _sorted(xp, labels, steps, weights)
    edges = xp.searchsorted(key, xp.arange(n_cells + 1, dtype=xp.int64) << _VALUE_BITS)
    w64, q64 = xp.astype(w, xp.uint64), xp.astype(q, xp.uint64)
    square = w64 * q64 * q64
    low32 = xp.asarray(0xFFFFFFFF, dtype=xp.uint64)
    parts = (xp.ones_like(w64), w64, w64 * q64, square >> 32, square & low32)
    n, s0, s1, upper, lower = (_by_stretch(xp, part, edges) for part in parts)
    upper = upper + (lower >> 32)
    whole = np.stack([n, s0, s1, upper >> 32, (upper << 32) | (lower & 0xFFFFFFFF)], axis=1)
    filled = n > 0
    first, last = _to_numpy(edges)[:-1], _to_numpy(edges)[1:] - 1
    values = _to_numpy(q)
    low, high = np.full(n_cells, 2**31 - 1, dtype=np.int32), np.full(n_cells, -1, dtype=np.int32)
    low[filled], high[filled] = values[first[filled]], values[last[filled]]
    return whole, low, high


def array_bins(
    labels: Any, steps: Any, weights: Any, bin_of: Any
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Filled bins of the cells' histograms, sorted: cell (b,), bin (b,), weight (b,), as NumPy arrays."""
    xp = array_namespace(labels, steps, weights)
    key, w, q = _sorted(xp, labels, steps, weights)
    if key.shape[0] == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64)
    cell, bins = key >> _VALUE_BITS, xp.take(bin_of, q)
    changed = (cell[1:] != cell[:-1]) | (bins[1:] != bins[:-1])
    start = xp.concat([xp.zeros(1, dtype=xp.int64), xp.astype(xp.nonzero(changed)[0], xp.int64) + 1])
    edges = xp.concat([start, xp.full(1, key.shape[0], dtype=xp.int64)])
    sums = _by_stretch(xp, xp.astype(w, xp.uint64), edges)
    return _to_numpy(xp.take(cell, start)), _to_numpy(xp.take(bins, start)), sums


def _sorted(xp: Any, labels: Any, steps: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Pixels that count, sorted by (cell, value): key, weight and value."""
    (counted,) = xp.nonzero((steps >= 0) & (weights > 0))
    q = xp.take(steps, counted)
    key = (xp.take(labels, counted) << _VALUE_BITS) | q
    order = xp.argsort(key)
    return xp.take(key, order), xp.take(xp.take(weights, counted), order), xp.take(q, order)


def _by_stretch(xp: Any, values: Any, edges: Any) -> npt.NDArray[np.uint64]:
    """Sums of stretches of sorted values from running sums: (n,), (m + 1,) -> (m,)."""
    running = xp.concat([xp.zeros(1, dtype=xp.uint64), xp.cumulative_sum(values, dtype=xp.uint64)])
    at = _to_numpy(xp.take(running, edges)).astype(np.uint64)
    return np.diff(at)


def _to_numpy(array: Any) -> npt.NDArray[Any]:
    """Bring an array to the host: ``get`` is CuPy's."""
    return np.asarray(array.get() if hasattr(array, "get") else array)
