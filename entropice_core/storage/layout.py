"""Where things lie in the store, and what is there.

::

    <root>/<dataset>/<grid or all>/<year or all>/current.json      the pointer: manifest of the current version
                                                 v-<digest>.zarr   a version (or the folder v-<digest>, a bundle)
                                                 v-<digest>.json   the manifest of that version
    <root>/.staging/<dataset>~<partition>~<id>                     unfinished work of one writer
    <root>/.locks/  .cache/                                        locks; checksums already taken
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from entropice_core.errors import ConfigError, MissingPartitionError, StoreError
from entropice_core.storage.digest import file_sha256
from entropice_core.storage.manifest import DIGEST_CHARS, Manifest
from entropice_core.storage.partition import Partition, check_dataset

POINTER = "current.json"


@dataclass(frozen=True)
class Layout:
    """Paths of a store; nothing here writes."""

    root: Path

    @property
    def staging(self) -> Path:
        """Folder of unfinished work, on the same file system as the versions."""
        return self.root / ".staging"

    @property
    def cache(self) -> Path:
        """Folder of what can be computed again."""
        return self.root / ".cache"

    def folder(self, dataset: str, partition: Partition) -> Path:
        """Folder of a partition."""
        return self.root / check_dataset(dataset) / partition.path

    def pointer(self, dataset: str, partition: Partition) -> Path:
        """The manifest of the current version."""
        return self.folder(dataset, partition) / POINTER

    def version(self, manifest: Manifest) -> Path:
        """Folder of the version that a manifest describes."""
        return self.folder(manifest.dataset, manifest.partition) / manifest.folder_name

    def record(self, manifest: Manifest) -> Path:
        """The manifest that stays beside a version when the pointer moves on."""
        return self.folder(manifest.dataset, manifest.partition) / f"{manifest.version}.json"

    def lock(self, dataset: str, partition: Partition) -> Path:
        """Lock file of a partition."""
        return self.root / ".locks" / f"{check_dataset(dataset)}~{partition.key}.lock"

    def new_staging(self, dataset: str, partition: Partition) -> Path:
        """A name for one writer's unfinished work."""
        return self.staging / f"{check_dataset(dataset)}~{partition.key}~{uuid.uuid4().hex}"

    def datasets(self) -> list[str]:
        """Names of the datasets that have a partition, sorted."""
        if not self.root.is_dir():
            return []
        names = [path.name for path in self.root.iterdir() if path.is_dir() and _is_dataset(path.name)]
        return sorted(name for name in names if self.partitions(name))

    def partitions(self, dataset: str) -> list[Partition]:
        """Published partitions of a dataset, by grid, level and year."""
        found = [_parse(path.parent) for path in (self.root / check_dataset(dataset)).glob(f"*/*/{POINTER}")]
        return sorted((partition for partition in found if partition), key=lambda partition: partition.sort_key)


def _is_dataset(name: str) -> bool:
    try:
        return bool(check_dataset(name))
    except ConfigError:
        return False


def _parse(folder: Path) -> Partition | None:
    try:
        return Partition.parse(f"{folder.parent.name}/{folder.name}")
    except ConfigError:
        return None


def staging_owner(folder: Path) -> tuple[str, Partition] | None:
    """Dataset and partition of a staging folder, ``None`` when the store did not make it."""
    parts = folder.name.split("~")
    try:
        return (check_dataset(parts[0]), Partition.parse(parts[1])) if len(parts) == 3 else None
    except ConfigError:
        return None


def read_current(layout: Layout, dataset: str, partition: Partition) -> Manifest:
    """The manifest of the current version of a partition."""
    path = layout.pointer(dataset, partition)
    try:
        manifest = Manifest.from_json(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise MissingPartitionError(_missing_text(layout, dataset, partition)) from error
    except UnicodeDecodeError as error:
        raise StoreError(f"The manifest {path} is not text ({error}); build the partition again.") from error
    if (manifest.dataset, manifest.partition) != (dataset, partition):
        raise StoreError(
            f"The manifest {path} belongs to {manifest.dataset} {manifest.partition}; it was copied there, remove it."
        )
    return manifest


def _missing_text(layout: Layout, dataset: str, partition: Partition) -> str:
    have = ", ".join(item.path for item in layout.partitions(dataset)[:20]) or "none"
    return f"{dataset} {partition} was never published in {layout.root}; published partitions: {have}; build it first."


def read_record(layout: Layout, dataset: str, partition: Partition, digest: str) -> Manifest:
    """The manifest of the newest version with a digest, which may no longer be the current one."""
    if len(digest) < DIGEST_CHARS or not digest.isalnum():
        raise StoreError(f"{digest!r} does not name a version; give at least {DIGEST_CHARS} characters of its digest.")
    paths = layout.folder(dataset, partition).glob(f"v-{digest[:DIGEST_CHARS]}*.json")
    found = [Manifest.from_json(path.read_text(encoding="utf-8"), path) for path in sorted(paths)]
    if not found:
        raise MissingPartitionError(
            f"The version {digest[:DIGEST_CHARS]} of {dataset} {partition} is not in {layout.root}; it was removed or "
            f"never published here, build it again."
        )
    return max(found, key=lambda manifest: manifest.created)


def current_or_none(layout: Layout, dataset: str, partition: Partition) -> Manifest | None:
    """The current manifest, ``None`` where there is none or it cannot be read: then the partition must be built."""
    try:
        return read_current(layout, dataset, partition)
    except StoreError:
        return None


def record_or_none(layout: Layout, dataset: str, partition: Partition, digest: str) -> Manifest | None:
    """The manifest of a version, ``None`` where there is none or it cannot be read."""
    try:
        return read_record(layout, dataset, partition, digest)
    except StoreError:
        return None


def find_damage(folder: Path, manifest: Manifest, *, full: bool) -> list[tuple[str, Path, str]]:
    """Compare stored files with a manifest: sizes, and with ``full`` every byte.

    Returns a list of (kind, path, detail), empty when nothing is wrong.
    """
    if not folder.is_dir():
        return [("missing_file", folder, "the whole version is missing")]
    found = []
    for file in manifest.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
        except OSError as error:
            found.append(("missing_file", path, error.strerror or "it cannot be read"))
            continue
        if size != file.size:
            found.append(("wrong_size", path, f"it has {size:,} bytes, published were {file.size:,}"))
        elif full and file_sha256(path) != file.sha256:
            found.append(("flipped_byte", path, f"its checksum is not the published {file.sha256[:12]}"))
    return found


def refuse_damage(folder: Path, manifest: Manifest, *, full: bool) -> None:
    """Raise ``StoreError`` that names the first damaged file of a version."""
    damage = find_damage(folder, manifest, full=full)
    if damage:
        _, path, detail = damage[0]
        raise StoreError(
            f"{manifest.dataset} {manifest.partition} is damaged: {path}: {detail} ({len(damage)} of "
            f"{len(manifest.files)} files are wrong); build the partition again or restore it from a backup."
        )
