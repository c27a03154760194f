"""The steps of publishing, in the order that leaves the old version or the new one readable at every moment.

::

    lock the partition -> write to staging -> read back and compare digests -> flush to disk
      -> rename to v-<digest> -> write its record -> replace the pointer -> flush the folder

A process killed between any two steps leaves the old pointer in place and something for ``gc`` to sweep; the next run
publishes as if nothing had happened. ``ENTROPICE_CRASH_AT=publish:<step>`` ends the process at that point, which is how
the fault tests reach every gap (steps: 0 locked, 1 staged and flushed, 2 renamed, 3 recorded, 4 pointed).
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xarray as xr

from entropice_core import __version__
from entropice_core.errors import SchemaError, StoreError
from entropice_core.storage.content import (
    copy_bundle,
    describe_files,
    list_files,
    read_dataset,
    statistics_of,
    structure_of,
    write_dataset,
)
from entropice_core.storage.digest import bundle_digest, dataset_digest, edition
from entropice_core.storage.durable import (
    FULL,
    flush_folder,
    flush_tree,
    make_folder,
    no_space,
    require_space,
    write_text,
)
from entropice_core.storage.layout import (
    Layout,
    current_or_none,
    find_damage,
)
from entropice_core.storage.locking import hold
from entropice_core.storage.manifest import Manifest, StoredFile
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe, plain
from entropice_core.storage.schema import check_drift, check_schema

OVERHEAD_BYTES = 2**20
"""Room for metadata, manifests and folders that a check of free space adds to the size of the values."""


@dataclass(frozen=True)
class Job:
    """One call of publish: what is to become of which partition."""

    layout: Layout
    content: xr.Dataset | Path
    manifest: Manifest
    needed: int


def publish(
    layout: Layout,
    dataset: str,
    partition: Partition,
    content: xr.Dataset | Path,
    recipe: Recipe,
    *,
    counts: Mapping[str, Any] | None,
    provisional: bool,
    notes: Sequence[str],
    volatile: Sequence[str],
    schema: str | None,
    lock_timeout_s: float,
) -> Manifest:
    """Publish content whole or not at all; see ``PartitionStore.publish``."""
    what = f"{dataset} {partition}"
    content, needed = _check_content(content, what)
    if schema is not None:
        if not isinstance(content, xr.Dataset):
            raise SchemaError(f"{what}: a folder of files has no schema, so schema={schema!r} cannot be checked.")
        check_schema(content, schema, what)
    folder = layout.folder(dataset, partition)
    require_space(folder, needed)
    new = Manifest(
        dataset=dataset,
        partition=partition,
        created="",
        entropice=__version__,
        recipe=recipe,
        counts=plain(dict(counts or {}), f"the counts of {what}"),
        provisional=bool(provisional),
        notes=tuple(notes),
        **_describe(content, tuple(volatile)),
    )
    with hold(layout.lock(dataset, partition), what, lock_timeout_s):
        crash_point("publish", 0)
        return _publish_locked(Job(layout, content, new, needed))


def _check_content(content: Any, what: str) -> tuple[xr.Dataset | Path, int]:
    """The content and an upper bound of its bytes on disk."""
    if isinstance(content, xr.Dataset):
        return content, int(content.nbytes) + OVERHEAD_BYTES
    if not isinstance(content, (str, os.PathLike)):
        raise SchemaError(f"{what}: cannot publish a {type(content).__name__}; give an xr.Dataset or a folder.")
    folder = Path(content)
    if not folder.is_dir() or not list_files(folder):
        raise SchemaError(f"{what}: {folder} is not a folder with files; write the files there, then publish it.")
    return folder, sum((folder / name).stat().st_size for name in list_files(folder)) + OVERHEAD_BYTES


def _describe(content: xr.Dataset | Path, volatile: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(content, xr.Dataset):
        return {
            "digest": dataset_digest(content),
            "kind": "zarr",
            "structure": structure_of(content),
            "statistics": statistics_of(content),
        }
    names = list_files(content)
    return {
        "digest": bundle_digest(content, names, volatile),
        "kind": "bundle",
        "volatile": volatile,
        "edition": edition(content, names, volatile),
    }


def _publish_locked(job: Job) -> Manifest:
    new, layout = job.manifest, job.layout
    _refuse_drift(layout, new)
    old = _record_of(layout, new)
    if old is not None and not find_damage(layout.version(old), old, full=True):
        current = current_or_none(layout, new.dataset, new.partition)
        if current is not None and _same(current, replace(new, files=old.files)):
            return current
        return _point(job, old.files)
    staging = layout.new_staging(new.dataset, new.partition)
    try:
        files = _stage(job, staging)
        crash_point("publish", 1)
        _place(job, staging)
        crash_point("publish", 2)
        return _point(job, files)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise _disk_error(job, staging, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _record_of(layout: Layout, new: Manifest) -> Manifest | None:
    """The record of a version that has the very name that the new one would get."""
    path = layout.record(new)
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError, StoreError):
        return None


def _same(current: Manifest, new: Manifest) -> bool:
    return replace(new, created=current.created, entropice=current.entropice) == current


def _refuse_drift(layout: Layout, new: Manifest) -> None:
    if new.partition.year is None or not new.structure:
        return
    for partition in layout.partitions(new.dataset):
        if partition.grid == new.partition.grid and partition.year not in (None, new.partition.year):
            sibling = current_or_none(layout, new.dataset, partition)
            # one is enough: the others were compared with it when they were published
            if sibling is not None and check_drift(new, sibling, layout.folder(new.dataset, partition).parent):
                return


def _stage(job: Job, staging: Path) -> tuple[StoredFile, ...]:
    """Write to staging, prove that what is on disk is what was given, flush it."""
    make_folder(staging, job.layout.root)
    folder = staging / "content"
    if isinstance(job.content, xr.Dataset):
        write_dataset(job.content, folder)
        found = dataset_digest(read_dataset(folder))
    else:
        copy_bundle(job.content, folder)
        found = bundle_digest(folder, list_files(folder), job.manifest.volatile)
    if found != job.manifest.digest:
        raise StoreError(
            f"{job.manifest.dataset} {job.manifest.partition} does not read back as it was given: digest "
            f"{found[:12]}, expected {job.manifest.digest[:12]}; look for attributes such as units='days since ...' "
            f"or scale_factor that change values on reading, or for a file that changed meanwhile."
        )
    files = describe_files(folder)
    flush_tree(staging)
    return files


def _place(job: Job, staging: Path) -> None:
    """Give the staged content its versioned name; a damaged or half-published twin, which has no reader, makes way."""
    target = job.layout.version(job.manifest)
    make_folder(target.parent, job.layout.root)
    if target.exists():
        os.rename(target, staging / "replaced")
    os.rename(staging / "content", target)
    flush_folder(target.parent)


def _point(job: Job, files: tuple[StoredFile, ...]) -> Manifest:
    """Write the version's record, then move the pointer."""
    manifest = replace(job.manifest, files=files, created=datetime.now(UTC).isoformat(timespec="seconds"))
    text = manifest.to_json()
    key = (manifest.dataset, manifest.partition)
    pointer = job.layout.pointer(*key)
    try:
        make_folder(job.layout.staging, job.layout.root)
        write_text(job.layout.record(manifest), text, job.layout.new_staging(*key))
        crash_point("publish", 3)
        write_text(pointer, text, job.layout.new_staging(*key))
    except OSError as error:
        raise _disk_error(job, pointer, error) from error
    crash_point("publish", 4)
    return manifest


def _disk_error(job: Job, path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return no_space(path, job.needed, reason)
    return StoreError(
        f"Publishing {job.manifest.dataset} {job.manifest.partition} failed at {error.filename or path}: {reason}; the "
        f"version before stays; correct that and run the step again."
    )


def crash_point(name: str, step: int) -> None:
    """End the process here when ``ENTROPICE_CRASH_AT`` says so, as a kill would: no clean-up, no flush."""
    if os.environ.get("ENTROPICE_CRASH_AT") == f"{name}:{step}":
        os._exit(137)
