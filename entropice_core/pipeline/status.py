"""What a store holds of a study: current, stale, missing; and from what a partition was made."""

import json
from dataclasses import dataclass, field

from rich.tree import Tree

from entropice_core.errors import EntropiceError, MissingPartitionError
from entropice_core.pipeline.product import Context, Product
from entropice_core.pipeline.run import Graph, recipe_of
from entropice_core.storage.partition import Partition


@dataclass
class State:
    """Counts of the partitions of one dataset; size in bytes.

    ``unreadable`` : partitions of which nobody can say whether they are current, as a file is missing or damaged; they
    are counted as stale or missing too. ``problems`` : what is wrong with them, each sentence once.
    """

    dataset: str
    partitions: int = 0
    current: int = 0
    stale: int = 0
    missing: int = 0
    provisional: int = 0
    unreadable: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)

    def cannot_tell(self, problem: EntropiceError) -> None:
        """Write down why nobody can say how a partition is."""
        self.unreadable += 1
        if str(problem) not in self.problems:
            self.problems.append(str(problem))


Where = tuple[str, Partition]


def states(context: Context, graph: Graph) -> list[State]:
    """Compare every partition of a study with the recipe it would have now; what is made from stale data is stale.

    A file that is missing hides nothing else: partitions that are made from it are told with the reason.
    """
    known: dict[Where, bool] = {}
    return [_state(context, graph, product, known) for product in graph.values()]


def _state(context: Context, graph: Graph, product: Product, known: dict[Where, bool]) -> State:
    state = State(product.dataset)
    for partition in _counted(context, product):
        state.partitions += 1
        fresh = all(
            known.get((need, up), False)
            for need in product.needs
            for up in product.upstream(graph[need], partition, context.study)
        )
        try:
            fresh = is_current(context, graph, product, partition) and fresh
        except EntropiceError as problem:
            state.cannot_tell(problem)
            fresh = False
        known[product.dataset, partition] = fresh
        try:
            manifest = context.store.manifest(product.dataset, partition)
        except EntropiceError:  # never published, or so damaged that it must be built again: verify names that
            state.missing += 1
            continue
        state.size += manifest.size
        state.provisional += manifest.provisional
        state.current += fresh
        state.stale += not fresh
    return state


def _counted(context: Context, product: Product) -> list[Partition]:
    """List the partitions of the years that are trained on, and of later ones those that were built."""
    trained, built = set(product.partitions(context.study)), set(context.store.partitions(product.dataset))
    return [p for p in product.partitions(context.study, offered=True) if p in trained or p in built]


def is_current(context: Context, graph: Graph, product: Product, partition: Partition) -> bool:
    """Say whether a published partition has the recipe that it would have now."""
    try:
        recipe = recipe_of(context, graph, product, partition)
    except MissingPartitionError:
        return False
    return context.store.is_current(product.dataset, partition, recipe)


def lineage_tree(context: Context, dataset: str, partition: Partition) -> Tree:
    """Draw from what a partition was made, down to the source files with their checksums."""
    tree = Tree(f"[bold]{dataset}[/] {partition}")
    _grow(context, tree, dataset, partition, set())
    return tree


def _grow(context: Context, tree: Tree, dataset: str, partition: Partition, seen: set[tuple[str, str]]) -> None:
    manifest = context.store.manifest(dataset, partition)
    recipe = manifest.recipe
    tree.add(f"digest {manifest.digest[:12]} · code {recipe.code_version} · seed {recipe.seed} · {manifest.created}")
    for source in recipe.sources:
        tree.add(f"[green]{source.name}[/] {source.size:,} bytes sha256 {source.sha256[:16]}…")
    for ref in recipe.inputs:
        branch = tree.add(f"[bold]{ref.dataset}[/] {ref.partition} {ref.digest[:12]}")
        now = context.store.manifest(ref.dataset, ref.partition).digest
        if now != ref.digest:
            branch.add(f"[yellow]replaced since by {now[:12]}: this branch is stale[/]")
        elif (ref.dataset, str(ref.partition)) in seen:
            branch.add("[dim]as above[/]")
        else:
            seen.add((ref.dataset, str(ref.partition)))
            _grow(context, branch, ref.dataset, ref.partition, seen)


def tracked_digests(context: Context) -> list[str]:
    """List the digests that tracking runs refer to, which ``gc`` must keep, with all that they were made from."""
    folder = context.settings.home / "receipts" / context.study.study.name
    return sorted({json.loads(path.read_text())["digest"] for path in folder.glob("*.json")})
