"""From a published version back to the source files it came from."""

from collections.abc import Iterator
from dataclasses import dataclass

from entropice_core.storage.layout import Layout, current_or_none, record_or_none
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import InputRef, SourceFile


@dataclass(frozen=True)
class Ancestor:
    """One version in the history of another.

    Attributes
    ----------
    manifest : its record; ``None`` when that version was removed from the store
    is_current : whether it is still the version that readers get
    inputs : the versions that it was made from
    """

    dataset: str
    partition: Partition
    digest: str
    manifest: Manifest | None
    is_current: bool
    inputs: tuple["Ancestor", ...] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Ancestor"]]:
        """Yield this version and all before it, each with its depth; a version used twice comes twice."""
        yield depth, self
        for item in self.inputs:
            yield from item.walk(depth + 1)

    def sources(self) -> tuple[SourceFile, ...]:
        """Every source file that this version rests on, sorted, each once."""
        return tuple(sorted({s for _, item in self.walk() if item.manifest for s in item.manifest.recipe.sources}))

    def lines(self) -> list[str]:
        """The tree as text, two spaces per depth, source files below the version that read them."""
        text = []
        for depth, item in self.walk():
            step = f"{item.manifest.recipe.step} {item.manifest.recipe.code_version}" if item.manifest else "removed"
            marks = "" if item.is_current else ", not the current version"
            text.append(f"{'  ' * depth}{item.dataset} {item.partition} {item.digest[:12]} ({step}{marks})")
            for source in item.manifest.recipe.sources if item.manifest else ():
                text.append(f"{'  ' * (depth + 1)}file {source.name} {source.size:,} bytes sha256 {source.sha256[:12]}")
        return text


def trace(layout: Layout, manifest: Manifest) -> Ancestor:
    """Follow a version's inputs by digest until only source files are left."""
    return _trace(layout, manifest.ref, frozenset())


def _trace(layout: Layout, ref: InputRef, seen: frozenset[InputRef]) -> Ancestor:
    current = current_or_none(layout, ref.dataset, ref.partition)
    is_current = current is not None and current.digest == ref.digest
    manifest = current if is_current else record_or_none(layout, ref.dataset, ref.partition, ref.digest)
    # a version that names itself as its input ends the walk
    inputs = manifest.recipe.inputs if manifest is not None and ref not in seen else ()
    ancestors = tuple(_trace(layout, item, seen | {ref}) for item in inputs)
    return Ancestor(ref.dataset, ref.partition, ref.digest, manifest, is_current, ancestors)
