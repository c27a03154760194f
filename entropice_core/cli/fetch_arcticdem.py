"""The command that fetches the tiles of elevation models."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from entropice_core.cli.app import StudyName, console, data_folder, fetching, load
from entropice_core.config import Study
from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from entropice_core.fetch.patience import Patience
    from entropice_core.fetch.stac import TileRef


@fetching.command
def arcticdem(
    *,
    study: StudyName = None,
    source: Annotated[tuple[str, ...], Parameter(name=["--source"], consume_multiple=True)] = (),
    parallel: int = 4,
    dry_run: bool = False,
) -> None:
    """Fetch the tiles of ArcticDEM that the cells of a study touch; a run that was stopped goes on.

    No account is needed. A tile that is there and whole is not fetched again; a damaged one is put aside and named.

    Parameters
    ----------
    study
        Preset name or path of a TOML with a source of the kind arcticdem.
    source
        Only these sources of the study.
    parallel
        Tiles on their way at a time.
    dry_run
        Only ask the catalogue, and say how many tiles there are.
    """
    from entropice_core.fetch.of_area import needed_tiles
    from entropice_core.fetch.patience import Patience
    from entropice_core.pipeline.product import Context

    chosen, settings = load(study)
    data = data_folder(settings)
    area = Context(chosen, settings).area
    for name, config in _sources(chosen, source).items():
        patience = Patience(budget_s=1800.0, longest_s=120.0, tell=lambda text: console.print(text, highlight=False))
        refs = needed_tiles(config, area, chosen.study.grids, patience)
        if dry_run:
            size = sum(ref.size or 0 for ref in refs)
            told = f", {size / 1e9:,.2f} GB" if all(ref.size for ref in refs) else ""
            console.print(f"{name}: {len(refs)} tiles of {config.collection}{told}", highlight=False)
            continue
        _bring(name, config, refs, data, patience, parallel)


def _sources(study: Study, names: tuple[str, ...]) -> dict[str, ArcticDemConfig]:
    found = {name: config for name, config in study.sources.items() if isinstance(config, ArcticDemConfig)}
    for name in names:
        if name not in found:
            known = ", ".join(found) or "none"
            raise ConfigError(
                f"Study {study.study.name!r} has no source {name!r} of the kind arcticdem; it has: {known}."
            )
    if not found:
        raise ConfigError(
            f"Study {study.study.name!r} has no source of the kind arcticdem: add a table [sources.terrain] with kind "
            '= "arcticdem" and path = "{data}/arcticdem/tiles.json".'
        )
    return {name: config for name, config in found.items() if not names or name in names}


def _bring(
    name: str, config: ArcticDemConfig, refs: "list[TileRef]", data: "Path", patience: "Patience", parallel: int
) -> None:
    from entropice_core.fetch.of_area import bring_tiles
    from entropice_core.fetch.tiles import Progress as TileProgress

    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("tiles"), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as bar:
        row = bar.add_task(name, total=len(refs))

        def show(progress: TileProgress) -> None:
            bar.update(row, completed=progress.done, description=f"[cyan]{name}: {progress.bytes / 1e6:,.1f} MB")
            if progress.text:
                bar.console.print(progress.text, highlight=False, soft_wrap=True)

        report, listing = bring_tiles(config, refs, data, patience, show, parallel)
    console.print(f"{name}: {report}", highlight=False, soft_wrap=True)
    console.print(f"The list of tiles is {listing}.", highlight=False, soft_wrap=True)
