"""Moves that leave a poor optimum: a box is taken away here and put there, or all boxes are drawn again.

A single run of closed-form steps ends in the basin of its seeds; on breast_cancer a third of all restarts end more than
1 % above the best loss. Random swaps (Fränti 2018, doi 10.1186/s40537-018-0122-y) move one centroid at a time; a second
kind of proposal draws all centroids again under the feature weights of the best restart so far, which cures
restarts whose W chose the wrong features. A proposal is accepted only when its loss is lower, so the loss never rises.
What must not be here: the steps themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.fit import FitResult, assignment_operator, run_fits
from entropice_core.espa.rows import Rows
from entropice_core.espa.seeds import SeedRows, pick_seeds
from entropice_core.espa.steps import Parameters, Problem
from entropice_core.espa.sweep import block_costs

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

N_PROPOSALS = 4  # per round and fit: one redrawing, the others swaps
N_SWEEPS = 4  # of each proposal before the best of them is run to the end
SPREAD = 0.35  # of the geometric distribution over which box goes: mostly the one that is missed least


@dataclass(frozen=True)
class Pool:
    """Rows of one fold to draw from, in canonical order: their positions (n,) and themselves, inside units."""

    position: Integers
    rows: SeedRows


@dataclass(frozen=True)
class Mover:
    """Everything that stays the same over the rounds.

    Attributes
    ----------
    rows : Rows
    problem : Problem
        Of B fits.
    pools : B pools
        One per fit; fits of a fold share theirs.
    group : (B,) int
        Fits of one configuration and fold; the best of them lends its feature weights.
    streams : B generators
        One per fit, so that neither other fits nor batches change its draws.
    init : str
    max_iter, tol, soft : as in ``run_fits``
    """

    rows: Rows
    problem: Problem
    pools: Sequence[Pool]
    group: Integers
    streams: Sequence[np.random.Generator]
    init: str
    max_iter: int
    tol: float
    soft: bool

    def improve(self, result: FitResult, n_rounds: int) -> FitResult:
        """Try ``n_rounds`` rounds of proposals in every fit."""
        for _ in range(n_rounds):
            result = keep_better(result, self._best_proposals(result))
        return result

    def _best_proposals(self, result: FitResult) -> FitResult:
        backend, n_fits = self.rows.backend, len(result.W)
        copies = np.repeat(np.arange(n_fits), N_PROPOSALS)
        tried = self._run(copies, self._propose(result, copies), N_SWEEPS)
        best = tried.losses.reshape(n_fits, N_PROPOSALS).argmin(axis=1) + N_PROPOSALS * np.arange(n_fits)
        return self._run(np.arange(n_fits), tried.take(best).parameters(backend), self.max_iter)

    def _run(self, fits: Integers, start: Parameters, max_iter: int) -> FitResult:
        backend = self.rows.backend
        problem = self.problem.take(backend.xp, backend.integers(fits))
        return run_fits(self.rows, problem, start, max_iter=max_iter, tol=self.tol, soft=self.soft)

    def _propose(self, result: FitResult, copies: Integers) -> Parameters:
        new = {name: getattr(result, name)[copies] for name in ("W", "S", "Lambda", "live")}
        prior = self.rows.backend.to_host(self.problem.class_prior)
        leader = _leaders(self.group, result.losses)
        for fit in range(len(result.W)):
            first = fit * N_PROPOSALS
            self._redraw(new, first, fit, result.W[leader[fit]], prior[fit])
        for number, (cheapest, row_cost) in enumerate(self._removals(result)):
            for place in range(number * N_PROPOSALS + 1, (number + 1) * N_PROPOSALS):
                self._swap(new, place, number, cheapest, row_cost, prior[number])
        return FitResult(**new, curves=[], converged=np.zeros(0, dtype=bool)).parameters(self.rows.backend)

    def _redraw(self, new: dict[str, Any], place: int, fit: int, W: Floats, prior: Floats) -> None:
        """All boxes again from k-means++ under the weights W; labels are not looked at in the first assignment."""
        n_clusters = new["live"].shape[1]
        metric = W * self.rows.backend.to_host(self.problem.metric)[fit]
        draws = self.streams[fit].random((n_clusters, 1))
        picked = pick_seeds(self.pools[fit].rows, metric[None, :], n_clusters, draws, self.init)[0]
        new["W"][place], new["Lambda"][place], new["live"][place] = W, prior, picked >= 0
        new["S"][place] = np.where(picked[:, None] >= 0, self.pools[fit].rows.x[np.maximum(picked, 0)], 0.0)

    def _swap(
        self, new: dict[str, Any], place: int, fit: int, cheapest: Integers, row_cost: Floats, prior: Floats
    ) -> None:
        """One of the boxes that are missed least goes to a row drawn by what it costs now."""
        stream = self.streams[fit]
        box = cheapest[min(int(stream.geometric(SPREAD)), len(cheapest)) - 1]
        cumulative = np.cumsum(row_cost)
        draw = stream.random() * cumulative[-1]
        row = min(int(np.searchsorted(cumulative, draw, side="right")), len(cumulative) - 1)
        new["S"][place, box], new["Lambda"][place, box] = self.pools[fit].rows.x[row], prior
        new["live"][place, box] = True

    def _removals(self, result: FitResult) -> list[tuple[Integers, Floats]]:
        """Boxes in the order of what their loss would cost, dead ones first, and the weighted cost of every row."""
        operator = assignment_operator(self.rows, self.problem, result.parameters(self.rows.backend), use_labels=True)
        metric = result.W * self.rows.backend.to_host(self.problem.metric)
        return [self._removal(result, fit, operator[fit : fit + 1, :, :], metric[fit]) for fit in range(len(result.W))]

    def _removal(self, result: FitResult, fit: int, operator: Any, metric: Floats) -> tuple[Integers, Floats]:
        backend, pool = self.rows.backend, self.pools[fit]
        cost = backend.to_host(block_costs(backend.xp, self.rows.gather(pool.position), operator))[:, 0]
        cost = cost.astype(np.float64) + (pool.rows.x**2 @ metric)[:, None]
        near = cost.argmin(axis=1)
        lowest = cost.min(axis=1)
        n_clusters = cost.shape[1]
        second = np.partition(cost, 1, axis=1)[:, 1] if n_clusters > 1 else lowest
        missed = np.bincount(near, pool.rows.weights * (second - lowest), n_clusters)
        missed = np.where(result.live[fit], missed, -1.0)
        return np.argsort(missed, kind="stable"), pool.rows.weights * np.maximum(lowest, 0.0)


def _leaders(group: Integers, losses: Floats) -> Integers:
    """(B,) index of the fit of lowest loss in the group of each fit.

    >>> _leaders(np.array([0, 0, 1]), np.array([3.0, 2.0, 1.0])).tolist()
    [1, 1, 2]
    """
    order = np.lexsort((losses, group))
    first = order[np.unique(group[order], return_index=True)[1]]
    leaders: Integers = first[np.unique(group, return_inverse=True)[1]]
    return leaders


def keep_better(old: FitResult, new: FitResult) -> FitResult:
    """Each fit from whichever result has the lower loss; a curve gains the final loss of an accepted move."""
    better = new.losses < old.losses

    def chosen(name: str) -> Any:
        mask = better.reshape(-1, *[1] * (getattr(old, name).ndim - 1))
        return np.where(mask, getattr(new, name), getattr(old, name))

    curves = [
        np.append(before, after[-1]) if accepted else before
        for before, after, accepted in zip(old.curves, new.curves, better, strict=True)
    ]
    parts = {name: chosen(name) for name in ("W", "S", "Lambda", "live", "converged")}
    return replace(old, **parts, curves=curves)
