"""The command that says where to look next."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from entropice_core.cli.app import StudyName, app, checked_grids, checked_years, console, load, say
from entropice_core.config import Study
from entropice_core.errors import ConfigError, nearest_hint

FILES = ("priority.parquet", "priority.geojson", "gain.json", "gain.png", "priority.png")


@app.command
def priority(
    model: str,
    study: StudyName = None,
    *,
    grid: str | None = None,
    year: int | None = None,
    first: int = 20,
    out: Annotated[Path | None, Parameter(help="Copy the tables and pictures into this folder.")] = None,
) -> None:
    """Show which unobserved cells to look at next, and how much work the ranking saves.

    Build it first: `entropice build priority.<model>`.

    Parameters
    ----------
    model
        Name of a model of the study.
    grid
        Such as h3-4; the study's first grid otherwise.
    year
        Arctic year; the study's last year otherwise.
    first
        How many cells to list.
    """
    import shutil

    import geopandas as gpd

    from entropice_core.grids import parse_grid_key
    from entropice_core.storage.partition import Partition
    from entropice_core.storage.store import PartitionStore

    loaded, settings = load(study)
    _check_model(model, loaded)
    checked_grids((grid,) if grid else (), loaded)
    checked_years((year,) if year else (), loaded)
    where = Partition(grid or loaded.study.grids[0], year or loaded.study.years.last)
    folder = PartitionStore(settings.store_root(loaded)).path(f"priority.{model}", where)
    cells = gpd.read_parquet(folder / "priority.parquet")
    _print(
        cells.head(first),
        parse_grid_key(str(where.grid)),
        f"{loaded.study.name}: priority.{model} {where}, {len(cells):,} unobserved cells",
    )
    gain = json.loads((folder / "gain.json").read_text(encoding="utf-8"))
    for recall, entry in gain["saved"].items():
        say(
            f"To find {float(recall):.0%} of the slump area, {entry['share']:.0%} of the land need not be processed "
            f"({entry['low']:.0%} to {entry['high']:.0%}; held-out cells, {gain['n_blocks']} blocks)."
        )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(folder / name, out / name)
        say(f"Copied to {out}: {', '.join(FILES)}.")
    else:
        say(f"Files: {folder}")


def _check_model(model: str, study: Study) -> None:
    from entropice_core.pipeline.graph import build_graph

    ranked = [name.removeprefix("priority.") for name in build_graph(study) if name.startswith("priority.")]
    if model not in ranked:
        raise ConfigError(f"Study {study.study.name!r} ranks no cells by {model!r}; {nearest_hint(model, ranked)}.")


def _places(grid: Any, texts: Sequence[str]) -> list[str]:
    """Say where cells are, as a hexadecimal id tells nobody: degrees of their centres."""
    import numpy as np

    ids = [int(text, 16 if grid.name == "h3" else 10) for text in texts]
    lon, lat = grid.centers(np.array(ids, dtype=np.uint64))
    return [f"{y:.2f} N {abs(x):.2f} {'E' if x >= 0 else 'W'}" for x, y in zip(lon, lat, strict=True)]


def _print(cells: Any, grid: Any, title: str) -> None:
    table = Table(title=title, title_justify="left", box=None)
    for name in ("rank", "cell", "centre", "expected density [m2 m-2]", "probability", "land [km2]", "applicable"):
        table.add_column(name, justify="left" if name == "cell" else "right")
    places = _places(grid, list(cells["cell_id"]))
    for place, row in zip(places, cells.drop(columns="geometry").to_dict("records"), strict=True):
        table.add_row(
            str(row["rank"]), str(row["cell_id"]), place, f"{row['expected_density']:.3g}", f"{row['probability']:.2f}",
            f"{row['land_area_m2'] / 1e6:,.0f}", "yes" if row["is_applicable"] else "no",
        )  # fmt: skip
    console.print(table)
