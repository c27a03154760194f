"""Read an RTS inventory into clean features, where it looked, and counts of all that was rejected.

Public inventories hold self-crossing outlines, the same slump from several images, scenes in which nothing was found,
dates that are only in the file name, and any coordinate system. All of that is settled here, once, before any grid;
overlapping outlines are left as they are and joined when they are put on cells.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from entropice_core.config import InventoryConfig
from entropice_core.errors import SchemaError, SourceError
from entropice_core.grids.base import Float64
from entropice_core.grids.projection import GEOGRAPHIC_CRS
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.cleaning import clean_geometries, reject_duplicates, reject_far
from entropice_core.labels.files import Layer, crs_of, find_files, read_layers, relative_name, with_sidecars
from entropice_core.labels.footprint import footprint_files, is_dated, read_footprint
from entropice_core.labels.geometry import crs_label, to_degrees
from entropice_core.labels.report import Sieve, add_counts, count_reasons
from entropice_core.labels.years import SQUARE_METRES, check_column, find_occurrences

VERSION = "2"

FEW_RECORDS = 3
"""A year of dated records with fewer than this many is noted in the report."""

COLUMNS = ("rts_id", "year", "area_m2", "source_file", "geometry")


@dataclass(frozen=True)
class Inventory:
    """One RTS inventory after cleaning.

    Attributes
    ----------
    features : GeoDataFrame in EPSG:4326
        ``rts_id`` (str), ``year`` (int64, Arctic year), ``area_m2`` (float64; of a polygon measured in EPSG:6931, of a
        point as the file says, NaN when it does not), ``source_file`` (str, below the data folder), ``geometry``.
        Sorted by year, file and row.
    footprint : GeoDataFrame in EPSG:4326 or None
        ``years`` (str) and ``geometry`` of where the inventory looked; None is the whole study area.
    report : dict
        Counts in, kept, repaired and rejected by reason, per file and in total, and more; JSON-able.
    files : list of Path
        What was read, with sidecars and footprint, sorted; empty after :func:`read_back`.
    unobserved_years : tuple of int
        Years of the study without a kept feature, a layer without rows, or a column. There the whole inventory is
        unobserved.
    """

    features: gpd.GeoDataFrame
    footprint: gpd.GeoDataFrame | None
    report: dict[str, Any]
    files: list[Path] = field(default_factory=list)
    unobserved_years: tuple[int, ...] = ()


def inventory_files(name: str, config: InventoryConfig, data_root: Path) -> list[Path]:
    """List what :func:`read_inventory` will read, with sidecars and footprint, sorted."""
    own = find_files(config.files, config.exclude, data_root, f"inventories.{name}.files")
    return with_sidecars([*own, *footprint_files(name, config.footprint, data_root)])


def read_inventory(name: str, config: InventoryConfig, data_root: Path, area: StudyArea, years: list[int]) -> Inventory:
    """Read and clean one inventory.

    Parameters
    ----------
    name : its name in the study TOML
    config : its table there
    data_root : the folder that ``{data}`` stands for
    area : the study area; features that no cell of it can reach are rejected
    years : the Arctic years of the study

    Raises
    ------
    SourceError
        When a pattern matches nothing, a file cannot be read, has no coordinate system, lacks a column, or holds
        points for polygons, or when most rows have no year that can be read. What is wrong with single features is
        counted in the report instead.
    """
    table = _read_table(name, config, data_root, years)
    footprint, footprint_report = read_footprint(name, config.footprint, data_root)
    _check_years_read(table, config, f"inventories.{name}")
    reject_far(table.features, table.sieve, area)
    reject_duplicates(table.features, table.sieve)
    kept = table.features[table.sieve.is_kept].sort_values(["year", "source_file", "row"], kind="stable")
    counts = _counts(table, kept)
    dated = is_dated(footprint)
    silent = () if dated else tuple(sorted(set(years) - _spoken_of(table, kept, config)))
    report = {
        "inventory": name,
        "geometry": config.geometry,
        **counts,
        "outside_but_in_reach": _count_outside(kept, area),
        "unobserved_years": list(silent),
        "notes": [] if dated or config.year.column is None else _thin_years(counts["years"]),
        "footprint": footprint_report,
    }
    return Inventory(_to_frame(kept), footprint, report, inventory_files(name, config, data_root), silent)


@dataclass
class _Table:
    """All features of all layers in the plane, their verdicts, and a line of counts for each layer."""

    features: pd.DataFrame  # rts_id, year, area_m2, source_file, row, geometry (EPSG:6931)
    sieve: Sieve
    layers: list[dict[str, Any]]


def _read_table(name: str, config: InventoryConfig, root: Path, years: list[int]) -> _Table:
    frames: list[pd.DataFrame] = []
    reasons: list[npt.NDArray[np.object_]] = []
    layers: list[dict[str, Any]] = []
    for path in find_files(config.files, config.exclude, root, f"inventories.{name}.files"):
        for layer in read_layers(path, relative_name(path, root), config.layer, config.exclude):
            frame, sieve, line = _read_layer(layer, config, years, f"inventories.{name}")
            frames.append(frame)
            reasons.append(sieve.reason)
            layers.append(line)
    features = pd.concat(frames, ignore_index=True)
    sieve = Sieve(len(features))
    sieve.reason = np.concatenate(reasons)
    return _Table(features, sieve, layers)


def _spoken_of(table: _Table, kept: pd.DataFrame, config: InventoryConfig) -> set[int]:
    """Years that somebody looked at: a rejected row, far from the study, say, shows nothing about the study area."""
    years = {int(year) for year in kept["year"].unique()}
    looked = [line for line in table.layers if config.year.column_per_year is not None or not line["rows"]]
    return years.union(*(line["years"] for line in looked))


def _thin_years(kept: dict[str, int]) -> list[str]:
    """Tell years that are observed only because very few dates say so: one wrong date makes a year of zeros."""
    return [f"year {year} rests on {n} record{'s' if n > 1 else ''}" for year, n in kept.items() if n < FEW_RECORDS]


def _read_layer(
    layer: Layer, config: InventoryConfig, years: list[int], key: str
) -> tuple[pd.DataFrame, Sieve, dict[str, Any]]:
    frame, what = layer.frame, f"{key}: {layer.source_file}"
    line: dict[str, Any] = {"file": layer.source_file, "rows": len(frame), "crs": None, "invalid": 0, "repaired": 0}
    geometries, of_row = np.empty(0, dtype=object), Sieve(0)
    if len(frame):
        crs = crs_of(layer, config.crs, key)
        geometries, of_row, repairs = clean_geometries(layer, config.geometry, crs, what)
        line |= {"crs": crs_label(crs), **repairs}
    declared = _declared_areas(frame, config, what)
    found = find_occurrences(frame, layer.file_name, config.year, declared, years, what)
    sieve = of_row.take(found.row)
    for reason in found.sieve.counts():
        sieve.reject(found.sieve.reason == reason, reason)
    in_plane = geometries[found.row]
    is_polygon = config.geometry == "polygon"
    features = pd.DataFrame(
        {
            "rts_id": _ids(frame, config.id_column, layer, what)[found.row],
            "year": found.year,
            "area_m2": shapely.area(in_plane) if is_polygon else found.area_m2,
            "source_file": layer.source_file,
            "row": found.row,
            "geometry": in_plane,
        }
    )
    if is_polygon and config.area_column is not None and len(frame):
        line["declared_to_measured_area"] = _median_ratio(declared, shapely.area(geometries))
    elif not is_polygon:
        _reject_points_without_area(features, sieve, config)
    return features, sieve, line | {"years": list(found.years), "unread_year": found.unread}


def _check_years_read(table: _Table, config: InventoryConfig, key: str) -> None:
    """Refuse an inventory most of whose dates are lost: cells of slumps without a year would become observed zeros."""
    lost, rows = table.sieve.counts().get("no_year", 0), len(table.features)
    if 2 * lost > rows:
        line = next(line for line in table.layers if line["unread_year"])
        raise SourceError(
            f"{key}: no year can be read for {lost} of {rows} rows, and {line['file']} holds {line['unread_year']} in "
            f"the column {config.year.column!r}; expected are years, ISO dates such as 2018-07-03, YYYYMMDD or time "
            "stamps, so name another column in year.column or correct the file."
        )


def _declared_areas(frame: pd.DataFrame, config: InventoryConfig, what: str) -> Float64:
    if config.area_column is None or not len(frame):
        return np.full(len(frame), np.nan)
    check_column(frame, config.area_column, "area_column", what)
    values = pd.to_numeric(frame[config.area_column], errors="coerce").to_numpy(np.float64)
    return np.asarray(values * SQUARE_METRES[config.area_unit], dtype=np.float64)


def _median_ratio(declared: Float64, measured: Float64) -> float | None:
    """How a polygon file's own areas compare with the measured ones; far from 1 means another unit or projection."""
    usable = np.isfinite(declared) & (measured > 0.0)
    return round(float(np.median(declared[usable] / measured[usable])), 4) if usable.any() else None


