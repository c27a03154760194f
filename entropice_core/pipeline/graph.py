"""The products of a study, in an order in which everything needed comes first."""

from functools import partial
from typing import Any

from pydantic import BaseModel

from entropice_core.config import Study
from entropice_core.pipeline import steps
from entropice_core.pipeline.label_products import independent_products, label_products
from entropice_core.pipeline.product import Product
from entropice_core.pipeline.run import Graph
from entropice_core.pipeline.words import credit_words, feature_set_words, score_notes
from entropice_core.registry import MODELS, SOURCES

TRAINING_MODULES = (
    "entropice_core.labels.uncertainty",
    "entropice_core.models.preprocess",
    "entropice_core.dataset.folds",
    "entropice_core.dataset.pixels",
    "entropice_core.dataset.temporal",
    "entropice_core.dataset.classes",
    "entropice_core.training.candidates",
    "entropice_core.training.search",
    "entropice_core.training.calibrate",
    "entropice_core.training.metrics",
    "entropice_core.training.class_metrics",
    "entropice_core.training.climatology",
    "entropice_core.training.folds_of_study",
    "entropice_core.training.controls",
    "entropice_core.training.importance",
    "entropice_core.training.nested_cv",
    "entropice_core.training.train",
)


TRUST_MODULES = (
    "entropice_core.training.conformal",
    "entropice_core.applicability.index",
    "entropice_core.applicability.distances",
    "entropice_core.applicability.trust",
)

MORE_MODULES = {
    "arcticdem": ("entropice_core.features.streaming", "entropice_core.terrain.derivatives"),
    "alphaearth": ("entropice_core.features.streaming", "entropice_core.embeddings.tiles"),
}
"""What else makes the features of a kind of source."""


def build_graph(study: Study) -> Graph:
    """List the products of a study by dataset name."""
    products = [
        _cells(study),
        *(_inventory(study, name) for name in study.inventories),
        *(_labels(study, name) for name in study.inventories),
        *label_products(study),
        *(_features(study, name) for name in study.sources),
        _training_set(study),
        *(_model(study, name) for name in study.models),
        *(_prediction(study, name) for name in study.models),
        *(_map(study, name) for name in _with_features(study)),
        *(_proxies(study, name) for name in _with_features(study)),
        *(_priority(study, name) for name in _with_features(study)),
        _comparison(study),
        _map_agreement(study),
        _report(study),
        *independent_products(study),
    ]
    return {product.dataset: product for product in products}


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _cells(study: Study) -> Product:
    return Product(
        dataset="cells",
        group="grids",
        title="Cells of the study area with their areas and land fractions",
        dimensions=("grid",),
        needs=(),
        modules=("entropice_core.grids.cells", "entropice_core.grids.land"),
        config=_plain(study.study_area),
        build=steps.cells,
        files=steps.study_area_files if study.study_area.polygons else None,
    )


def _inventory(study: Study, name: str) -> Product:
    config = study.inventories[name]
    return Product(
        dataset=f"inventory.{name}",
        group="labels",
        title=config.title,
        dimensions=(),
        needs=(),
        modules=("entropice_core.labels.inventory",),
        config={
            "inventory": _plain(config),
            "years": _plain(study.study.years),
            "study_area": _plain(study.study_area),
        },
        build=partial(steps.inventory, name),
        files=partial(steps.inventory_files, name),
    )


def _labels(study: Study, name: str) -> Product:
    return Product(
        dataset=f"labels.{name}",
        group="labels",
        title=f"Count, area and density of RTS per cell and year: {study.inventories[name].title}",
        dimensions=("grid", "year"),
        needs=("cells", f"inventory.{name}"),
        modules=("entropice_core.labels.density",),
        config={},
        build=partial(steps.labels, name),
    )


def _features(study: Study, name: str) -> Product:
    config = study.sources[name]
    return Product(
        dataset=f"features.{name}",
        group="features",
        title=config.title,
        dimensions=("grid", "year") if config.is_yearly else ("grid",),
        needs=("cells",),
        modules=(SOURCES.modules[config.kind], "entropice_core.features.zonal", *MORE_MODULES.get(config.kind, ())),
        config={key: value for key, value in _plain(config).items() if key not in config.only_of_fetching},
        build=partial(steps.features, name),
        files=partial(steps.feature_files, name),
        adds_up_pixels=config.adds_up_pixels,
    )


def _feature_sets(study: Study, model: str | None = None) -> tuple[str, ...]:
    used = (study.models[model].sources if model else ()) or study.sources
    return tuple(f"features.{name}" for name in sorted(used))


def _training_set(study: Study) -> Product:
    return Product(
        dataset="training_set",
        group="dataset",
        title="Observed cell-years with labels and the features of all sources",
        dimensions=("grid",),
        needs=("cells", f"labels.{study.target.inventory}", *_feature_sets(study)),
        modules=("entropice_core.dataset.training_set", "entropice_core.features.assemble"),
        config={
            "inventory": study.target.inventory,
            "min_observed_fraction": study.target.min_observed_fraction,
            "sources": sorted(study.sources),
            "years": _plain(study.study.years),
        },
        build=steps.training_set,
    )


