"""Weights of the rows that are learnt, so that rows which fit nowhere (wrong labels, broken values) stop pulling.

The functional gains eps_t sum_t v_t log(v_t / w_t), v being the weights that all other terms use and w the given
ones (entropic outlier sparsification, Horenko 2022, doi 10.1073/pnas.2119659119). The minimiser over v with all else
held is closed: v_t ~ w_t exp(-loss_t / eps_t), with loss_t what the row costs in its cluster. So the loss still
never rises. Every fit has weights of its own, hence costs are computed twice per sweep.
What must not be here: the other steps.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.fit import FitResult, assignment_operator, loss_floor, update_parameters
from entropice_core.espa.objective import evaluate_loss
from entropice_core.espa.rows import Rows
from entropice_core.espa.steps import Parameters, Problem
from entropice_core.espa.sweep import block_costs, pass_over_rows

Floats = NDArray[np.float64]


def row_losses(rows: Rows, problem: Problem, operator: Any, W: Floats, *, soft: bool) -> Floats:
    """(B, T) what each row costs in its cluster; with soft affiliations less their entropy (a soft minimum)."""
    backend, xp = rows.backend, rows.backend.xp
    metric = backend.numbers(np.asarray(W) * backend.to_host(problem.metric))
    temperature = backend.to_host(problem.eps_a)
    parts = []
    for start, stop in rows.ranges(operator.shape[0] * operator.shape[1]):
        block = rows.block(start, stop)
        with backend.full_precision():
            cost = backend.to_host(block_costs(xp, block, operator)).astype(np.float64)
        lowest = cost.min(axis=2)
        if soft:
            raised = np.exp((lowest[:, :, None] - cost) / temperature[None, :, None])
            lowest = lowest - temperature * np.log(raised.sum(axis=2))
        squares = xp.astype(block[:, rows.layout.features], xp.float64) ** 2
        parts.append(lowest + backend.to_host(xp.matmul(squares, xp.permute_dims(metric, (1, 0)))))
    return np.concatenate(parts).T


def learn_weights(losses: Floats, given: Floats, eps_t: float) -> Floats:
    """(B, T) v ~ w exp(-loss / eps_t), of sum 1.

    >>> learn_weights(np.array([[0.0, 0.0, 9.0]]), np.array([[0.25, 0.25, 0.5]]), 1.0).round(3).tolist()
    [[0.5, 0.5, 0.0]]
    """
    used = given > 0
    logits = np.where(used, np.log(np.where(used, given, 1.0)) - losses / eps_t, -np.inf)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights: Floats = raised / raised.sum(axis=1, keepdims=True)
    return weights


def divergence(learnt: Floats, given: Floats) -> Floats:
    """(B,) sum of v log(v / w)."""
    used = learnt > 0
    ratio = np.where(used, learnt / np.where(given > 0, given, 1.0), 1.0)
    result: Floats = (learnt * np.log(ratio)).sum(axis=1)
    return result


def reweighted(rows: Rows, problem: Problem, weights: Floats) -> tuple[Rows, Problem]:
    """Rows and constants under weights (B, T) that every fit has for itself."""
    backend = rows.backend
    own = rows.with_weights(weights)
    fold = backend.integers(np.arange(len(weights)))
    return own, replace(problem, fold=fold, second_moment=backend.numbers(own.second_moments()))


def run_reweighted(
    rows: Rows, problem: Problem, start: FitResult, eps_t: float, *, max_iter: int, tol: float, soft: bool
) -> FitResult:
    """Go on from finished fits with weights that are learnt: Gamma, v, pruning, W, S, Lambda.

    Returns
    -------
    FitResult
        With ``instance_weights`` (B, T); curves go on from the losses of ``start``, where v = w.
    """
    backend = rows.backend
    given = backend.to_host(rows.weights)[backend.to_host(problem.fold)]
    parameters, weights = start.parameters(backend), given
    curves = [list(curve) for curve in start.curves]
    floor, settled = loss_floor(backend, problem), np.zeros(len(curves), dtype=bool)
    for _ in range(max_iter):
        parameters, weights, losses = sweep_reweighted(rows, problem, parameters, given, eps_t, soft=soft)
        previous = np.array([curve[-1] for curve in curves])
        for curve, loss in zip(curves, losses, strict=True):
            curve.append(float(loss))
        settled = previous - losses <= tol * np.maximum(np.abs(losses), floor)
        if settled.all():
            break
    host = {name: backend.to_host(getattr(parameters, name)) for name in ("W", "S", "Lambda", "live")}
    return FitResult(**host, curves=[np.array(c) for c in curves], converged=settled, instance_weights=weights)


def sweep_reweighted(
    rows: Rows, problem: Problem, parameters: Parameters, given: Floats, eps_t: float, *, soft: bool
) -> tuple[Parameters, Floats, Floats]:
    """One sweep; return the new parameters, the weights (B, T) and the loss (B,)."""
    backend, xp = rows.backend, rows.backend.xp
    operator = assignment_operator(rows, problem, parameters, use_labels=True)
    losses = row_losses(rows, problem, operator, backend.to_host(parameters.W), soft=soft)
    weights = learn_weights(losses, given, eps_t)
    own, fixed = reweighted(rows, problem, weights)
    statistics = pass_over_rows(own, operator, fixed.fold, fixed.eps_a if soft else None).statistics
    updated = update_parameters(xp, fixed, parameters, statistics)
    total = backend.to_host(evaluate_loss(xp, fixed, updated, statistics).total)
    return updated, weights, total + eps_t * divergence(weights, given)
