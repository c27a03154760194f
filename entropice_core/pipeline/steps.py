"""Connect each product to the core function that makes it: open what is needed, call one function, hand it back.

Nothing is computed here. The imports sit inside the functions because each step needs other heavy libraries, and a
run that finds everything current needs none.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropice_core.errors import MissingPartitionError
from entropice_core.pipeline.product import Built, Context
from entropice_core.storage.partition import Partition

INSIDE = "share inside the area of applicability"

if TYPE_CHECKING:
    import xarray as xr

    from entropice_core.config import Study
    from entropice_core.grids.base import UInt64


def study_area_files(context: Context, _: Partition) -> list[Path]:
    """Name the vector file of the study area, with the files that belong to it."""
    return [file for path in context.area_files() for file in sorted(path.parent.glob(f"{path.stem}.*"))]


def cells(context: Context, partition: Partition, _: Path) -> Built:
    """Enumerate the cells of the study area."""
    from entropice_core.grids.cells import build_cells

    made = build_cells(context.grid(partition), context.area, context.study.study_area.min_land_fraction)
    return Built(_decorated(context, partition, made), counts=_counts(made), schema="cells")


def inventory_files(name: str, context: Context, _: Partition) -> list[Path]:
    """Name the files of an inventory and of its footprint."""
    from entropice_core.labels.inventory import inventory_files as files

    return files(name, context.study.inventories[name], context.data_root)


def inventory(name: str, context: Context, _: Partition, folder: Path) -> Built:
    """Read and clean one RTS inventory."""
    from entropice_core.labels.inventory import read_inventory, write_inventory

    config = context.study.inventories[name]
    read = read_inventory(name, config, context.data_root, context.area, context.study.study.years.all())
    write_inventory(read, folder)
    return Built(folder, counts=read.report)


def labels(name: str, context: Context, partition: Partition, _: Path) -> Built:
    """Put one inventory on the cells of one grid and year."""
    from entropice_core.grids.land import land_samples_for
    from entropice_core.labels.density import label_cells, summary
    from entropice_core.labels.inventory import read_back

    stored = read_back(context.store.path(f"inventory.{name}", Partition()))
    grid = context.grid(partition)
    here = context.open("cells", Partition(partition.grid))
    land = land_samples_for(here["lat"].values, here["area_m2"].values)
    made = label_cells(stored, grid, here, context.area, int(partition.year or 0), land)
    return Built(_decorated(context, partition, made), counts=summary(made), schema="labels")


def feature_files(name: str, context: Context, partition: Partition) -> list[Path]:
    """Name the files of a source that hold the features of a year."""
    from entropice_core.sources import open_source

    return open_source(name, context.study.sources[name], context.data_root).files(partition.year)


def features(name: str, context: Context, partition: Partition, _: Path) -> Built:
    """Turn one source's pixels into features of cells."""
    from entropice_core.compute import Compute, gpu_arrays
    from entropice_core.sources import open_source
    from entropice_core.sources.base import AddsUpPixels, ServesGrids
    from entropice_core.sources.tiled import TiledSource

    source = open_source(name, context.study.sources[name], context.data_root, context.settings.home / "work")
    if context.settings.sums_on_gpu and isinstance(source, AddsUpPixels):
        source = source.adding_up_with(gpu_arrays())
    if isinstance(source, TiledSource) and Compute.parse(context.settings.compute).kind == "dask":
        source = source.within(context.settings.memory_of("features"))  # a worker that others count on
    if isinstance(source, ServesGrids):
        source = source.serving(_cells_of_grids(context), context.say)
    here = context.open("cells", Partition(partition.grid))
    made = source.features(context.grid(partition), here, partition.year)
    months = _months_not_final(made, source.files(partition.year))
    notes = (f"Made of ERA5T, which may still change, in {', '.join(months)}.",) if months else ()
    counts = _counts(made) | ({"provisional_months": len(months)} if months else {})
    return Built(
        _decorated(context, partition, made), counts=counts, notes=notes, provisional=bool(months), schema="features"
    )


