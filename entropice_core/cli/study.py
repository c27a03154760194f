"""Commands that build a study and show its results."""

import re
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from entropice_core.cli.app import (
    Grids,
    Sources,
    StudyName,
    YearList,
    app,
    checked_grids,
    checked_years,
    complain,
    console,
    load,
    say,
)
from entropice_core.config import Settings, Study

if TYPE_CHECKING:
    import pandas as pd

    from entropice_core.pipeline.parallel import Task


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
    from entropice_core.pipeline.parallel import with_what_they_need
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.run import tasks

    loaded, settings = load(study)
    graph = build_graph(loaded)
    wanted = [product for product in graph.values() if "grid" in product.dimensions or not grid]
    chosen = tasks(Context(loaded, settings), wanted, checked_grids(grid, loaded), None)
    _bring_up_to_date(loaded, settings, with_what_they_need(graph, loaded, chosen), force)
    if grid:
        say("Some grids only: the comparison needs all of them (entropice run without --grid).")
    else:
        _print_results(loaded, settings, study or settings.study)


@app.command
def build(
    *datasets: str,
    study: StudyName = None,
    grid: Grids = (),
    year: YearList = (),
    source: Sources = (),
    only: bool = False,
    force: bool = False,
    partition_index: int | None = None,
    partition_count: int | None = None,
) -> None:
    """Bring some datasets up to date, and everything that they are made from.

    Parameters
    ----------
    datasets
        Names such as `labels.darts`, or kinds such as `labels`; see `entropice status` for the list.
    source
        Only the features of these sources, each named as in the study or by its kind, such as alphaearth.
    only
        Do not build what they are made from; fail if it is missing.
    force
        Build again, also what is current.
    partition_index
        Which share of the partitions to build, from 0; for an array of jobs ($SLURM_ARRAY_TASK_ID).
    partition_count
        Into how many shares the partitions are dealt.
    """
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.parallel import share, with_what_they_need
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.run import of_sources, select, tasks

    loaded, settings = load(study)
    graph = build_graph(loaded)
    grids, years = checked_grids(grid, loaded), checked_years(year, loaded)
    chosen = select(graph, datasets)
    products = of_sources(chosen, loaded, source) if source else chosen
    todo = share(tasks(Context(loaded, settings), products, grids, years), partition_index, partition_count)
    _bring_up_to_date(loaded, settings, todo if only else with_what_they_need(graph, loaded, todo), force)


def _bring_up_to_date(study: Study, settings: Settings, todo: "list[Task]", force: bool) -> None:
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.parallel import bring_up_to_date
    from entropice_core.pipeline.product import Context

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
        bar.update(row, total=len(todo))
        for outcome in bring_up_to_date(context, graph, todo, force):
            done["built" if outcome.built else "current"] += 1
            if outcome.built:
                what = f"{outcome.dataset:32s} {outcome.partition!s:16s}"
                bar.console.print(f"built {what} {outcome.digest[:12]} {outcome.seconds:6.1f} s", highlight=False)
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
    console.print(_score_table(read_scores(folder), is_narrow=console.width < 185))
    for line in score_notes(study):
        say(line, dim=True)
    for line in warnings_of(folder):
        console.print(f"[yellow]{escape(line)}[/]", highlight=False)
    best = best_model(folder, grid)
    last = Partition(grid, study.study.years.last)
    say(f"scores   {folder / 'scores.md'}")
    if f"map.{best}" in context.store.datasets():
        say(f"map      {context.store.path(f'map.{best}', last) / 'map.png'}  ({best}: lowest log loss on {grid})")
    else:
        say(f"map      none is named: on {grid} no model does better than {best}, whose map is of one colour")
    say(f"report   {context.store.path('report', Partition()) / 'report.html'}")
    say(f"tracking {settings.tracking_uri}  (mlflow ui --backend-store-uri {settings.tracking_uri})")
    say(f"UI       {_how_to_open(name, settings)}")


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
    left_out = {"AP", "Brier", "ECE", "over climatology", "log loss", "rows", "positive"} if is_narrow else set()
    left_out &= set(scores.columns)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1 if is_narrow else 2))
    shorter = {"random AUC": "random", "permuted AUC": "permuted", "ROC AUC": "AUC"} if is_narrow else {}
    for heading in [shorter.get(name, name) for name in scores.columns.drop(left_out)]:
        is_name = heading in ("grid", "model")
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=True)
    for values in scores.drop(columns=list(left_out)).itertuples(index=False):
        table.add_row(*[re.sub(r"\b0\.", ".", str(v)) if is_narrow else str(v) for v in values])
    return table


@app.command
def status(study: StudyName = None) -> None:
    """Show what is published, stale or missing, a line for each dataset.

    Where a source file is missing or damaged, it is named below the table; the exit status is 1 then.
    """
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.status import states

    loaded, settings = load(study)
    say(f"{loaded.study.name}: {settings.store_root(loaded)}")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("dataset", "parts", "current", "stale", "missing", "provis.", "MB"):
        table.add_column(heading, justify="left" if heading == "dataset" else "right", no_wrap=True)
    found = states(Context(loaded, settings), build_graph(loaded))
    for row in found:
        counts = [str(n) if n else "-" for n in (row.current, row.stale, row.missing, row.provisional)]
        table.add_row(row.dataset, str(row.partitions), *counts, f"{row.size / 1e6:,.1f}")
    console.print(table)
    problems = list(dict.fromkeys(problem for row in found for problem in row.problems))
    if problems:
        affected = ", ".join(f"{row.dataset} ({row.unreadable})" for row in found if row.unreadable)
        complain("Cannot be compared", f"{affected}: " + " ".join(problems))
