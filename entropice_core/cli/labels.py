"""Commands about labels: look at a file of slumps, put inventories on cells, compare two of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from entropice_core.cli.app import Grids, StudyName, YearList, app, checked_grids, load, say
from entropice_core.errors import ConfigError, nearest_hint

if TYPE_CHECKING:
    import pandas as pd

labels = App(name="labels", help="RTS inventories: look at a file, put them on cells, compare them.")
app.command(labels)


@labels.command
def inspect(file: Path) -> None:
    """Say what a file of slumps holds, and draft its description; no study is needed.

    Layers, shapes, coordinate system, years, columns that are understood, unknown or missing, and problems counted.

    Parameters
    ----------
    file
        GeoPackage, GeoParquet, shapefile, GeoJSON, FlatGeobuf, CSV of points, or a zip of shapefiles.
    """
    from entropice_core.labels.inspect import as_text, draft, inspect_file

    reports = inspect_file(file)
    for report in reports:
        for line in as_text(report):
            say(line)
    say("\nDraft for a study TOML:")
    for line in draft(file, reports):
        say(f"  {line}")


@labels.command
def build(*inventories: str, study: StudyName = None, grid: Grids = (), year: YearList = ()) -> None:
    """Put inventories on the cells of every grid and year, with all that this needs; every one if none is named.

    Parameters
    ----------
    inventories
        Names in [inventories] of the study.
    """
    from entropice_core.cli.study import build as build_datasets

    loaded, _ = load(study)
    names = [_checked(name, loaded.inventories) for name in inventories] or list(loaded.inventories)
    build_datasets(*(f"labels.{name}" for name in names), study=study, grid=grid, year=year)


@labels.command
def compare(a: str, b: str, *, study: StudyName = None, grid: Grids = ()) -> None:
    """Compare two inventories on the cells and years that both observed: counts, area, presence, ranks.

    Parameters
    ----------
    a, b
        Names in [inventories] of the study, whose labels are built.
    """
    from entropice_core.labels.agreement import compare_inventories
    from entropice_core.pipeline.label_products import labels_by_year
    from entropice_core.pipeline.product import Context

    loaded, settings = load(study)
    pair = (_checked(a, loaded.inventories), _checked(b, loaded.inventories))
    if a == b:
        raise ConfigError(f"{a!r} agrees with itself; name two inventories.")
    context, minimum = Context(loaded, settings), loaded.target.min_observed_fraction
    chosen = checked_grids(grid, loaded) or set(loaded.study.grids)
    for key in [each for each in loaded.study.grids if each in chosen]:
        found = {name: labels_by_year(context, name, key) for name in pair}
        say(f"{key}: cell-years of which both observed at least {minimum:.0%} of the land")
        for line in _lines(compare_inventories(found, minimum, [pair])):
            say(line)


def _checked(name: str, known: Mapping[str, object]) -> str:
    if name not in known:
        raise ConfigError(f"There is no inventory {name!r} in the study; {nearest_hint(name, known)}.")
    return name


def _lines(table: "pd.DataFrame") -> list[str]:
    """Lay a table out with a line for each number and a column for each year: it has many numbers and few years."""
    from entropice_core.labels.agreement import COLUMNS

    if table.empty:
        return ["  no common year"]
    rows = table.to_dict("records")
    wide = max(len(name) for name in COLUMNS)
    lines = ["  " + " " * wide + "".join(f"{row['year']:>12s}" for row in rows)]
    for name in list(COLUMNS)[3:]:
        cells = [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for row in rows]
        lines.append(f"  {name:{wide}s}" + "".join(f"{'-' if cell == 'nan' else cell:>12s}" for cell in cells))
    return [f"  a = {rows[0]['a']}, b = {rows[0]['b']}", *lines]