def _cells_of_grids(context: Context) -> "dict[str, UInt64]":
    """The cells of all grids of the study that are there already."""
    found = {}
    for key in context.study.study.grids:
        with suppress(MissingPartitionError):
            found[key] = context.open("cells", Partition(key))["cell_ids"].values
    return found


def _months_not_final(made: "xr.Dataset", files: list[Path]) -> list[str]:
    """List the months of ERA5T in features: the source says so, or the files that it read do."""
    from entropice_core.fetch.survey import provisional_months

    said = made.attrs.get("provisional_months")
    return provisional_months(files) if said is None else str(said).split()


def assembled(context: Context, grid: str, year: int) -> "xr.Dataset":
    """Open the features of all sources for one grid and year, joined; for training and for prediction alike."""
    from entropice_core.features.assemble import assemble

    parts = {
        name: context.open(f"features.{name}", Partition(grid, year if config.is_yearly else None))
        for name, config in context.study.sources.items()
    }
    return assemble(context.open("cells", Partition(grid)), parts)


def training_set(context: Context, partition: Partition, _: Path) -> Built:
    """Join labels and features of all years."""
    from entropice_core.dataset.training_set import build_training_set

    grid, target = str(partition.grid), context.study.target
    years = context.study.study.years.all()
    by_year = {year: context.open(f"labels.{target.inventory}", Partition(grid, year)) for year in years}
    made = build_training_set(
        by_year, {year: assembled(context, grid, year) for year in years}, target.min_observed_fraction
    )
    counts = made.attrs.pop("counts")
    return Built(made, counts=counts)


def model(name: str, context: Context, partition: Partition, folder: Path) -> Built:
    """Validate, calibrate and fit one model."""
    from entropice_core.applicability.trust import add_trust
    from entropice_core.training.train import COST, train_model

    table = context.open("training_set", partition).load()
    grid = context.grid(partition)
    summary = train_model(name, context.study, grid, table, folder, context.say)
    trust = add_trust(name, context.study, grid, table, context.open("cells", partition), folder)
    return Built(folder, counts={**summary, **trust}, volatile=(COST,))


def permuted_again(name: str, context: Context, partition: Partition, seed: int) -> dict[str, Any]:
    """Run the permuted-label control of a trained model again; nothing is published."""
    from entropice_core.training.on_demand import permute_again
    from entropice_core.training.persist import load_model

    trained = load_model(context.store.path(f"model.{name}", partition))
    table = context.open("training_set", partition).load()
    return permute_again(name, context.study, context.grid(partition), table, trained, seed)


def track_model(name: str, context: Context, partition: Partition) -> dict[str, Any]:
    """Record the training run in MLflow, once."""
    from entropice_core.pipeline.receipts import track

    return track(name, context, partition)


def track_map(name: str, context: Context, partition: Partition) -> dict[str, Any]:
    """Add the picture of a map to the MLflow run of its model, once."""
    from entropice_core.pipeline.receipts import track_map as track

    return track(name, context, partition)


def track_champions(context: Context, partition: Partition) -> dict[str, Any]:
    """Name the best model of each grid in the model registry of MLflow."""
    from entropice_core.pipeline.receipts import track_champions as track

    return track(context, partition)


def proxies(name: str, context: Context, partition: Partition, folder: Path) -> Built:
    """Find out which variables tell, and whether that is stable over folds and seeds."""
    from entropice_core.proxies.discover import discover_proxies
    from entropice_core.training.persist import load_model

    table = context.open("training_set", partition).load()
    model = load_model(context.store.path(f"model.{name}", partition))
    counts = discover_proxies(name, context.study, context.grid(partition), table, model, folder, context.say)
    return Built(folder, counts=counts)


