"""Polar maps of cells: legend, units, date, scale, sources and the digest of what is shown.

Maps are drawn in EPSG:6931 (NSIDC EASE-Grid 2.0 North, Lambert azimuthal equal area), turned about the pole so that the
study area stands upright: equal areas look equal, which matters for densities, and nothing is torn at 180 degrees.
Never Web Mercator. The coastline is the offline land mask of the grids. One function draws every map, so
the picture in Dagster, in MLflow and in a paper is the same picture.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from entropice_core.grids.base import Grid
from entropice_core.prediction.graticule import EQUAL_AREA, draw_graticule, turn

VERSION = "3"
OCEAN, LAND, UNOBSERVED, COAST, ZERO = "#eef3f7", "#dedbd5", "#b3aea6", "#9fb0bd", "#fbf3dc"
OUTSIDE = "#f2f2f2"
HATCH = "//////"
ABOVE, BELOW = 0.62, 1.18  # inches; below stand the label, the colour bar, and the lines of the footer
LABEL, BAR, FOOTER = 0.92, 0.77, 0.47
FOOTER_LINES = 5


@dataclass(frozen=True)
class MapStyle:
    """What a map says around the cells.

    ``zero`` : words for values of 0 where colours are logarithmic, which then have a pale colour of their own; without
    words they have the lowest colour.
    """

    title: str
    label: str
    subtitle: str = ""
    footer: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    zero: str = ""
    colours: str = "viridis"
    size_inches: float = 8.0
    dpi: int = 150


def draw_map(
    grid: Grid,
    cell_ids: NDArray[np.uint64],
    values: NDArray[np.floating[Any]],
    style: MapStyle,
    outside: NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw one value per cell.

    Parameters
    ----------
    grid : Grid
        The grid of the cells.
    cell_ids : (cell,) uint64
    values : (cell,) float
        NaN is drawn grey and named in the legend.
    style : MapStyle
        Title, label of the colour bar with its unit, range.
    outside : (cell,) bool, optional
        Cells outside the area of applicability are hatched and counted in the legend.
    """
    rings = _rings(grid, cell_ids)
    angle = _upright(rings)
    turned = [turn(ring, angle) for ring in rings]
    extent = _extent(turned)
    figure, axes = _frame(extent, style)
    _background(axes, extent, angle)
    _cells(figure, axes, turned, np.asarray(values, dtype=float), style)
    if outside is not None:
        _hatch(figure, axes, turned, np.asarray(outside, dtype=bool) & np.isfinite(values))
    draw_graticule(axes, extent, angle)
    _scale_bar(axes, extent)
    _words(figure, style)
    return figure


