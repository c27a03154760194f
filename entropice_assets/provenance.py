"""Data versions: the content digest of the store, also in runs that build several partitions.

Dagster gives all partitions of a ranged run one data version. Ours differ, so such a run says for each partition what
its digest is: once as soon as it is finished (a failure at the thirtieth year keeps the twenty-nine before it), and
once more after Dagster's own events, which would otherwise be the last word. A run of one partition needs neither.
"""

from collections.abc import Mapping

import dagster as dg

from entropice_assets.results import Part

DATA_VERSION = "dagster/data_version"
USER_PROVIDED = "dagster/data_version_is_user_provided"
CODE_VERSION = "dagster/code_version"
DIMENSION = "dagster/partition/"


def log_finished(context: dg.AssetExecutionContext, key: str | None, part: Part) -> None:
    """Record one finished partition of a ranged run at once."""
    if key is not None and len(context.partition_keys) > 1:
        dimensions = key.keys_by_dimension if isinstance(key, dg.MultiPartitionKey) else {}
        tags = {f"{DIMENSION}{name}": value for name, value in dimensions.items()}
        _log(context, key, part, {**tags, CODE_VERSION: part.outcome.product.code_version})


def log_again(context: dg.AssetExecutionContext, parts: Mapping[str | None, Part]) -> None:
    """Record each partition of a ranged run after Dagster's own events, with the inputs that Dagster found."""
    if len(parts) == 1:
        return
    for key, part in parts.items():
        wanted = dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=[str(key)])
        records = context.instance.fetch_materializations(wanted, limit=1).records
        last = records[0].asset_materialization if records else None
        _log(context, str(key), part, dict(last.tags or {}) if last else {})


def _log(context: dg.AssetExecutionContext, key: str, part: Part, tags: Mapping[str, str]) -> None:
    versions = {**tags, DATA_VERSION: part.outcome.manifest.digest, USER_PROVIDED: "true"}
    event = dg.AssetMaterialization(context.asset_key, partition=key, metadata=part.metadata, tags=versions)
    context.log_event(event)
