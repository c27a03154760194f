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
import pandas as pd
import shapely

from entropice_core.config import InventoryConfig
from entropice_core.errors import SchemaError
from entropice_core.grids.projection import GEOGRAPHIC_CRS
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.cleaning import reject_duplicates, reject_far
from entropice_core.labels.files import find_files, with_sidecars
from entropice_core.labels.footprint import footprint_files, is_dated, mask_files, read_footprint, read_masks
from entropice_core.labels.geometry import to_degrees
from entropice_core.labels.report import add_counts
from entropice_core.labels.table import COLUMNS as TABLE_COLUMNS
from entropice_core.labels.table import Table, read_table
from entropice_core.labels.uncertainty import noise_note

VERSION = "3"

FEW_RECORDS = 3
"""A year of dated records with fewer than this many is noted in the report."""

COLUMNS = (*TABLE_COLUMNS, "geometry")
"""What the features of every inventory have."""


@dataclass(frozen=True)
class Inventory:
    """One RTS inventory after cleaning.

    Attributes
    ----------
    features : GeoDataFrame in EPSG:4326
        ``rts_id`` (str), ``year`` (int64, Arctic year), ``area_m2`` (float64; of a polygon measured in EPSG:6931, of a
        point as the file says, NaN when it does not), ``probability`` (float64, 0 to 1, of the detector; NaN when the
        file has none), ``source_file`` (str, below the data folder), ``geometry``; further columns of the files where
        the inventory has a layout. Sorted by year, file and row.
    footprint : GeoDataFrame in EPSG:4326 or None
        ``years`` (str) and ``geometry`` of where the inventory looked; None is the whole study area.
    report : dict
        Counts in, kept, repaired and rejected by reason, per file and in total, and more; JSON-able.
    files : list of Path
        What was read, with sidecars and footprint, sorted; empty after :func:`read_back`.
    unobserved_years : tuple of int
        Years of the study without a kept feature, a layer without rows, or a column. There the whole inventory is
        unobserved.
    masks : GeoDataFrame in EPSG:4326 or None
        Disjoint polygons on which no slump can be (``mask``: names, with commas); they are no observed land.
    """

    features: gpd.GeoDataFrame
    footprint: gpd.GeoDataFrame | None
    report: dict[str, Any]
    files: list[Path] = field(default_factory=list)
    unobserved_years: tuple[int, ...] = ()
    masks: gpd.GeoDataFrame | None = None


def inventory_files(name: str, config: InventoryConfig, data_root: Path) -> list[Path]:
    """List what :func:`read_inventory` will read, with sidecars, footprint and masks, sorted."""
    own = find_files(config.files, config.exclude, data_root, f"inventories.{name}.files")
    beside = [*footprint_files(name, config.footprint, data_root), *mask_files(name, config.masks, data_root)]
    return with_sidecars([*own, *beside])


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
    table = read_table(name, config, data_root, years)
    footprint, footprint_report = read_footprint(name, config.footprint, data_root, config.layout is not None)
    masks, mask_report = read_masks(name, config.masks, data_root, area)
    reject_far(table.features, table.sieve, area)
    reject_duplicates(table.features, table.sieve)
    kept = table.features[table.sieve.is_kept].sort_values(["year", "source_file", "row"], kind="stable")
    counts = _counts(table, kept)
    dated = is_dated(footprint)
    silent = () if dated else tuple(sorted(set(years) - table.years_spoken_of(config)))
    report = {
        "inventory": name,
        "geometry": config.geometry,
        **counts,
        "outside_but_in_reach": _count_outside(kept, area),
        "unobserved_years": list(silent),
        "notes": _notes(table, config, counts, dated),
        "footprint": footprint_report,
        **({"masks": mask_report} if mask_report else {}),
        **({"probability_at_least": config.probability.at_least} if config.probability else {}),
        **({"detector_f1": list(config.detector.f1)} if config.detector else {}),
    }
    return Inventory(_to_frame(kept), footprint, report, inventory_files(name, config, data_root), silent, masks)


def _thin_years(kept: dict[str, int]) -> list[str]:
    """Tell years that are observed only because very few dates say so: one wrong date makes a year of zeros."""
    return [f"year {year} rests on {n} record{'s' if n > 1 else ''}" for year, n in kept.items() if n < FEW_RECORDS]


def _notes(table: Table, config: InventoryConfig, counts: dict[str, Any], dated: bool) -> list[str]:
    noted = [f"{line['file']} {note}" for line in table.layers for note in line.get("notes", ())]
    if not dated and table.dated_by_file:
        noted += _thin_years(counts["years"])
    return noted + ([noise_note(config.detector.f1)] if config.detector else [])


def _counts(table: Table, kept: pd.DataFrame) -> dict[str, Any]:
    table.count()
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
    further = [str(name) for name in kept.columns if name not in (*COLUMNS, "row")]
    columns = {
        "rts_id": kept["rts_id"].astype(str).to_numpy(),
        "year": kept["year"].to_numpy().astype(np.int64),
        "area_m2": kept["area_m2"].to_numpy(np.float64),
        "probability": kept["probability"].to_numpy(np.float64),
        "source_file": kept["source_file"].astype(str).to_numpy(),
        **{name: kept[name].to_numpy() for name in further},
    }
    return gpd.GeoDataFrame(columns, geometry=to_degrees(kept["geometry"].to_numpy()), crs=GEOGRAPHIC_CRS)


def write_inventory(inventory: Inventory, folder: Path) -> None:
    """Write ``features.parquet``, ``footprint.parquet`` and ``masks.parquet`` if there are any, and ``report.json``.

    The same inventory gives the same bytes. The folder is made; publishing it whole is the store's work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inventory.features.to_parquet(folder / "features.parquet", index=False, compression="zstd")
    for name, areas in (("footprint", inventory.footprint), ("masks", inventory.masks)):
        if areas is not None:
            areas.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    report = json.dumps(inventory.report, indent=1, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(report, encoding="utf-8")


def read_back(folder: Path) -> Inventory:
    """Read what :func:`write_inventory` wrote."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    features = gpd.read_parquet(folder / "features.parquet")
    missing = [column for column in COLUMNS if column not in features.columns]
    if missing:
        raise SchemaError(f"{folder.name}/features.parquet lacks the columns {missing}; publish the inventory again.")
    footprint, masks = (
        gpd.read_parquet(stored) if (stored := folder / f"{name}.parquet").is_file() else None
        for name in ("footprint", "masks")
    )
    return Inventory(features, footprint, report, [], tuple(report["unobserved_years"]), masks)
