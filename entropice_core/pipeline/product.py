"""What a product is: a dataset of the store, its partitions, what it needs and how it is made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal

from entropice_core.config import Settings, Study
from entropice_core.storage.partition import Partition
from entropice_core.storage.store import PartitionStore

if TYPE_CHECKING:
    import xarray as xr

    from entropice_core.grids.base import Grid
    from entropice_core.grids.study_area import StudyArea

Dimension = Literal["grid", "year"]
Say = Callable[[str], None]


def silent(_: str) -> None:
    """Drop a progress message."""


@dataclass(frozen=True)
class Context:
    """A study, the machine's settings, and what several steps share. Nothing here changes a result."""

    study: Study
    settings: Settings
    say: Say = silent
    tags: dict[str, str] = field(default_factory=dict, compare=False)
    """What a tracking run should also say, such as the run of an orchestrator; no part of any result."""

    @cached_property
    def store(self) -> PartitionStore:
        """The store of the study."""
        root, url = self.settings.store_root(self.study), self.settings.store_url
        if not url:
            return PartitionStore(root)
        from entropice_core.storage.bucket import Bucket
        from entropice_core.storage.bucket_store import BucketStore

        return BucketStore(root, bucket=Bucket(f"{url.rstrip('/')}/{self.study.study.name}"))

    @cached_property
    def data_root(self) -> Path:
        """The folder that ``{data}`` stands for; the demo study's is generated when it is not there."""
        root = self.settings.data_root(self.study)
        if self.settings.is_generated(self.study):
            from entropice_core.demo import write_demo

            write_demo(root, self.study.study.seed, self.study.study.years.all(), self.say)
        return root

    @cached_property
    def area(self) -> "StudyArea":
        """The study area."""
        from entropice_core.grids.study_area import StudyArea

        config = self.study.study_area
        return StudyArea.from_files(config.min_latitude, config.bounds, self.area_files())

    def area_files(self) -> list[Path]:
        """Name the vector file of the study area, if it has one."""
        pattern = self.study.study_area.polygons
        return [Path(pattern.replace("{data}", str(self.data_root)))] if pattern else []

    def grid(self, partition: Partition) -> "Grid":
        """Open the grid of a partition."""
        from entropice_core.grids import parse_grid_key

        return parse_grid_key(str(partition.grid))

    def open(self, dataset: str, partition: Partition) -> "xr.Dataset":
        """Open the current version of a dataset."""
        return self.store.open(dataset, partition)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder for the files of a bundle; it is gone afterwards (``entropice gc`` sweeps what a kill left)."""
        self.settings.scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix="bundle-", dir=self.settings.scratch))
        try:
            yield folder
        finally:
            rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Built:
    """What a step made, before it is published."""

    content: Any
    counts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    provisional: bool = False
    schema: str | None = None
    volatile: tuple[str, ...] = ()


@dataclass(frozen=True)
class Product:
    """A dataset of the store.

    Attributes
    ----------
    dataset : name in the store; the part before the first dot is the kind (``labels.darts``)
    group : the room of the science that makes it
    title : one line for people
    dimensions : what its partitions are split by
    needs : datasets that it is made from
    modules : modules whose ``VERSION`` makes up the code version
    config : the part of the study that changes the result
    build : makes the content of one partition; the folder is scratch space for a bundle
    files : source files that are read for a partition
    after : what is done once a partition is up to date, whether it was built now or before
    draws_random : whether the study's seed changes the result
    adds_up_pixels : whether its pixels can be added up on a GPU
    """

    dataset: str
    group: str
    title: str
    dimensions: tuple[Dimension, ...]
    needs: tuple[str, ...]
    modules: tuple[str, ...]
    config: dict[str, Any]
    build: Callable[[Context, Partition, Path], Built]
    files: Callable[[Context, Partition], list[Path]] | None = None
    after: Callable[[Context, Partition], dict[str, Any]] | None = None
    draws_random: bool = False
    adds_up_pixels: bool = False

    @property
    def kind(self) -> str:
        """The part of the name before the first dot."""
        return self.dataset.split(".")[0]

    def needs_gpu(self, settings: Settings) -> bool:
        """Whether it is made on a GPU: a model that says so, and sums of pixels where ``ENTROPICE_COMPUTE`` does."""
        if self.kind == "model":
            return bool(self.config["model"]["params"].get("device") == "cuda")
        return settings.sums_on_gpu and self.adds_up_pixels

    @property
    def code_version(self) -> str:
        """The versions of the modules that make it."""
        from entropice_core.registry import module_version

        return ".".join(module_version(module) for module in self.modules)

    def partitions(self, study: Study, *, offered: bool = False) -> list[Partition]:
        """List every partition of the study, grids in the study's order, years ascending.

        With ``offered`` the years after those that are trained on belong to it.
        """
        known = study.study.years.offered() if offered else study.study.years.all()
        grids: list[str | None] = list(study.study.grids) if "grid" in self.dimensions else [None]
        years: list[int | None] = list(known) if "year" in self.dimensions else [None]
        return [Partition(grid, year) for grid in grids for year in years]

    def upstream(self, other: "Product", partition: Partition, study: Study) -> list[Partition]:
        """List the partitions of another product that one of ours is made from: equal keys, or all of them."""
        wanted = other.partitions(study, offered="year" in self.dimensions)
        if "grid" in self.dimensions and "grid" in other.dimensions:
            wanted = [p for p in wanted if p.grid == partition.grid]
        if "year" in self.dimensions and "year" in other.dimensions:
            wanted = [p for p in wanted if p.year == partition.year]
        return wanted
