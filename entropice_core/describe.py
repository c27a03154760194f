"""What people see of a published partition: numbers, a table of columns, and one picture.

The manifest says nearly everything; only the picture and the long names of features need the values. The same
description can be shown in Dagster, in a notebook or on a web page, so it is plain values and PNG bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from textwrap import fill, shorten
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from entropice_core.pipeline.product import Context, Product
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition

if TYPE_CHECKING:
    import xarray as xr

    from entropice_core.grids.base import Grid

Plain: TypeAlias = str | int | float | bool
Row: TypeAlias = dict[str, Plain]

MAX_PICTURE_BYTES = 50_000
"""Pictures go into Dagster's event table, where large ones slow every page down."""

MAX_ROWS = 60
"""Longest table that is shown; the manifest has all of it, and the last line says how much was cut."""

PICTURES = {
    "map": "map.png",
    "model": "reliability.png",
    "comparison": "scores.png",
    "label_agreement": "agreement.png",
    "map_agreement": "agreement.png",
    "report": "scores.png",
    "proxies": "proxies.png",
    "priority": "gain.png",
}
"""The figure of a bundle that tells most."""


@dataclass(frozen=True)
class Column:
    """One variable, feature or column of a table, with its unit."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True)
class Description:
    """A published version for people.

    Attributes
    ----------
    facts : digest, path below the store, size in bytes, code version and so on
    rows : cells, cell-years or features of an inventory; None where there is no such number
    counts : what the step counted, one line per number
    columns : variables and features with units
    statistics : least and largest value and share of NaN per variable or feature
    inputs, sources : from what it was made, with digests
    picture : PNG of at most 50 kB, or None
    histogram : of features: how often the values on the picture occur; PNG of at most 50 kB, or None
    """

    facts: dict[str, Plain]
    rows: int | None
    counts: list[Row]
    columns: list[Column]
    statistics: list[Row]
    inputs: list[Row]
    sources: list[Row]
    notes: tuple[str, ...] = ()
    picture: bytes | None = field(default=None, repr=False)
    histogram: bytes | None = field(default=None, repr=False)


def describe(context: Context, product: Product, manifest: Manifest) -> Description:
    """Describe the current version of a partition; draws its picture."""
    partition, recipe = manifest.partition, manifest.recipe
    path = context.store.path(product.dataset, partition)
    content = context.store.open(product.dataset, partition) if manifest.kind == "zarr" else None
    return Description(
        facts={
            "digest": manifest.digest,
            "path": path.relative_to(context.store.root).as_posix(),
            "size_bytes": manifest.size,
            "files": len(manifest.files),
            "code_version": recipe.code_version,
            **({} if recipe.seed is None else {"seed": recipe.seed}),
            "provisional": manifest.provisional,
            "published": manifest.created,
        },
        rows=_rows(manifest),
        counts=_cut([{"what": name, "number": value} for name, value in flatten(manifest.counts)]),
        columns=_columns_of_dataset(content) if content is not None else _columns_of_tables(path),
        statistics=_cut([_statistics_row(name, item) for name, item in manifest.statistics.items()]),
        inputs=_cut([{"dataset": r.dataset, "partition": str(r.partition), "digest": r.digest} for r in recipe.inputs]),
        sources=_cut([{"file": s.name, "bytes": s.size, "sha256": s.sha256} for s in recipe.sources]),
        notes=manifest.notes,
        picture=draw_picture(context, product, partition, content, path),
        histogram=draw_histogram(context, product, content) if content is not None else None,
    )


def flatten(counts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Plain]]:
    """List the numbers of nested counts; lists are left to the manifest.

    >>> list(flatten({"in": 3, "rejected": {"no_year": 1}}))
    [('in', 3), ('rejected: no_year', 1)]
    """
    for name, value in counts.items():
        label = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{label}: ")
        elif isinstance(value, bool | int | float | str):
            yield label, round(value, 6) if isinstance(value, float) else value


def _cut(rows: list[Row]) -> list[Row]:
    if len(rows) <= MAX_ROWS:
        return rows
    first = next(iter(rows[0]))
    return [*rows[:MAX_ROWS], {**dict.fromkeys(rows[0], ""), first: f"and {len(rows) - MAX_ROWS} more in the manifest"}]


def _rows(manifest: Manifest) -> int | None:
    sizes = manifest.structure.get("sizes", {})
    if sizes:
        return int(sizes.get("cell", sizes.get("row", 0)))
    total = manifest.counts.get("total", manifest.counts)
    found = [total[name] for name in ("kept", "cells", "rows") if isinstance(total.get(name), int)]
    return int(found[0]) if found else None


def _statistics_row(name: str, item: Any) -> Row:
    low, high = ("" if v is None else v if isinstance(v, str) else f"{v:.6g}" for v in (item.minimum, item.maximum))
    return {"name": name, "least": low, "largest": high, "NaN": f"{item.nan_share:.2%}", "values": item.rows}


def _columns_of_dataset(dataset: "xr.Dataset") -> list[Column]:
    """List coordinates and variables; a (cell, feature) array is one column per feature."""
    columns: list[Column] = []
    for name in (*sorted(dataset.coords, key=str), *sorted(dataset.data_vars, key=str)):  # Zarr lists them in any order
        array = dataset[name]
        if {"cell", "row"} & set(array.dims) and "feature" not in array.dims:
            columns.append(Column(str(name), str(array.dtype), _variable_words(array.attrs)))
    if "features" in dataset:
        kind, units, words = dataset["features"].dtype, dataset["unit"].values, dataset["long_name"].values
        names = dataset["feature"].values
        columns += [Column(str(n), str(kind), _words(w, u)) for n, w, u in zip(names, words, units, strict=True)]
    return columns


def _variable_words(attrs: Mapping[Any, Any]) -> str:
    if "grid_name" in attrs:  # xdggs allows no long_name beside its own attributes
        return f"cell of {attrs['grid_name']} level {attrs.get('level')}"
    return _words(attrs.get("long_name", ""), attrs.get("units", ""))


def _words(long_name: Any, unit: Any) -> str:
    return f"{long_name} [{unit}]" if unit else str(long_name)


def _columns_of_tables(folder: Path) -> list[Column]:
    from pyarrow.parquet import read_schema

    tables = sorted(folder.glob("*.parquet"), key=lambda path: path.name != "features.parquet")
    return [Column(field.name, str(field.type)) for table in tables[:1] for field in read_schema(table)]


# --- the picture -----------------------------------------------------------------------------------------------------


def draw_picture(
    context: Context, product: Product, partition: Partition, dataset: "xr.Dataset | None", path: Path
) -> bytes | None:
    """Draw what tells most about a partition as a small PNG; None where there is nothing to draw."""
    if dataset is None:
        figure = path / PICTURES.get(product.kind, "-")
        if figure.is_file():
            return small_png(figure.read_bytes())
        return _inventory_map(context, product, path) if product.kind == "inventory" else None
    ids, values, words = _telling(context, product, dataset)
    outside = dataset["is_applicable"].values == 0 if "is_applicable" in dataset else None
    return _map(context.grid(partition), ids, values, {**_titles(product, str(partition)), **words}, outside)


def draw_histogram(context: Context, product: Product, dataset: "xr.Dataset") -> bytes | None:
    """Draw how often the values on the picture of features occur; None for what is not features."""
    if product.kind != "features":
        return None
    from entropice_core.plots.distributions import histogram
    from entropice_core.prediction.maps import png_bytes

    _, values, words = _telling(context, product, dataset)
    label = fill(words["label"], 70)
    return small_png(png_bytes(histogram(values.astype(np.float64), label, product.dataset)))


def _titles(product: Product, what: str) -> dict[str, str]:
    return {"title": f"{product.dataset} {what}", "subtitle": shorten(product.title, 95, placeholder=" …")}


def _telling(
    context: Context, product: Product, dataset: "xr.Dataset"
) -> tuple[NDArray[np.uint64], NDArray[np.floating[Any]], dict[str, Any]]:
    """Choose cells (n,), one value each (n,), and the words of the map."""
    ids = dataset["cell_ids"].values
    if product.kind == "cells":
        return ids, dataset["land_fraction"].values, {"label": "land fraction [1]", "low": 0.0, "high": 1.0}
    if product.kind in ("labels", "labels_mean"):
        return ids, *_density_or_count(dataset["density"].values, dataset["count"].values)
    if product.kind == "training_set":
        cells, where = np.unique(ids, return_inverse=True)
        mean = np.bincount(where, dataset["density"].values) / np.bincount(where)
        return (
            cells,
            mean,
            {"label": "mean RTS density of the rows [m2 m-2], logarithmic", "is_log": True, "zero": "no slump"},
        )
    if product.kind == "prediction":
        p = dataset["probability"]
        return ids, p.values, {"label": str(p.attrs.get("long_name", "probability")), "low": 0.0, "high": 1.0}
    return ids, *_liveliest(context, product, dataset)


def _density_or_count(
    density: NDArray[np.floating[Any]], count: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.floating[Any]], dict[str, Any]]:
    if np.nanmax(density, initial=0.0) > 0:
        return density, {"label": "RTS density [m2 m-2], logarithmic", "is_log": True, "zero": "no slump"}
    return count, {"label": "number of RTS [1]", "low": 0.0}


def _liveliest(
    context: Context, product: Product, dataset: "xr.Dataset"
) -> tuple[NDArray[np.floating[Any]], dict[str, Any]]:
    """Choose thawing degree days or what the source names, else the feature that varies most within its range."""
    values, names = dataset["features"].values, dataset["feature"].values.astype(str)
    config = context.study.sources[product.dataset.split(".", 1)[1]]
    known = np.isfinite(values)
    ends = np.where(known, values, 0)  # a source that declares no range is measured by the range that it has
    own = np.ptp(ends, axis=0) if len(ends) else np.ones(names.size)
    declared = np.array([np.diff(config.bounds_of(str(name)))[0] for name in names])
    widths = np.where(np.isfinite(declared), declared, np.maximum(own, 1e-30))
    mean = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    spread = np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    thaw = [i for i, name in enumerate(names) if name.startswith("thawing_degree_days") and "_year_" in name]
    thaw += [i for i, name in enumerate(names) if name == getattr(config, "picture_feature", None)]
    best = thaw[0] if thaw and known[:, thaw[0]].any() else int(np.argmax(spread / widths))
    words = _words(dataset["long_name"].values[best], dataset["unit"].values[best])
    return values[:, best], {"label": f"{names[best]}: {words}"}


def _inventory_map(context: Context, product: Product, folder: Path) -> bytes | None:
    """Count the features of an inventory on the study's first grid."""
    import geopandas as gpd
    import shapely

    features = gpd.read_parquet(folder / "features.parquet", columns=["geometry"])
    if not len(features):
        return None
    points = shapely.point_on_surface(features.geometry.to_numpy())
    key = context.study.study.grids[0]
    grid = context.grid(Partition(key))
    cells, counts = np.unique(grid.locate(shapely.get_x(points), shapely.get_y(points)), return_counts=True)
    label = f"features of all years per cell of {key} [1], logarithmic"
    words = {**_titles(product, f"{len(features):,} features"), "label": label, "is_log": True}
    return _map(grid, cells, counts.astype(float), words)


