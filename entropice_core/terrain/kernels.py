"""The loops over pixels of an elevation model, compiled by numba; formulae and sources are in ``derivatives``.

All take heights z (rows, columns) float32, NaN where there is none, and give float32 fields that are smaller by the
margin that their window needs on every side. A result is NaN where any pixel of its window is. Every pixel is computed
by the same operations in the same order wherever it lies in the array, so that results do not depend on tiles.
"""

import math

import numpy as np

from entropice_core.features.kernels import Array, compiled


@compiled
def gradients(z: Array, knots: Array, first_row: int, first_column: int, step: int) -> tuple[Array, Array]:
    """Horn's gradient per true metre to the east and the north; margin 1."""
    n_rows, n_columns = z.shape
    east = np.empty((n_rows - 2, n_columns - 2), dtype=np.float32)
    north = np.empty_like(east)
    for row in range(1, n_rows - 1):
        k, t = (row - first_row) // step, ((row - first_row) % step + 0.5) / step
        line = knots[:, k, :] * (1.0 - t) + knots[:, k + 1, :] * t
        for column in range(1, n_columns - 1):
            j, u = (column - first_column) // step, ((column - first_column) % step + 0.5) / step
            a, b, c = (
                np.float64(z[row - 1, column - 1]),
                np.float64(z[row - 1, column]),
                np.float64(z[row - 1, column + 1]),
            )
            d, e, f = np.float64(z[row, column - 1]), np.float64(z[row, column]), np.float64(z[row, column + 1])
            g, h, i = (
                np.float64(z[row + 1, column - 1]),
                np.float64(z[row + 1, column]),
                np.float64(z[row + 1, column + 1]),
            )
            per_column = ((c + 2.0 * f + i) - (a + 2.0 * d + g)) / 8.0
            per_row = ((g + 2.0 * h + i) - (a + 2.0 * b + c)) / 8.0
            per_column += 0.0 * e  # void where the middle is, which Horn's formula does not look at
            m0 = line[0, j] * (1.0 - u) + line[0, j + 1] * u
            m1 = line[1, j] * (1.0 - u) + line[1, j + 1] * u
            m2 = line[2, j] * (1.0 - u) + line[2, j + 1] * u
            m3 = line[3, j] * (1.0 - u) + line[3, j + 1] * u
            east[row - 1, column - 1] = m0 * per_column + m1 * per_row
            north[row - 1, column - 1] = m2 * per_column + m3 * per_row
    return east, north


@compiled
def slope(east: Array, north: Array) -> Array:
    """Angle of the steepest descent, degrees; no margin."""
    out = np.empty_like(east)
    flat, e, n = out.ravel(), east.ravel(), north.ravel()
    for i in range(flat.size):
        flat[i] = math.degrees(math.atan(math.hypot(np.float64(e[i]), np.float64(n[i]))))
    return out


@compiled
def lean(part: Array, east: Array, north: Array) -> Array:
    """Part of the upward unit normal along one horizontal direction; ``part`` is the gradient in it; no margin."""
    out = np.empty_like(east)
    flat, parts, easts, norths = out.ravel(), part.ravel(), east.ravel(), north.ravel()
    for i in range(flat.size):
        e, n = np.float64(easts[i]), np.float64(norths[i])
        flat[i] = -np.float64(parts[i]) / math.sqrt(1.0 + e * e + n * n)
    return out


