"""Commands that look into the store and keep it clean."""

import sys
from pathlib import Path

from entropice_core.cli.app import StudyName, app, console, load, say
from entropice_core.config import Settings
from entropice_core.errors import ConfigError


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

    loaded, settings = load(study)
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

    loaded, settings = load(study)
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

    loaded, settings = load(study)
    versions = {p.dataset: p.code_version for p in build_graph(loaded).values()}
    findings = Context(loaded, settings).store.verify(full=full, code_versions=versions)
    for finding in findings:
        say(str(finding))
    console.print(f"{loaded.study.name}: {len(findings)} findings ({'every byte' if full else 'names and sizes'} read)")
    if findings:
        sys.exit(3)


@app.command
def gc(study: StudyName = None, *, grace_hours: float = 24.0, work_days: float = 90.0, dry_run: bool = False) -> None:
    """Remove versions that nothing points to any more, what killed processes left, and work that nobody used for long.

    Parameters
    ----------
    grace_hours
        Keep what is younger than this.
    work_days
        Keep work of all studies (indices on pixels, sums of tiles) that was made or used within these days, at least 1;
        what goes is made again when it is needed.
    dry_run
        Only say what would be removed.
    """
    from entropice_core.pipeline.leftovers import sweep_scratch, sweep_work
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.status import tracked_digests

    if work_days < 1:
        raise ConfigError(
            f"--work-days is {work_days:g}: give at least 1, as a process may still need what is younger."
        )
    loaded, settings = load(study)
    context = Context(loaded, settings)
    removed = context.store.gc(grace_seconds=grace_hours * 3600, keep_digests=tracked_digests(context), dry_run=dry_run)
    left = sweep_scratch(settings, grace_hours * 3600, dry_run)
    unused = sweep_work(settings, work_days, dry_run)
    for item in removed:
        say(f"{item.reason}: {item.path} ({item.size:,} bytes)")
    for folder in left:
        say(f"unpublished files of a killed process: {folder}")
    for path in unused:
        say(f"work that was not used for {work_days:g} days: {path}")
    console.print(
        f"{loaded.study.name}: {len(removed) + len(left) + len(unused)} {'would be ' if dry_run else ''}removed"
    )


@app.command
def backup(folder: Path) -> None:
    """Copy the current version of every partition of every study to a folder, and verify every byte of the copy.

    Others may publish meanwhile. A second backup into the same folder copies only what is new.

    Parameters
    ----------
    folder
        Where the copy goes; it has the layout of a store.
    """
    settings = Settings.from_environment()
    _copy_stores(settings.home / "store", folder, "saved")


@app.command
def restore(folder: Path) -> None:
    """Copy a backup into the store that ENTROPICE_HOME names; what it holds becomes current there.

    Parameters
    ----------
    folder
        A folder that `entropice backup` wrote.
    """
    settings = Settings.from_environment()
    _copy_stores(folder, settings.home / "store", "restored")


def _copy_stores(source: Path, target: Path, what: str) -> None:
    from entropice_core.storage.backup import copy_current

    stores = sorted(path for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    if not stores:
        raise ConfigError(f"{source} holds no store: name the folder of a backup, or build a study first.")
    for store in stores:
        done = copy_current(store, target / store.name, lambda text: say(text, dim=True))
        size = f"{done.bytes / 1e6:,.1f} MB"
        say(f"{store.name}: {done.copied} partitions {what} ({size}), {done.present} were there already")