def _map(
    grid: "Grid",
    ids: NDArray[np.uint64],
    values: NDArray[np.floating[Any]],
    words: dict[str, Any],
    outside: NDArray[np.bool_] | None = None,
) -> bytes:
    from matplotlib.collections import PolyCollection

    from entropice_core.prediction.maps import MapStyle, draw_map, png_bytes

    figure = draw_map(grid, ids, values, MapStyle(size_inches=6.0, dpi=100, **words), outside)
    for axes in figure.axes:  # the soft edges of thousands of cells are what makes a PNG large
        for image in axes.images:
            image.set_interpolation("nearest")
        for cells in axes.collections:
            if isinstance(cells, PolyCollection):
                cells.set_antialiased(False)
    return small_png(png_bytes(figure))


def small_png(png: bytes, limit: int = MAX_PICTURE_BYTES, width: int = 640) -> bytes:
    """Make a PNG small enough for a page of metadata: first fewer colours, then fewer pixels."""
    from PIL import Image

    with Image.open(BytesIO(png)) as opened:
        image = opened.convert("RGB")
    while True:
        width = min(width, image.width)
        size = (width, max(1, round(image.height * width / image.width)))
        scaled = image if width == image.width else image.resize(size, Image.Resampling.LANCZOS)
        for colours in (128, 96, 64):
            # maximum coverage keeps the rare ends of a colour scale, which a median cut merges with their neighbours
            reduced = scaled.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            buffer = BytesIO()
            reduced.save(buffer, format="PNG", optimize=True)
            if buffer.tell() <= limit or (width < 200 and colours == 64):
                return buffer.getvalue()
        width = int(width * 0.85)
