"""The command line: thin, every command calls one core function and prints what it returns.

Messages of errors are the sentences of the exceptions; exit status 1 means that something must be changed by the
user, 2 that the command was misspelt, 3 that ``verify`` found damage.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from entropice_core import __version__
from entropice_core.config import GRID_KEYS, Settings, Study, load_study, preset_names
from entropice_core.errors import EntropiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from entropice_core.fetch.run import Progress as FetchProgress

app = App(
    name="entropice",
    version=__version__,
    default_parameter=Parameter(negative=()),
    help="Calibrated, spatially validated maps of retrogressive thaw slump density in the Arctic.\n\n"
    "Start with `entropice run --preset demo`, look at `entropice status`, then `entropice new my_study.toml`.\n\n"
    "Environment: ENTROPICE_HOME (store and tracking file, default .entropice), ENTROPICE_DATA (input files), "
    "ENTROPICE_STUDY (preset or TOML used when none is named, default demo), ENTROPICE_TRACKING_URI (MLflow).",
)
fetching = App(name="fetch", help="Fetch source files into the data folder that ENTROPICE_DATA names.")
app.command(fetching)
console = Console()
complaints = Console(stderr=True)

StudyName = Annotated[str | None, Parameter(name=["--preset", "--study", "-s"], help="Preset name or path of a TOML.")]
Grids = Annotated[tuple[str, ...], Parameter(name=["--grid", "-g"], help="Only these grids, such as h3-4.")]
YearList = Annotated[tuple[int, ...], Parameter(name=["--year", "-y"], help="Only these Arctic years.")]


def main() -> None:
    """Run the command line; print an Entropice error as its sentence, without a traceback."""
    try:
        app()
    except EntropiceError as error:
        _complain(type(error).__name__, str(error))
    except OSError as error:
        _complain("Files", f"{error}: free some space, or let ENTROPICE_HOME name a folder that can be written to.")
    except KeyboardInterrupt:
        complaints.print("Stopped. What was published stays; run the same command again to go on.")
        sys.exit(130)


def _complain(kind: str, sentence: str) -> None:
    complaints.print(f"[bold red]{kind}[/]: {escape(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(1)


def _say(text: str, *, dim: bool = False) -> None:
    """Print text as it is: brackets in it are no markup, and paths are not folded."""
    console.print(text, highlight=False, markup=False, soft_wrap=not dim, style="dim" if dim else None)


def _load(name: str | None) -> tuple[Study, Settings]:
    settings = Settings.from_environment()
    return load_study(name or settings.study), settings


def _checked_grids(grids: tuple[str, ...], study: Study) -> set[str] | None:
    from entropice_core.errors import ConfigError, nearest_hint

    for key in grids:
        if key not in study.study.grids:
            hint = nearest_hint(key, study.study.grids)
            raise ConfigError(f"Grid {key!r} is not in study {study.study.name!r}; {hint}.")
    return set(grids) or None


def _checked_years(years: tuple[int, ...], study: Study) -> set[int] | None:
    from entropice_core.errors import ConfigError

    known = study.study.years
    for year in years:
        if year not in known.all():
            raise ConfigError(
                f"Year {year} is not in study {study.study.name!r}: it has {known.first}-{known.last}; "
                "change [study] years in the TOML."
            )
    return set(years) or None


@app.command
def run(study: StudyName = None, *, grid: Grids = (), force: bool = False) -> None:
    """Bring a whole study up to date: from source files to scores and maps.

    What is current is left alone, so a second run takes seconds; a run that was stopped goes on where it was.

    Parameters
    ----------
    force
        Build everything again, also what is current.
    """
    from entropice_core.pipeline.graph import build_graph

    loaded, settings = _load(study)
    wanted = [name for name in build_graph(loaded) if name != "comparison" or not grid]
    _bring_up_to_date(loaded, settings, wanted, grid, (), force)
    if grid:
        _say("Some grids only: the comparison needs all of them (entropice run without --grid).")
    else:
        _print_results(loaded, settings, study or settings.study)


@app.command
def build(
    *datasets: str,
    study: StudyName = None,
    grid: Grids = (),
    year: YearList = (),
    only: bool = False,
    force: bool = False,
) -> None:
    """Bring some datasets up to date, and everything that they are made from.

    Parameters
    ----------
    datasets
        Names such as `labels.darts`, or kinds such as `labels`; see `entropice status` for the list.
    only
        Do not build what they are made from; fail if it is missing.
    force
        Build again, also what is current.
    """
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.run import select, with_upstream

    loaded, settings = _load(study)
    graph = build_graph(loaded)
    wanted = select(graph, datasets)
    names = [p.dataset for p in (wanted if only else with_upstream(graph, wanted))]
    _bring_up_to_date(loaded, settings, names, grid, year, force)


def _bring_up_to_date(
    study: Study, settings: Settings, names: list[str], grids: tuple[str, ...], years: tuple[int, ...], force: bool
) -> None:
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.run import materialize, tasks

    graph = build_graph(study)
    begun = perf_counter()
    done: Counter[str] = Counter()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with bar:
        row = bar.add_task(f"{study.study.name}: looking", total=None)
        context = Context(study, settings, say=lambda text: bar.update(row, description=f"[cyan]{escape(text)}"))
        todo = tasks(context, [graph[n] for n in names], _checked_grids(grids, study), _checked_years(years, study))
        bar.update(row, total=len(todo))
        for product, partition in todo:
            outcome = materialize(context, graph, product, partition, force)
            done["built" if outcome.built else "current"] += 1
            if outcome.built:
                line = (
                    f"{product.dataset:32s} {partition!s:16s} {outcome.manifest.digest[:12]} {outcome.seconds:6.1f} s"
                )
                bar.console.print(f"built {line}", highlight=False)
            if problem := outcome.extra.get("tracking_problem"):
                bar.console.print(
                    f"[yellow]tracking: {escape(str(problem))} (the model is stored; the next run records it)[/]"
                )
            bar.advance(row)
    seconds = perf_counter() - begun
    what = "nothing to rebuild" if not done["built"] else f"{done['built']} partitions built"
    console.print(f"{study.study.name}: {what}, {done['current']} already current, {seconds:.1f} s", highlight=False)


def _print_results(study: Study, settings: Settings, name: str) -> None:
    from entropice_core.comparison.table import best_model, read_scores, warnings_of
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.words import score_notes
    from entropice_core.storage.partition import Partition

    context = Context(study, settings)
    folder = context.store.path("comparison", Partition())
    grid = study.study.grids[0]
    console.print(
        f"\n[bold]{escape(study.study.title)}[/]: mean ± sd over folds of spatial cross-validation", highlight=False
    )
    console.print(_score_table(read_scores(folder), is_narrow=console.width < 140))
    for line in score_notes(study):
        _say(line, dim=True)
    for line in warnings_of(folder):
        console.print(f"[yellow]{escape(line)}[/]", highlight=False)
    best = best_model(folder, grid)
    last = Partition(grid, study.study.years.last)
    _say(f"scores   {folder / 'scores.md'}")
    _say(f"map      {context.store.path(f'map.{best}', last) / 'map.png'}  ({best}: lowest log loss on {grid})")
    _say(f"tracking {settings.tracking_uri}  (mlflow ui --backend-store-uri {settings.tracking_uri})")
    _say(f"UI       {_how_to_open(name, settings)}")


def _how_to_open(name: str, settings: Settings) -> str:
    """Say how to open Dagster on this very store: from the checkout, with what differs from the defaults."""
    own = {}
    if name != "demo":
        own["ENTROPICE_STUDY"] = str(Path(name).absolute()) if name.endswith(".toml") else name
    if settings.home != Path(".entropice").absolute() or name.endswith(".toml"):
        own["ENTROPICE_HOME"] = str(settings.home)
    if settings.data is not None and name != "demo":
        own["ENTROPICE_DATA"] = str(settings.data)
    return " ".join([*(f"{key}={value}" for key, value in own.items()), "make ui  (in the checkout of Entropice)"])


def _score_table(scores: "pd.DataFrame", is_narrow: bool) -> Table:
    """Lay the scores out; a narrow terminal gets the columns that decide, the file has all."""
    left_out = {"AP", "Brier", "ECE", "rows", "positive"} if is_narrow else set()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1 if is_narrow else 2))
    shorter = {"random AUC": "random", "permuted AUC": "permuted"} if is_narrow else {}
    for heading in [shorter.get(name, name) for name in scores.columns.drop(left_out)]:
        is_name = heading in ("grid", "model")
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=True)
    for values in scores.drop(columns=list(left_out)).itertuples(index=False):
        table.add_row(*[re.sub(r"\b0\.", ".", str(v)) if is_narrow else str(v) for v in values])
    return table


@app.command
def status(study: StudyName = None) -> None:
    """Show what is published, stale or missing, a line for each dataset."""
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.status import states

    loaded, settings = _load(study)
    _say(f"{loaded.study.name}: {settings.store_root(loaded)}")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("dataset", "parts", "current", "stale", "missing", "provis.", "MB"):
        table.add_column(heading, justify="left" if heading == "dataset" else "right", no_wrap=True)
    for row in states(Context(loaded, settings), build_graph(loaded)):
        counts = [str(n) if n else "-" for n in (row.current, row.stale, row.missing, row.provisional)]
        table.add_row(row.dataset, str(row.partitions), *counts, f"{row.size / 1e6:,.1f}")
    console.print(table)


@app.command
def path(dataset: str, partition: str = "all/all", *, study: StudyName = None) -> None:
    """Print the folder of the current version of a partition, to open it with other programs.

    Parameters
    ----------
    dataset
        Such as `prediction.espa` (a Zarr) or `map.espa` (map.png, map.svg, cells.parquet).
    partition
        Grid and year, such as `h3-3/2023`; `all` where it is not split by that.
    """
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.run import one
    from entropice_core.storage.partition import Partition

    loaded, settings = _load(study)
    name = one(build_graph(loaded), dataset).dataset
    print(Context(loaded, settings).store.path(name, Partition.parse(partition)))


@app.command
def explain(dataset: str, partition: str = "all/all", *, study: StudyName = None) -> None:
    """Walk from a published partition back to the source files that it was made from.

    Parameters
    ----------
    dataset
        Such as `map.espa`.
    partition
        Grid and year, such as `h3-4/2019`; `all` where it is not split by that.
    """
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.run import one
    from entropice_core.pipeline.status import lineage_tree
    from entropice_core.storage.partition import Partition

    loaded, settings = _load(study)
    name = one(build_graph(loaded), dataset).dataset
    console.print(lineage_tree(Context(loaded, settings), name, Partition.parse(partition)))


@app.command
def verify(study: StudyName = None, *, full: bool = False) -> None:
    """Look for damage in the store: missing or changed files, orphans, versions made by older code or inputs.

    Parameters
    ----------
    full
        Read every byte and compare checksums; otherwise only names and sizes are compared.
    """
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context

    loaded, settings = _load(study)
    versions = {p.dataset: p.code_version for p in build_graph(loaded).values()}
    findings = Context(loaded, settings).store.verify(full=full, code_versions=versions)
    for finding in findings:
        _say(str(finding))
    console.print(f"{loaded.study.name}: {len(findings)} findings ({'every byte' if full else 'names and sizes'} read)")
    if findings:
        sys.exit(3)


@app.command
def gc(study: StudyName = None, *, grace_hours: float = 24.0, dry_run: bool = False) -> None:
    """Remove versions that nothing points to any more, and what killed processes left.

    Parameters
    ----------
    grace_hours
        Keep what is younger than this.
    dry_run
        Only say what would be removed.
    """
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.status import sweep_scratch, tracked_digests

    loaded, settings = _load(study)
    context = Context(loaded, settings)
    removed = context.store.gc(grace_seconds=grace_hours * 3600, keep_digests=tracked_digests(context), dry_run=dry_run)
    left = sweep_scratch(settings, grace_hours * 3600, dry_run)
    for item in removed:
        _say(f"{item.reason}: {item.path} ({item.size:,} bytes)")
    for folder in left:
        _say(f"unpublished files of a killed process: {folder}")
    console.print(f"{loaded.study.name}: {len(removed) + len(left)} {'would be ' if dry_run else ''}removed")


@app.command
def grids(study: StudyName = None) -> None:
    """Count the cells of every grid whose centre lies in the study area, sea included."""
    from entropice_core.grids import parse_grid_key
    from entropice_core.pipeline.product import Context

    loaded, settings = _load(study)
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
def check(study: StudyName = None) -> None:
    """Read a study TOML and say whether every key and value is right; nothing is built.

    Parameters of models are tried, and with ENTROPICE_DATA set the input files are looked for.
    """
    from entropice_core.pipeline.preflight import preflight

    loaded, settings = _load(study)
    for problem in preflight(loaded, settings):
        _say(problem)
    area = loaded.study_area.bounds or f">= {loaded.study_area.min_latitude} N"
    _say(
        f"{loaded.study.name}: good. {len(loaded.study.grids)} grids, {loaded.study.years.first}-"
        f"{loaded.study.years.last}, area {area}, {len(loaded.inventories)} inventories, "
        f"{len(loaded.sources)} sources, {len(loaded.models)} models, folds {loaded.folds.kind}."
    )


@app.command
def new(file: Path) -> None:
    """Write a commented study TOML to start from; an existing file is left alone.

    Parameters
    ----------
    file
        Where to write it, such as my_study.toml.
    """
    from importlib import resources

    from entropice_core.errors import ConfigError

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


@fetching.command
def era5(
    *,
    year: Annotated[tuple[int, ...], Parameter(name=["--year", "-y"], consume_multiple=True)],
    product: Literal["monthly", "daily"] = "monthly",
    variables: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    area: tuple[float, float, float, float] = (90.0, -180.0, 50.0, 180.0),
    statistics: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ("mean", "min", "max"),
    provisional: bool = False,
    allow_gaps: bool = False,
    dry_run: bool = False,
    abandon: bool = False,
) -> None:
    """Fetch Arctic years of ERA5 from the Climate Data Store; a run that was stopped goes on with the jobs it had.

    Monthly means become one file a year, era5/era5_monthly_YEAR.nc. The key is that of CDSAPI_KEY or ~/.cdsapirc.

    Parameters
    ----------
    year
        Arctic years: 2021 is October 2020 to September 2021.
    product
        Monthly means, or statistics of every day (large).
    variables
        Such as 2m_temperature or t2m; a few that matter for permafrost when none is named.
    area
        North, west, south, east in degrees.
    statistics
        Of instant variables, daily: mean, min, max. Sums of accumulated ones always come along.
    provisional
        Also years that are not final yet (ERA5T); they are marked, and fetched again when they are final.
    allow_gaps
        Go on without variables that the service does not have, and say so in the year's summary.
    dry_run
        Only say what would be requested.
    abandon
        Fetch nothing: take the jobs of earlier runs out of the service's queue.
    """
    from entropice_core.fetch.cds import ClimateDataStore, read_credentials
    from entropice_core.fetch.era5 import abandon_jobs, fetch_year, plan_year
    from entropice_core.fetch.plan import Wish
    from entropice_core.fetch.variables import DEFAULTS

    settings = Settings.from_environment()
    data = _data_folder(settings)
    wishes = [Wish(product, y, variables or DEFAULTS, area, statistics, provisional, allow_gaps) for y in year]
    plans = [plan_year(wish, data)[0] for wish in wishes]  # every year is checked before the first is fetched
    if dry_run:
        for request in (r for plan in plans for r in plan):
            console.print(f"would request {request} ({request.bytes / 1e6:,.1f} MB)", highlight=False)
        console.print(
            f"{sum(map(len, plans))} requests, {sum(r.bytes for p in plans for r in p) / 1e6:,.1f} MB unpacked"
        )
        return
    store = ClimateDataStore(read_credentials())
    if abandon:
        console.print(f"{len(abandon_jobs(store, settings.home))} jobs abandoned", highlight=False)
        return
    for wish in wishes:
        with _fetch_bar() as bar:
            show = _fetch_progress(bar, f"ERA5 {product} {wish.year}")
            report = fetch_year(wish, store, data=data, home=settings.home, tell=show)
        console.print(f"ERA5 {product} {wish.year}: {report}", highlight=False, soft_wrap=True)


def _data_folder(settings: Settings) -> Path:
    from entropice_core.errors import ConfigError

    if settings.data is None:
        raise ConfigError("ENTROPICE_DATA is not set: set it to the folder that the files are to be fetched into.")
    if not settings.data.is_dir():
        raise ConfigError(f"ENTROPICE_DATA names {settings.data}, which is not a folder: make it, or name another one.")
    return settings.data


def _fetch_bar() -> Progress:
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("months"), TimeElapsedColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console, transient=True)


def _fetch_progress(bar: Progress, title: str) -> "Callable[[FetchProgress], None]":
    """Show what happens as a line, and how far it is beside the bar."""
    row = bar.add_task(title, total=12)

    def show(progress: "FetchProgress") -> None:
        far = f"{progress.bytes / 1e6:,.1f} MB, {progress.queued_s:,.0f} s in the queue"
        bar.update(row, completed=progress.months_done, description=f"[cyan]{title}: {far}")
        if progress.is_event:
            bar.console.print(progress.text, highlight=False, soft_wrap=True)

    return show


@app.command
def studies() -> None:
    """List the studies that ship with the package."""
    for name in preset_names():
        _say(f"{name:14s} {load_study(name).study.title}")


@app.command
def doctor() -> None:
    """Say what this installation finds: versions, folders, optional libraries, what to do about it."""
    from entropice_core.doctor import report

    settings = Settings.from_environment()
    table = Table(show_header=False, box=None)
    for name, value in report(settings):
        table.add_row(name, escape(value))
    console.print(table)


if __name__ == "__main__":
    main()
