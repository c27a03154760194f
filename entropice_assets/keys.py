"""Names of datasets as Dagster asset keys: ``labels.darts`` is ``labels_darts``.

One part, because the graph shows the last part of a key only, and three nodes called ``espa`` tell nobody apart.
"""

import dagster as dg


def asset_key(dataset: str) -> dg.AssetKey:
    """Name the asset of a dataset.

    >>> asset_key("labels.darts").path
    ['labels_darts']
    """
    return dg.AssetKey(dataset.replace(".", "_"))


def files_key(source: str) -> dg.AssetKey:
    """Name the asset of the files that are fetched for a source.

    >>> files_key("era5").path
    ['files_era5']
    """
    return dg.AssetKey(f"files_{source}")
