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
