"""All features of all layers of an inventory as one table in the plane, with a verdict on each.

Here the study TOML meets the columns of the files. What is wrong with single features is counted; a file that cannot
mean what the TOML says is an error.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from entropice_core.config import InventoryConfig, YearOf
from entropice_core.config.inventories import ProbabilityConfig
from entropice_core.errors import SchemaError, SourceError
from entropice_core.grids.base import Float64
from entropice_core.labels.cleaning import clean_geometries, count_beyond_180
from entropice_core.labels.darts import fill_in, release_of
from entropice_core.labels.files import Layer, crs_of, find_files, read_layers, relative_name
from entropice_core.labels.geometry import crs_label
from entropice_core.labels.report import Sieve, count_reasons
from entropice_core.labels.years import SQUARE_METRES, check_column, find_occurrences

COLUMNS = ("rts_id", "year", "area_m2", "probability", "source_file")
"""What every inventory has, beside the geometry; further columns of a file keep their names, or get ``_in_file``."""

EXAMPLES = 3
"""So many rows are named for each reason of rejection in each file."""

_SPEAKING = ("", "duplicate", "below_probability")
"""A row that was rejected for these shows all the same that somebody looked at its year."""


@dataclass
class Table:
    """All features of all layers in the plane, their verdicts, and a line of counts for each layer.

    ``features``: ``COLUMNS``, ``row``, ``geometry`` (EPSG:6931), and further columns that the layout keeps.
    """

    features: pd.DataFrame
    sieve: Sieve
    layers: list[dict[str, Any]]
    dated_by_file: bool

    def years_spoken_of(self, config: InventoryConfig) -> set[int]:
        """Years that somebody looked at: a row that is far from the study, say, shows nothing about the study."""
        speaking = self.features["year"][np.isin(self.sieve.reason.astype(str), _SPEAKING)]
        years = {int(year) for year in speaking.unique()}
        per_year = config.year is not None and config.year.column_per_year is not None
        looked = [line for line in self.layers if per_year or not line["rows"]]
        return years.union(*(line["years"] for line in looked))

    def count(self) -> None:
        """Complete the lines of counts once every verdict is given."""
        by_file, row = self.features["source_file"].to_numpy(), self.features["row"].to_numpy()
        for line in self.layers:
            here = by_file == line["file"]
            reasons, rows = self.sieve.reason[here], row[here]
            rejected = count_reasons(reasons)
            examples = {reason: rows[reasons == reason][:EXAMPLES].tolist() for reason in rejected}
            line |= {"in": reasons.size, "kept": int((reasons == "").sum()), "rejected": rejected}
            line |= {"rejected_rows": examples} if examples else {}


def read_table(name: str, config: InventoryConfig, root: Path, years: list[int]) -> Table:
    """Read every layer of an inventory; a year that cannot be read for most rows is an error."""
    frames: list[pd.DataFrame] = []
    reasons: list[npt.NDArray[np.object_]] = []
    layers: list[dict[str, Any]] = []
    key = f"inventories.{name}"
    for path in find_files(config.files, config.exclude, root, f"{key}.files"):
        for layer in read_layers(path, relative_name(path, root), config.layer, config.exclude):
            frame, sieve, line = _read_layer(layer, config, years, key)
            frames.append(frame)
            reasons.append(sieve.reason)
            layers.append(line)
    features = pd.concat(frames, ignore_index=True)
    sieve = Sieve(len(features))
    sieve.reason = np.concatenate(reasons)
    table = Table(features, sieve, layers, config.year is None or config.year.column is not None)
    _check_years_read(table, config, key)
    return table


def _read_layer(
    layer: Layer, config: InventoryConfig, years: list[int], key: str
) -> tuple[pd.DataFrame, Sieve, dict[str, Any]]:
    frame, what = layer.frame, f"{key}: {layer.source_file}"
    line: dict[str, Any] = {"file": layer.source_file, "rows": len(frame), "crs": None, "invalid": 0, "repaired": 0}
    config, told, kept_columns = _with_layout(layer, config, what)
    geometries, of_row = np.empty(0, dtype=object), Sieve(0)
    if len(frame):
        crs = crs_of(layer, config.crs, key)
        geometries, of_row, repairs = clean_geometries(layer, config.geometry, crs, what)
        line |= {"crs": crs_label(crs), **repairs, **count_beyond_180(layer, crs)}
    declared = _declared_areas(frame, config, what)
    found = find_occurrences(frame, layer.file_name, _year_of(config), declared, years, what)
    sieve = of_row.take(found.row)
    for reason in found.sieve.counts():
        sieve.reject(found.sieve.reason == reason, reason)
    sieve.reject(~_selected(frame, config, what)[found.row], "not_selected")
    probability = _probabilities(frame, config.probability, what)[found.row]
    if config.probability is not None and config.probability.at_least > 0.0:
        sieve.reject(np.isnan(probability), "no_probability")
        sieve.reject(probability < config.probability.at_least, "below_probability")
    in_plane = geometries[found.row]
    is_polygon = config.geometry == "polygon"
    features = pd.DataFrame(
        {
            "rts_id": _ids(frame, config.id_column, layer, what)[found.row],
            "year": found.year,
            "area_m2": shapely.area(in_plane) if is_polygon else found.area_m2,
            "probability": probability,
            "source_file": layer.source_file,
            **{_own_name(name): _plain(frame[name]).to_numpy()[found.row] for name in kept_columns},
            "row": found.row,
            "geometry": in_plane,
        }
    )
    if is_polygon and config.area_column is not None and len(frame):
        line["declared_to_measured_area"] = _median_ratio(declared, shapely.area(geometries))
    elif not is_polygon:
        _reject_points_without_area(features, sieve, config)
    return features, sieve, line | told | {"years": list(found.years), "unread_year": found.unread}


def _with_layout(
    layer: Layer, config: InventoryConfig, what: str
) -> tuple[InventoryConfig, dict[str, Any], tuple[str, ...]]:
    """Name the columns of a file by the layout of its inventory, and list those that are kept beside."""
    if config.layout is None:
        return config, {}, ()
    columns = [str(column) for column in layer.frame.columns]
    if not len(layer.frame) and len(columns) <= 1:
        return config.model_copy(update={"year": config.year or YearOf(column="year")}), {}, ()
    filled, found = fill_in(config, columns, what)
    told = {"release": release_of(layer.file_name), "columns": found.told(), "notes": list(found.notes)}
    return filled, told, (*found.known, *found.new)


def _year_of(config: InventoryConfig) -> YearOf:
    if config.year is None:
        raise SchemaError("An inventory without a layout must say where its years are.")
    return config.year


def _own_name(column: str) -> str:
    return f"{column}_in_file" if column in (*COLUMNS, "row") else column


def _plain(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Give numbers as float64 and anything else as text, so that files of several releases fit into one column."""
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return values.astype("string").astype(object).where(values.notna(), None)
    return values.astype(np.float64)