def _frame(extent: tuple[float, float, float, float], style: MapStyle) -> tuple[Figure, Axes]:
    """Make a figure as high as the map needs, with room above for the title and below for legend and credits."""
    width = style.size_inches
    height = width * 0.94 * (extent[3] - extent[2]) / (extent[1] - extent[0])
    total = height + ABOVE + BELOW
    figure = Figure(figsize=(width, total), dpi=style.dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.add_axes((0.03, BELOW / total, 0.94, height / total))


def png_bytes(figure: Figure, dpi: int | None = None) -> bytes:
    """Render a figure as PNG; the same figure gives the same bytes."""
    buffer = BytesIO()
    quick = {"compress_level": 3}  # half the time of the default for a tenth more bytes
    figure.savefig(buffer, format="png", dpi=dpi or figure.dpi, metadata={"Software": None}, pil_kwargs=quick)
    return buffer.getvalue()


def save_figure(figure: Figure, folder: Path, stem: str) -> None:
    """Write PNG and SVG."""
    (folder / f"{stem}.png").write_bytes(png_bytes(figure))
    figure.savefig(folder / f"{stem}.svg", metadata={"Date": None})


def cells_table(grid: Grid, dataset: xr.Dataset) -> gpd.GeoDataFrame:
    """Make the table of cells that a GIS opens: one row a cell, EPSG:4326, split at 180 degrees.

    Cell ids are text, as many programs read 64-bit ids as rounded floats. A variable along ``class`` becomes a column
    for each class, ``in_set_0``, ``in_set_1``.
    """
    ids = dataset["cell_ids"].values
    columns: dict[str, NDArray[Any]] = {}
    for name in sorted(str(name) for name in dataset.data_vars):  # Zarr lists its members in any order
        if dataset[name].dims == ("cell",):
            columns[name] = dataset[name].values
        elif dataset[name].dims == ("cell", "class"):
            columns |= {f"{name}_{k}": column for k, column in enumerate(dataset[name].values.T)}
    table = gpd.GeoDataFrame(columns, geometry=grid.polygons(ids, crs="EPSG:4326"), crs="EPSG:4326")
    table.insert(0, "cell_id", id_texts(grid, ids))
    return table


def id_texts(grid: Grid, ids: NDArray[np.uint64]) -> list[str]:
    """Write cell ids as people do: H3 in hexadecimal digits, HEALPix as a number."""
    return [f"{i:x}" for i in ids] if grid.name == "h3" else [str(i) for i in ids]


def _rings(grid: Grid, cell_ids: NDArray[np.uint64]) -> list[NDArray[np.float64]]:
    polygons = grid.polygons(cell_ids, crs=EQUAL_AREA)
    return [shapely.get_coordinates(polygon.exterior) for polygon in polygons]


def _upright(rings: list[NDArray[np.float64]]) -> float:
    """Return the angle that puts a regional study below the pole, 0 for one that goes round it."""
    middles = np.array([ring.mean(axis=0) for ring in rings])
    mean = middles.mean(axis=0)
    spread = np.hypot(*middles.T).mean()
    if np.hypot(*mean) < 0.35 * spread:
        return 0.0
    return float(-np.pi / 2 - np.arctan2(mean[1], mean[0]))


def _extent(rings: list[NDArray[np.float64]]) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top in metres: all cells with a margin, at least half as high as wide and back."""
    every = np.concatenate(rings)
    low, high = every.min(axis=0), every.max(axis=0)
    half = 0.54 * (high - low)
    half = np.maximum(half, 0.5 * half.max())
    x, y = (low + high) / 2
    return float(x - half[0]), float(x + half[0]), float(y - half[1]), float(y + half[1])


def _background(axes: Axes, extent: tuple[float, float, float, float], angle: float) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(OCEAN)
    corners = np.array([[extent[i], extent[j]] for i in (0, 1) for j in (2, 3)])
    plain = turn(corners, -angle)
    box = tuple(float(v) for v in (plain[:, 0].min(), plain[:, 0].max(), plain[:, 1].min(), plain[:, 1].max()))
    land = _land(box)
    picture = np.where(land[..., None], _rgba(LAND), _rgba(OCEAN))
    turned = Affine2D().rotate(angle) + axes.transData
    axes.imshow(
        picture,
        extent=(box[0], box[1], box[2], box[3]),
        origin="upper",
        transform=turned,
        interpolation="antialiased",
        zorder=0,
    )
    x = np.linspace(box[0], box[1], land.shape[1])
    y = np.linspace(box[3], box[2], land.shape[0])
    axes.contour(x, y, land, levels=[0.5], colors=COAST, linewidths=0.45, transform=turned, zorder=3)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_aspect("auto")  # the frame already has the proportions of the extent


@lru_cache(maxsize=4)
def _land(box: tuple[float, ...]) -> NDArray[np.bool_]:
    """Read the land of a picture once: all maps of a study have the same, and unpacking the mask takes a second."""
    from entropice_core.grids.land import land_image

    return land_image((box[0], box[1], box[2], box[3]), 1000)


def _rgba(colour: str) -> NDArray[np.float64]:
    from matplotlib.colors import to_rgba

    return np.array(to_rgba(colour))


def _cells(
    figure: Figure, axes: Axes, rings: list[NDArray[np.float64]], values: NDArray[np.float64], style: MapStyle
) -> None:
    known = np.isfinite(values)
    nothing = [ring for ring, k in zip(rings, known, strict=True) if not k]
    if nothing:
        axes.add_collection(PolyCollection(nothing, facecolor=UNOBSERVED, edgecolor="none", zorder=1))
    if not known.any():
        axes.text(0.5, 0.5, "no cell has a value", transform=axes.transAxes, ha="center", color="#444444")
        return
    norm = _norm(values[known], style)
    none = known & (values <= 0) if style.is_log and style.zero else np.zeros_like(known)
    if none.any():
        pale = [ring for ring, n in zip(rings, none, strict=True) if n]
        axes.add_collection(PolyCollection(pale, facecolor=ZERO, edgecolor="#d9cfae", linewidth=0.2, zorder=2))
    shown = known & ~none
    drawn = [ring for ring, k in zip(rings, shown, strict=True) if k]
    collection = PolyCollection(
        drawn, array=values[shown], cmap=style.colours, norm=norm, edgecolor="face", linewidth=0.15, zorder=2
    )
    axes.add_collection(collection)
    height = figure.get_figheight()
    bar_axes = figure.add_axes((0.03, BAR / height, 0.60, 0.10 / height))
    bar = figure.colorbar(collection, cax=bar_axes, orientation="horizontal")
    bar.ax.tick_params(labelsize=7, length=2, pad=2)
    bar.outline.set_linewidth(0.4)
    figure.text(0.03, LABEL / height, style.label, fontsize=8, va="bottom")
    if nothing:
        figure.text(0.66, (BAR + 0.05) / height, "■", color=UNOBSERVED, fontsize=11, va="center")
        figure.text(0.685, (BAR + 0.05) / height, f"no value ({len(nothing):,} cells)", fontsize=8, va="center")
    if none.any():
        _key(figure, (BAR - 0.14) / height, ZERO, f"{style.zero} ({int(none.sum()):,} cells)")


def _key(figure: Figure, y: float, colour: str, words: str) -> None:
    """Name a colour that is not on the bar, right of it; ``y`` is a share of the height."""
    square = Line2D([0.667], [y], marker="s", markersize=6, color=colour, markeredgecolor="#8a8a8a", linestyle="")
    square.set_markeredgewidth(0.4)
    figure.add_artist(square)
    figure.text(0.685, y, words, fontsize=8, va="center")


def _hatch(figure: Figure, axes: Axes, rings: list[NDArray[np.float64]], outside: NDArray[np.bool_]) -> None:
    """Hatch cells in which nobody has seen what the model does, and say so."""
    height = figure.get_figheight()
    text = f"outside area of applicability: {int(outside.sum()):,} of {outside.size:,}"
    figure.text(0.685, (LABEL + 0.08) / height, text, fontsize=7, va="center")
    key = figure.add_axes((0.66, (LABEL + 0.03) / height, 0.02, 0.10 / height))
    key.set_axis_off()
    key.add_patch(Rectangle((0, 0), 1, 1, facecolor=OUTSIDE, edgecolor="#333333", hatch=HATCH, linewidth=0.3))
    drawn = [ring for ring, is_outside in zip(rings, outside, strict=True) if is_outside]
    if drawn:
        veil = PolyCollection(drawn, facecolor=OUTSIDE, edgecolor="none", alpha=0.35, zorder=2.4)
        lines = PolyCollection(drawn, facecolor="none", edgecolor="#333333", linewidth=0, hatch=HATCH, zorder=2.5)
        axes.add_collection(veil)
        axes.add_collection(lines)


def _norm(values: NDArray[np.float64], style: MapStyle) -> Normalize:
    low = float(values.min()) if style.low is None else style.low
    high = float(values.max()) if style.high is None else style.high
    if style.is_log:
        positive = values[values > 0]
        low = float(positive.min()) if positive.size else 1e-9
        return LogNorm(low, max(high, low * 10), clip=True)
    return Normalize(low, high if high > low else low + 1.0)


def _scale_bar(axes: Axes, extent: tuple[float, float, float, float]) -> None:
    width = extent[1] - extent[0]
    nice = [n * 10**e for e in range(3, 7) for n in (1, 2, 5)]
    length = max((n for n in nice if n <= width / 5), default=nice[0])
    x, y = extent[0] + 0.04 * width, extent[2] + 0.035 * width
    axes.plot([x, x + length], [y, y], color="black", linewidth=2, solid_capstyle="butt", zorder=5)
    axes.text(x + length / 2, y + 0.008 * width, f"{length / 1000:,.0f} km", fontsize=7, ha="center", zorder=5)


def _words(figure: Figure, style: MapStyle) -> None:
    height = figure.get_figheight()
    figure.text(0.03, 1 - 0.30 / height, style.title, fontsize=11, weight="bold", va="bottom")
    figure.text(0.03, 1 - 0.50 / height, style.subtitle, fontsize=8.5, va="bottom", color="#333333")
    lines = [part for line in style.footer for part in wrap(line, round(20.5 * style.size_inches))]
    for i, line in enumerate(lines[:FOOTER_LINES]):
        figure.text(0.03, (FOOTER - 0.10 * i) / height, line, fontsize=5.8, va="bottom", color="#555555")
