"""Probabilities of held-out rows from fits of the other rows, and their log-loss.

A held-out row has weight zero in its fold but lies in the same matrix, so scoring is one more product with it.
What must not be here: choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.backend import Array
from entropice_core.espa.fit import FitResult, Readout
from entropice_core.espa.steps import cost_operator
from entropice_core.espa.sweep import block_costs, soften
from entropice_core.espa.training import Jobs, Program

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
FLOOR = 1e-15  # probability below which the log-loss is cut, as scikit-learn does


@dataclass(frozen=True)
class Members:
    """Fits whose held-out probabilities are averaged: C configurations x F folds x A restarts, flattened in C order."""

    jobs: Jobs
    result: FitResult
    readout: Readout
    n_configurations: int
    n_folds: int

    @property
    def n_average(self) -> int:
        """A, the restarts that are averaged."""
        return len(self.jobs.fold) // (self.n_configurations * self.n_folds)

    def of_fold(self, position: int) -> Integers:
        """Indices (C A,) of the fits of one fold, configurations in front."""
        index = np.arange(len(self.jobs.fold)).reshape(self.n_configurations, self.n_folds, self.n_average)
        return index[:, position].reshape(-1)


def smoothed(readout: Readout, program: Program, jobs: Jobs, alpha: float) -> Floats:
    """Lambda (B, K, M) with another Dirichlet weight, in rows, than the one used in training."""
    strength = np.array([alpha / fold.total for fold in program.folds])[jobs.fold, None, None]
    prior = np.stack([fold.frequency for fold in program.folds])[jobs.fold, None, :]
    mass = readout.counts.sum(-1, keepdims=True) + strength
    filled = mass > 0
    return np.where(filled, (readout.counts + strength * prior) / np.where(filled, mass, 1.0), prior)


def held_out_blocks(
    program: Program,
    members: Members,
    position: int,
    test: Integers,
    taus: Sequence[float | None],
    alphas: Sequence[float],
) -> Iterator[tuple[Integers, list[Floats]]]:
    """Yield (rows, probabilities (n, C, n_alphas, M) for each tau) of blocks of the held-out rows of one fold."""
    index = members.of_fold(position)
    jobs, result = members.jobs.take(index), members.result.take(index)
    readout = members.readout.take(index)
    n_classes = readout.counts.shape[-1]
    put = program.backend.numbers
    tables = put(np.concatenate([smoothed(readout, program, jobs, alpha) for alpha in alphas], axis=-1))
    operator = _operator(program, jobs, result, readout)
    temperatures = [_temperature(program, readout, tau) for tau in taus]
    for rows in _chunks(program, test, operator):
        cost = _costs(program, rows, operator)
        shape = (len(rows), members.n_configurations, members.n_average, len(alphas), n_classes)
        yield rows, [_blend(program, cost, each, tables).reshape(shape).mean(axis=2) for each in temperatures]


def _operator(program: Program, jobs: Jobs, result: FitResult, readout: Readout) -> Array:
    backend = program.backend
    metric = result.W * np.stack([program.folds[f].metric for f in jobs.fold])
    live = backend.integers(readout.live) > 0
    return cost_operator(backend, program.rows.layout, backend.numbers(metric), backend.numbers(result.S), live)


def _temperature(program: Program, readout: Readout, tau: float | None) -> Floats:
    if tau is None:
        return np.full(len(readout.distance_scale), program.settings.eps_a)
    return tau * readout.distance_scale


def _chunks(program: Program, test: Integers, operator: Array) -> Iterator[Integers]:
    size = program.rows.block_size(operator.shape[0] * operator.shape[1])
    for start in range(0, len(test), size):
        yield test[start : start + size]


def _costs(program: Program, rows: Integers, operator: Array) -> Array:
    """(n, B, K) costs of rows without labels."""
    with program.backend.full_precision():
        return block_costs(program.backend.xp, program.rows.gather(rows), operator)


def _blend(program: Program, cost: Array, temperature: Floats, tables: Array) -> Floats:
    """(n, B, columns of tables): affiliations of the rows times the tables (B, K, columns)."""
    backend, xp = program.backend, program.backend.xp
    affiliation = _affiliations(program, cost, temperature)
    mixed = xp.matmul(xp.permute_dims(affiliation, (1, 0, 2)), tables)
    return np.swapaxes(backend.to_host(mixed), 0, 1)


def _affiliations(program: Program, cost: Array, temperature: Floats) -> Array:
    """(n, B, K) affiliations of rows by their costs; temperature (B,), 0 = the nearest cluster only."""
    backend, xp = program.backend, program.backend.xp
    is_soft = temperature > 0
    affiliation = None
    if is_soft.any():
        affiliation = soften(xp, cost, backend.numbers(np.where(is_soft, temperature, 1.0)))
    if not is_soft.all():
        numbers = backend.integers(np.arange(cost.shape[-1]))
        nearest = xp.astype(xp.argmin(cost, axis=-1)[:, :, None] == numbers[None, None, :], xp.float64)
        if affiliation is None:
            return nearest
        is_hard = backend.integers(~is_soft) > 0
        affiliation = xp.where(is_hard[None, :, None], nearest, affiliation)
    return affiliation


def affiliations(
    program: Program, jobs: Jobs, result: FitResult, readout: Readout, temperature: Floats, rows: Integers
) -> Floats:
    """(n, B, K) affiliations of the named rows in B fits, without their labels, on the host."""
    operator = _operator(program, jobs, result, readout)
    chunks = _chunks(program, rows, operator)
    parts = [_affiliations(program, _costs(program, some, operator), temperature) for some in chunks]
    return np.concatenate([program.backend.to_host(part) for part in parts])


def held_out_losses(
    program: Program, members: Members, tests: Sequence[Integers], taus: Sequence[float | None], alphas: Sequence[float]
) -> Floats:
    """(C, n_taus, n_alphas, F) weighted mean log-loss of the held-out rows of each fold."""
    losses = np.zeros((members.n_configurations, len(taus), len(alphas), members.n_folds))
    for position, test in enumerate(tests):
        total = float(program.data.weights[test].sum())
        for rows, blends in held_out_blocks(program, members, position, test, taus, alphas):
            for t, P in enumerate(blends):
                true = P[np.arange(len(rows)), :, :, program.data.codes[rows]]
                surprise = -np.log(np.maximum(true, FLOOR))
                losses[:, t, :, position] += np.einsum("n,nca->ca", program.data.weights[rows], surprise) / total
    return losses


def held_out_probabilities(
    program: Program, members: Members, tests: Sequence[Integers], tau: float | None, alpha: float
) -> tuple[Floats, Integers]:
    """Sums of held-out probabilities (T, M) of a single configuration and how often each row was held out (T,)."""
    total = np.zeros((len(program.data.codes), len(program.data.classes)))
    count = np.zeros(len(total), dtype=np.intp)
    for position, test in enumerate(tests):
        count[test] += 1
        for rows, (P,) in held_out_blocks(program, members, position, test, [tau], [alpha]):
            total[rows] += P[:, 0, 0]
    return total, count
