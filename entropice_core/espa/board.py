"""Boxes of many fits on the host with every row of a pool in one box: their sums, loss, and what a changed row changes.

Moves (``moves.py``) are thought out here, in double precision and whatever the device of the fits. All fits of a board
share a fold, so that the pool, at most ``SEED_ROWS`` rows of it, is in memory once. Products are made per fit, so that
no number depends on which other fits are on the board.
What must not be here: which moves are tried.
"""

from dataclasses import dataclass, fields, replace

import array_api_compat.numpy as xp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from entropice_core.espa.backend import Backend
from entropice_core.espa.objective import evaluate_loss
from entropice_core.espa.rows import Layout
from entropice_core.espa.seeds import SeedRows
from entropice_core.espa.steps import (
    Parameters,
    Problem,
    class_costs,
    cost_operator,
    dispersion,
    split_statistics,
    update_centroids,
    update_probabilities,
    update_weights,
    weighted_counts,
)
from entropice_core.espa.sweep import living

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
HOST = Backend(xp, "numpy", "cpu")


@dataclass(frozen=True)
class Pool:
    """Rows of one fold, in canonical order.

    Attributes
    ----------
    position : (n,) int
        Where they are among all rows.
    rows : SeedRows
        Inside units.
    augmented : (n, columns) float64
        As in :class:`entropice_core.espa.rows.Rows`.
    share : (n,) float64, sum 1
        Their weights.
    """

    position: Integers
    rows: SeedRows
    augmented: Floats
    share: Floats


def host_problem(problem: Problem, backend: Backend, fits: Integers, pool: Pool) -> Problem:
    """Constants of some fits on the host, with the second moment of the pool."""
    kept = {field.name: backend.to_host(getattr(problem, field.name))[fits] for field in fields(Problem)}
    second = pool.share @ pool.rows.x**2
    return replace(Problem(**kept), second_moment=np.broadcast_to(second, (len(fits), len(second))))


@dataclass(frozen=True)
class Settled:
    """Labels (G, n) with their sums (G, K, columns), parameters and loss (G,)."""

    labels: Integers
    totals: Floats
    parameters: Parameters
    loss: Floats

    def take(self, index: Integers) -> "Settled":
        """Keep the fits named by ``index``."""
        return Settled(self.labels[index], self.totals[index], self.parameters.take(xp, index), self.loss[index])

    def put(self, index: Integers, other: "Settled") -> None:
        """Replace the fits named by ``index``, in place."""
        self.labels[index], self.totals[index], self.loss[index] = other.labels, other.totals, other.loss
        for name in ("W", "S", "Lambda", "live"):
            getattr(self.parameters, name)[index] = getattr(other.parameters, name)


