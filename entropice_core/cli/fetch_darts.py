"""The command that fetches the DARTS inventory."""

from typing import Annotated, Literal

from cyclopts import Parameter
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from entropice_core.cli.app import console, data_folder, fetching, say
from entropice_core.config import Settings


@fetching.command
def darts(
    *,
    identifier: Annotated[str, Parameter(name=["--doi", "--identifier"])] = "10.18739/A22B8VD7C",
    level: Literal[1, 2] = 2,
    file: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    node: str = "https://arcticdata.io/metacat/d1/mn/v2",
    dry_run: bool = False,
) -> None:
    """Fetch a release of the DARTS inventory and its coverage from the Arctic Data Center into the data folder.

    The files go into darts/ there. Size and checksum of every file are compared with those of the data centre; a
    transfer that was stopped goes on where it ended. No account is needed.

    Parameters
    ----------
    identifier
        DOI of the release, or UUID of a package or of one file.
    level
        2: largest extent of each year; 1: one polygon for each image.
    file
        Names or patterns of files to take instead, such as "*coverage*".
    node
        Address of the DataONE member node.
    dry_run
        Only list the files of the package, and which would be taken.
    """
    from entropice_core.fetch.darts import choose_files, fetch_release
    from entropice_core.fetch.dataone import DataOne
    from entropice_core.fetch.patience import Patience

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("DARTS", total=None)
        tell = Patience(tell=lambda text: bar.update(row, description=f"[cyan]{text}"))
        server = DataOne(node, tell)
        if dry_run:
            package = server.package(identifier)
            taken = {each.identifier for each in choose_files(package.objects, level, file)}
        else:
            data = data_folder(Settings.from_environment())
            release = fetch_release(server, data, identifier, level, file, lambda n: bar.advance(row, n))
    if not dry_run:
        say(str(release))
        say(f"in {release.folder}: {', '.join((*release.fetched, *release.present))}")
        return
    say(f"{package.title or package.identifier} ({package.identifier})")
    for each in package.objects:
        mark = "take" if each.identifier in taken else "    "
        say(f"{mark} {each.file_name}  {each.size / 1e6:,.1f} MB  {each.identifier}")
    if package.obsoleted_by:
        say(f"a newer release is {server.newest(package.identifier)}")
