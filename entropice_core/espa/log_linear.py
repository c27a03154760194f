"""Class tables of boxes that are mixed as logarithms and fitted by penalised likelihood.

Why: counting gives every box the shares of its own rows, and a row between two boxes the mean of both. Where classes
are told apart by a slope rather than by clumps, such a staircase loses to logistic regression. Mixing logarithms,
P(m|x) ~ exp(sum_k Gamma_k(x) theta_km), makes the logit a smooth interpolation between boxes; with wide affiliations it
is nearly linear in x, as log Gamma_k - log Gamma_j is. It is the
minimiser of the log-loss of the training rows plus penalty / 2 |theta - log counted table|^2, a convex problem:
multinomial logistic regression on the affiliations (Böhning 1992, doi 10.1007/BF00048682), drawn to the counts
instead of zero.
What must not be here: choice among penalties (by held-out rows, ``read_outs.py``).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

Floats = NDArray[np.float64]

NEWTON = 300  # numbers in a table up to which second derivatives are laid out
SETTLED = 1e-7  # relative fall of the objective at which Newton's method stops


def fit_table(affiliation: Floats, codes: NDArray[np.intp], weights: Floats, counted: Floats, penalty: float) -> Floats:
    """Fit the table of one model.

    Parameters
    ----------
    affiliation : (n, K) float64
        Of training rows, rows sum to one.
    codes : (n,) int
    weights : (n,) float64, in rows
    counted : (K, M) float64
        Class shares by counting, where the table starts and what it is drawn to.
    penalty : float > 0, in rows

    Returns
    -------
    (K, M) float64, theta; rows sum to zero

    Examples
    --------
    A strong penalty leaves the counts as they are.

    >>> half = np.full((1, 2), 0.5)
    >>> softmax(fit_table(np.ones((4, 1)), np.array([0, 0, 0, 1]), np.ones(4), half, 1e9), axis=1).round(3).tolist()
    [[0.5, 0.5]]
    >>> softmax(fit_table(np.ones((4, 1)), np.array([0, 0, 0, 1]), np.ones(4), half, 1e-9), axis=1).round(3).tolist()
    [[0.75, 0.25]]
    """
    start = np.log(np.maximum(counted, 1e-6))
    onehot = np.eye(counted.shape[1])[codes]

    def value(theta: Floats) -> float:
        logs = log_softmax(affiliation @ theta, axis=1)
        return float(-(weights @ logs[np.arange(len(codes)), codes]) + 0.5 * penalty * ((theta - start) ** 2).sum())

    def gradient(theta: Floats) -> Floats:
        away = weights[:, None] * (softmax(affiliation @ theta, axis=1) - onehot)
        slope: Floats = affiliation.T @ away + penalty * (theta - start)
        return slope

    if counted.size > NEWTON:
        theta = _quasi_newton(
            value, gradient, start, weights @ affiliation / weights.sum(), spread_of(affiliation, weights)
        )
    else:
        theta = start
        for _ in range(50):
            step = _newton_step(affiliation, weights, theta, gradient(theta), penalty)
            theta, fallen = _descend(value, theta, step)
            if fallen <= SETTLED * max(abs(value(theta)), 1.0):
                break
    scores: Floats = theta - theta.mean(axis=1, keepdims=True)
    return scores


def spread_of(affiliation: Floats, weights: Floats) -> float:
    """Mean variance of the affiliations over the rows, the unit of penalties; small where affiliations are wide.

    >>> round(spread_of(np.eye(2), np.ones(2)), 6)
    0.5
    """
    share = weights / weights.sum()
    away = affiliation - share @ affiliation
    total: float = float(share @ (away**2).sum(axis=1)) / max(affiliation.shape[1] - 1, 1)
    return max(total, 1e-12)


def _quasi_newton(
    value: Callable[[Floats], float], gradient: Callable[[Floats], Floats], start: Floats, mean: Floats, spread: float
) -> Floats:
    """L-BFGS in slopes per standard affiliation and a class level: wide affiliations hardly differ between boxes."""
    size = np.sqrt(spread)

    def table(flat: Floats) -> Floats:
        slopes = flat.reshape(len(start) + 1, -1)[1:] / size
        levels: Floats = slopes - mean @ slopes + flat.reshape(len(start) + 1, -1)[0]
        return levels

    def both(flat: Floats) -> tuple[float, Floats]:
        theta = table(flat)
        slope = gradient(theta)
        level = slope.sum(axis=0)
        return value(theta), np.vstack([level, (slope - mean[:, None] * level) / size]).reshape(-1)

    begin = np.vstack([mean @ start, start * size]).reshape(-1)
    found = minimize(both, begin, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return table(np.asarray(found.x, dtype=np.float64))


def _newton_step(affiliation: Floats, weights: Floats, theta: Floats, slope: Floats, penalty: float) -> Floats:
    n_boxes, n_classes = theta.shape
    P: Floats = np.asarray(softmax(affiliation @ theta, axis=1))
    curvature = np.empty((n_classes, n_boxes, n_classes, n_boxes))
    for a in range(n_classes):
        for b in range(a, n_classes):
            share = weights * P[:, a] * ((a == b) - P[:, b])
            curvature[a, :, b] = (affiliation * share[:, None]).T @ affiliation
            curvature[b, :, a] = curvature[a, :, b]
    square = curvature.reshape(theta.size, theta.size)
    square[np.arange(theta.size), np.arange(theta.size)] += penalty
    step: Floats = np.asarray(np.linalg.solve(square, slope.T.reshape(-1)).reshape(n_classes, n_boxes).T)
    return step


def _descend(value: Callable[[Floats], float], theta: Floats, step: Floats) -> tuple[Floats, float]:
    """Take the step, halved until the objective falls; return where it leads and by how much it falls."""
    before = value(theta)
    for halvings in range(30):
        new = theta - step / 2**halvings
        after = value(new)
        if after <= before:
            return new, before - after
    return theta, 0.0
