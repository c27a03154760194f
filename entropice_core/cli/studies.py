"""Commands about study files: list, write, check, count cells; and about this installation."""

import re
import sys
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from entropice_core.cli.app import StudyName, app, console, load, say
from entropice_core.config import GRID_KEYS, Settings, load_study, preset_names
from entropice_core.errors import ConfigError


@app.command
def studies() -> None:
    """List the studies that ship with the package."""
    for name in preset_names():
        say(f"{name:20s} {load_study(name).study.title}")


@app.command
def new(file: Path) -> None:
    """Write a commented study TOML to start from; an existing file is left alone.

    Parameters
    ----------
    file
        Where to write it, such as my_study.toml.
    """
    from importlib import resources

    if file.exists():
        raise ConfigError(f"{file} is there already: name another file, or move that one away.")
    if file.suffix != ".toml":
        raise ConfigError(f"{file} does not end in .toml: name a file such as my_study.toml.")
    template = (resources.files("entropice_core.presets") / "demo.toml").read_text(encoding="utf-8")
    file.write_text(template.replace('name = "demo"', f'name = "{_study_name(file)}"', 1), encoding="utf-8")
    console.print(
        f"{file} written. Change it, then: entropice check -s {file}; entropice run -s {file}", highlight=False
    )


def _study_name(file: Path) -> str:
    name = re.sub(r"[^a-z0-9_]", "_", file.stem.lower())
    return name if re.match("[a-z]", name) else f"study_{name}"


@app.command
def check(study: StudyName = None) -> None:
    """Read a study TOML and say whether every key and value is right; nothing is built.

    Parameters of models are tried, and with ENTROPICE_DATA set the input files are looked for.
    """
    from entropice_core.pipeline.preflight import preflight

    loaded, settings = load(study)
    for problem in preflight(loaded, settings):
        say(problem)
    area = loaded.study_area.bounds or f">= {loaded.study_area.min_latitude} N"
    say(
        f"{loaded.study.name}: good. {len(loaded.study.grids)} grids, {loaded.study.years.first}-"
        f"{loaded.study.years.last}, area {area}, {len(loaded.inventories)} inventories, "
        f"{len(loaded.sources)} sources, {len(loaded.models)} models, folds {loaded.folds.kind}."
    )


@app.command
def grids(study: StudyName = None) -> None:
    """Count the cells of every grid whose centre lies in the study area, sea included."""
    from entropice_core.grids import parse_grid_key
    from entropice_core.pipeline.product import Context

    loaded, settings = load(study)
    area = Context(loaded, settings).area
    table = Table(title=f"cells of {loaded.study.name}", title_justify="left")
    for heading in ("grid", "cells", "mean area km²"):
        table.add_column(heading, justify="right")
    for key in GRID_KEYS:
        grid = parse_grid_key(key)
        ids = grid.cells(area)
        sample = ids[:: max(1, ids.size // 2000)]
        table.add_row(key, f"{ids.size:,}", f"{grid.areas_m2(sample).mean() / 1e6:,.1f}" if ids.size else "-")
    console.print(table)


@app.command
def doctor() -> None:
    """Say what this installation finds: versions, GPU, services, keys, disk, clock, store; and what to do about it.

    The exit status is 1 when something needs doing.
    """
    from entropice_core.doctor import report

    findings = report(Settings.from_environment())
    table = Table(show_header=False, box=None)
    for finding in findings:
        mark = "[red]✗[/]" if finding.remedy else " "
        table.add_row(mark, finding.name, escape(finding.found))
        if finding.remedy:
            table.add_row("", "", f"[yellow]→ {escape(finding.remedy)}[/]")
    console.print(table)
    if any(finding.remedy for finding in findings):
        sys.exit(1)
