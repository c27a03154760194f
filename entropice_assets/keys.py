"""Names of datasets as Dagster asset keys: ``labels.darts`` is ``labels / darts``."""

import dagster as dg


def asset_key(dataset: str) -> dg.AssetKey:
    """Split the name of a dataset at its first dot.

    >>> asset_key("labels.darts").path
    ['labels', 'darts']
    """
    return dg.AssetKey(dataset.split(".", 1))
