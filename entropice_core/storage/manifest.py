"""What was published, as one JSON file that a person can read.

A manifest is the only proof that a partition is complete: it names every stored file with size and checksum, the
content digest, and the recipe. It carries a checksum of itself, so a flipped byte in the manifest is noticed too.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from entropice_core.errors import ConfigError, ProvenanceError, SchemaError, StoreError
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import InputRef, Recipe, canonical_json, plain, text_digest

SCHEMA_VERSION = 1
"""Version of the manifest's own layout; a reader understands every version up to this one."""

DIGEST_CHARS = 12
"""Characters of the digest in a version's name: 48 bits are plenty within one partition."""

Kind = Literal["zarr", "bundle"]


@dataclass(frozen=True, order=True)
class StoredFile:
    """One file of a version: path relative to the version's folder, size in bytes, SHA-256 of its bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Statistics:
    """A summary of one variable, or of one feature of a (cell, feature) array.

    Attributes
    ----------
    rows : number of values
    nan_share : share of values that are NaN, 0 to 1
    minimum, maximum : over the values that are not NaN; ``None`` when there is none, text for dates
    """

    rows: int
    nan_share: float
    minimum: float | int | str | None
    maximum: float | int | str | None


@dataclass(frozen=True)
class Manifest:
    """The record of one published version of one partition.

    Attributes
    ----------
    digest : content digest, 64 hexadecimal digits
    kind : ``zarr`` (an ``xr.Dataset``) or ``bundle`` (a folder of files)
    created : when the pointer was written, ISO 8601 in UTC
    entropice : version of the package that published
    counts : what the step counted (kept, rejected by reason, ...)
    structure : dimensions, and per variable its dimensions, dtype and units; empty for a bundle
    statistics : per variable, and per feature as ``features/<name>``
    provisional : made from data that may still change, such as ERA5T
    volatile : names of files of a bundle that do not count for the digest
    edition : six characters that tell apart versions of equal content with other pictures; empty where there are none
    """

    dataset: str
    partition: Partition
    digest: str
    kind: Kind
    created: str
    entropice: str
    recipe: Recipe
    counts: dict[str, Any] = field(default_factory=dict)
    structure: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Statistics] = field(default_factory=dict)
    provisional: bool = False
    notes: tuple[str, ...] = ()
    volatile: tuple[str, ...] = ()
    edition: str = ""
    files: tuple[StoredFile, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def recipe_digest(self) -> str:
        """Digest of the recipe; equal means that running the step again would change nothing."""
        return self.recipe.digest

    @property
    def version(self) -> str:
        """Name of the version within its partition: ``v-<digest>``, with ``-<edition>`` where pictures go with it."""
        return f"v-{self.digest[:DIGEST_CHARS]}" + (f"-{self.edition}" if self.edition else "")

    @property
    def folder_name(self) -> str:
        """Name of the version's folder: ``v-<digest>.zarr`` or ``v-<digest>``."""
        return self.version + (".zarr" if self.kind == "zarr" else "")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)

    @property
    def ref(self) -> InputRef:
        """How another recipe names this version as its input."""
        return InputRef(self.dataset, self.partition, self.digest)

    def to_json(self) -> str:
        """The manifest as indented JSON with its own checksum."""
        values = self._to_dict()
        values["checksum"] = text_digest(canonical_json(values))
        return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"

    def _to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["partition"] = self.partition.path
        values["recipe"] = self.recipe.to_dict()
        values["recipe_digest"] = self.recipe_digest
        values["statistics"] = {name: asdict(item) for name, item in self.statistics.items()}
        values["files"] = [asdict(file) for file in self.files]
        plain_values: dict[str, Any] = plain(values, f"the manifest of {self.dataset}")
        return plain_values

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Read a manifest; ``path`` is named when it cannot be read."""
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("it is not a table")
            _check_version(values, path)
            found = values.pop("checksum", None)
            if found != text_digest(canonical_json(values)):
                raise ValueError("its checksum does not fit its text")
            return cls._from_dict(values)
        except (ValueError, KeyError, TypeError, AttributeError, SchemaError, ConfigError) as error:
            raise StoreError(
                f"The manifest {path} cannot be read ({error}); build the partition again, or restore the file."
            ) from error

    @classmethod
    def _from_dict(cls, values: Mapping[str, Any]) -> Self:
        names = set(cls.__dataclass_fields__)
        kept = {name: value for name, value in values.items() if name in names}
        kept["partition"] = Partition.parse(values["partition"])
        kept["recipe"] = Recipe.from_dict(values["recipe"])
        kept["statistics"] = {name: Statistics(**item) for name, item in values["statistics"].items()}
        kept["files"] = tuple(StoredFile(**file) for file in values["files"])
        kept["notes"], kept["volatile"] = tuple(values["notes"]), tuple(values["volatile"])
        return cls(**kept)


def _check_version(values: Mapping[str, Any], path: Path) -> None:
    version = values.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ProvenanceError(
            f"The manifest {path} has schema version {version}, and this Entropice reads up to {SCHEMA_VERSION}; "
            f"use the newer Entropice that wrote it."
        )