@compiled
def curvatures(z: Array, knots: Array, first_row: int, first_column: int, step: int) -> tuple[Array, Array]:
    """Profile and plan curvature of Zevenbergen and Thorne, 1/m; margin 1."""
    n_rows, n_columns = z.shape
    profile = np.empty((n_rows - 2, n_columns - 2), dtype=np.float32)
    plan = np.empty_like(profile)
    for row in range(1, n_rows - 1):
        k, t = (row - first_row) // step, ((row - first_row) % step + 0.5) / step
        line = knots[:, k, :] * (1.0 - t) + knots[:, k + 1, :] * t
        for column in range(1, n_columns - 1):
            j, u = (column - first_column) // step, ((column - first_column) % step + 0.5) / step
            m0 = line[0, j] * (1.0 - u) + line[0, j + 1] * u
            m1 = line[1, j] * (1.0 - u) + line[1, j + 1] * u
            m2 = line[2, j] * (1.0 - u) + line[2, j + 1] * u
            m3 = line[3, j] * (1.0 - u) + line[3, j + 1] * u
            e = np.float64(z[row, column])
            left, right = np.float64(z[row, column - 1]) - e, np.float64(z[row, column + 1]) - e
            above, below = np.float64(z[row - 1, column]) - e, np.float64(z[row + 1, column]) - e
            crossed = np.float64(z[row + 1, column + 1]) + np.float64(z[row - 1, column - 1])
            crossed -= np.float64(z[row + 1, column - 1]) + np.float64(z[row - 1, column + 1])
            by_column, by_row = (right - left) / 2.0, (below - above) / 2.0
            cc, rr, rc = right + left, below + above, crossed / 4.0
            p, q = m0 * by_column + m1 * by_row, m2 * by_column + m3 * by_row
            r = m0 * m0 * cc + 2.0 * m0 * m1 * rc + m1 * m1 * rr
            s = m0 * m2 * cc + (m0 * m3 + m1 * m2) * rc + m1 * m3 * rr
            x = m2 * m2 * cc + 2.0 * m2 * m3 * rc + m3 * m3 * rr
            steep = p * p + q * q
            if steep == 0.0:
                crossed *= 0.0  # 0 on level ground, and void where a corner is
                profile[row - 1, column - 1] = crossed
                plan[row - 1, column - 1] = crossed
            else:
                profile[row - 1, column - 1] = -(r * p * p + 2.0 * s * p * q + x * q * q) / steep
                plan[row - 1, column - 1] = (r * q * q - 2.0 * s * p * q + x * p * p) / steep
    return profile, plan


@compiled
def ruggedness(z: Array) -> tuple[Array, Array]:
    """Riley's terrain ruggedness index and roughness (largest less least height), metres; margin 1."""
    n_rows, n_columns = z.shape
    tri = np.empty((n_rows - 2, n_columns - 2), dtype=np.float32)
    rough = np.empty_like(tri)
    for row in range(1, n_rows - 1):
        for column in range(1, n_columns - 1):
            middle = np.float64(z[row, column])
            total, low, high = 0.0, middle, middle
            for i in range(row - 1, row + 2):
                for j in range(column - 1, column + 2):
                    value = np.float64(z[i, j])
                    total += (value - middle) * (value - middle)
                    low, high = min(low, value), max(high, value)
            tri[row - 1, column - 1] = math.sqrt(total)  # NaN when any of the nine is
            rough[row - 1, column - 1] = np.nan if math.isnan(total) else high - low
    return tri, rough


@compiled
def vector_ruggedness(east: Array, north: Array) -> Array:
    """One less the length of the mean unit normal of the nine pixels; margin 1."""
    n_rows, n_columns = east.shape
    out = np.empty((n_rows - 2, n_columns - 2), dtype=np.float32)
    for row in range(1, n_rows - 1):
        for column in range(1, n_columns - 1):
            x, y, up = 0.0, 0.0, 0.0
            for i in range(row - 1, row + 2):
                for j in range(column - 1, column + 2):
                    e, n = np.float64(east[i, j]), np.float64(north[i, j])
                    length = math.sqrt(1.0 + e * e + n * n)
                    x, y, up = x + e / length, y + n / length, up + 1.0 / length
            out[row - 1, column - 1] = max(1.0 - math.sqrt(x * x + y * y + up * up) / 9.0, 0.0)
            if math.isnan(x):
                out[row - 1, column - 1] = np.nan
    return out


