"""Features of years whose files have come.

``features_of_new_years`` is off until it is switched on. The ready-made condition ``eager`` would not do: it looks at
the latest year that the study offers, which is one that has no data yet, and it would build all years anew whenever
the cells of a grid are.
"""

from typing import Any

import dagster as dg

from entropice_assets.keys import asset_key, files_key
from entropice_core.config import SourceBase, Study
from entropice_core.pipeline.product import Product
from entropice_core.pipeline.run import Graph


def fetched_for(product: Product, study: Study) -> list[dg.AssetKey]:
    """Name the files that features are made from, where the study fetches them.

    With a lag the year of the files is not that of the features, which Dagster cannot say of two dimensions; then the
    files stand alone, and the sensor ``changed_input_files`` sees that they have changed.
    """
    if product.kind != "features":
        return []
    own = product.dataset.removeprefix("features.")
    source = study.sources[own]
    if source.kind == "arcticdem" or (source.kind == "alphaearth" and source.lag == 0):
        return [files_key(own)]
    return [files_key(name) for name in study.fetch if source.lag == 0 and _path(study.sources[name]) == _path(source)]


def _path(source: SourceBase) -> str | None:
    """Give the place of a source's files: two sources may read the same, such as a year and its history."""
    return getattr(source, "path", None)


def when_updated(fetched: list[dg.AssetKey]) -> dg.AutomationCondition[Any] | None:
    """Ask for partitions whose files have come or changed, once, as soon as all that they are made from is there."""
    if not fetched:
        return None
    has_come = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
    condition = (
        has_come.allow(dg.AssetSelection.assets(*fetched)).since_last_handled()
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )
    return condition.with_label("when its files have come")


def make_automation(graph: Graph, study: Study) -> list[dg.SensorDefinition]:
    """Make the sensor that looks at the conditions, where the study fetches files."""
    features = [asset_key(name) for name, product in graph.items() if fetched_for(product, study)]
    if not features:
        return []
    return [
        dg.AutomationConditionSensorDefinition(
            "features_of_new_years",
            target=dg.AssetSelection.assets(*features),
            default_status=dg.DefaultSensorStatus.STOPPED,
            minimum_interval_seconds=30,
            description="Asks for the features of every grid when the files of a year have come or changed.",
        )
    ]
