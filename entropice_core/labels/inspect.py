"""What a file of RTS would give as an inventory, said without a study: layers, shapes, columns, years, problems.

The same readers and rules are used as for an inventory, but nothing is refused that a description in a study TOML could
settle; a draft of that description comes at the end.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataSourceError

from entropice_core.errors import SourceError
from entropice_core.labels.cleaning import MIN_AREA_M2, count_beyond_180, find_repeats
from entropice_core.labels.darts import COVERAGE_YEARS, ROLES, guess_layout, recognise, release_of
from entropice_core.labels.files import Layer, read_layers
from entropice_core.labels.geometry import crs_label, is_on_earth, polygons_of, repair, to_degrees, to_plane
from entropice_core.labels.years import parse_years

PLAUSIBLE_YEARS = (1940, 2100)
"""Years before and after are told as sentinels (1900, 2100 and the like stand for no date)."""

_YEAR_LIKE = re.compile(r"year|date|jahr|time|acqui", re.IGNORECASE)
_YEARS = re.compile(r"\b(?:19|20)\d{2}\b")
_PER_YEAR = re.compile(r"^(.*?)((?:19|20)\d{2})(.*)$")
_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_]?(\d{2})[-_]?\d{2}(?!\d)")


@dataclass
class LayerReport:
    """What is known of one layer. ``problems`` counts rows, ``years`` those of each readable year by column."""

    name: str
    rows: int
    crs: str
    shapes: dict[str, int]
    bounds: tuple[float, float, float, float] | None
    area_km2: float
    columns: list[str]
    layout: str
    release: str
    understood: dict[str, str]
    unknown: list[str]
    missing: list[str]
    years: dict[str, dict[int, int]]
    problems: dict[str, int]
    notes: list[str] = field(default_factory=list)


def inspect_file(path: Path) -> list[LayerReport]:
    """Look at every layer of a file of any format that inventories are read from.

    Raises
    ------
    SourceError
        When the file is not there, damaged, or of no known format.
    """
    if not path.is_file():
        raise SourceError(f"{path} is not there; give the path of a vector file.")
    return [_look(layer) for wanted in _layer_names(path) for layer in read_layers(path, path.name, wanted)]


def _layer_names(path: Path) -> Sequence[str | None]:
    if path.suffix.lower() not in (".gpkg", ".geojson", ".json", ".fgb"):
        return [None]
    try:
        names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    except DataSourceError:
        return [None]  # the reader says what is wrong
    return names if len(names) > 1 else [None]


def _look(layer: Layer) -> LayerReport:
    frame = layer.frame
    columns = [str(name) for name in frame.columns if name != "geometry"]
    layout = guess_layout(columns) or ""
    found = recognise(columns, layout or "darts_level2")
    raw = np.asarray(frame.geometry.to_numpy(), dtype=object)
    plane, problems, notes = _geometry(layer, raw)
    return LayerReport(
        name=layer.source_file,
        rows=len(frame),
        crs=crs_label(frame.crs) if frame.crs is not None else "",
        shapes=dict(Counter("none" if shape is None else shape.geom_type for shape in raw)),
        bounds=_bounds(plane),
        area_km2=round(float(np.nansum(shapely.area(plane))) / 1e6, 6),
        columns=columns,
        layout=layout,
        release=release_of(layer.file_name),
        understood=found.roles | {name: name for name in found.known},
        unknown=list(found.new),
        missing=list(found.missing) if layout else [role for role in ("year",) if role not in found.roles],
        years=_years(layer, columns),
        problems={name: n for name, n in problems.items() if n} | _sentinels(layer, columns),
        notes=notes + list(found.notes if layout else ()),
    )


def _geometry(layer: Layer, raw: Any) -> tuple[Any, dict[str, int], list[str]]:
    """Bring the shapes to the plane where that can be done, and count what is wrong with them."""
    gone = shapely.is_missing(raw)
    empty = ~gone & shapely.is_empty(raw)
    problems = {"missing_geometry": int(gone.sum()), "empty_geometry": int(empty.sum())}
    usable = raw[~gone & ~empty]
    kinds = {shapely.get_dimensions(shape) for shape in usable}
    notes = ["shapes of several kinds: points or lines among polygons are refused"] if len(kinds) > 1 else []
    problems["invalid"] = int((~shapely.is_valid(usable)).sum())
    problems["duplicate (whatever the year)"] = int(find_repeats(usable).sum())
    if layer.frame.crs is None:
        return np.empty(0, dtype=object), problems, [*notes, "no coordinate system: name it with crs in the study TOML"]
    problems |= count_beyond_180(layer, layer.frame.crs)
    is_area = shapely.get_dimensions(usable) == 2
    areas = np.array([polygons_of(shape) for shape in usable[is_area]], dtype=object)
    plane = np.concatenate([to_plane(each, layer.frame.crs, layer.source_file) for each in (areas, usable[~is_area])])
    on_earth = is_on_earth(plane)
    problems["coordinates_not_on_earth"] = int((~on_earth).sum())
    if usable.size and not on_earth.any():
        notes.append("not one shape is on the globe: is longitude first, and is the coordinate system right?")
    n = areas.size
    whole = np.concatenate([repair(plane[:n][on_earth[:n]])[0], plane[n:][on_earth[n:]]])
    problems["zero_area"] = int((shapely.area(whole[shapely.get_dimensions(whole) == 2]) < MIN_AREA_M2).sum())
    return whole, problems, notes


def _bounds(plane: Any) -> tuple[float, float, float, float] | None:
    if not plane.size:
        return None
    west, south, east, north = shapely.total_bounds(to_degrees(shapely.centroid(plane)))
    return round(west, 3), round(south, 3), round(east, 3), round(north, 3)


def _year_columns(frame: gpd.GeoDataFrame, columns: list[str]) -> dict[str, Any]:
    """Columns that look like dates, with the Arctic year of each row."""
    known = (*ROLES["year"], *COVERAGE_YEARS)
    likely = [name for name in columns if _YEAR_LIKE.search(name) or name.lower() in known]
    return {name: parse_years(frame[name]) for name in likely if len(frame)}


def _years(layer: Layer, columns: list[str]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for name, values in _year_columns(layer.frame, columns).items():
        known = values[np.isfinite(values)].astype(int)
        if not known.size and name.lower() in COVERAGE_YEARS:
            known = np.array([int(y) for value in layer.frame[name].dropna() for y in _YEARS.findall(str(value))])
        if known.size:
            found[name] = {int(y): int(n) for y, n in zip(*np.unique(known, return_counts=True), strict=True)}
    match = _IN_NAME.search(layer.file_name)
    if match and 1 <= int(match.group(2)) <= 12:
        found["the file name"] = {int(match.group(1)) + (int(match.group(2)) >= 10): len(layer.frame)}
    of_template: dict[str, dict[int, int]] = {}
    for name in columns:
        parts = _PER_YEAR.match(name)
        if parts and name not in found:
            year = int(parts.group(2))
            active = int((layer.frame[name].map(_positive)).sum()) if len(layer.frame) else 0
            of_template.setdefault(f"{parts.group(1)}{{year}}{parts.group(3)}", {})[year] = active
    return found | {name: years for name, years in of_template.items() if len(years) > 1}


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _sentinels(layer: Layer, columns: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    low, high = PLAUSIBLE_YEARS
    for name, values in _year_columns(layer.frame, columns).items():
        unread = int((~np.isfinite(values)).sum())
        odd = int(((values < low) | (values >= high)).sum())
        # A column of which nothing can be read holds no years at all.
        counts |= {f"no year in {name}": unread} if unread and unread < len(values) else {}
        counts |= {f"year outside {low}-{high - 1} in {name}": odd} if odd else {}
    return counts


def as_text(report: LayerReport) -> list[str]:
    """Write a report as lines for a terminal."""
    shapes = ", ".join(f"{n:,} {kind}" for kind, n in sorted(report.shapes.items())) or "none"
    layout = (
        f"{report.layout}{f', release {report.release}' if report.release else ''}" if report.layout else "none known"
    )
    place = "unknown"
    if report.bounds:
        west, south, east, north = report.bounds
        place = f"{south:g} to {north:g} N, {west:g} to {east:g} E (centres of shapes)"
    years = [f"{name}: {_span(of)}" for name, of in report.years.items()]
    problems = [f"{name.replace('_', ' ')}: {n:,}" for name, n in report.problems.items()]
    lines = [
        report.name,
        f"  rows        {report.rows:,}",
        f"  layout      {layout}",
        f"  coordinates {report.crs or 'not said in the file'}",
        f"  place       {place}",
        f"  shapes      {shapes}; {report.area_km2:,.3f} km2",
        f"  understood  {', '.join(f'{role} = {name}' for role, name in report.understood.items()) or 'no column'}",
        f"  unknown     {', '.join(report.unknown) or 'none'}",
        f"  missing     {', '.join(report.missing) or 'none'}",
        *_several("years", years or ["none found"]),
        *_several("problems", problems or ["none"]),
        *_several("notes", report.notes),
    ]
    return lines


def _several(heading: str, lines: list[str]) -> list[str]:
    return [f"  {heading if i == 0 else '':11s} {line}" for i, line in enumerate(lines)]


def _span(years: dict[int, int]) -> str:
    shown = ", ".join(f"{year} ({n:,})" for year, n in sorted(years.items())[:12])
    return shown + (f" and {len(years) - 12} more" if len(years) > 12 else "")


def draft(path: Path, reports: Sequence[LayerReport]) -> list[str]:
    """Draft the description of the inventory for a study TOML; what is not known is left to be filled in."""
    first = reports[0]
    kind = "point" if any("Point" in shape for shape in first.shapes) else "polygon"
    lines = ["[inventories.mine]", 'title = "..."', f'geometry = "{kind}"', f'files = ["{{data}}/.../{path.name}"]']
    if len({report.name for report in reports}) == 1 and len(reports) > 1:
        lines.append('layer = "..."')
    if first.layout:
        lines.append(f'layout = "{first.layout}"')
    else:
        lines.append(_draft_year(first))
    if not first.crs:
        lines.append('crs = "EPSG:4326"  # if these are degrees')
    return [
        *lines,
        "# Land that was not looked at must not become zeros: name the polygons of what was mapped, or, only if all of",
        '# the study area was, footprint = { kind = "study_area" }',
        'footprint = { kind = "files", files = ["{data}/..."] }',
    ]


def _draft_year(report: LayerReport) -> str:
    for name in sorted(report.years, key=lambda name: "{year}" not in name):  # an area for each year says more
        if name == "the file name":
            return r"year = { file_name = '(\d{4})-(\d{2})' }  # adjust to the names of the files"
        if "{year}" in name:
            return f'year = {{ column_per_year = "{name}", unit = "..." }}'
        return f'year = {{ column = "{name}" }}'
    return 'year = { column = "..." }'
