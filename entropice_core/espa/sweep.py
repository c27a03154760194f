"""One pass over the rows: costs, affiliations and the sums that all other steps need.

What must not be here: updates of parameters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.backend import Array
from entropice_core.espa.host_pass import HardSums
from entropice_core.espa.rows import Rows
from entropice_core.espa.steps import Statistics, split_statistics

_EMPTY = 1e-14  # mass below which a cluster of soft affiliations is pruned; hard masses are never between 0 and this


@dataclass(frozen=True)
class Pass:
    """Statistics of a pass and, where asked for, more.

    Attributes
    ----------
    statistics : Statistics
    disagreement : (B,)
        Weight share of the rows whose cheapest cluster differs between two operators; 0 without a second one.
    labels : (T, B) int on the host, optional
        Cheapest cluster of each row.
    """

    statistics: Statistics
    disagreement: Array
    labels: NDArray[np.intp] | None


def pass_over_rows(
    rows: Rows,
    operator: Array,
    fold: Array,
    eps_a: Array | None,
    *,
    against: Array | None = None,
    keep_labels: bool = False,
) -> Pass:
    """Assign every row in every fit and sum.

    Parameters
    ----------
    rows : Rows
    operator : (B, K, columns)
        From :func:`entropice_core.espa.steps.cost_operator`.
    fold : (B,) int64
        Which row of ``rows.weights`` each fit sees.
    eps_a : (B,) or None
        Temperature of soft affiliations; None = hard.
    against : (B, K, columns), optional
        A second operator to compare the assignments with.
    keep_labels : bool
    """
    if rows.backend.is_numpy and eps_a is None:
        return _pass_on_host(rows, operator, fold, against, keep_labels)
    return rows.with_room(lambda: _pass_in_blocks(rows, operator, fold, eps_a, against, keep_labels))


def _pass_in_blocks(
    rows: Rows, operator: Array, fold: Array, eps_a: Array | None, against: Array | None, keep_labels: bool
) -> Pass:
    backend, xp = rows.backend, rows.backend.xp
    n_fits, n_clusters, n_columns = operator.shape
    totals = backend.numbers(np.zeros((n_fits * n_clusters, n_columns)))
    entropy, disagreement = backend.numbers(np.zeros(n_fits)), backend.numbers(np.zeros(n_fits))
    kept: list[NDArray[np.intp]] = []
    for start, stop in rows.ranges(n_fits * n_clusters):
        block = rows.block(start, stop)
        cost = block_costs(xp, block, operator)
        weights = xp.permute_dims(xp.take(rows.weights[:, start:stop], fold, axis=0), (1, 0))
        labels = xp.argmin(cost, axis=-1) if eps_a is None or keep_labels or against is not None else None
        if eps_a is None:
            totals = totals + _hard_sums(rows, block, labels, weights, n_clusters)
        else:
            soft, gain = _soft_affiliations(xp, cost, eps_a)
            entropy = entropy + xp.sum(weights * gain, axis=0)
            totals = totals + _soft_sums(xp, block, soft * weights[:, :, None])
        if against is not None:
            moved = xp.argmin(block_costs(xp, block, against), axis=-1) != labels
            disagreement = disagreement + xp.sum(weights * xp.astype(moved, xp.float64), axis=0)
        if keep_labels:
            kept.append(backend.to_host(labels))
    totals = xp.reshape(totals, (n_fits, n_clusters, n_columns))
    statistics = split_statistics(rows.layout, totals, entropy)
    return Pass(statistics, disagreement, np.concatenate(kept) if kept else None)


def block_costs(xp: Any, block: Array, operator: Array) -> Array:
    """(n, B, K) cost of every row of a block in every cluster of every fit, as one matrix product."""
    n_fits, n_clusters, n_columns = operator.shape
    flat = xp.permute_dims(xp.reshape(operator, (n_fits * n_clusters, n_columns)), (1, 0))
    return xp.reshape(xp.matmul(block, flat), (block.shape[0], n_fits, n_clusters))


def living(statistics: Statistics) -> Array:
    """(B, K) bool: clusters that hold any weight."""
    return statistics.mass > _EMPTY


def soften(xp: Any, cost: Array, temperature: Array) -> Array:
    """Softmax over clusters of -cost / temperature; cost (n, B, K), temperature (B,) > 0."""
    return _soft_affiliations(xp, cost, temperature)[0]


def _soft_affiliations(xp: Any, cost: Array, eps_a: Array) -> tuple[Array, Array]:
    """Affiliations (n, B, K) and sum_k Gamma log Gamma (n, B)."""
    cost = xp.astype(cost, xp.float64)
    logits = (xp.min(cost, axis=-1, keepdims=True) - cost) / eps_a[None, :, None]
    raised = xp.exp(logits)
    total = xp.sum(raised, axis=-1, keepdims=True)
    soft = raised / total
    return soft, xp.sum(soft * logits, axis=-1) - xp.log(total[:, :, 0])


def _soft_sums(xp: Any, block: Array, affiliations: Array) -> Array:
    n_rows, n_fits, n_clusters = affiliations.shape
    flat = xp.permute_dims(xp.reshape(affiliations, (n_rows, n_fits * n_clusters)), (1, 0))
    return xp.astype(xp.matmul(xp.astype(flat, block.dtype), block), xp.float64)


def _hard_sums(rows: Rows, block: Array, labels: Array, weights: Array, n_clusters: int) -> Array:
    """Sums (B K, columns) of weighted rows per cluster, as a product with one-hot rows."""
    xp = rows.backend.xp
    numbers = rows.backend.integers(np.arange(n_clusters))
    chosen = xp.astype(labels[:, :, None] == numbers[None, None, :], xp.float64)
    return _soft_sums(xp, block, chosen * weights[:, :, None])


def _pass_on_host(rows: Rows, operator: Array, fold: Array, against: Array | None, keep_labels: bool) -> Pass:
    """The same with the sums of ``host_pass.py``."""
    n_fits, n_clusters, _ = operator.shape
    every_row = keep_labels or against is not None
    sums = HardSums(rows, fold, n_clusters, every_row=every_row)
    statistics = split_statistics(rows.layout, sums.assign(operator), np.zeros(n_fits))
    labels = sums.labels().T if every_row else None
    disagreement = np.zeros(n_fits)
    if against is not None and labels is not None:
        other = HardSums(rows, fold, n_clusters, every_row=True)
        other.assign(against)
        moved = (other.labels() != labels.T) * rows.weights[fold]
        disagreement = moved.sum(axis=1)
    return Pass(statistics, disagreement, labels.astype(np.intp) if keep_labels and labels is not None else None)