def _model(study: Study, name: str) -> Product:
    config = study.models[name]
    return Product(
        dataset=f"model.{name}",
        group="models",
        title=f"{name}: nested spatial validation, calibration and the final model",
        dimensions=("grid",),
        needs=("cells", "training_set"),
        modules=(MODELS.modules[config.model], *TRAINING_MODULES, *TRUST_MODULES),
        config={
            "model": _plain(config),
            "target": _plain(study.target),
            "folds": _plain(study.folds),
            "training": _plain(study.training),
            "uncertainty": _plain(study.uncertainty),
        },
        draws_random=True,
        build=partial(steps.model, name),
        after=partial(steps.track_model, name),
    )


def _prediction(study: Study, name: str) -> Product:
    return Product(
        dataset=f"prediction.{name}",
        group="predictions",
        title=f"{name}: calibrated probability of every cell",
        dimensions=("grid", "year"),
        needs=("cells", f"model.{name}", f"labels.{study.target.inventory}", *_feature_sets(study, name)),
        modules=(
            "entropice_core.prediction.infer",
            "entropice_core.prediction.scale",
            "entropice_core.features.assemble",
        ),
        config={
            "model": name,
            "feature_sets": feature_set_words(study, name),
            "inventory": study.target.inventory,
            "min_observed_fraction": study.target.min_observed_fraction,
        },
        build=partial(steps.prediction, name),
    )


def _map(study: Study, name: str) -> Product:
    return Product(
        dataset=f"map.{name}",
        group="predictions",
        title=f"{name}: maps of probability and expected density, and the cells as GeoParquet, GeoTIFF and PMTiles",
        dimensions=("grid", "year"),
        needs=("cells", f"model.{name}", f"prediction.{name}"),
        modules=("entropice_core.prediction.maps", "entropice_core.prediction.export"),
        config={"model": name, "words": credit_words(study)},
        build=partial(steps.map_, name),
        after=partial(steps.track_map, name),
    )


def _with_features(study: Study) -> list[str]:
    """Name the models that look at the features: the baseline tells all cells alike."""
    return [name for name, config in study.models.items() if config.model != "prevalence"]


def _proxies(study: Study, name: str) -> Product:
    config = study.models[name]
    return Product(
        dataset=f"proxies.{name}",
        group="models",
        title=f"{name}: which variables tell, and whether that is stable over folds and seeds",
        dimensions=("grid",),
        needs=("training_set", f"model.{name}"),
        modules=(
            MODELS.modules[config.model],
            "entropice_core.proxies.discover",
            "entropice_core.training.shap_trees",
            "entropice_core.training.stability",
        ),
        config={
            "model": _plain(config),
            "target": _plain(study.target),
            "folds": _plain(study.folds),
            "proxies": _plain(study.proxies),
        },
        draws_random=True,
        build=partial(steps.proxies, name),
    )


def _priority(study: Study, name: str) -> Product:
    return Product(
        dataset=f"priority.{name}",
        group="predictions",
        title=f"{name}: unobserved cells in the order in which to look at them, and the work that it saves",
        dimensions=("grid", "year"),
        needs=("cells", "training_set", f"model.{name}", f"prediction.{name}"),
        modules=("entropice_core.priority.gain", "entropice_core.priority.rank"),
        config={"model": name, "folds": _plain(study.folds), "words": credit_words(study)},
        draws_random=True,
        build=partial(steps.priority, name),
    )


def _comparison(study: Study) -> Product:
    return Product(
        dataset="comparison",
        group="comparison",
        title="Scores of every model on every grid, and their paired differences on the same places",
        dimensions=(),
        needs=tuple(f"model.{name}" for name in study.models),
        modules=("entropice_core.comparison.table", "entropice_core.comparison.paired"),
        config={"models": list(study.models), "grids": list(study.study.grids), "words": score_notes(study)},
        build=steps.comparison,
        after=steps.track_champions,
    )


def _map_agreement(study: Study) -> Product:
    return Product(
        dataset="map_agreement",
        group="comparison",
        title="Where the maps of models and grids agree, at common points",
        dimensions=("year",),
        needs=tuple(f"prediction.{name}" for name in _with_features(study)),
        modules=("entropice_core.comparison.agreement",),
        config={
            "models": _with_features(study),
            "grids": list(study.study.grids),
            "study_area": _plain(study.study_area),
            "title": study.study.title,
        },
        build=steps.map_agreement,
        files=steps.study_area_files if study.study_area.polygons else None,
    )


def _report(study: Study) -> Product:
    return Product(
        dataset="report",
        group="comparison",
        title="The report of the study: from which data, how good, why believe it, what to doubt",
        dimensions=(),
        needs=(
            "training_set",
            *(f"model.{name}" for name in study.models),
            *(f"prediction.{name}" for name in study.models),
            "comparison",
            "map_agreement",
        ),
        modules=("entropice_core.comparison.report", "entropice_core.comparison.table"),
        config={"study": _plain(study)},
        build=steps.report,
    )
