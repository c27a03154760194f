"""The loop: many fits that share the rows, swept together; converged ones leave the batch.

What must not be here: scikit-learn, files.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.backend import Array, Backend
from entropice_core.espa.host_pass import HardSums
from entropice_core.espa.objective import evaluate_loss
from entropice_core.espa.rows import Rows
from entropice_core.espa.steps import (
    Parameters,
    Problem,
    Statistics,
    class_costs,
    cost_operator,
    dispersion,
    split_statistics,
    update_centroids,
    update_probabilities,
    update_weights,
    weighted_counts,
)
from entropice_core.espa.sweep import living, pass_over_rows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FitResult:
    """Where a batch of B fits ended, on the host.

    Attributes
    ----------
    W : (B, D); S : (B, K, D); Lambda : (B, K, M); live : (B, K) bool
    curves : B arrays of losses, one entry per sweep
    converged : (B,) bool
    instance_weights : (B, T), optional
        Row weights that were learnt, sum 1 in each fit; None when the given ones were kept.
    """

    W: Floats
    S: Floats
    Lambda: Floats
    live: NDArray[np.bool_]
    curves: list[Floats]
    converged: NDArray[np.bool_]
    instance_weights: Floats | None = None

    @property
    def losses(self) -> Floats:
        """(B,) last loss of every fit."""
        return np.array([curve[-1] for curve in self.curves])

    def parameters(self, backend: Backend) -> Parameters:
        """Move the learnt numbers to a device."""
        live = backend.integers(self.live) > 0
        return Parameters(backend.numbers(self.W), backend.numbers(self.S), backend.numbers(self.Lambda), live)

    def take(self, index: NDArray[np.intp]) -> "FitResult":
        """Keep the fits named by ``index``, in its order."""
        curves = [self.curves[i] for i in index]
        parts = {name: getattr(self, name)[index] for name in ("W", "S", "Lambda", "live", "converged")}
        learnt = None if self.instance_weights is None else self.instance_weights[index]
        return FitResult(**parts, curves=curves, instance_weights=learnt)


def sweep_once(
    rows: Rows, problem: Problem, parameters: Parameters, *, soft: bool, sums: HardSums | None = None
) -> tuple[Parameters, Array]:
    """Gamma, pruning, W, S, Lambda; return the new parameters and the loss (B,).

    ``sums`` remember the affiliations of the sweep before; without them all rows are summed.
    """
    xp = rows.backend.xp
    operator = assignment_operator(rows, problem, parameters, use_labels=True)
    if sums is None:
        statistics = pass_over_rows(rows, operator, problem.fold, problem.eps_a if soft else None).statistics
    else:
        statistics = split_statistics(rows.layout, sums.assign(operator), np.zeros(len(operator)))
    updated = update_parameters(xp, problem, parameters, statistics)
    return updated, evaluate_loss(xp, problem, updated, statistics).total


def update_parameters(xp: Any, problem: Problem, parameters: Parameters, statistics: Statistics) -> Parameters:
    """All closed forms after an assignment; W sees the old centroids, as in the published order of the steps."""
    W = update_weights(xp, problem, dispersion(xp, problem, statistics, parameters.S))
    return Parameters(
        W=W,
        S=update_centroids(xp, statistics, parameters.S),
        Lambda=update_probabilities(xp, problem, weighted_counts(problem, statistics), problem.class_prior),
        live=living(statistics),
    )


def run_fits(
    rows: Rows, problem: Problem, start: Parameters, *, max_iter: int = 200, tol: float = 1e-8, soft: bool = False
) -> FitResult:
    """Sweep until the loss of every fit has settled or ``max_iter`` is reached.

    Settled: the loss fell by no more than ``tol`` times the larger of its size and the range of the entropy of W; the
    loss crosses zero, so a purely relative test would never end there.
    """
    backend, xp = rows.backend, rows.backend.xp
    ledger = _Ledger(start, rows.backend)
    floor = loss_floor(backend, problem)
    active = np.arange(len(floor))
    previous = np.full(len(floor), np.inf)
    parameters = start
    sums = HardSums(rows, problem.fold, start.live.shape[1]) if backend.is_numpy and not soft else None
    for _ in range(max_iter):
        parameters, loss = sweep_once(rows, problem, parameters, soft=soft, sums=sums)
        current = backend.to_host(loss)
        ledger.note(active, current)
        settled = previous - current <= tol * np.maximum(np.abs(current), floor[active])
        previous = current
        if not settled.any():
            continue
        ledger.store(active, parameters, settled)
        keep = np.flatnonzero(~settled)
        if not len(keep):
            return ledger.result()
        index = backend.integers(keep)
        problem, parameters = problem.take(xp, index), parameters.take(xp, index)
        if sums is not None:
            sums.take(keep)
        active, previous = active[keep], previous[keep]
    ledger.store(active, parameters, None)
    return ledger.result()


def loss_floor(backend: Backend, problem: Problem) -> Floats:
    """(B,) range of the entropy term, the least size of a loss in tests of whether it has settled."""
    eps_w = backend.to_host(problem.eps_w)
    used = (backend.to_host(problem.log_prior) > -np.inf).sum(-1)
    entropy = np.where(np.isfinite(eps_w), eps_w, 0.0) * np.log(np.maximum(used, 1))
    floor: Floats = np.maximum(entropy, 1e-300)
    return floor


class _Ledger:
    """Losses and final parameters of the whole batch while fits come and go."""

    def __init__(self, start: Parameters, backend: Backend) -> None:
        self._backend = backend
        self._W, self._S = backend.to_host(start.W).copy(), backend.to_host(start.S).copy()
        self._Lambda, self._live = backend.to_host(start.Lambda).copy(), backend.to_host(start.live).copy()
        self._curves: list[list[float]] = [[] for _ in self._W]
        self._converged = np.zeros(len(self._W), dtype=bool)

    def note(self, active: NDArray[np.intp], losses: Floats) -> None:
        for fit, loss in zip(active, losses, strict=True):
            self._curves[fit].append(float(loss))

    def store(self, active: NDArray[np.intp], parameters: Parameters, settled: NDArray[np.bool_] | None) -> None:
        chosen = slice(None) if settled is None else settled
        target = active[chosen]
        self._W[target] = self._backend.to_host(parameters.W)[chosen]
        self._S[target] = self._backend.to_host(parameters.S)[chosen]
        self._Lambda[target] = self._backend.to_host(parameters.Lambda)[chosen]
        self._live[target] = self._backend.to_host(parameters.live)[chosen]
        self._converged[target] = settled is not None

    def result(self) -> FitResult:
        curves = [np.array(curve) for curve in self._curves]
        return FitResult(self._W, self._S, self._Lambda, self._live, curves, self._converged)


@dataclass(frozen=True)
class Readout:
    """What is read from fits after training, for all B of them, on the host.

    Attributes
    ----------
    Lambda : (B, K, M)
        Class probabilities counted again without class weights, so that they keep the real class frequencies.
    live : (B, K) bool
    mass : (B, K)
        Share of the weight in each cluster.
    dispersion : (B, D)
        Mean squared difference to the centroid of the label-free assignment, inside units.
    distance_scale : (B,)
        Mean distance to the nearest centroid; the unit of the prediction temperature.
    disagreement : (B,)
        Weight share of rows that labels put into another cluster than features alone do: an alarm for over-fitting.
    counts : (B, K, M)
        Weight share of each class in each cluster, before smoothing.
    """

    Lambda: Floats
    live: NDArray[np.bool_]
    mass: Floats
    dispersion: Floats
    distance_scale: Floats
    disagreement: Floats
    counts: Floats

    def take(self, index: NDArray[np.intp]) -> "Readout":
        """Keep the fits named by ``index``, in its order."""
        return Readout(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def read_out(rows: Rows, problem: Problem, parameters: Parameters, *, unbias: bool, soft: bool) -> Readout:
    """Assign every row with and without labels and count the classes of the clusters again."""
    backend, xp = rows.backend, rows.backend.xp
    eps_a = problem.eps_a if soft else None
    aware = assignment_operator(rows, problem, parameters, use_labels=True)
    free = assignment_operator(rows, problem, parameters, use_labels=False)
    found = pass_over_rows(rows, free, problem.fold, eps_a, against=aware)
    counted = found.statistics if unbias else pass_over_rows(rows, aware, problem.fold, eps_a).statistics
    b = dispersion(xp, problem, found.statistics, parameters.S)
    return Readout(
        Lambda=backend.to_host(update_probabilities(xp, problem, counted.counts, problem.class_frequency)),
        live=backend.to_host(living(counted)),
        mass=backend.to_host(counted.mass),
        dispersion=backend.to_host(b),
        distance_scale=backend.to_host(xp.sum(parameters.W * problem.metric * b, axis=-1)),
        disagreement=backend.to_host(found.disagreement),
        counts=backend.to_host(counted.counts),
    )


def assignment_operator(rows: Rows, problem: Problem, parameters: Parameters, *, use_labels: bool) -> Array:
    """Coefficients (B, K, columns) of the costs that decide the affiliations, with or without labels."""
    backend = rows.backend
    costs = class_costs(backend.xp, problem, parameters.Lambda) if use_labels else None
    weights = parameters.W * problem.metric
    return cost_operator(backend, rows.layout, weights, parameters.S, parameters.live, costs)