def prediction(name: str, context: Context, partition: Partition, _: Path) -> Built:
    """Predict every cell of one grid and year."""
    from entropice_core.compute import Compute
    from entropice_core.prediction.infer import add_observations
    from entropice_core.prediction.scale import predict_study
    from entropice_core.training.persist import load_model

    study, store, on_grid = context.study, context.store, Partition(partition.grid)
    wanted = {f"model.{name}": on_grid, "cells": on_grid}
    used = study.models[name].sources or tuple(study.sources)
    wanted |= {f"features.{n}": partition if study.sources[n].is_yearly else on_grid for n in used}
    folders = {dataset: store.path(dataset, where) for dataset, where in wanted.items()}
    sources = {n: folders[f"features.{n}"] for n in used}
    compute = Compute.parse(context.settings.compute)
    made = predict_study(folders[f"model.{name}"], str(partition.grid), folders["cells"], sources, compute)
    stored = load_model(folders[f"model.{name}"])
    labels = f"labels.{study.target.inventory}"
    add_observations(made, context.open(labels, partition), stored.edges, study.target.min_observed_fraction)
    digests = {
        dataset: store.manifest(dataset, where).digest for dataset, where in {**wanted, labels: partition}.items()
    }
    made.attrs |= _carried(study, name, stored.feature_set, digests)
    return Built(_decorated(context, partition, made), counts=_predicted(made), schema="predictions")


def _carried(study: "Study", name: str, feature_set: str, digests: dict[str, str]) -> dict[str, Any]:
    """Say what every prediction and map made from it carries along."""
    from entropice_core.pipeline.words import feature_set_words

    return {
        "model": name,
        "feature_sets": feature_set_words(study, name),
        "feature_set_digest": feature_set,
        "data_digests": ", ".join(f"{dataset} {digest[:12]}" for dataset, digest in sorted(digests.items())),
    }


def _predicted(made: "xr.Dataset") -> dict[str, Any]:
    known = made["probability"].notnull().values
    inside = made["is_applicable"].values[known] == 1
    return {
        "cells": int(known.size),
        "without features": int((~known).sum()),
        "outside the area of applicability": int((~inside).sum()),
        INSIDE: float(inside.mean()) if inside.size else 0.0,
        "mean set size": float(made["set_size"].values[known].mean()) if inside.size else 0.0,
    }


def priority(name: str, context: Context, partition: Partition, folder: Path) -> Built:
    """Rank the unobserved cells of one grid and year, and measure what the ranking saves."""
    import pandas as pd

    from entropice_core.pipeline.words import credit_words
    from entropice_core.priority.rank import held_out_gain, rank_cells, write_priority
    from entropice_core.training.persist import load_model

    on_grid, grid = Partition(partition.grid), context.grid(partition)
    trained = context.store.path(f"model.{name}", on_grid)
    predicted = context.open(f"prediction.{name}", partition)
    held_out = pd.read_parquet(trained / "out_of_fold.parquet")
    table = context.open("training_set", on_grid)
    gain = held_out_gain(context.study, grid, load_model(trained), table, held_out)
    ranked = rank_cells(grid, predicted, context.open("cells", on_grid))
    words = credit_words(context.study)
    counts = write_priority(folder, context.study, name, grid, partition, predicted, ranked, gain, words)
    return Built(folder, counts=counts)


def map_(name: str, context: Context, partition: Partition, folder: Path) -> Built:
    """Draw the map of one prediction and write its cells as GeoParquet."""
    from entropice_core.pipeline.words import credit_words
    from entropice_core.prediction.export import DERIVED, write_map

    predicted = context.open(f"prediction.{name}", partition)
    digest = context.store.manifest(f"prediction.{name}", partition).digest
    cv = json.loads((context.store.path(f"model.{name}", Partition(partition.grid)) / "cv.json").read_text())
    origin = f"prediction.{name} {partition} · digest {digest[:12]} · {skill(cv)}"
    counts = write_map(folder, credit_words(context.study), name, context.grid(partition), partition, predicted, origin)
    return Built(folder, counts=counts, volatile=tuple(file for file in DERIVED if (folder / file).is_file()))