def _reject_points_without_area(features: pd.DataFrame, sieve: Sieve, config: InventoryConfig) -> None:
    if config.area_column is not None:
        area = features["area_m2"].to_numpy()
        sieve.reject(~np.isfinite(area), "no_area")
        sieve.reject(area <= 0.0, "zero_area")


def _ids(frame: pd.DataFrame, column: str | None, layer: Layer, what: str) -> npt.NDArray[np.object_]:
    """Give the file's own ids as text, or file and row where there is none."""
    ids = np.array([f"{layer.file_name}#{row}" for row in range(len(frame))], dtype=object)
    if column is None or not len(frame):
        return ids
    check_column(frame, column, "id_column", what)
    known = frame[column].notna().to_numpy()
    ids[known] = frame[column][known].astype(str).str.removesuffix(".0").to_numpy()
    return ids


def _counts(table: _Table, kept: pd.DataFrame) -> dict[str, Any]:
    by_file = table.features["source_file"].to_numpy()
    for line in table.layers:
        reasons = table.sieve.reason[by_file == line["file"]]
        line |= {"in": reasons.size, "kept": int((reasons == "").sum()), "rejected": count_reasons(reasons)}
    years, per_year = np.unique(kept["year"].to_numpy(), return_counts=True)
    wanted = ("rows", "in", "kept", "invalid", "repaired", "rejected")
    return {
        "total": {"files": len(table.layers), **add_counts([{k: f[k] for k in wanted} for f in table.layers])},
        "files": table.layers,
        "empty_layers": [{"file": f["file"], "years": f["years"]} for f in table.layers if not f["rows"]],
        "years": {str(int(year)): int(n) for year, n in zip(years, per_year, strict=True)},
        "crs": sorted({f["crs"] for f in table.layers if f["crs"]}),
    }


