"""One pass over the rows: costs, affiliations and the sums that all other steps need.

What must not be here: updates of parameters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from entropice_core.espa.backend import Array
from entropice_core.espa.rows import Rows
from entropice_core.espa.steps import Statistics, split_statistics

_EMPTY = 1e-14  # mass below which a cluster of soft affiliations is pruned; hard masses are never between 0 and this


@dataclass(frozen=True)
class Pass:
    """Statistics of a pass and, where asked for, the cheapest cluster of each row, (T, B) int on the host."""

    statistics: Statistics
    labels: NDArray[np.intp] | None


def pass_over_rows(rows: Rows, operator: Array, fold: Array, eps_a: Array | None, *, keep_labels: bool = False) -> Pass:
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
    """
    backend, xp = rows.backend, rows.backend.xp
    n_fits, n_clusters, n_columns = operator.shape
    flat = xp.permute_dims(xp.reshape(operator, (n_fits * n_clusters, n_columns)), (1, 0))
    totals = backend.numbers(np.zeros((n_fits * n_clusters, n_columns)))
    entropy = backend.numbers(np.zeros(n_fits))
    kept: list[NDArray[np.intp]] = []
    for start, stop in rows.ranges(n_fits * n_clusters):
        block = rows.block(start, stop)
        cost = xp.reshape(xp.matmul(block, flat), (stop - start, n_fits, n_clusters))
        weights = xp.permute_dims(xp.take(rows.weights[:, start:stop], fold, axis=0), (1, 0))
        if eps_a is None:
            labels = xp.argmin(cost, axis=-1)
            totals = totals + _hard_sums(rows, block, labels, weights, n_clusters)
        else:
            soft, gain = _soft_affiliations(xp, cost, eps_a)
            entropy = entropy + xp.sum(weights * gain, axis=0)
            totals = totals + _soft_sums(xp, block, soft * weights[:, :, None])
            labels = xp.argmin(cost, axis=-1) if keep_labels else None
        if keep_labels:
            kept.append(backend.to_host(labels))
    totals = xp.reshape(totals, (n_fits, n_clusters, n_columns))
    return Pass(split_statistics(rows.layout, totals, entropy), np.concatenate(kept) if kept else None)


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
    """Sums (B K, columns) of weighted rows per cluster: sparse on the host, a product with one-hot rows elsewhere."""
    if not rows.backend.is_numpy:
        xp = rows.backend.xp
        numbers = rows.backend.integers(np.arange(n_clusters))
        chosen = xp.astype(labels[:, :, None] == numbers[None, None, :], xp.float64)
        return _soft_sums(xp, block, chosen * weights[:, :, None])
    n_rows, n_fits = labels.shape
    columns = (labels + np.arange(n_fits) * n_clusters).reshape(-1)
    starts = np.arange(0, n_rows * n_fits + 1, n_fits)
    shape = (n_fits * n_clusters, n_rows)
    chosen = csc_array((np.ascontiguousarray(weights).reshape(-1), columns, starts), shape=shape)
    return (chosen @ block).astype(np.float64, copy=False)
