"""What a store holds of a study, partition by partition, and what to do next. Reads manifests only.

Staleness is judged without reading source files: code version, configuration, inputs, and the sizes of source files
where the data folder is at hand. ``entropice status`` also compares their checksums.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from entropice_core.dashboard.library import Library, refused_words
from entropice_core.errors import ConfigError, MissingPartitionError, ProvenanceError, StoreError
from entropice_core.pipeline.product import Product
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import canonical_json

PUBLISHED, PROVISIONAL, STALE, MISSING, DAMAGED = "published", "provisional", "stale", "missing", "damaged"
SIGNS = {PUBLISHED: "●", PROVISIONAL: "◐", STALE: "▲", MISSING: "○", DAMAGED: "✖"}
ALL, NO_GRID = "all years", "all grids"


@dataclass(frozen=True)
class Entry:
    """One partition: its state, why, and what the manifest says."""

    dataset: str
    partition: Partition
    state: str
    reason: str = ""
    size: int = 0
    created: str = ""
    digest: str = ""
    is_refused: bool = False
    """It is there, and this user may not read it."""


def entries(library: Library, grids: Iterable[str] | None = None) -> list[Entry]:
    """List every partition that the study has or should have, in the order of the graph."""
    wanted = None if grids is None else set(grids)
    found: dict[tuple[str, Partition], Entry] = {}
    for product in library.products.values():
        for partition in product.partitions(library.study):
            if wanted is None or partition.grid is None or partition.grid in wanted:
                found[product.dataset, partition] = _entry(library, product, partition, found)
    return list(found.values())


def _entry(
    library: Library, product: Product, partition: Partition, known: Mapping[tuple[str, Partition], Entry]
) -> Entry:
    try:
        manifest = library.manifest(product.dataset, partition)
    except MissingPartitionError:
        return Entry(product.dataset, partition, MISSING)
    except PermissionError as error:
        return Entry(product.dataset, partition, DAMAGED, refused_words(error), is_refused=True)
    except (StoreError, ProvenanceError) as error:
        return Entry(product.dataset, partition, DAMAGED, str(error))
    reason = _stale_reason(library, product, manifest, known)
    state = STALE if reason else PROVISIONAL if manifest.provisional else PUBLISHED
    return Entry(product.dataset, partition, state, reason, manifest.size, manifest.created, manifest.digest)


def _stale_reason(
    library: Library, product: Product, manifest: Manifest, known: Mapping[tuple[str, Partition], Entry]
) -> str:
    recipe = manifest.recipe
    if recipe.code_version != product.code_version:
        return f"made by code {recipe.code_version}, now {product.code_version}"
    if canonical_json(recipe.config) != canonical_json(product.config):
        return "the study was changed since"
    for ref in recipe.inputs:
        entry = known.get((ref.dataset, ref.partition))
        if entry is not None and entry.state in (STALE, MISSING, DAMAGED):
            return f"{ref.dataset} {ref.partition} is {entry.state}"
        if entry is not None and entry.digest != ref.digest:
            return f"{ref.dataset} {ref.partition} was replaced since"
    return _changed_source(library, manifest)


def _changed_source(library: Library, manifest: Manifest) -> str:
    try:
        root = library.settings.data_root(library.study)
    except ConfigError:
        return ""
    for source in manifest.recipe.sources:
        path = root / source.name
        if path.is_file() and path.stat().st_size != source.size:
            return f"the source file {source.name} has another size now"
    return ""


def years_text(years: Iterable[int | None]) -> str:
    """Write years short, following ones as a span.

    >>> years_text([2018, 2019, 2021]), years_text([None])
    ('2018–2019, 2021', 'all years')
    """
    known = sorted(year for year in years if year is not None)
    starts = [year for year in known if year - 1 not in known]
    ends = [year for year in known if year + 1 not in known]
    spans = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(spans) or ALL


@dataclass(frozen=True)
class Row:
    """One dataset: which years are in which state, by grid; and its size in bytes."""

    dataset: str
    fields: Mapping[str, tuple[tuple[str, str], ...]]
    size: int


def matrix(found: Iterable[Entry]) -> tuple[list[str], list[Row]]:
    """Lay states out: a row for each dataset, a column for each grid; in each field every state with its years."""
    by_dataset: dict[str, list[Entry]] = {}
    columns: list[str] = []
    for entry in found:
        by_dataset.setdefault(entry.dataset, []).append(entry)
        columns += [grid] if (grid := entry.partition.grid or NO_GRID) not in columns else []
    columns = sorted(columns, key=lambda grid: grid == NO_GRID)
    rows = [
        Row(
            dataset,
            {grid: _states([e for e in mine if (e.partition.grid or NO_GRID) == grid]) for grid in columns},
            sum(e.size for e in mine),
        )
        for dataset, mine in by_dataset.items()
    ]
    return columns, rows


def _states(found: list[Entry]) -> tuple[tuple[str, str], ...]:
    years = {state: [e.partition.year for e in found if e.state == state] for state in SIGNS}
    return tuple((state, years_text(mine)) for state, mine in years.items() if mine)


LISTED = ("dataset", "partition", "state", "why", "bytes", "published", "digest")


def listed(found: Iterable[Entry]) -> list[tuple[str, ...]]:
    """List every partition, a row of ``LISTED`` each."""
    return [(e.dataset, str(e.partition), e.state, e.reason, str(e.size), e.created, e.digest) for e in found]


def latest(found: Iterable[Entry], most: int = 10) -> list[Entry]:
    """List what was published last, the newest first."""
    return sorted((e for e in found if e.created), key=lambda e: (e.created, e.dataset), reverse=True)[:most]


@dataclass(frozen=True)
class Advice:
    """Something to do: a sentence and the command that does it."""

    sentence: str
    command: str


def next_steps(library: Library, found: list[Entry]) -> list[Advice]:
    """Say what to do next, the most pressing first."""
    study = f"--study {library.settings.study}"
    by_state = {state: [e for e in found if e.state == state] for state in SIGNS}
    if len(by_state[MISSING]) == len(found):
        return [Advice("Nothing of this study was built yet. One command builds all of it.", f"entropice run {study}")]
    steps = []
    if refused := [e for e in by_state[DAMAGED] if e.is_refused]:
        words = f"{_many(refused)} not ours to read, the first is {refused[0].dataset} {refused[0].partition}: "
        steps.append(Advice(words + refused[0].reason, library.allow_command()))
    if damaged := [e for e in by_state[DAMAGED] if not e.is_refused]:
        first = damaged[0]
        steps.append(
            Advice(
                f"{_many(damaged)} cannot be read, the first is {first.dataset} {first.partition}: build again.",
                library.command(first.dataset, first.partition, "--force"),
            )
        )
    if stale := by_state[STALE]:
        first = stale[0]
        words = f"{_many(stale)} stale, the first is {first.dataset} {first.partition}: {first.reason}."
        steps.append(Advice(words, f"entropice run {study}"))
    if missing := by_state[MISSING]:
        first = missing[0]
        words = f"{_many(missing)} missing, the first is {first.dataset} {first.partition}."
        one = library.command(first.dataset, first.partition)
        steps.append(Advice(words, one if len(missing) == 1 else f"entropice run {study}"))
    if provisional := by_state[PROVISIONAL]:
        years = sorted({str(e.partition.year) for e in provisional})
        words = f"{_many(provisional)} made from data that are not final yet ({', '.join(years)}): fetch them again."
        steps.append(Advice(words, f"entropice fetch era5 --year {years[0]}"))
    if not steps:
        steps.append(
            Advice(
                "All is published and current. Look at the scores on the page Training and at the maps on Predictions.",
                f"entropice verify --full {study}",
            )
        )
    return steps


def _many(found: list[Entry]) -> str:
    return "1 partition is" if len(found) == 1 else f"{len(found):,} partitions are"