def _selected(frame: pd.DataFrame, config: InventoryConfig, what: str) -> npt.NDArray[np.bool_]:
    """Tell which rows have the values that the study asks for; compared as text, so that 1 in a file is 1 in a TOML."""
    chosen = np.ones(len(frame), dtype=np.bool_)
    for column, values in config.only.items() if len(frame) else ():
        check_column(frame, column, "only", what)
        found = frame[column].astype("string").str.strip().str.removesuffix(".0")
        chosen &= found.isin([str(value) for value in values]).fillna(False).to_numpy(dtype=bool)
        if not chosen.any():
            there = ", ".join(repr(value) for value in found.dropna().unique()[:10].tolist())
            raise SourceError(
                f"{what}: no row has {', '.join(map(repr, values))} in {column!r}, as only in the study TOML asks; "
                f"there are: {there or 'no values'}."
            )
    return chosen


def _probabilities(frame: pd.DataFrame, config: ProbabilityConfig | None, what: str) -> Float64:
    if config is None or config.column is None or not len(frame):
        return np.full(len(frame), np.nan)
    check_column(frame, config.column, "probability.column", what)
    values = pd.to_numeric(frame[config.column], errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero((values < 0.0) | (values > 1.0))
    if wrong.size:
        raise SourceError(
            f"{what}: row {wrong[0]} has the probability {values[wrong[0]]:g} in {config.column!r}, and "
            f"{wrong.size} of {values.size} lie outside 0 to 1; name a column of probabilities, or divide by 100."
        )
    return values


def _check_years_read(table: Table, config: InventoryConfig, key: str) -> None:
    """Refuse an inventory most of whose dates are lost: cells of slumps without a year would become observed zeros."""
    lost, rows = table.sieve.counts().get("no_year", 0), len(table.features)
    if 2 * lost > rows:
        line = next(line for line in table.layers if line["unread_year"])
        column = config.year.column if config.year else line["columns"]["roles"]["year"]
        raise SourceError(
            f"{key}: no year can be read for {lost} of {rows} rows, and {line['file']} holds {line['unread_year']} in "
            f"the column {column!r}; expected are years, ISO dates such as 2018-07-03, YYYYMMDD or time "
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
