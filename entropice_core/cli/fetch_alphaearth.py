"""The command that fetches tiles of AlphaEarth embeddings."""

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
    from entropice_core.fetch.stac import TileRef


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

    No account is needed. A tile that is there and whole is not fetched again; a damaged one is put aside and named.

    Parameters
    ----------
    study
        Preset name or path of a TOML with a source of the kind alphaearth.
    year
        Years of labels, all of the study when none is named; the embeddings are of those years less the source's lag.
    source
        Only these sources of the study.
    parallel
        Tiles on their way at a time.
    dry_run
        Only ask the index, and say how many tiles there are.
    """
    from entropice_core.fetch.alphaearth_index import calendar_year, needed_tiles
    from entropice_core.fetch.patience import Patience
    from entropice_core.pipeline.product import Context

    chosen, settings = load(study)
    data, area = data_folder(settings), Context(chosen, settings).area
    years = sorted(checked_years(year, chosen) or chosen.study.years.offered())
    sources = _sources(chosen, source)
    wanted = [(name, config, calendar_year(name, config, y)) for name, config in sources.items() for y in years]
    for name, config, of in wanted:
        patience = Patience(budget_s=1800.0, longest_s=120.0, tell=say)
        refs = needed_tiles(config, area, chosen.study.grids, data, of, patience)
        if dry_run:
            say(f"{name}: {len(refs)} tiles of {of}, {config.resolution_m} m")
            continue
        _bring(name, config, refs, data, of, patience, parallel)


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
    refs: "list[TileRef]",
    data: "Path",
    year: int,
    patience: "Patience",
    parallel: int,
) -> None:
    from entropice_core.fetch.alphaearth import bring_tiles
    from entropice_core.fetch.tiles import Progress as TileProgress

    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("tiles"), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as bar:
        row = bar.add_task(name, total=len(refs))

        def show(progress: TileProgress) -> None:
            bar.update(row, completed=progress.done, description=f"[cyan]{name} {year}: {progress.bytes / 1e6:,.1f} MB")
            if progress.text:
                bar.console.print(progress.text, highlight=False, soft_wrap=True)

        report, listing = bring_tiles(config, refs, data, year, patience, show, parallel)
    say(f"{name} {year}: {report}")
    say(f"The list of tiles is {listing}.")
