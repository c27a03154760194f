"""The loops over pixels, compiled by numba: nothing here knows of grids, files or coordinate systems.

Compiled code releases the interpreter's lock, so that threads work on tiles side by side. No fast-math: a pixel gives
the same bits wherever it lies in an array.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Compiled = TypeVar("Compiled", bound=Callable[..., Any])
Array = npt.NDArray[Any]

RUN_PIXELS = 512
"""Longest run: 512 pixels of weight < 2**14 and squared value of at most 2**40 add up to less than 2**63."""


def compiled(function: Compiled) -> Compiled:
    """Compile on first use and keep the machine code beside the module."""
    return cast(Compiled, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


@compiled
def weights(knots: Array, first_row: int, first_column: int, step: int, n_rows: int, n_columns: int) -> Array:
    """Interpolate between knots at pixel centres and round: (knot rows, knot columns) -> (rows, columns) uint16."""
    out = np.empty((n_rows, n_columns), dtype=np.uint16)
    for row in range(n_rows):
        place = row - first_row
        k, t = place // step, (place % step + 0.5) / step
        for begin in range(0, knots.shape[1] - 1):
            left = knots[k, begin] * (1.0 - t) + knots[k + 1, begin] * t
            right = knots[k, begin + 1] * (1.0 - t) + knots[k + 1, begin + 1] * t
            column0 = begin * step + first_column
            for column in range(max(column0, 0), min(column0 + step, n_columns)):
                u = (column - column0 + 0.5) / step
                out[row, column] = np.uint16(left * (1.0 - u) + right * u + 0.5)
    return out


@compiled
def edge_steps(rows: Array, columns: Array, offsets: Array, labels: Array, n_rows: int, n_columns: int) -> Array:
    """Write down where scan lines cross outlines: label steps whose running sum along a row is the label + 1.

    ``rows``, ``columns`` : (points,) corners of rings in pixels; ``offsets`` : (rings + 1,); ``labels`` : (rings,).
    A line enters a cell on one edge and leaves it on another: +(label + 1) at the first pixel whose centre is behind
    the first, -(label + 1) behind the second. Cells fill the plane, so that at a common edge the two add up to the
    difference of the neighbours. Gives (n_rows, n_columns + 1) int32.
    """
    steps = np.zeros((n_rows, n_columns + 1), dtype=np.int32)
    for ring in range(offsets.size - 1):
        begin, end = offsets[ring], offsets[ring + 1]
        doubled_area = 0.0
        for i in range(begin, end):
            j = i + 1 if i + 1 < end else begin
            doubled_area += (columns[i] - columns[begin]) * (rows[j] - rows[begin])
            doubled_area -= (columns[j] - columns[begin]) * (rows[i] - rows[begin])
        for i in range(begin, end):
            j = i + 1 if i + 1 < end else begin
            sign = 1 if (rows[j] < rows[i]) == (doubled_area > 0.0) else -1
            a, b = (i, j) if rows[i] < rows[j] else (j, i)
            first = max(int(np.ceil(rows[a] - 0.5)), 0)
            last = min(int(np.ceil(rows[b] - 0.5)), n_rows)
            if first >= last:
                continue
            slope = (columns[b] - columns[a]) / (rows[b] - rows[a])
            for row in range(first, last):
                crossing = columns[a] + (row + 0.5 - rows[a]) * slope
                if crossing <= n_columns:
                    steps[row, max(int(np.ceil(crossing - 0.5)), 0)] += sign * (labels[ring] + 1)
    return steps


@compiled
def near_edges(rows: Array, columns: Array, offsets: Array, margin: float, n_rows: int, n_columns: int) -> Array:
    """Positions (row * n_columns + column) of pixels whose centre is within ``margin`` pixels of an outline: (n,)."""
    found = np.empty(1024, dtype=np.int64)
    n = 0
    for ring in range(offsets.size - 1):
        begin, end = offsets[ring], offsets[ring + 1]
        for i in range(begin, end):
            j = i + 1 if i + 1 < end else begin
            a, b = (i, j) if rows[i] < rows[j] else (j, i)
            first = max(int(np.ceil(rows[a] - margin - 0.5)), 0)
            last = min(int(np.floor(rows[b] + margin - 0.5)), n_rows - 1)
            height = rows[b] - rows[a]
            slope = (columns[b] - columns[a]) / height if height > 0.0 else 0.0
            for row in range(first, last + 1):
                top = min(max(row + 0.5 - margin - rows[a], 0.0), height)
                bottom = min(max(row + 0.5 + margin - rows[a], 0.0), height)
                x0, x1 = columns[a] + top * slope, columns[a] + bottom * slope
                if height == 0.0:
                    x0, x1 = columns[a], columns[b]
                low, high = min(x0, x1) - margin - 0.5, max(x0, x1) + margin - 0.5
                if high < 0.0 or low > n_columns:
                    continue
                for column in range(max(int(np.ceil(low)), 0), min(int(np.floor(high)), n_columns - 1) + 1):
                    if n == found.size:
                        larger = np.empty(2 * n, dtype=np.int64)
                        larger[:n] = found
                        found = larger
                    found[n] = row * n_columns + column
                    n += 1
    return found[:n]


@compiled
def sum_steps(steps: Array) -> Array:
    """Running sum along each row less one: label steps (rows, columns + 1) -> labels (rows, columns) int32."""
    n_rows, n_columns = steps.shape[0], steps.shape[1] - 1
    out = np.empty((n_rows, n_columns), dtype=np.int32)
    for row in range(n_rows):
        label = np.int32(-1)
        for column in range(n_columns):
            label += steps[row, column]
            out[row, column] = label
    return out


@compiled
def find_runs(labels: Array) -> tuple[Array, Array, Array]:
    """Runs of equal labels along rows, at most 512 pixels long; -1 makes no run.

    (rows, columns) int32 -> begin (n,) int64 in the flattened tile, length (n,) int32, label (n,) int32.
    """
    n_rows, n_columns = labels.shape
    n = 0
    begin, length, label = np.empty(4096, np.int64), np.empty(4096, np.int32), np.empty(4096, np.int32)
    for row in range(n_rows):
        column = 0
        while column < n_columns:
            this = labels[row, column]
            stop = column + 1
            while stop < n_columns and labels[row, stop] == this and stop - column < RUN_PIXELS:
                stop += 1
            if this >= 0:
                if n == begin.size:
                    more, more2, more3 = np.empty(2 * n, np.int64), np.empty(2 * n, np.int32), np.empty(2 * n, np.int32)
                    more[:n], more2[:n], more3[:n] = begin, length, label
                    begin, length, label = more, more2, more3
                begin[n], length[n], label[n] = row * n_columns + column, stop - column, this
                n += 1
            column = stop
    return begin[:n], length[:n], label[:n]


@compiled
def quantise(values: Array, low: float, step: float, levels: int) -> tuple[Array, Array]:
    """Round to whole steps above ``low``: (rows, columns) float -> int32, -1 where masked, and why pixels are masked.

    The counts are (4,) int64: used, NaN, infinite, outside the range.
    """
    out = np.empty(values.shape, dtype=np.int32)
    counts = np.zeros(4, dtype=np.int64)
    flat, numbers = values.ravel(), out.ravel()
    for i in range(flat.size):
        value = np.float64(flat[i])
        numbers[i] = -1
        if np.isnan(value):
            counts[1] += 1
        elif np.isinf(value):
            counts[2] += 1
        else:
            scaled = np.floor((value - low) / step + 0.5)
            if scaled >= 0.0 and scaled < levels:
                numbers[i] = np.int32(scaled)
                counts[0] += 1
            else:
                counts[3] += 1
    return out, counts


@compiled
def add_runs(
    begin: Array, length: Array, cell: Array, values: Array, weight: Array, whole: Array, low: Array, high: Array
) -> None:
    """Add runs of pixels to the sums of their cells.

    ``values`` : (pixels,) int32, -1 where masked; ``weight`` : (pixels,) uint16, 0 for pixels that do not count.
    ``whole`` : (cells, 5) uint64: pixels, sum of w, sum of w q, sum of w q q in two parts (high and low 64 bits).
    ``low``, ``high`` : (cells,) int32.
    """
    for run in range(begin.size):
        n, s0, s1, s2 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        least, most = np.int32(2147483647), np.int32(-1)
        for i in range(begin[run], begin[run] + length[run]):
            q, w = values[i], np.uint64(weight[i])
            if q >= 0 and w > 0:
                wq = w * np.uint64(q)
                n += np.uint64(1)
                s0 += w
                s1 += wq
                s2 += wq * np.uint64(q)
                least = min(least, q)
                most = max(most, q)
        c = cell[run]
        whole[c, 0] += n
        whole[c, 1] += s0
        whole[c, 2] += s1
        summed = whole[c, 4] + s2
        if summed < s2:
            whole[c, 3] += np.uint64(1)
        whole[c, 4] = summed
        low[c] = min(low[c], least)
        high[c] = max(high[c], most)


@compiled
def add_runs_to_bins(
    begin: Array, length: Array, cell: Array, values: Array, weight: Array, bin_of: Array, bins: Array
) -> None:
    """Add the weights of runs of pixels to histograms: ``bin_of`` (levels,) uint16, ``bins`` (cells, bins) uint64."""
    for run in range(begin.size):
        histogram = bins[cell[run]]
        for i in range(begin[run], begin[run] + length[run]):
            if values[i] >= 0:
                histogram[bin_of[values[i]]] += np.uint64(weight[i])


@compiled
def weigh_runs(begin: Array, length: Array, cell: Array, weight: Array, seen: Array) -> None:
    """Add up the weights of all pixels of each cell, masked ones too: ``seen`` (cells,) uint64."""
    for run in range(begin.size):
        total = np.uint64(0)
        for i in range(begin[run], begin[run] + length[run]):
            total += np.uint64(weight[i])
        seen[cell[run]] += total
