"""Removal of what nobody reads any more: old versions, and the staging of writers that died.

A version goes only when the pointer has been elsewhere for the grace time, so a reader that opened it before a new
version came can finish. Each partition is swept under its lock, so a version that a writer is about to point to again
is never taken away from under it. Ages are counted by the clock that dates the files, not by that of this machine.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from entropice_core.errors import ProvenanceError, StoreError
from entropice_core.storage.durable import clock_of
from entropice_core.storage.layout import POINTER, Layout, read_current, staging_owner
from entropice_core.storage.locking import hold
from entropice_core.storage.manifest import DIGEST_CHARS, Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.store import boot_id


@dataclass(frozen=True)
class Removed:
    """One file or folder that was removed (or would be), with its size in bytes and the reason."""

    path: Path
    size: int
    reason: str


def sweep(layout: Layout, *, grace_seconds: float, keep_digests: Sequence[str], dry_run: bool) -> list[Removed]:
    """Remove old versions, records without a version, and orphaned staging; see ``PartitionStore.gc``."""
    if any(len(digest) < DIGEST_CHARS for digest in keep_digests):
        raise StoreError(f"gc: digests to keep have at least {DIGEST_CHARS} characters, got {sorted(keep_digests)}.")
    limit = _now(layout.root) - grace_seconds
    keep = with_inputs(layout, {digest[:DIGEST_CHARS] for digest in keep_digests})
    removed = []
    for dataset, partition in _places(layout):
        try:
            with hold(layout.lock(dataset, partition), f"{dataset} {partition}", 0.0):
                doomed = list(_old_versions(layout, dataset, partition, keep, limit))
                doomed += list(_dead_staging(layout, dataset, partition, limit))
                removed += _remove(doomed, dry_run)
        except (StoreError, ProvenanceError):
            continue  # a writer is at work there, or nobody can tell which version is in use; verify names the latter
    return removed + _remove(_stray(layout, limit), dry_run)


def _now(root: Path) -> float:
    try:
        return clock_of(root)
    except OSError:  # nothing can be removed there either
        return time.time()


def with_inputs(layout: Layout, digests: set[str]) -> set[str]:
    """The digests to keep and those of everything they were made from, so that their history stays readable."""
    inputs: dict[str, set[str]] = {}
    for path in layout.root.glob("*/*/*/v-*.json") if digests else ():
        with suppress(StoreError, ProvenanceError, OSError, UnicodeDecodeError):
            manifest = Manifest.from_json(path.read_text(encoding="utf-8"), path)
            refs = {ref.digest[:DIGEST_CHARS] for ref in manifest.recipe.inputs}
            inputs.setdefault(manifest.digest[:DIGEST_CHARS], set()).update(refs)
    kept: set[str] = set()
    while digests:
        kept |= digests
        digests = {ref for digest in digests for ref in inputs.get(digest, ())} - kept
    return kept


def _places(layout: Layout) -> list[tuple[str, Partition]]:
    """Partitions with a pointer, and those where only a dead writer left something."""
    places = {(dataset, partition) for dataset in layout.datasets() for partition in layout.partitions(dataset)}
    staging = layout.staging.iterdir() if layout.staging.is_dir() else ()
    places |= {owner for folder in staging if (owner := staging_owner(folder)) is not None}
    return sorted(places, key=lambda place: (place[0], place[1].sort_key))


def _old_versions(
    layout: Layout, dataset: str, partition: Partition, keep: set[str], limit: float
) -> Iterator[tuple[Path, str]]:
    folder = layout.folder(dataset, partition)
    if not (folder / POINTER).exists():
        yield from _half_published(folder, limit)
        return
    # an unreadable pointer ends the sweep of this partition: without it nobody knows which version is the current one
    current = read_current(layout, dataset, partition).version
    pointed = (folder / POINTER).stat().st_mtime
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(".zarr").removesuffix(".json")
        if not name.startswith("v-") or name == current or name[2 : 2 + DIGEST_CHARS] in keep:
            continue
        if max(pointed, path.stat().st_mtime) <= limit:
            yield path, "old version"


def _half_published(folder: Path, limit: float) -> Iterator[tuple[Path, str]]:
    """Versions without a record where there is no pointer either: their writer died before anyone could read them."""
    for path in sorted(folder.glob("v-*")) if folder.is_dir() else ():
        record = folder / f"{path.name.removesuffix('.zarr').removesuffix('.json')}.json"
        if not record.exists() and path.stat().st_mtime <= limit:
            yield path, "never pointed to"


def _dead_staging(layout: Layout, dataset: str, partition: Partition, limit: float) -> Iterator[tuple[Path, str]]:
    if not layout.staging.is_dir():
        return
    for path in sorted(layout.staging.iterdir()):
        if staging_owner(path) == (dataset, partition) and path.stat().st_mtime <= limit:
            yield path, "staging of a writer that is gone"


def _stray(layout: Layout, limit: float) -> list[tuple[Path, str]]:
    """Things in the staging area that no writer made, and notes of checks before the last start of the machine."""
    stray = []
    if layout.staging.is_dir():
        for path in sorted(layout.staging.iterdir()):
            if staging_owner(path) is None and path.stat().st_mtime <= limit:
                stray.append((path, "not made by the store"))
    verified = layout.cache / "verified"
    if verified.is_dir():
        stray += [(path, "checks of an earlier start") for path in sorted(verified.iterdir()) if path.name != boot_id()]
    return stray


def _remove(doomed: Iterable[tuple[Path, str]], dry_run: bool) -> list[Removed]:
    removed = []
    for path, reason in doomed:
        removed.append(Removed(path, _size(path), reason))
        if dry_run:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return removed


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
