"""Looking for damage, orphans and staleness, without changing anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from entropice_core.errors import ProvenanceError, StoreError
from entropice_core.storage.content import list_files
from entropice_core.storage.layout import (
    POINTER,
    Layout,
    current_or_none,
    find_damage,
    read_current,
    staging_owner,
)
from entropice_core.storage.locking import is_held
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition

KINDS = (
    "unreadable_manifest",
    "missing_file",
    "wrong_size",
    "flipped_byte",
    "extra_file",
    "orphan_staging",
    "stale_code_version",
    "stale_input",
)
"""What ``verify`` can find; the first four are damage, the others can be seen to at leisure."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str
    dataset: str
    partition: Partition | None
    path: Path
    detail: str

    @property
    def is_damage(self) -> bool:
        """Whether content is lost, not merely old or superfluous."""
        return self.kind in KINDS[:4]

    def __str__(self) -> str:
        return f"{self.kind}: {self.dataset} {self.partition or ''}: {self.path}: {self.detail}"


@dataclass(frozen=True)
class PartitionStatus:
    """Where one published partition stands."""

    dataset: str
    partition: Partition
    digest: str
    created: str
    code_version: str
    size: int
    provisional: bool
    stale: tuple[str, ...]


def verify(layout: Layout, *, full: bool, code_versions: Mapping[str, str]) -> list[Finding]:
    """Check every published partition and the staging area; see ``PartitionStore.verify``."""
    found = []
    for dataset in layout.datasets():
        for partition in layout.partitions(dataset):
            found += _verify_partition(layout, dataset, partition, full, code_versions)
    return found + _orphans(layout)


def _verify_partition(
    layout: Layout, dataset: str, partition: Partition, full: bool, code_versions: Mapping[str, str]
) -> list[Finding]:
    try:
        manifest = read_current(layout, dataset, partition)
    except (StoreError, ProvenanceError) as error:
        return [Finding(KINDS[0], dataset, partition, layout.pointer(dataset, partition), str(error))]
    folder = layout.version(manifest)
    found = [
        Finding(kind, dataset, partition, path, detail)
        for kind, path, detail in find_damage(folder, manifest, full=full)
    ]
    found += [
        Finding("extra_file", dataset, partition, path, "no manifest names it") for path in _extra(folder, manifest)
    ]
    stale = stale_reasons(layout, manifest, code_versions)
    return found + [Finding(kind, dataset, partition, folder, detail) for kind, detail in stale]


def _extra(folder: Path, manifest: Manifest) -> list[Path]:
    """Files in the current version, or beside the versions, that nobody published."""
    inside = set(list_files(folder)) - {file.name for file in manifest.files} if folder.is_dir() else set()
    beside = (
        [path for path in folder.parent.iterdir() if path.name != POINTER and not path.name.startswith("v-")]
        if folder.parent.is_dir()
        else []
    )
    return sorted([folder / name for name in inside] + beside)


def _orphans(layout: Layout) -> list[Finding]:
    if not layout.staging.is_dir():
        return []
    found = []
    for folder in sorted(layout.staging.iterdir()):
        owner = staging_owner(folder)
        if owner is None or not is_held(layout.lock(*owner)):
            dataset, partition = owner or ("", None)
            found.append(
                Finding("orphan_staging", dataset, partition, folder, "its writer is gone; `entropice gc` removes it")
            )
    return found


def stale_reasons(layout: Layout, manifest: Manifest, code_versions: Mapping[str, str]) -> list[tuple[str, str]]:
    """Why a partition would be built again: (kind, detail) per reason."""
    reasons = []
    wanted = code_versions.get(manifest.dataset)
    if wanted is not None and str(wanted) != manifest.recipe.code_version:
        reasons.append(("stale_code_version", f"made by code {manifest.recipe.code_version}, now {wanted}"))
    for ref in manifest.recipe.inputs:
        current = current_or_none(layout, ref.dataset, ref.partition)
        now = current.digest[:12] if current else "gone"
        if current is None or current.digest != ref.digest:
            detail = f"made from {ref.dataset} {ref.partition} {ref.digest[:12]}, which is now {now}"
            reasons.append(("stale_input", detail))
    return reasons


def status(layout: Layout, code_versions: Mapping[str, str]) -> list[PartitionStatus]:
    """One entry per published partition whose manifest can be read."""
    entries = []
    for dataset in layout.datasets():
        for partition in layout.partitions(dataset):
            manifest = current_or_none(layout, dataset, partition)
            if manifest is None:
                continue
            stale = tuple(detail for _, detail in stale_reasons(layout, manifest, code_versions))
            entries.append(
                PartitionStatus(
                    dataset,
                    partition,
                    manifest.digest,
                    manifest.created,
                    manifest.recipe.code_version,
                    manifest.size,
                    manifest.provisional,
                    stale,
                )
            )
    return entries