def _count_outside(kept: pd.DataFrame, area: StudyArea) -> int:
    geometry = area.geometry()
    shapely.prepare(geometry)
    return int((~shapely.intersects(geometry, kept["geometry"].to_numpy())).sum())


def _to_frame(kept: pd.DataFrame) -> gpd.GeoDataFrame:
    columns = {
        "rts_id": kept["rts_id"].astype(str).to_numpy(),
        "year": kept["year"].to_numpy().astype(np.int64),
        "area_m2": kept["area_m2"].to_numpy(np.float64),
        "source_file": kept["source_file"].astype(str).to_numpy(),
    }
    return gpd.GeoDataFrame(columns, geometry=to_degrees(kept["geometry"].to_numpy()), crs=GEOGRAPHIC_CRS)


def write_inventory(inventory: Inventory, folder: Path) -> None:
    """Write ``features.parquet``, ``footprint.parquet`` if there is one, and ``report.json``.

    The same inventory gives the same bytes. The folder is made; publishing it whole is the store's work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inventory.features.to_parquet(folder / "features.parquet", index=False, compression="zstd")
    if inventory.footprint is not None:
        inventory.footprint.to_parquet(folder / "footprint.parquet", index=False, compression="zstd")
    report = json.dumps(inventory.report, indent=1, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(report, encoding="utf-8")


def read_back(folder: Path) -> Inventory:
    """Read what :func:`write_inventory` wrote."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    features = gpd.read_parquet(folder / "features.parquet")
    missing = [column for column in COLUMNS if column not in features.columns]
    if missing:
        raise SchemaError(f"{folder.name}/features.parquet lacks the columns {missing}; publish the inventory again.")
    stored = folder / "footprint.parquet"
    footprint = gpd.read_parquet(stored) if stored.is_file() else None
    return Inventory(features, footprint, report, [], tuple(report["unobserved_years"]))
