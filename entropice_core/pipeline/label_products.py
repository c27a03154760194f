"""The products that compare labels: years, inventories, thresholds of probability, and maps with other inventories.

They stand beside the way from files to maps: nothing that predicts is made from them.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from entropice_core.config import Study
from entropice_core.pipeline.product import Built, Context, Product
from entropice_core.storage.partition import Partition

if TYPE_CHECKING:
    import xarray as xr


def label_products(study: Study) -> list[Product]:
    """List them for a study: agreement needs two inventories, thresholds need probabilities."""
    likely = [name for name, inventory in study.inventories.items() if inventory.probability is not None]
    several = len(study.inventories) > 1
    return [
        *(_mean(study, name) for name in study.inventories),
        *(_sensitivity(study, name) for name in likely),
        *([_agreement(study)] if several else []),
    ]


def independent_products(study: Study) -> list[Product]:
    """List the judgements of each model by the inventories that it does not learn from; none without such ones."""
    others = [name for name in study.inventories if name != study.target.inventory]
    return [_independent(name, others, study) for name in study.models] if others else []


def _mean(study: Study, name: str) -> Product:
    return Product(
        dataset=f"labels_mean.{name}",
        group="labels",
        title=f"Mean of all years, weighted by observed land: {study.inventories[name].title}",
        dimensions=("grid",),
        needs=(f"labels.{name}",),
        modules=("entropice_core.labels.combine",),
        config={"years": study.study.years.model_dump(mode="json")},
        build=partial(build_mean, name),
    )


def _sensitivity(study: Study, name: str) -> Product:
    config = study.inventories[name].probability
    return Product(
        dataset=f"label_sensitivity.{name}",
        group="labels",
        title=f"What stays of the labels at higher probabilities of the detector: {study.inventories[name].title}",
        dimensions=("grid",),
        needs=("cells", f"inventory.{name}"),
        modules=("entropice_core.labels.sensitivity", "entropice_core.labels.density"),
        config={
            "thresholds": list(config.thresholds) if config else [],
            "years": study.study.years.model_dump(mode="json"),
        },
        build=partial(build_sensitivity, name),
    )


def _agreement(study: Study) -> Product:
    return Product(
        dataset="label_agreement",
        group="labels",
        title="How far the inventories agree on the cells and years that two of them observed",
        dimensions=("grid",),
        needs=tuple(f"labels.{name}" for name in study.inventories),
        modules=("entropice_core.labels.agreement",),
        config={
            "inventories": sorted(study.inventories),
            "min_observed_fraction": study.target.min_observed_fraction,
            "years": study.study.years.model_dump(mode="json"),
        },
        build=build_agreement,
    )


def _independent(name: str, others: list[str], study: Study) -> Product:
    return Product(
        dataset=f"independent.{name}",
        group="comparison",
        title=f"{name}: maps judged by the inventories that it did not learn from",
        dimensions=("grid",),
        needs=(f"prediction.{name}", *(f"labels.{inventory}" for inventory in study.inventories)),
        modules=("entropice_core.comparison.independent", "entropice_core.training.metrics"),
        config={
            "model": name,
            "learned_from": study.target.inventory,
            "judges": sorted(others),
            "min_observed_fraction": study.target.min_observed_fraction,
            "years": study.study.years.model_dump(mode="json"),
        },
        build=partial(build_independent, name, tuple(others)),
    )


def labels_by_year(context: Context, name: str, grid: str) -> dict[int, "xr.Dataset"]:
    """Open the labels of an inventory on one grid, all years of the study."""
    return {
        year: context.open(f"labels.{name}", Partition(grid, year)).load() for year in context.study.study.years.all()
    }


def build_mean(name: str, context: Context, partition: Partition, _: Path) -> Built:
    """Average the years of one inventory."""
    from entropice_core.labels.combine import combine_years, summary
    from entropice_core.storage.conventions import apply_conventions

    made = combine_years(labels_by_year(context, name, str(partition.grid)))
    return Built(apply_conventions(made, context.grid(partition).attrs()), counts=summary(made))


def build_sensitivity(name: str, context: Context, partition: Partition, folder: Path) -> Built:
    """Put one inventory on cells at several thresholds of probability."""
    from entropice_core.grids.land import land_samples_for
    from entropice_core.labels.inventory import read_back
    from entropice_core.labels.sensitivity import threshold_table, write_sensitivity

    stored = read_back(context.store.path(f"inventory.{name}", Partition()))
    cells = context.open("cells", partition)
    land = land_samples_for(cells["lat"].values, cells["area_m2"].values)
    config = context.study.inventories[name].probability
    table = threshold_table(
        stored,
        context.grid(partition),
        cells,
        context.area,
        context.study.study.years.all(),
        land,
        config.thresholds if config else (),
    )
    return Built(folder, counts=write_sensitivity(folder, table, f"{name} on {partition.grid}"))


def build_agreement(context: Context, partition: Partition, folder: Path) -> Built:
    """Compare every two inventories on one grid."""
    from entropice_core.labels.agreement import write_agreement

    labels = {name: labels_by_year(context, name, str(partition.grid)) for name in context.study.inventories}
    minimum = context.study.target.min_observed_fraction
    return Built(folder, counts=write_agreement(folder, labels, minimum, str(partition.grid)))


def build_independent(
    name: str, others: tuple[str, ...], context: Context, partition: Partition, folder: Path
) -> Built:
    """Judge the maps of a model by the inventories that it did not learn from."""
    from entropice_core.comparison.independent import judge, write_independent

    grid, target = str(partition.grid), context.study.target
    predictions = {
        year: context.open(f"prediction.{name}", Partition(grid, year)).load()
        for year in context.study.study.years.all()
    }
    judges = {other: labels_by_year(context, other, grid) for other in others}
    training = labels_by_year(context, target.inventory, grid)
    table = judge(predictions, judges, training, target.min_observed_fraction)
    return Built(folder, counts=write_independent(folder, table, f"{name} on {grid}", target.inventory))