@compiled
def solar_index(
    east: Array, north: Array, latitude: Array, first_row: int, first_column: int, step: int, declinations: Array
) -> Array:
    """Direct sun of some days on the slope, relative to level ground; ``latitude`` at knots, degrees; no margin."""
    out = np.empty_like(east)
    hours = 24
    angle = 2.0 * math.pi * (np.arange(hours) + 0.5) / hours
    sines, cosines = np.sin(angle), np.cos(angle)
    for row in range(east.shape[0]):
        k, t = (row - first_row) // step, ((row - first_row) % step + 0.5) / step
        line = latitude[k] * (1.0 - t) + latitude[k + 1] * t
        for column in range(east.shape[1]):
            e, n = np.float64(east[row, column]), np.float64(north[row, column])
            j, u = (column - first_column) // step, ((column - first_column) % step + 0.5) / step
            phi = math.radians(line[j] * (1.0 - u) + line[j + 1] * u)
            sp, cp = math.sin(phi), math.cos(phi)
            level, slope = 0.0, 0.0
            for declination in declinations:
                sd, cd = math.sin(declination), math.cos(declination)
                for hour in range(hours):
                    up = sp * sd + cp * cd * cosines[hour]
                    on_slope = up + e * cd * sines[hour] - n * (cp * sd - sp * cd * cosines[hour])
                    level += max(up, 0.0)
                    slope += max(on_slope, 0.0) if up > 0.0 else 0.0
            index = slope / math.sqrt(1.0 + e * e + n * n) / level
            out[row, column] = np.nan if math.isnan(e + n) else index
    return out


@compiled
def row_sums(z: Array, per_metre: float) -> tuple[Array, Array]:
    """Running sums along rows of heights in whole steps and of how many there are: (rows, columns + 1) int64, int32.

    Whole numbers, as the sum of a window must not depend on where the row begins.
    """
    n_rows, n_columns = z.shape
    total = np.zeros((n_rows, n_columns + 1), dtype=np.int64)
    count = np.zeros((n_rows, n_columns + 1), dtype=np.int32)
    for row in range(n_rows):
        for column in range(n_columns):
            known = not math.isnan(z[row, column])
            height = int(math.floor(z[row, column] * per_metre + 0.5)) if known else 0
            total[row, column + 1] = total[row, column] + height
            count[row, column + 1] = count[row, column] + (1 if known else 0)
    return total, count


@compiled
def position(
    z: Array, total: Array, count: Array, per_metre: float, margin: int, outer: Array, inner: Array, least: int
) -> Array:
    """Height above the mean of a ring of pixels, metres; ``z`` and the sums have ``margin`` pixels too many.

    ``outer``, ``inner`` : half-widths of the disc and of the hole in rows -R to R; -1 where there is none. NaN where
    fewer than ``least`` pixels of the ring have a height.
    """
    n_rows, n_columns = z.shape[0] - 2 * margin, z.shape[1] - 2 * margin
    out = np.empty((n_rows, n_columns), dtype=np.float32)
    sums, counts = np.empty(n_columns, dtype=np.int64), np.empty(n_columns, dtype=np.int64)
    radius = outer.size // 2
    for row in range(n_rows):
        sums[:] = 0
        counts[:] = 0
        for k in range(outer.size):
            i, w, h = row + margin + k - radius, outer[k], inner[k]
            for column in range(n_columns):
                c = column + margin
                sums[column] += total[i, c + w + 1] - total[i, c - w]
                counts[column] += count[i, c + w + 1] - count[i, c - w]
            if h >= 0:
                for column in range(n_columns):
                    c = column + margin
                    sums[column] -= total[i, c + h + 1] - total[i, c - h]
                    counts[column] -= count[i, c + h + 1] - count[i, c - h]
        for column in range(n_columns):
            here = np.float64(z[row + margin, column + margin])
            if counts[column] >= least:
                out[row, column] = here - sums[column] / counts[column] / per_metre
            else:
                out[row, column] = np.nan
    return out


@compiled
def still_water(z: Array) -> Array:
    """Pixels of a 3 x 3 square of exactly equal heights: (rows - 4, columns - 4) bool; margin 2.

    Elevation models set water level; ground measured to centimetres never has nine equal heights.
    """
    n_rows, n_columns = z.shape
    flat = np.zeros((n_rows, n_columns), dtype=np.bool_)
    for row in range(1, n_rows - 1):
        for column in range(1, n_columns - 1):
            level = z[row, column]
            same = True
            for i in range(row - 1, row + 2):
                for j in range(column - 1, column + 2):
                    same = same and z[i, j] == level
            flat[row, column] = same
    out = np.zeros((n_rows - 4, n_columns - 4), dtype=np.bool_)
    for row in range(2, n_rows - 2):
        for column in range(2, n_columns - 2):
            found = False
            for i in range(row - 1, row + 2):
                for j in range(column - 1, column + 2):
                    found = found or flat[i, j]
            out[row - 2, column - 2] = found
    return out
