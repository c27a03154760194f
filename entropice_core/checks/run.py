"""The checks of each kind of dataset, and their findings in one partition."""

from typing import Any

from entropice_core.checks import cells, features, files, labels, models, predictions
from entropice_core.checks.verdict import Check, Finding, Subject
from entropice_core.pipeline.product import Context, Product
from entropice_core.storage.manifest import Manifest

CHECKS: dict[str, tuple[Check, ...]] = {
    **cells.CHECKS, **labels.CHECKS, **features.CHECKS, **models.CHECKS, **predictions.CHECKS, **files.CHECKS
}  # fmt: skip
"""By the kind of a product."""


def checks_of(product: Product) -> tuple[Check, ...]:
    """List the checks of a product; the list depends on its kind only."""
    return CHECKS.get(product.kind, ())


def check_partition(context: Context, product: Product, manifest: Manifest) -> list[Finding]:
    """Run all checks of a product on one of its published versions."""
    checks = checks_of(product)
    if not checks:
        return []
    partition = manifest.partition
    is_dataset = manifest.kind == "zarr"
    content: Any = context.store.open(product.dataset, partition) if is_dataset else None
    if content is None:
        content = context.store.path(product.dataset, partition)
    subject = Subject(context.study, product, partition, manifest, content)
    return [Finding(check, partition, check.judge(subject)) for check in checks]
