"""Where an inventory looked, and what is masked. A cell outside is unobserved (NaN), never to be taken for zero.

Both are read here with the same care as the features: any coordinate system, repair, counts. How much land of a cell
they cover is in ``observed``.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from entropice_core.config import FootprintConfig
from entropice_core.config.inventories import MaskConfig
from entropice_core.errors import SourceError
from entropice_core.grids.base import Geometries
from entropice_core.grids.projection import GEOGRAPHIC_CRS
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.cleaning import is_far
from entropice_core.labels.darts import years_column_of
from entropice_core.labels.files import Layer, crs_of, find_files, read_layers, relative_name
from entropice_core.labels.geometry import crs_label, is_on_earth, polygons_of, repair, to_degrees, to_plane
from entropice_core.labels.years import check_column, parse_years, year_in_name

_SEPARATORS = re.compile(r"[,;\s\[\]]+")


def footprint_files(name: str, config: FootprintConfig, data_root: Path) -> list[Path]:
    """List the files of a footprint, none when it is the study area."""
    if config.kind == "study_area":
        return []
    return find_files(config.files, (), data_root, f"inventories.{name}.footprint.files")


def read_footprint(
    name: str, config: FootprintConfig, data_root: Path, find_years: bool = False
) -> tuple[gpd.GeoDataFrame | None, dict[str, Any]]:
    """Read the mapped footprint of an inventory.

    Parameters
    ----------
    name : its name in the study TOML
    config : its ``footprint`` there
    data_root : the folder that ``{data}`` stands for
    find_years : look for a column of years by its usual names when none is named, as inventories with a layout do

    Returns
    -------
    footprint : GeoDataFrame in EPSG:4326 or None
        ``years`` (str): years that the polygon was looked at, with commas; empty means every year. None means the
        whole study area.
    report : dict
        Counts of polygons in, kept, repaired and rejected; area in km2 (polygons that overlap count twice).
    """
    if config.kind == "study_area":
        return None, {"kind": "study_area"}
    key = f"inventories.{name}.footprint"
    columns = {}
    frames: list[pd.DataFrame] = []
    for path in footprint_files(name, config, data_root):
        for layer in read_layers(path, relative_name(path, data_root)):
            frame = _clean(layer, config.crs, key)
            columns[layer.source_file], frame["years"] = _years(layer, config, find_years, key)
            frames.append(frame)
    kept, report = _kept(frames, key)
    report = {
        "kind": "files",
        **report,
        "years": sorted({year for years in kept["years"] for year in years.split(",") if year}),
        "years_from": columns,
    }
    plane = to_degrees(kept["geometry"].to_numpy())
    return gpd.GeoDataFrame({"years": kept["years"].to_numpy()}, geometry=plane, crs=GEOGRAPHIC_CRS), report


def mask_files(name: str, masks: Mapping[str, MaskConfig], data_root: Path) -> list[Path]:
    """List the files of the masks of an inventory."""
    return [
        path
        for mask, config in masks.items()
        for path in find_files(config.files, (), data_root, f"inventories.{name}.masks.{mask}.files")
    ]


def read_masks(
    name: str, masks: Mapping[str, MaskConfig], data_root: Path, area: StudyArea
) -> tuple[gpd.GeoDataFrame | None, dict[str, Any]]:
    """Read the polygons of glaciers, lakes and the like, on which no slump can be.

    Returns
    -------
    masks : GeoDataFrame in EPSG:4326 or None
        ``mask`` (str) and disjoint polygons; those that no cell of the study can reach are left out.
    report : dict
        For each mask the counts of polygons and their area in km2, overlaps once.
    """
    if not masks:
        return None, {}
    report: dict[str, Any] = {}
    rows: list[tuple[str, Any]] = []
    taken: BaseGeometry = shapely.Polygon()
    for mask, config in masks.items():
        key = f"inventories.{name}.masks.{mask}"
        frames = [
            _clean(layer, config.crs, key)
            for path in find_files(config.files, (), data_root, f"{key}.files")
            for layer in read_layers(path, relative_name(path, data_root), config.layer)
        ]
        kept, counts = _kept(frames, key)
        plane = kept["geometry"].to_numpy()
        near = plane[~is_far(plane, area)]
        own = shapely.difference(shapely.union_all(near), taken)  # a glacier that is also a lake is masked once
        taken = shapely.union(taken, own)
        parts = shapely.get_parts(polygons_of(own))
        parts = parts[shapely.area(parts) > 0.0]
        rows += [(mask, part) for part in parts]
        area_km2 = round(float(shapely.area(parts).sum()) / 1e6, 3)
        report[mask] = {**counts, "out_of_reach": len(plane) - len(near), "area_km2": area_km2}
    geometry = to_degrees(np.array([part for _, part in rows], dtype=object))
    return gpd.GeoDataFrame({"mask": [mask for mask, _ in rows]}, geometry=geometry, crs=GEOGRAPHIC_CRS), report


def is_dated(footprint: gpd.GeoDataFrame | None) -> bool:
    """Tell whether a footprint itself says which years were looked at."""
    return footprint is not None and bool((footprint["years"] != "").all())


def footprint_of_year(footprint: gpd.GeoDataFrame, year: int) -> Geometries:
    """Give the disjoint polygons in EPSG:6931 that were looked at in a year: (n,) shapely polygons, maybe none."""
    wanted = [years == "" or str(year) in years.split(",") for years in footprint["years"]]
    chosen = footprint.geometry.to_numpy()[np.array(wanted, dtype=bool)]
    if not chosen.size:
        return np.empty(0, dtype=object)
    plane, _ = repair(to_plane(chosen, footprint.crs, "the footprint"))
    return np.asarray(shapely.get_parts(polygons_of(shapely.union_all(plane))), dtype=object)


def masks_in_plane(masks: gpd.GeoDataFrame | None) -> Geometries:
    """Give the masks as polygons in EPSG:6931: (n,), maybe none."""
    if masks is None or not len(masks):
        return np.empty(0, dtype=object)
    plane, _ = repair(to_plane(np.asarray(masks.geometry.to_numpy(), dtype=object), masks.crs, "the masks"))
    return plane


def parse_year_list(value: object, what: str) -> str:
    """Bring a year, or a list of years, to one spelling.

    >>> parse_year_list("2019, 2018", "row 0"), parse_year_list(2020.0, "row 1")
    ('2018,2019', '2020')
    """
    items: Iterable[object] = (
        _SEPARATORS.split(value) if isinstance(value, str) else np.atleast_1d(np.asarray(value, dtype=object)).tolist()
    )
    texts = [str(item).removesuffix(".0") for item in items if str(item)]
    if not texts or not all(re.fullmatch(r"\d{4}", text) for text in texts):
        raise SourceError(
            f"{what}: {value!r} is neither a year nor a list of years with commas, such as '2018,2019'; correct the "
            f"file, or leave years_column out if the footprint holds for every year."
        )
    return ",".join(sorted(set(texts)))


def _clean(layer: Layer, declared_crs: str | None, key: str) -> pd.DataFrame:
    """Bring the polygons of a layer to the plane: ``geometry``, ``kept``, ``repaired``, ``crs`` for each row."""
    frame, what = layer.frame, f"{key}: {layer.source_file}"
    if not len(frame):
        return pd.DataFrame({"geometry": [], "kept": [], "repaired": [], "crs": []}, dtype=object)
    geometries = np.asarray(frame.geometry.to_numpy(), dtype=object)
    if (shapely.get_dimensions(geometries[~shapely.is_missing(geometries)]) < 2).any():
        kinds = ", ".join(sorted({g.geom_type for g in geometries if g is not None}))
        raise SourceError(f"{what} must hold polygons, but holds {kinds}; a footprint is an area.")
    crs = crs_of(layer, declared_crs, key)
    known = ~shapely.is_missing(geometries) & ~shapely.is_empty(geometries)
    plane = np.full(len(frame), shapely.Polygon(), dtype=object)
    plane[known] = to_plane(np.array([polygons_of(g) for g in geometries[known]], dtype=object), crs, what)
    if not is_on_earth(plane[known]).all():
        row = int(np.flatnonzero(known)[~is_on_earth(plane[known])][0])
        raise SourceError(f"{what}: row {row} has coordinates that are not on the globe; is longitude first?")
    plane, repaired = repair(plane)
    kept = shapely.area(plane) > 0.0
    return pd.DataFrame({"geometry": plane, "kept": kept, "repaired": repaired, "crs": crs_label(crs)})


def _kept(frames: list[pd.DataFrame], key: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Keep the polygons with an area, and count."""
    table = pd.concat(frames, ignore_index=True)
    kept = table[table["kept"].astype(bool)]
    if not len(kept):
        raise SourceError(f"{key}: none of the {len(table)} shapes is a polygon with an area.")
    return kept, {
        "in": len(table),
        "kept": len(kept),
        "repaired": int(table["repaired"].sum()),
        "rejected": {"empty_geometry": n} if (n := len(table) - len(kept)) else {},
        "area_km2": round(float(shapely.area(kept["geometry"].to_numpy()).sum()) / 1e6, 3),
        "crs": sorted(set(table["crs"])),
    }


def _years(layer: Layer, config: FootprintConfig, find: bool, key: str) -> tuple[str, list[str]]:
    """Give the years of each polygon, and in words where they come from."""
    frame, what = layer.frame, f"{key}: {layer.source_file}"
    if config.file_name is not None:
        year = year_in_name(layer.file_name, config.file_name, what)
        return "the file name", [str(year)] * len(frame)
    column = config.years_column or (years_column_of(frame.columns) if find else None)
    if column is None:
        return "every year", [""] * len(frame)
    if not len(frame):
        return column, []
    check_column(frame, column, "footprint.years_column", what)
    dates = parse_years(frame[column])
    return column, [
        str(int(year)) if np.isfinite(year) else parse_year_list(value, f"{what}, row {row}")
        for row, (year, value) in enumerate(zip(dates, frame[column], strict=True))
    ]
