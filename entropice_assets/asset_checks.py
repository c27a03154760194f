"""The checks of ``entropice_core.checks`` as Dagster asset checks.

Only translation belongs here: what is checked, and what is an error and what a warning, is decided in the core. A check
of Dagster has one result for all partitions (checks per partition are a preview), the latest; so the verdicts are
also part of each partition's metadata.
"""

from collections.abc import Sequence

import dagster as dg

from entropice_assets.keys import asset_key
from entropice_assets.values import to_metadata, to_table
from entropice_core.checks import Finding, checks_of
from entropice_core.describe import Row
from entropice_core.pipeline.product import Product


def check_specs(product: Product) -> list[dg.AssetCheckSpec]:
    """Announce the checks of an asset; an error stops what comes after it in the same run."""
    return [
        dg.AssetCheckSpec(
            name=check.name,
            asset=asset_key(product.dataset),
            description=check.description,
            blocking=check.severity == "error",
        )
        for check in checks_of(product)
    ]


def check_results(product: Product, findings: Sequence[Finding]) -> list[dg.AssetCheckResult]:
    """Report one result per check: in a run of several partitions it passes when it passes in all of them."""
    return [_result(product, [f for f in findings if f.check.name == check.name]) for check in checks_of(product)]


def _result(product: Product, findings: Sequence[Finding]) -> dg.AssetCheckResult:
    failed = [finding for finding in findings if not finding.verdict.passed]
    check = findings[0].check
    return dg.AssetCheckResult(
        passed=not failed,
        asset_key=asset_key(product.dataset),
        check_name=check.name,
        severity=dg.AssetCheckSeverity.ERROR if check.severity == "error" else dg.AssetCheckSeverity.WARN,
        description=_sentence(findings, failed),
        metadata={name: to_metadata(value) for name, value in findings[0].verdict.numbers.items()}
        if len(findings) == 1
        else {"partitions": to_table([_row(finding) for finding in findings])},
    )


def _sentence(findings: Sequence[Finding], failed: Sequence[Finding]) -> str:
    if len(findings) == 1:
        return findings[0].verdict.sentence
    said = " ".join(f"{finding.partition}: {finding.verdict.sentence}" for finding in failed)
    return said or f"Holds in all {len(findings)} partitions of this run."


def _row(finding: Finding) -> Row:
    return {
        "partition": str(finding.partition),
        "passed": "yes" if finding.verdict.passed else "no",
        "found": finding.verdict.sentence,
    }
