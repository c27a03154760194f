"""Parallels and meridians of a polar map, and the rotation that puts a study upright."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from pyproj import Transformer

EQUAL_AREA = "EPSG:6931"
LINES = "#8a97a3"
HALO = [withStroke(linewidth=1.6, foreground="white", alpha=0.8)]
Extent = tuple[float, float, float, float]
"""Left, right, bottom, top in metres."""


def turn(xy: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Turn points : (n, 2) about the pole by an angle in radians, counterclockwise."""
    c, s = np.cos(angle), np.sin(angle)
    turned: NDArray[np.float64] = xy @ np.array([[c, s], [-s, c]])
    return turned


def draw_graticule(axes: Axes, extent: Extent, angle: float) -> None:
    """Draw parallels and meridians with labels that overlap neither each other nor the scale bar."""
    project = Transformer.from_crs("EPSG:4326", EQUAL_AREA, always_xy=True)
    lines, texts = [], []
    for latitude in range(50, 90, 5):
        lon = np.linspace(-180, 180, 361)
        lines.append(turn(np.column_stack(project.transform(lon, np.full(lon.size, latitude))), angle))
        texts.append(f"{latitude}°N")
    for longitude in range(-180, 180, 30):
        lat = np.linspace(45, 88, 173)
        lines.append(turn(np.column_stack(project.transform(np.full(lat.size, longitude), lat)), angle))
        texts.append(_meridian(longitude))
    width = extent[1] - extent[0]
    taken = [
        (extent[0] + part * width, extent[2] + 0.04 * width) for part in (0.05, 0.10, 0.15, 0.20, 0.24)
    ]  # scale bar
    for line, text in zip(lines, texts, strict=True):
        _label(axes, extent, line, text, taken)
    axes.add_collection(LineCollection(lines, colors=LINES, linewidths=0.4, alpha=0.7, zorder=3))


def _meridian(longitude: int) -> str:
    if longitude in (-180, 0):
        return f"{abs(longitude)}°"
    return f"{abs(longitude)}°{'E' if longitude > 0 else 'W'}"


def _label(
    axes: Axes,
    extent: Extent,
    line: NDArray[np.float64],
    text: str,
    taken: list[tuple[float, float]],
) -> None:
    """Write a label where a line first enters the picture, farther along where another label stands, or nowhere."""
    width = extent[1] - extent[0]
    margin = 0.03 * width
    inside = (
        (line[:, 0] > extent[0] + margin)
        & (line[:, 0] < extent[1] - margin)
        & (line[:, 1] > extent[2] + margin)
        & (line[:, 1] < extent[3] - margin)
    )
    for x, y in line[inside].tolist():
        if all(abs(x - a) > 0.055 * width or abs(y - b) > 0.022 * width for a, b in taken):
            taken.append((x, y))
            axes.text(x, y, text, fontsize=6, color="#55626e", ha="center", va="center", zorder=4, path_effects=HALO)
            return
