"""Where an inventory looked. A cell outside is unobserved (NaN), which must never be taken for zero.

The footprint is read here with the same care as the features: any coordinate system, repair, counts. How much land of
a cell it covers is in ``observed``.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from entropice_core.config import FootprintConfig
from entropice_core.errors import SourceError
from entropice_core.grids.base import Geometries
from entropice_core.grids.projection import GEOGRAPHIC_CRS
from entropice_core.labels.files import Layer, crs_of, find_files, read_layers, relative_name
from entropice_core.labels.geometry import crs_label, is_on_earth, polygons_of, repair, to_degrees, to_plane
from entropice_core.labels.years import check_column

_SEPARATORS = re.compile(r"[,;\s\[\]]+")


def footprint_files(name: str, config: FootprintConfig, data_root: Path) -> list[Path]:
    """List the files of a footprint, none when it is the study area."""
    if config.kind == "study_area":
        return []
    return find_files(config.files, (), data_root, f"inventories.{name}.footprint.files")


def read_footprint(
    name: str, config: FootprintConfig, data_root: Path
) -> tuple[gpd.GeoDataFrame | None, dict[str, Any]]:
    """Read the mapped footprint of an inventory.

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
    frames: list[pd.DataFrame] = []
    for path in footprint_files(name, config, data_root):
        for layer in read_layers(path, relative_name(path, data_root)):
            frames.append(_clean(layer, config, f"inventories.{name}.footprint"))
    table = pd.concat(frames, ignore_index=True)
    kept = table[table["kept"]]
    plane = kept["geometry"].to_numpy()
    if not len(kept):
        raise SourceError(f"inventories.{name}.footprint: none of the {len(table)} shapes is a polygon with an area.")
    report = {
        "kind": "files",
        "in": len(table),
        "kept": len(kept),
        "repaired": int(table["repaired"].sum()),
        "rejected": {"empty_geometry": n} if (n := len(table) - len(kept)) else {},
        "area_km2": round(float(shapely.area(plane).sum()) / 1e6, 3),
        "years": sorted({year for years in kept["years"] for year in years.split(",") if year}),
        "crs": sorted(set(table["crs"])),
    }
    footprint = gpd.GeoDataFrame({"years": kept["years"].to_numpy()}, geometry=to_degrees(plane), crs=GEOGRAPHIC_CRS)
    return footprint, report


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


def _clean(layer: Layer, config: FootprintConfig, key: str) -> pd.DataFrame:
    frame, what = layer.frame, f"{key}: {layer.source_file}"
    if not len(frame):
        return pd.DataFrame({"years": [], "geometry": [], "kept": [], "repaired": [], "crs": []}, dtype=object)
    geometries = np.asarray(frame.geometry.to_numpy(), dtype=object)
    if (shapely.get_dimensions(geometries[~shapely.is_missing(geometries)]) < 2).any():
        kinds = ", ".join(sorted({g.geom_type for g in geometries if g is not None}))
        raise SourceError(f"{what} must hold polygons, but holds {kinds}; a footprint is an area.")
    crs = crs_of(layer, config.crs, key)
    known = ~shapely.is_missing(geometries) & ~shapely.is_empty(geometries)
    plane = np.full(len(frame), shapely.Polygon(), dtype=object)
    plane[known] = to_plane(np.array([polygons_of(g) for g in geometries[known]], dtype=object), crs, what)
    if not is_on_earth(plane[known]).all():
        row = int(np.flatnonzero(known)[~is_on_earth(plane[known])][0])
        raise SourceError(f"{what}: row {row} has coordinates that are not on the globe; is longitude first?")
    plane, repaired = repair(plane)
    return pd.DataFrame(
        {
            "years": _years(frame, config.years_column, what),
            "geometry": plane,
            "kept": shapely.area(plane) > 0.0,
            "repaired": repaired,
            "crs": crs_label(crs),
        }
    )


def _years(frame: pd.DataFrame, column: str | None, what: str) -> list[str]:
    if column is None:
        return [""] * len(frame)
    check_column(frame, column, "footprint.years_column", what)
    return [parse_year_list(value, f"{what}, row {row}") for row, value in enumerate(frame[column])]