class Board:
    """G fits of one fold.

    Parameters
    ----------
    layout : Layout
    pool : Pool
    problem : Problem
        Of the G fits, on the host.
    n_boxes : int
        K.
    """

    def __init__(self, layout: Layout, pool: Pool, problem: Problem, n_boxes: int) -> None:
        self.layout, self.pool, self.problem, self.n_boxes = layout, pool, problem, n_boxes
        self._squares = pool.rows.x**2

    def take(self, index: Integers) -> "Board":
        """Keep the fits named by ``index``."""
        return Board(self.layout, self.pool, self.problem.take(xp, index), self.n_boxes)

    def sums(self, labels: Integers, n_boxes: int) -> Floats:
        """(G, n_boxes, columns) sums of weighted rows per box; labels (G, n)."""
        n_fits, n_rows = labels.shape
        box = (labels + n_boxes * np.arange(n_fits)[:, None]).reshape(-1)
        order = np.argsort(box, kind="stable")
        row = order % n_rows
        ends = np.searchsorted(box[order], np.arange(n_fits * n_boxes + 1))
        chosen = csr_array((self.pool.share[row], row, ends), shape=(n_fits * n_boxes, n_rows))
        totals: Floats = (chosen @ self.pool.augmented).reshape(n_fits, n_boxes, -1)
        return totals

    def tables(self, totals: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Centres, class tables and which boxes live from sums (G, boxes, columns)."""
        statistics = split_statistics(self.layout, totals, np.zeros(len(totals)))
        S = update_centroids(xp, statistics, np.zeros((*totals.shape[:2], self.layout.n_features)))
        counts = weighted_counts(self.problem, statistics)
        return S, update_probabilities(xp, self.problem, counts, self.problem.class_prior), living(statistics)

    def settle(self, labels: Integers) -> "Settled":
        """Best S and Lambda for labels (G, n), then the best W."""
        totals = self.sums(labels, self.n_boxes)
        statistics = split_statistics(self.layout, totals, np.zeros(len(totals)))
        S, Lambda, live = self.tables(totals)
        W = update_weights(xp, self.problem, dispersion(xp, self.problem, statistics, S))
        parameters = Parameters(W, S, Lambda, live)
        return Settled(labels, totals, parameters, evaluate_loss(xp, self.problem, parameters, statistics).total)

    def costs(self, W: Floats, S: Floats, live: NDArray[np.bool_], Lambda: Floats | None = None) -> Floats:
        """(G, boxes, n) cost of every row in every box, less what all boxes share; no labels without Lambda."""
        labels = None if Lambda is None else class_costs(xp, self.problem, Lambda)
        operator = cost_operator(HOST, self.layout, W * self.problem.metric, S, live, labels)
        costs: Floats = np.matmul(operator, self.pool.augmented.T)
        return costs

    def labels(self, parameters: Parameters) -> Integers:
        """(G, n) cheapest box of every row."""
        p = parameters
        cheapest: Integers = self.costs(p.W, p.S, p.live, p.Lambda).argmin(axis=1)
        return cheapest

    def squares(self, W: Floats) -> Floats:
        """(G, n) what ``costs`` leaves out."""
        squares: Floats = np.matmul((W * self.problem.metric)[:, None, :], self._squares.T)[:, 0, :]
        return squares

    def scores(self, totals: Floats, W: Floats) -> Floats:
        """(G, boxes) of which the sum over boxes is a constant less the loss, W held.

        A box has sum_d W_d g_d A_d^2 / n_d, with A and n its sums and masses, and the likelihood of its labels, so
        that what splitting or merging boxes changes is a difference of scores.
        """
        statistics = split_statistics(self.layout, totals, np.zeros(len(totals)))
        observed = np.where(statistics.observed > 0, statistics.observed, 1.0)
        spread = ((W * self.problem.metric)[:, None, :] * statistics.sums**2 / observed).sum(axis=-1)
        counts = self._with_prior(totals)
        likelihood = entropy_term(counts).sum(axis=-1) - entropy_term(counts.sum(axis=-1))
        scores: Floats = spread + self.problem.eps_c[:, None] * likelihood
        return scores

    def _with_prior(self, totals: Floats) -> Floats:
        prior = self.problem.prior_strength[:, None] * self.problem.class_prior
        counted: Floats = totals[:, :, self.layout.labels] * self.problem.class_factor[:, None, :] + prior[:, None, :]
        return counted

    def row_gains(self, state: "Settled") -> tuple[Floats, Integers]:
        """How much the loss falls when a row alone goes to its best other box (G, n), and which box that is.

        The sums of both boxes follow the row (Hartigan 1975; Telgarsky and Vattani 2010), which finds moves that an
        assignment to the nearest centre does not. Exact for hard labels without missing values while W is held.
        """
        labels, totals, p = state.labels, state.totals, state.parameters
        live = p.live
        distance = np.maximum(self.costs(p.W, p.S, live) + self.squares(p.W)[:, None, :], 0.0)
        mass = totals[:, :, self.layout.n_features, None]
        share = self.pool.share
        joining, leaving = self._label_changes(totals)
        join = np.where(live[:, :, None], mass / (mass + share) * share * distance, 0.0) - joining
        left = mass - share
        alone = left <= 1e-9 * share
        leave = np.where(alone, 0.0, mass / np.where(alone, 1.0, left) * share * distance) + leaving
        own = labels[:, None, :]
        gain = np.take_along_axis(leave, own, axis=1)[:, 0]
        np.put_along_axis(join, own, np.inf, axis=1)
        target = join.argmin(axis=1)
        return gain - np.take_along_axis(join, target[:, None, :], axis=1)[:, 0], target

    def _label_changes(self, totals: Floats) -> tuple[Floats, Floats]:
        """(G, K, n) rise of eps_c times the likelihood of labels when a row joins or leaves a box."""
        counts = self._with_prior(totals)
        mass = counts.sum(axis=-1)[:, :, None]
        joining = np.zeros((*counts.shape[:2], len(self.pool.share)))
        leaving = np.zeros_like(joining)
        for m in range(counts.shape[-1]):
            own = np.flatnonzero(self.pool.rows.codes == m)
            if not len(own):
                continue
            shares, which = np.unique(self.pool.share[own], return_inverse=True)
            step = (self.problem.class_factor[:, m, None] * shares)[:, None, :]
            count = counts[:, :, m, None]
            for sign, changes in ((1.0, joining), (-1.0, leaving)):
                moved = entropy_term(count + sign * step) - entropy_term(count)
                moved -= entropy_term(mass + sign * step) - entropy_term(mass)
                changes[:, :, own] = (self.problem.eps_c[:, None, None] * moved)[:, :, which]
        return joining, leaving


def own_box(values: Floats, labels: Integers) -> Floats:
    """(G, n) entry of each row's own box in values (G, K, n)."""
    own: Floats = np.take_along_axis(values, labels[:, None, :], axis=1)[:, 0]
    return own


def entropy_term(x: Floats) -> Floats:
    """X log x, 0 where x is not positive.

    >>> entropy_term(np.array([0.0, 1.0])).tolist()
    [0.0, 0.0]
    """
    positive = x > 0
    result: Floats = np.where(positive, x, 0.0) * np.log(np.where(positive, x, 1.0))
    return result
