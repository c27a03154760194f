"""The command that fetches AlphaEarth embeddings: tiles of the public files, or sums of cells from Earth Engine."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from entropice_core.cli.app import StudyName, YearList, checked_years, console, data_folder, fetching, load, say
from entropice_core.config import Study
from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from entropice_core.fetch.patience import Patience
    from entropice_core.grids.study_area import StudyArea


@fetching.command
def alphaearth(
    *,
    study: StudyName = None,
    year: YearList = (),
    source: Annotated[tuple[str, ...], Parameter(name=["--source"], consume_multiple=True)] = (),
    parallel: int = 4,
    dry_run: bool = False,
) -> None:
    """Fetch the embeddings that the cells of a study touch, one level of detail; a run that was stopped goes on.

    From the public files (no account is needed) or, where the source says route = "earth_engine", as sums of cells from
    Earth Engine (`earthengine authenticate`, or GOOGLE_APPLICATION_CREDENTIALS of a service account). What is there and
    whole is not fetched again; a damaged tile is put aside and named.

    Parameters
    ----------
    study
        Preset name or path of a TOML with a source of the kind alphaearth.
    year
        Years of labels, all of the study when none is named; the embeddings are of those years less the source's lag.
    source
        Only these sources of the study.
    parallel
        Tiles or requests on their way at a time; Earth Engine allows up to 40.
    dry_run
        Only ask what there is, and say how much it is.
    """
    from entropice_core.fetch.alphaearth_index import calendar_year
    from entropice_core.fetch.embeddings import describe_need
    from entropice_core.fetch.patience import Patience
    from entropice_core.pipeline.product import Context

    chosen, settings = load(study)
    data, area = data_folder(settings), Context(chosen, settings).area
    years = sorted(checked_years(year, chosen) or chosen.study.years.offered())
    sources = _sources(chosen, source)
    wanted = [(name, config, calendar_year(name, config, y)) for name, config in sources.items() for y in years]
    for name, config, of in wanted:
        patience = Patience(budget_s=1800.0, longest_s=120.0, tell=say)
        if dry_run:
            say(f"{name}: {describe_need(config, area, chosen.study.grids, data, of, patience)}")
            continue
        _bring(name, config, area, chosen.study.grids, data, of, patience, parallel)


def _sources(study: Study, names: tuple[str, ...]) -> dict[str, AlphaEarthConfig]:
    found = {name: config for name, config in study.sources.items() if isinstance(config, AlphaEarthConfig)}
    for name in names:
        if name not in found:
            known = ", ".join(found) or "none"
            raise ConfigError(
                f"Study {study.study.name!r} has no source {name!r} of the kind alphaearth; it has: {known}."
            )
    if not found:
        raise ConfigError(
            f"Study {study.study.name!r} has no source of the kind alphaearth: add a table [sources.embedding] with "
            'kind = "alphaearth" and path = "{data}/alphaearth/{year}.json".'
        )
    return {name: config for name, config in found.items() if not names or name in names}


def _bring(
    name: str,
    config: AlphaEarthConfig,
    area: "StudyArea",
    grids: tuple[str, ...],
    data: "Path",
    year: int,
    patience: "Patience",
    parallel: int,
) -> None:
    from entropice_core.fetch.embeddings import bring_embeddings
    from entropice_core.fetch.tiles import Progress as TileProgress

    what = "tiles" if config.route == "files" else "batches"
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn(what), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as bar:
        row = bar.add_task(name, total=None)

        def show(progress: TileProgress) -> None:
            told = f"[cyan]{name} {year}: {progress.bytes / 1e6:,.1f} MB"
            bar.update(row, completed=progress.done, total=progress.total, description=told)
            if progress.text:
                bar.console.print(progress.text, highlight=False, soft_wrap=True)

        brought = bring_embeddings(config, area, grids, data, year, patience, show, parallel)
    say(f"{name} {year}: {brought.report}")
    say(f"The list of tiles is {brought.listing}.")