def skill(cv: dict[str, Any]) -> str:
    """Say in a few words how good the model of a map is, as a map without its skill looks surer than it is."""
    found = cv["spatial"]["summary"]

    def shown(metric: str) -> str:
        entry = found[metric]
        return "undefined" if entry["mean"] is None else f"{entry['mean']:.3f} ± {entry['sd']:.3f}"

    return f"spatial CV: ROC AUC {shown('roc_auc')}, Brier skill {shown('brier_skill')}"


def comparison(context: Context, _: Partition, folder: Path) -> Built:
    """Put the scores of all models beside each other, and compare every two on the same places."""
    from entropice_core.comparison.paired import read_entry, write_pairs
    from entropice_core.comparison.table import write_comparison

    study, folders = context.study, _models(context)
    found = {key: json.loads((path / "cv.json").read_text()) for key, path in folders.items()}
    counts = write_comparison(folder, study, found)
    pairs = write_pairs(folder, [read_entry(path, study.study.name) for path in folders.values()], study.study.title)
    return Built(folder, counts={**counts, "pairs": len(pairs)})


def map_agreement(context: Context, partition: Partition, folder: Path) -> Built:
    """Compare the maps of all models and grids of one year at common points."""
    from entropice_core.comparison.agreement import write_agreement

    maps = {}
    for name, grid in _models(context):
        if context.study.models[name].model == "prevalence":
            continue  # tells all cells alike: its map agrees with nothing and differs from nothing
        predicted = context.open(f"prediction.{name}", Partition(grid, partition.year))
        maps[name, grid] = predicted["cell_ids"].values, predicted["probability"].values.astype(float)
    words = f"{context.study.study.title}, {partition.year}: susceptibility as ranks within each map"
    return Built(folder, counts=write_agreement(folder, context.area, maps, words))


def report(context: Context, _: Partition, folder: Path) -> Built:
    """Write the report of the study: from which data, how good, why believe it."""
    from entropice_core.comparison.report import Material, write_report

    study, store, folders = context.study, context.store, _models(context)
    years, everywhere = study.study.years.all(), Partition()
    on_grids = [Partition(grid) for grid in study.study.grids]
    rests_on = [("training_set", where) for where in on_grids]
    rests_on += [(f"model.{name}", Partition(grid)) for name, grid in folders]
    applicable = {
        (name, grid): {
            year: store.manifest(f"prediction.{name}", Partition(grid, year)).counts[INSIDE] for year in years
        }
        for name, grid in folders
    }
    material = Material(
        cvs={key: json.loads((path / "cv.json").read_text()) for key, path in folders.items()},
        importances={key: json.loads((path / "importance.json").read_text()) for key, path in folders.items()},
        trusts={key: json.loads((path / "trust.json").read_text()) for key, path in folders.items()},
        applicable=applicable,
        models=folders,
        comparison=store.path("comparison", everywhere),
        agreement={year: store.path("map_agreement", Partition(None, year)) for year in years},
        inputs=[(dataset, str(where), store.manifest(dataset, where).digest) for dataset, where in rests_on],
        rows={str(where.grid): store.manifest("training_set", where).counts for where in on_grids},
    )
    return Built(folder, counts=write_report(folder, study, material))


def _models(context: Context) -> dict[tuple[str, str], Path]:
    """Find the folder of every model on every grid: (model, grid) -> folder."""
    grids, names = context.study.study.grids, context.study.models
    return {(name, grid): context.store.path(f"model.{name}", Partition(grid)) for name in names for grid in grids}


def _decorated(context: Context, partition: Partition, made: "xr.Dataset") -> "xr.Dataset":
    from entropice_core.storage.conventions import apply_conventions

    return apply_conventions(made, context.grid(partition).attrs())


def _counts(made: "xr.Dataset") -> dict[str, Any]:
    counts = made.attrs.get("counts", "{}")
    parsed: dict[str, Any] = json.loads(counts) if isinstance(counts, str) else counts
    return parsed
