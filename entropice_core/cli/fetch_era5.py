"""The commands that fetch ERA5 and say what is there of it."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from entropice_core.cli.app import console, data_folder, fetching
from entropice_core.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from entropice_core.fetch.calendar import Calendar, Family
    from entropice_core.fetch.run import Progress as FetchProgress


@fetching.command
def era5(
    *,
    year: Annotated[tuple[int, ...], Parameter(name=["--year", "-y"], consume_multiple=True)],
    dataset: Literal["era5", "era5-land"] = "era5",
    product: Literal["monthly", "daily"] = "monthly",
    variables: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    area: tuple[float, float, float, float] = (90.0, -180.0, 50.0, 180.0),
    statistics: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ("mean", "min", "max"),
    provisional: bool = False,
    allow_gaps: bool = False,
    dry_run: bool = False,
    abandon: bool = False,
) -> None:
    """Fetch Arctic years of ERA5 or ERA5-Land from the Climate Data Store; a run that was stopped goes on.

    Monthly means become one file a year, era5/era5_monthly_YEAR.nc. The key is that of CDSAPI_KEY or ~/.cdsapirc.

    Parameters
    ----------
    year
        Arctic years: 2021 is October 2020 to September 2021.
    dataset
        ERA5 (0.25 degrees, from 1940) or ERA5-Land (0.1 degrees, from 1950, no values over the sea).
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

    settings = Settings.from_environment()
    data = data_folder(settings)
    wishes = [Wish(product, y, variables, area, statistics, provisional, allow_gaps, dataset) for y in year]
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
            show = _fetch_progress(bar, str(wish))
            report = fetch_year(wish, store, data=data, home=settings.home, tell=show)
        console.print(f"{wish}: {report}", highlight=False, soft_wrap=True)


@fetching.command
def era5_status(*, ask: bool = False) -> None:
    """List the years of ERA5 in the data folder: what is there, what is not final yet, what is final by now.

    Parameters
    ----------
    ask
        Ask the service how far ERA5 has come (needs the key); otherwise the day decides what should be final.
    """
    from datetime import UTC, datetime

    from entropice_core.fetch.calendar import Calendar
    from entropice_core.fetch.survey import survey

    settings = Settings.from_environment()
    data = data_folder(settings)
    calendar = Calendar.expected(datetime.now(UTC).date())
    calendars = _ask_all(settings) if ask else {family: calendar for family in _FAMILIES}
    if ask:
        for family, told in calendars.items():
            console.print(f"{family}: {told}", highlight=False)
    table = Table("", "product", "year", "results", "variables", "not final", "final by now", "GB", box=None)
    damaged: list[str] = []
    for found in survey(data, calendars):
        numbers = (f"{found.results}", " ".join(found.variables), _span(found.provisional), _span(found.stale))
        table.add_row(found.family, found.product, str(found.year), *numbers, f"{found.bytes / 1e9:,.2f}")
        damaged += found.damaged
    console.print(table)
    for sentence in damaged:
        console.print(escape(sentence), soft_wrap=True)


_FAMILIES: "tuple[Family, ...]" = ("era5", "era5-land")


def _ask_all(settings: Settings) -> "dict[Family, Calendar]":
    from entropice_core.fetch.cds import ClimateDataStore, read_credentials
    from entropice_core.fetch.newest import ask_newest

    store = ClimateDataStore(read_credentials())
    return {family: ask_newest(store, family, settings.home) for family in _FAMILIES}


def _span(months: tuple[str, ...]) -> str:
    return months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}" if months else ""


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
