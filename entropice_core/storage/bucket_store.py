"""A store on object storage: the same layout and the same scheme of publication as in a folder.

A folder of this machine mirrors it: what is published is staged, read back and named there as in any store, then its
files go up, then its record, and last the pointer, whose PUT is atomic. What is opened comes down once, is compared
with the checksums of its manifest and stays, as versions never change. So every reader of a store reads a bucket too.

There are no locks in a bucket. The pointer is put on condition that it is still the one that was read: of two writers
the second one finds the first one's version, takes it when it was made by the same recipe, and is refused otherwise.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropice_core.errors import MissingPartitionError, StoreError
from entropice_core.storage.bucket import Bucket
from entropice_core.storage.digest import file_sha256
from entropice_core.storage.layout import POINTER, find_damage
from entropice_core.storage.manifest import DIGEST_CHARS, Manifest
from entropice_core.storage.partition import Partition, check_dataset
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore

if TYPE_CHECKING:
    import xarray as xr

    from entropice_core.storage.lineage import Ancestor
    from entropice_core.storage.sweep import Removed
    from entropice_core.storage.verify import Finding, PartitionStatus


@dataclass(frozen=True)
class BucketStore(PartitionStore):
    """A store in a bucket, with ``root`` as its mirror on this machine.

    Parameters
    ----------
    bucket : objects of this study
    """

    bucket: Bucket = field(kw_only=True)

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
        """Publish as in a folder, then bring the version up; see ``PartitionStore.publish``."""
        before = self._pointer(dataset, partition)
        manifest = super().publish(
            dataset, partition, content, recipe,
            counts=counts, provisional=provisional, notes=notes, volatile=volatile, schema=schema,
        )  # fmt: skip
        return self._push(manifest, before)

    def manifest(self, dataset: str, partition: Partition, digest: str | None = None) -> Manifest:
        """The manifest of the current version in the bucket, or of the version with a digest."""
        check_dataset(dataset)
        if digest is not None:
            self._pull_records(dataset, partition)
            return super().manifest(dataset, partition, digest)
        text, _ = self._pointer(dataset, partition)
        if text is None:
            raise MissingPartitionError(
                f"{dataset} {partition} was never published in {self.bucket.url}; build it first."
            )
        return Manifest.from_json(text, Path(self._key(dataset, partition, POINTER)))

    def is_current(self, dataset: str, partition: Partition, recipe: Recipe) -> bool:
        """Whether the partition was published with this very recipe and all its objects are there."""
        try:
            manifest = self.manifest(dataset, partition)
        except StoreError:
            return False
        return manifest.recipe_digest == recipe.digest and not self._damage(manifest)

    def datasets(self) -> list[str]:
        """Names of the datasets that have a published partition, sorted."""
        return sorted({dataset for dataset, _ in self._places()})

    def partitions(self, dataset: str) -> list[Partition]:
        """Published partitions of a dataset, by grid, level and year."""
        found = [partition for name, partition in self._places() if name == check_dataset(dataset)]
        return sorted(found, key=lambda partition: partition.sort_key)

    def lineage(self, dataset: str, partition: Partition, digest: str | None = None) -> "Ancestor":
        """The tree from a version back to the source files."""
        self.refresh()
        return super().lineage(dataset, partition, digest)

    def status(self, code_versions: Mapping[str, str] | None = None) -> "list[PartitionStatus]":
        """One line per published partition; see ``PartitionStore.status``."""
        self.refresh()
        return super().status(code_versions)

    def verify(self, *, full: bool = False, code_versions: Mapping[str, str] | None = None) -> "list[Finding]":
        """Compare the objects with their manifests: names and sizes, and with ``full`` every byte, which is fetched."""
        from entropice_core.storage.verify import Finding, stale_reasons

        self.refresh()
        found = []
        for dataset, partition in self._places():
            manifest = self.manifest(dataset, partition)
            place = Path(self._key(dataset, partition, manifest.folder_name))
            found += [
                Finding(kind, dataset, partition, place / name, detail)
                for kind, name, detail in self._damage(manifest, full)
            ]
            stale = stale_reasons(self.layout, manifest, code_versions or {})
            found += [Finding(kind, dataset, partition, place, detail) for kind, detail in stale]
        return found

    def gc(
        self, *, grace_seconds: float = 86400.0, keep_digests: Sequence[str] = (), dry_run: bool = False
    ) -> "list[Removed]":
        """Remove old versions from the bucket and from the mirror; see ``PartitionStore.gc``."""
        from entropice_core.storage.sweep import Removed, with_inputs

        self.refresh()
        keep = with_inputs(self.layout, {digest[:DIGEST_CHARS] for digest in keep_digests})
        limit = self.bucket.clock() - timedelta(seconds=grace_seconds)
        removed = []
        for dataset, partition in self._places():
            current = self.manifest(dataset, partition).version
            for item in list(self.bucket.list(f"{dataset}/{partition.path}/")):
                version = str(item["path"]).split("/")[3].removesuffix(".json").removesuffix(".zarr")
                in_use = version in (current, "current") or version[2 : 2 + DIGEST_CHARS] in keep
                if in_use or item["last_modified"] > limit:
                    continue
                removed.append(Removed(Path(str(item["path"])), int(item["size"]), "old version"))
                if not dry_run:
                    self.bucket.delete(str(item["path"]))
        return removed + super().gc(grace_seconds=grace_seconds, keep_digests=keep_digests, dry_run=dry_run)

    def refresh(self) -> None:
        """Bring the manifests of the bucket into the mirror, without the data that they describe."""
        for item in self.bucket.list():
            key = str(item["path"])
            path = self.root / key
            if not key.endswith(".json") or key.count("/") != 3:
                continue
            if path.name == POINTER or not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, self.bucket.get(key)[0])

    def _checked_folder(self, manifest: Manifest) -> Path:
        folder = self.layout.version(manifest)
        if find_damage(folder, manifest, full=False):
            self._pull(manifest)
        return super()._checked_folder(manifest)

    def _key(self, dataset: str, partition: Partition, name: str) -> str:
        return f"{dataset}/{partition.path}/{name}"

    def _pointer(self, dataset: str, partition: Partition) -> tuple[str | None, str | None]:
        try:
            content, tag = self.bucket.get(self._key(dataset, partition, POINTER))
        except FileNotFoundError:
            return None, None
        return content.decode("utf-8"), tag

    def _places(self) -> list[tuple[str, Partition]]:
        found = []
        for item in self.bucket.list():
            parts = str(item["path"]).split("/")
            if len(parts) == 4 and parts[3] == POINTER:
                found.append((parts[0], Partition.parse(f"{parts[1]}/{parts[2]}")))
        return sorted(found, key=lambda place: (place[0], place[1].sort_key))

    def _damage(self, manifest: Manifest, full: bool = False) -> list[tuple[str, str, str]]:
        """Compare the objects of a version with its manifest; (kind, name, detail) for each that differs."""
        prefix = self._key(manifest.dataset, manifest.partition, manifest.folder_name)
        sizes = {
            str(item["path"]).removeprefix(f"{prefix}/"): int(item["size"]) for item in self.bucket.list(f"{prefix}/")
        }
        found = []
        for file in manifest.files:
            if file.name not in sizes:
                found.append(("missing_file", file.name, "it is not in the bucket"))
            elif sizes[file.name] != file.size:
                found.append(
                    ("wrong_size", file.name, f"it has {sizes[file.name]:,} bytes, published were {file.size:,}")
                )
            elif full and self._sha256(f"{prefix}/{file.name}") != file.sha256:
                found.append(("flipped_byte", file.name, f"its checksum is not the published {file.sha256[:12]}"))
        return found

    def _sha256(self, key: str) -> str:
        self.layout.staging.mkdir(parents=True, exist_ok=True)
        path = self.layout.staging / f"check-{os.getpid()}"
        try:
            self.bucket.fetch(key, path)
            return file_sha256(path)
        finally:
            path.unlink(missing_ok=True)

    def _push(self, manifest: Manifest, before: tuple[str | None, str | None]) -> Manifest:
        """Bring a version up: its files, its record, and last the pointer, if nobody moved it meanwhile."""
        from entropice_core.storage.publish import crash_point

        wrong = {name for _, name, _ in self._damage(manifest)}
        folder = self.layout.version(manifest)
        prefix = self._key(manifest.dataset, manifest.partition, manifest.folder_name)
        crash_point("push", 0)
        for number, file in enumerate(f for f in manifest.files if f.name in wrong):
            self.bucket.put(f"{prefix}/{file.name}", folder / file.name)
            if number == 0:
                crash_point("push", 1)
        text = manifest.to_json().encode()
        self.bucket.put(self._key(manifest.dataset, manifest.partition, f"{manifest.version}.json"), text)
        crash_point("push", 2)
        key, (old, tag) = self._key(manifest.dataset, manifest.partition, POINTER), before
        if self.bucket.put(key, text, tag=tag, is_new=old is None):
            return manifest
        return self._theirs(manifest)

    def _theirs(self, manifest: Manifest) -> Manifest:
        theirs = self.manifest(manifest.dataset, manifest.partition)
        if theirs.recipe_digest == manifest.recipe_digest:
            return theirs
        raise StoreError(
            f"{manifest.dataset} {manifest.partition}: another writer published {theirs.version} ({theirs.created}) by "
            f"another recipe while {manifest.version} was on its way up; run the step again if yours is the right one."
        )

    def _pull(self, manifest: Manifest) -> None:
        """Bring a version down, whole or not at all, and compare every byte with its manifest."""
        target = self.layout.version(manifest)
        prefix = self._key(manifest.dataset, manifest.partition, manifest.folder_name)
        staging = self.layout.new_staging(manifest.dataset, manifest.partition)
        try:
            for file in manifest.files:
                path = staging / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.bucket.fetch(f"{prefix}/{file.name}", path)
                except FileNotFoundError as error:
                    raise StoreError(
                        f"{manifest.dataset} {manifest.partition} is damaged: {self.bucket.url}/{prefix}/{file.name} "
                        "is missing; build the partition again or restore it from a backup."
                    ) from error
            self._refuse(manifest, staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            os.rename(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        for path in (self.layout.record(manifest), self.layout.pointer(manifest.dataset, manifest.partition)):
            _write(path, manifest.to_json().encode())

    def _refuse(self, manifest: Manifest, folder: Path) -> None:
        damage = find_damage(folder, manifest, full=True)
        if damage:
            _, path, detail = damage[0]
            raise StoreError(
                f"{manifest.dataset} {manifest.partition} is damaged in {self.bucket.url}: {path.name}: {detail}; "
                "build the partition again or restore it from a backup."
            )

    def _pull_records(self, dataset: str, partition: Partition) -> None:
        for item in self.bucket.list(f"{dataset}/{partition.path}/"):
            key = str(item["path"])
            if key.endswith(".json") and key.count("/") == 3 and not (self.root / key).exists():
                (self.root / key).parent.mkdir(parents=True, exist_ok=True)
                _write(self.root / key, self.bucket.get(key)[0])


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    os.replace(part, path)
