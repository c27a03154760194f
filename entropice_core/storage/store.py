"""``PartitionStore``: what every step publishes to and reads from.

One small class over a folder; the steps of publishing, the look for damage and the sweep have files of their own.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropice_core.errors import ConfigError, StoreError
from entropice_core.storage.layout import (
    Layout,
    current_or_none,
    find_damage,
    read_current,
    read_record,
    refuse_damage,
)
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition, check_dataset
from entropice_core.storage.recipe import Recipe, SourceFile

if TYPE_CHECKING:
    import xarray as xr

    from entropice_core.storage.lineage import Ancestor
    from entropice_core.storage.sweep import Removed
    from entropice_core.storage.verify import Finding, PartitionStatus


@dataclass(frozen=True)
class PartitionStore:
    """A folder of published partitions.

    Parameters
    ----------
    root : folder of the store; it is made when something is published
    lock_timeout_s : how long a writer waits for another writer of the same partition, seconds
    """

    root: Path
    lock_timeout_s: float = 600.0
    _opened: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    @property
    def layout(self) -> Layout:
        """Paths of this store."""
        return Layout(self.root)

    def publish(
        self,
        dataset: str,
        partition: Partition,
        content: "xr.Dataset | Path",
        recipe: Recipe,
        *,
        counts: Mapping[str, Any] | None = None,
        provisional: bool = False,
        notes: Sequence[str] = (),
        volatile: Sequence[str] = (),
        schema: str | None = None,
    ) -> Manifest:
        """Publish content whole or not at all, and return its manifest.

        The version before stays on disk until ``gc``. Publishing equal content again writes nothing, or only the
        manifest when the recipe, counts or notes differ.

        Parameters
        ----------
        dataset : name of the dataset, such as ``labels``
        partition : which slice of it
        content : an ``xr.Dataset``, or a folder of files (a bundle), which is copied
        recipe : what the step was run with
        counts : what the step counted: kept, rejected by reason
        provisional : made from data that may still change
        notes : sentences for people
        volatile : names of files of a bundle that are kept but do not count for the digest
        schema : name of a schema in ``schemas/`` that the dataset must satisfy

        Raises
        ------
        SchemaError
            the content breaks its schema or holds types that the store does not take
        ProvenanceError
            the content differs in structure from another year made by the same code
        StoreError
            the disk is full, another writer holds the partition, or the content did not read back as given
        """
        from entropice_core.storage.publish import publish

        return publish(
            self.layout,
            check_dataset(dataset),
            check_partition(partition),
            content,
            recipe,
            counts=counts,
            provisional=provisional,
            notes=notes,
            volatile=volatile,
            schema=schema,
            lock_timeout_s=self.lock_timeout_s,
        )

    def manifest(self, dataset: str, partition: Partition, digest: str | None = None) -> Manifest:
        """The manifest of the current version, or of the version with a digest."""
        if digest is None:
            return read_current(self.layout, check_dataset(dataset), check_partition(partition))
        return read_record(self.layout, check_dataset(dataset), check_partition(partition), digest)

    def open(self, dataset: str, partition: Partition, digest: str | None = None) -> "xr.Dataset":
        """Open a published dataset; values are read when asked for.

        Sizes of all files are checked each time, every byte the first time since the machine was started.
        """
        manifest = self.manifest(dataset, partition, digest)
        if manifest.kind != "zarr":
            raise StoreError(
                f"{dataset} {partition} is a folder of files, not a dataset; use path() to read its files."
            )
        from entropice_core.storage.content import read_dataset

        return read_dataset(self._checked_folder(manifest))

    def path(self, dataset: str, partition: Partition, digest: str | None = None) -> Path:
        """Folder of the current version, checked as in :meth:`open`; never write there."""
        return self._checked_folder(self.manifest(dataset, partition, digest))

    def is_current(self, dataset: str, partition: Partition, recipe: Recipe) -> bool:
        """Whether the partition was published with this very recipe and its files are all there.

        ``False`` also where the manifest cannot be read or a file is missing: building again repairs that.
        """
        manifest = current_or_none(self.layout, check_dataset(dataset), check_partition(partition))
        if manifest is None or manifest.recipe_digest != recipe.digest:
            return False
        return not find_damage(self.layout.version(manifest), manifest, full=False)

    def datasets(self) -> list[str]:
        """Names of the datasets that have a published partition, sorted."""
        return self.layout.datasets()

    def partitions(self, dataset: str) -> list[Partition]:
        """Published partitions of a dataset, by grid, level and year."""
        return self.layout.partitions(dataset)

    def fingerprint(self, path: Path, data_root: Path) -> SourceFile:
        """Size and checksum of a source file; unchanged files are not read again."""
        from entropice_core.storage.files import fingerprint

        return fingerprint(path, data_root, self.root)

    def fingerprints(self, paths: Sequence[Path], data_root: Path) -> tuple[SourceFile, ...]:
        """Size and checksum of many source files, with one look at the cache."""
        from entropice_core.storage.files import fingerprint_all

        return fingerprint_all(paths, data_root, self.root)

    def lineage(self, dataset: str, partition: Partition, digest: str | None = None) -> "Ancestor":
        """The tree from a version back to the source files."""
        from entropice_core.storage.lineage import trace

        return trace(self.layout, self.manifest(dataset, partition, digest))

    def status(self, code_versions: Mapping[str, str] | None = None) -> "list[PartitionStatus]":
        """One line per published partition: version, provisional or not, and why it is stale if it is."""
        from entropice_core.storage.verify import status

        return status(self.layout, code_versions or {})

    def verify(self, *, full: bool = False, code_versions: Mapping[str, str] | None = None) -> "list[Finding]":
        """Look for damage, orphans and staleness; ``full`` compares every byte, otherwise sizes only.

        ``code_versions`` says which code version each dataset should have now.
        """
        from entropice_core.storage.verify import verify

        return verify(self.layout, full=full, code_versions=code_versions or {})

    def gc(
        self, *, grace_seconds: float = 86400.0, keep_digests: Sequence[str] = (), dry_run: bool = False
    ) -> "list[Removed]":
        """Remove old versions and the staging of dead writers; never a current version nor one in ``keep_digests``."""
        from entropice_core.storage.sweep import sweep

        return sweep(self.layout, grace_seconds=grace_seconds, keep_digests=keep_digests, dry_run=dry_run)

    def _checked_folder(self, manifest: Manifest) -> Path:
        folder = self.layout.version(manifest)
        seen = f"{manifest.dataset}~{manifest.partition.key}~{manifest.version}"
        marker = self.layout.cache / "verified" / boot_id() / seen
        known = seen in self._opened or marker.exists()
        refuse_damage(folder, manifest, full=not known)
        if not known:
            self._opened.add(seen)
            with suppress(OSError):  # a store that may only be read is checked once per process instead
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.touch()
        return folder


def check_partition(partition: Partition) -> Partition:
    """Return a partition, or refuse text that has not been parsed."""
    if not isinstance(partition, Partition):
        raise ConfigError(f"Got {partition!r} for a partition; give Partition(grid, year) or Partition.parse(text).")
    return partition


@cache
def boot_id() -> str:
    """Which start of the machine this is; a power cut is the moment when flushed bytes prove themselves."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"process-{os.getpid()}"
