"""Copy the current version of every partition to another folder, while others may publish; and back again.

A copy has the layout of a store, so it can be opened as one. Versions never change once they are published, so a copy
is whole when its bytes have the checksums of the manifest that was current when it was taken; the pointer comes last.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from entropice_core.errors import StoreError
from entropice_core.storage.layout import Layout, current_or_none, find_damage, read_current
from entropice_core.storage.manifest import Manifest

Say = Callable[[str], None]


@dataclass(frozen=True)
class Copied:
    """What a copy did: partitions copied, those that were there already, and bytes copied."""

    copied: int
    present: int
    bytes: int


def copy_current(source: Path, target: Path, say: Say) -> Copied:
    """Copy what is current in one store to another, and verify every byte of it.

    A partition whose target holds another version gets the version of the source: the source is what is wanted.

    Raises
    ------
    StoreError
        When the source holds no partition, or when a copy does not have the checksums of its manifest.
    """
    old, new = Layout(Path(source)), Layout(Path(target))
    everything = [(dataset, partition) for dataset in old.datasets() for partition in old.partitions(dataset)]
    if not everything:
        raise StoreError(f"{source} holds no published partition: name the folder of a store or of a backup of one.")
    copied = present = size = 0
    for dataset, partition in everything:
        manifest = read_current(old, dataset, partition)
        there = current_or_none(new, dataset, partition)
        if (
            there is not None
            and there.version == manifest.version
            and not find_damage(new.version(manifest), manifest, full=True)
        ):
            present += 1
            continue
        say(f"{dataset} {partition}")
        _copy_version(old, new, manifest)
        copied, size = copied + 1, size + sum(file.size for file in manifest.files)
    return Copied(copied, present, size)


def _copy_version(old: Layout, new: Layout, manifest: Manifest) -> None:
    target = new.version(manifest)
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(old.version(manifest), part)
    damage = find_damage(part, manifest, full=True)
    if damage:
        _, path, detail = damage[0]
        raise StoreError(
            f"The copy of {manifest.dataset} {manifest.partition} is not what was published: {path}: {detail}; the "
            "source is damaged (entropice verify --full) or the disk is full."
        )
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    for path in (new.record(manifest), new.pointer(manifest.dataset, manifest.partition)):
        _write(path, manifest.to_json())


def _write(path: Path, content: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(content, encoding="utf-8")
    os.replace(part, path)
