"""A layer as a Matplotlib figure for papers, and its cells as GeoParquet.

The drawing itself is that of the published maps (``prediction.maps``), so that the picture in Dagster, in MLflow, in
the dashboard and on the command line is one.
"""

from dataclasses import replace
from io import BytesIO

import geopandas as gpd
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from entropice_core.plots.files import plain_text
from entropice_core.plots.layer import COLOURS, LOGARITHMIC, Layer, thin
from entropice_core.prediction.maps import MapStyle, cells_table, draw_map


def map_figure(layer: Layer, size_inches: float = 8.0, dpi: int = 150) -> Figure:
    """Draw a layer; half a million cells are joined to their parents first, and the picture says so."""
    thinned = thin(layer)
    low, high = thinned.limits()
    label = plain_text(thinned.label)
    if thinned.kind == "classes":
        label += ": " + ", ".join(f"{i} {plain_text(name)}" for i, name in enumerate(thinned.classes))
    style = MapStyle(
        title=plain_text(thinned.title),
        label=label,
        subtitle=plain_text(" · ".join(part for part in (thinned.subtitle, thinned.note) if part)),
        footer=tuple(plain_text(line) for line in _credits(thinned.footer)),
        low=low,
        high=high,
        is_log=thinned.is_log,
        zero="0",
        colours=COLOURS[thinned.kind],
        size_inches=size_inches,
        dpi=dpi,
    )
    return draw_map(thinned.grid, thinned.cell_ids, thinned.values, style, thinned.outside)


def _credits(footer: tuple[str, ...]) -> tuple[str, ...]:
    return (" · ".join([*footer[:1], "EPSG:6931, equal area"]), *footer[1:])


def geoparquet(layer: Layer, name: str) -> bytes:
    """Write cells and values as GeoParquet, EPSG:4326; all cells, however coarse the picture is."""
    variable = xr.DataArray(layer.values, dims="cell")
    table: gpd.GeoDataFrame = cells_table(
        layer.grid, xr.Dataset({name: variable}, coords={"cell_ids": ("cell", layer.cell_ids)})
    )
    table.attrs = {}
    buffer = BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def difference(first: Layer, second: Layer) -> Layer:
    """Subtract a second layer from a first, on the cells of the first.

    Cells of another grid are found by the centre of each cell of the first: exact within one grid, and across grids the
    value of the cell in which the centre lies. A cell is outside the area of applicability where either layer says so.
    """
    ids = first.cell_ids
    if second.grid.key != first.grid.key:
        ids = second.grid.locate(*first.grid.centers(ids))
    at = np.minimum(np.searchsorted(second.cell_ids, ids), second.cell_ids.size - 1)
    is_there = second.cell_ids[at] == ids
    other = np.where(is_there, second.values[at], np.nan)
    known = [first.outside, None if second.outside is None else is_there & second.outside[at]]
    masks = [mask for mask in known if mask is not None]
    outside = np.any(masks, axis=0) if masks else None
    values = first.values - other
    return replace(first, values=values, kind="diverging", low=None, high=None, is_log=False, outside=outside)


def difference_map(first: Layer, second: Layer, words: str) -> Layer:
    """Subtract a layer from another, and say so around the map: both digests stay on it."""
    footer = (f"{first.footer[0]} minus {second.footer[0]}", *first.footer[1:])
    if second.grid.key != first.grid.key:
        words += f" ({second.grid.key} in the middle of each cell of {first.grid.key})"
    label = f"difference of {first.label.removesuffix(LOGARITHMIC)}"
    return replace(difference(first, second), subtitle=words, label=label, footer=footer)
