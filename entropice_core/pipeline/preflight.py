"""Try what can be tried of a study before hours of work: its area, its models, its files."""

from collections.abc import Iterator

from entropice_core.config import Settings, Study
from entropice_core.errors import ConfigError
from entropice_core.models.base import load_module
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.training.candidates import list_candidates

COARSEST = {"h3": (0, 2), "healpix": (2, 4)}
"""Levels of blocks that make sense: finer ones are no larger than what neighbours share."""


def preflight(study: Study, settings: Settings) -> Iterator[str]:
    """Raise what would be raised later, and yield what could not be looked at.

    Raises
    ------
    EntropiceError
        An area that cannot be, a parameter that a model does not know, a block level finer than the grid, a file
        that is not there.
    """
    if study.study_area.polygons is None:
        _ = Context(study, settings).area
    for grid in study.study.grids:
        _check_blocks(study, grid)
    for name, config in study.models.items():
        for params in list_candidates(config, study.study.seed):
            _check_model(name, config.model, params)
    if settings.data is None and not settings.is_generated(study):
        yield "ENTROPICE_DATA is not set: the input files were not looked for."
        return
    context = Context(study, settings)
    for product in build_graph(study).values():
        for partition in product.partitions(study) if product.files else ():
            product.files(context, partition)  # type: ignore[misc]


def _check_blocks(study: Study, grid: str) -> None:
    name, level = grid.split("-")
    levels: dict[str, int] = dict(study.folds.block_level)  # type: ignore[arg-type]
    if study.folds.kind != "spatial_block":
        return
    if name not in levels:
        raise ConfigError(f"folds.block_level has no level for {name}, which grid {grid} needs: add {name} = 1 or so.")
    if levels[name] >= int(level):
        raise ConfigError(
            f"folds.block_level {name} = {levels[name]} is not coarser than grid {grid}: blocks are parent cells, "
            f"take {COARSEST[name][0]} to {COARSEST[name][1]}."
        )


def _check_model(name: str, model: str, params: dict[str, object]) -> None:
    try:
        load_module(model).build(params, 0, ("feature",))
    except ConfigError as error:
        raise ConfigError(f"models.{name}: {error}") from error
