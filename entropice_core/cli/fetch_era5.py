"""The command that fetches ERA5."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from entropice_core.cli.app import console, data_folder, fetching
from entropice_core.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from entropice_core.fetch.run import Progress as FetchProgress


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
    data = data_folder(settings)
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
