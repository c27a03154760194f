"""What Dagster shows of a finished partition: the description of ``entropice_core.describe`` as metadata.

Only the choice of what is shown belongs here; nothing is computed.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg

from entropice_assets.asset_checks import check_results
from entropice_assets.keys import asset_key
from entropice_assets.values import to_metadata, to_table
from entropice_core.checks import Finding, check_partition
from entropice_core.describe import Column, Description, describe
from entropice_core.pipeline.product import Context, Product
from entropice_core.pipeline.run import Outcome

Metadata: TypeAlias = dict[str, dg.MetadataValue[Any]]


@dataclass(frozen=True)
class Part:
    """One finished partition: what became of it, what is shown of it, what its checks found."""

    outcome: Outcome
    metadata: Metadata
    findings: Sequence[Finding]


def finish(study: Context, outcome: Outcome) -> Part:
    """Describe and check a partition that is up to date."""
    product, manifest = outcome.product, outcome.manifest
    findings = check_partition(study, product, manifest)
    return Part(outcome, metadata_of(outcome, describe(study, product, manifest), findings), findings)


def to_result(product: Product, parts: Mapping[str | None, Part]) -> dg.MaterializeResult[None]:
    """Report a run: of one partition everything, of several what they have in common."""
    checks = check_results(product, [finding for part in parts.values() for finding in part.findings])
    key = asset_key(product.dataset)
    if len(parts) > 1:
        built = sum(part.outcome.built for part in parts.values())
        shared: Metadata = {"partitions": dg.MetadataValue.int(len(parts)), "built": dg.MetadataValue.int(built)}
        return dg.MaterializeResult(asset_key=key, metadata=shared, check_results=checks)
    (part,) = parts.values()
    version = dg.DataVersion(part.outcome.manifest.digest)
    return dg.MaterializeResult(asset_key=key, metadata=part.metadata, data_version=version, check_results=checks)


def metadata_of(outcome: Outcome, description: Description, findings: Sequence[Finding]) -> Metadata:
    """Say everything about a partition that a person looks for, what tells most first."""
    found: Metadata = {}
    for name, png in (("preview", description.picture), ("histogram", description.histogram)):
        if png is not None:
            inline = b64encode(png).decode("ascii")
            found[name] = dg.MetadataValue.md(f"![{outcome.product.title}](data:image/png;base64,{inline})")
    if findings:
        said = [f"- {'✓' if f.verdict.passed else '✗'} {f.check.name}: {f.verdict.sentence}" for f in findings]
        found["checks"] = dg.MetadataValue.md("\n".join(said))
    if description.notes:
        found["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in description.notes))
    found |= _tables(description, "counts")
    found |= _tracking(outcome.extra)
    found |= {name: to_metadata(value) for name, value in description.facts.items()}
    found |= {"built": to_metadata(outcome.built), "seconds": to_metadata(round(float(outcome.seconds), 3))}
    found |= _tables(description, "statistics", "inputs", "sources")
    if description.rows is not None:
        found["dagster/row_count"] = dg.MetadataValue.int(int(description.rows))
    if description.columns:
        found["dagster/column_schema"] = dg.MetadataValue.table_schema(_schema(description.columns))
    return found


def _tables(description: Description, *names: str) -> Metadata:
    return {name: to_table(rows) for name in names if (rows := getattr(description, name))}


def _schema(columns: list[Column]) -> dg.TableSchema:
    return dg.TableSchema(columns=[dg.TableColumn(c.name, c.type, c.description or None) for c in columns])


def _tracking(extra: Mapping[str, Any]) -> Metadata:
    """Link a model to its MLflow run: an address where there is a server, the id in any case."""
    names = ("mlflow_run_id", "tracking_problem", "permuted_labels_again")
    found = {name: to_metadata(extra[name]) for name in names if extra.get(name)}
    server = str(extra.get("tracking_uri", ""))
    if server.startswith("http") and extra.get("mlflow_path"):
        found["mlflow_run"] = dg.MetadataValue.url(f"{server.rstrip('/')}/{extra['mlflow_path']}")
    return found
