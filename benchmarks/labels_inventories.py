"""What the real inventories give: counts, cells, agreement, and the maps of ``docs/inventories.md``.

ENTROPICE_DATA=... python benchmarks/labels_inventories.py docs/images
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.config import GRID_KEYS, load_study
from entropice_core.describe import small_png
from entropice_core.grids import parse_grid_key
from entropice_core.grids.base import Grid
from entropice_core.grids.cells import build_cells
from entropice_core.grids.land import land_samples, land_samples_for
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.agreement import as_markdown, compare_inventories
from entropice_core.labels.combine import combine_years, summary
from entropice_core.labels.density import label_cells
from entropice_core.labels.footprint import footprint_of_year, read_footprint
from entropice_core.labels.inventory import read_inventory
from entropice_core.labels.observed import observed_share
from entropice_core.labels.overlay import CellIndex
from entropice_core.prediction.maps import MapStyle, draw_map, png_bytes

GRID = "h3-4"
STUDY = load_study("ne_siberia")
SIBERIA = StudyArea(60.0, STUDY.study_area.bounds)
ARCTIC = StudyArea(60.0)
WIDE = {"nitze2021": ARCTIC}  # it lies in Canada and Siberia; the others in Siberia alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--footprint", action="store_true", help="count the cells of every grid in the footprint")
    given = parser.parse_args()
    root = Path(os.environ["ENTROPICE_DATA"])
    if given.footprint:
        count_cells_in_footprint(root)
        return
    grid, years = parse_grid_key(GRID), [2018, 2019]
    of_study = {}
    print("| inventory | year | rows read | kept | observed cells | with slumps | slumps | area km2 | observed km2 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, config in STUDY.inventories.items():
        for area in dict.fromkeys([SIBERIA, WIDE.get(name, SIBERIA)]):
            inventory = read_inventory(name, config, root, area, years)
            cells = build_cells(grid, area, 0.05)
            land = land_samples_for(cells["lat"].values, cells["area_m2"].values)
            made = {year: label_cells(inventory, grid, cells, area, year, land) for year in years}
            if area is SIBERIA:
                of_study[name] = made
            if area is not WIDE.get(name, SIBERIA):
                continue
            report(name, inventory.report, made)
            mean = combine_years(made)
            print(f"<!-- {name}: {inventory.report['total']} mean {summary(mean)} -->")
            words = {"title": f"{name}, mean of 2018 and 2019 on {GRID}", "subtitle": config.title}
            save(given.images / f"labels_{name}.png", grid, mean, "density", words)
            if config.footprint.kind == "files":
                words = {"title": f"Footprint of DARTS v1 on {GRID}", "subtitle": "Share of the land that was mapped"}
                save(given.images / "labels_footprint.png", grid, mean, "observed_fraction", words)
    print(as_markdown(compare_inventories(of_study, 0.1), 0.1, f"north-eastern Siberia, {GRID}"))


def count_cells_in_footprint(root: Path) -> None:
    """Count cells by the share of their whole area, sea included, that lies in the footprint of DARTS."""
    footprint, _ = read_footprint("nitze2021", STUDY.inventories["nitze2021"].footprint, root)
    parts = footprint_of_year(footprint, 2018)
    print("| grid | any | 10 % or more | 50 % or more | 90 % or more |\n|---|---|---|---|---|")
    for key in GRID_KEYS:
        grid = parse_grid_key(key)
        ids = grid.cells(StudyArea(58.0))
        index = CellIndex(grid, ids, float(grid.areas_m2(ids).max()))
        share = observed_share(index, parts, np.ones(ids.size), land_samples(89.0))
        counts = [int((share > 0).sum()), *(int((share >= limit).sum()) for limit in (0.1, 0.5, 0.9))]
        print(f"| {key} | " + " | ".join(f"{n:,}" for n in counts) + " |", flush=True)


def save(path: Path, grid: Grid, labels: xr.Dataset, name: str, words: dict[str, str]) -> None:
    is_log = name == "density"
    label = "RTS density [m² m⁻²], logarithmic" if is_log else "observed share of the land [1]"
    values = labels[name].values if is_log else np.where(labels[name].values > 0, labels[name].values, np.nan)
    style = MapStyle(label=label, is_log=is_log, size_inches=6.0, dpi=110, **words)
    png = png_bytes(draw_map(grid, labels["cell_ids"].values, values, style))
    path.write_bytes(small_png(png, 120_000, 760))


def report(name: str, counts: dict[str, Any], made: dict[int, xr.Dataset]) -> None:
    for year, labels in made.items():
        n, area = labels["count"].values, np.nansum(labels["rts_area_m2"].values) / 1e6
        seen = labels["observed_area_m2"].values.sum() / 1e6
        print(
            f"| {name} | {year} | {counts['total']['rows']:,} | {counts['years'].get(str(year), 0):,} "
            f"| {int(np.isfinite(n).sum()):,} | {int((n > 0).sum()):,} | {int(np.nansum(n)):,} "
            f"| {area:.2f} | {seen:,.0f} |"
        )


if __name__ == "__main__":
    main()
