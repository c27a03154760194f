"""Moves that leave a poor optimum of the closed-form steps.

A run of closed-form steps ends in the basin of its seeds: on small tables nearly every restart ends more than 1 % above
the best loss. Four kinds of moves are tried, and a fit keeps what has the lower loss, so that the loss never rises:

* redraw: all boxes again from k-means++ under the feature weights of the best restart of the same configuration and
  fold; it cures restarts whose W chose the wrong features;
* exchange: two boxes are merged and a third is split (Ueda et al. 2000, doi 10.1162/089976600300015088). What a merger
  costs and a split gains follows from sums over boxes, labels included, W held; one split of every box is grown at the
  price of a few sweeps, and all disjoint exchanges that pay are made at once. When none pays, one of the ten least bad
  is tried;
* crossing: boxes of two restarts of the same configuration and fold are matched and mixed (``crossing.py``);
* shift: single rows change their box while the sums of both boxes follow (Hartigan 1975). With few rows per box this
  leaves many optima in which every row is already at its nearest centre (Telgarsky and Vattani 2010).

After each the closed-form steps run to the end.
What must not be here: the steps; sums and gains (``board.py``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.board import HOST, Board, Pool, Settled, host_problem, own_box
from entropice_core.espa.crossing import cross_fits
from entropice_core.espa.fit import FitResult, loss_floor, run_fits
from entropice_core.espa.rows import Rows
from entropice_core.espa.seeds import pick_seeds
from entropice_core.espa.steps import Parameters, Problem

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Flags = NDArray[np.bool_]
Streams = Sequence[np.random.Generator]

BOARD = 2_000_000  # costs of one board: 16 MB
GROWTH = 3  # rounds in which the two halves of a box settle
SHIFTS = 24  # passes of single rows at most
SETTLED = 1e-5  # relative fall of the loss at which single rows stop
LEAST = 1e-9  # part of the range of the entropy of W that an exchange must gain; less is rounding
CONSIDERED = 64  # splits that gain most and four times as many mergers that cost least
TRIED = 10  # exchanges that do not pay, among which one is tried
CROSSINGS = 2  # as many passes as one redraw; docs/espa.md has what each leaves
HALF = 0.5  # part of eps_c that another class adds to the distance between the two seeds of a split


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
    streams: Streams
    init: str
    max_iter: int
    tol: float
    soft: bool

    def improve(self, result: FitResult, n_rounds: int) -> FitResult:
        """Redraw and shift, then ``n_rounds`` times an exchange and two crossings, each with shifts.

        Where no fit has another one to cross with, another redraw takes the place of the crossings.
        """
        if result.live.shape[1] == 1:
            return result
        result = self._shifted(keep_better(result, self._run(self._redrawn(result))))
        has_others = bool(np.bincount(self.group).max() > 1)
        kinds = [self._exchanged, *([self._crossed] * CROSSINGS if has_others else [self._redrawn])]
        for _ in range(n_rounds):
            for move in kinds:
                result = keep_better(result, self._shifted(self._run(move(result))))
        return result

    def _exchanged(self, result: FitResult) -> FitResult:
        return self._on_boards(result, exchange_boxes)

    def _crossed(self, result: FitResult) -> FitResult:
        return cross_fits(result, self.group, self.rows.backend.to_host(self.problem.metric), self.streams)

    def _run(self, start: FitResult) -> FitResult:
        parameters = start.parameters(self.rows.backend)
        return run_fits(self.rows, self.problem, parameters, max_iter=self.max_iter, tol=self.tol, soft=self.soft)

    def _shifted(self, result: FitResult) -> FitResult:
        if self.soft:  # rows belong to all boxes
            return result
        return keep_better(result, self._run(self._on_boards(result, shift_rows)))

    def _redrawn(self, result: FitResult) -> FitResult:
        """All boxes from k-means++ under W of the leader; labels are not looked at in the first assignment."""
        leader = _leaders(self.group, result.losses)
        metric = self.rows.backend.to_host(self.problem.metric)
        prior = self.rows.backend.to_host(self.problem.class_prior)
        n_boxes = result.live.shape[1]
        W, S, live = result.W[leader], np.zeros_like(result.S), np.zeros_like(result.live)
        for fit, pool in enumerate(self.pools):
            draws = self.streams[fit].random((n_boxes, 1))
            picked = pick_seeds(pool.rows, (W[fit] * metric[fit])[None, :], n_boxes, draws, self.init)[0]
            live[fit] = picked >= 0
            S[fit] = np.where(live[fit][:, None], pool.rows.x[np.maximum(picked, 0)], 0.0)
        Lambda = np.broadcast_to(prior[:, None, :], result.Lambda.shape)
        return replace(result, W=W, S=S, Lambda=Lambda, live=live)

    def _on_boards(self, result: FitResult, move: Callable[[Board, Integers, Streams], Integers]) -> FitResult:
        """Give the labels of the pools to a move and lay out the parameters of what it makes of them."""
        new = {name: np.array(getattr(result, name)) for name in ("W", "S", "Lambda", "live")}
        for fits, board in self._boards(result.live.shape[1]):
            old = Parameters(*(new[name][fits] for name in ("W", "S", "Lambda", "live")))
            parameters = board.settle(move(board, board.labels(old), [self.streams[fit] for fit in fits])).parameters
            for name in new:
                new[name][fits] = getattr(parameters, name)
        return replace(result, W=new["W"], S=new["S"], Lambda=new["Lambda"], live=new["live"])

    def _boards(self, n_boxes: int) -> Iterator[tuple[Integers, Board]]:
        pools = {id(pool): pool for pool in self.pools}
        which = np.array([id(pool) for pool in self.pools])
        for name, pool in pools.items():
            own = np.flatnonzero(which == name)
            size = max(1, BOARD // (n_boxes * len(pool.share)))
            for start in range(0, len(own), size):
                fits = own[start : start + size]
                problem = host_problem(self.problem, self.rows.backend, fits, pool)
                yield fits, Board(self.rows.layout, pool, problem, n_boxes)


def shift_rows(board: Board, labels: Integers, _streams: Streams = ()) -> Integers:
    """Labels (G, n) after single rows have changed their boxes as long as the loss falls."""
    state, floor, active = board.settle(labels.copy()), loss_floor_of(board), np.arange(len(labels))
    for _ in range(SHIFTS):
        tried = _shift_once(board.take(active), state.take(active))
        fallen = state.loss[active] - tried.loss
        better = np.flatnonzero(fallen > 0)
        state.put(active[better], tried.take(better))
        active = active[fallen > SETTLED * np.maximum(np.abs(tried.loss), floor[active])]
        if not len(active):
            break
    return state.labels


def _shift_once(board: Board, state: Settled) -> Settled:
    """All rows that gain alone at once, or, where that raises the loss, those that share no box with a better one."""
    gain, target = board.row_gains(state)
    labels = state.labels
    tried = board.settle(np.where(gain > 0, target, labels))
    worse = np.flatnonzero(tried.loss >= state.loss)
    if len(worse):
        apart = np.stack([_apart(gain[fit], labels[fit], target[fit], board.n_boxes) for fit in worse])
        tried.put(worse, board.take(worse).settle(np.where(apart, target[worse], labels[worse])))
    return tried


def _apart(gain: Floats, labels: Integers, target: Integers, n_boxes: int) -> Flags:
    """(n,) rows whose gain is the largest of all that leave or join either of their boxes.

    >>> _apart(np.array([2.0, 1.0, 3.0]), np.array([0, 0, 2]), np.array([1, 2, 3]), 4).tolist()
    [True, False, True]
    """
    rank = np.empty(len(gain), dtype=np.intp)
    rank[np.argsort(gain, kind="stable")] = np.arange(len(gain))
    rank[gain <= 0] = -1
    best = np.full(n_boxes, -1)
    np.maximum.at(best, labels, rank)
    np.maximum.at(best, target, rank)
    apart: Flags = (rank >= 0) & (best[labels] == rank) & (best[target] == rank)
    return apart


def exchange_boxes(board: Board, labels: Integers, streams: Streams) -> Integers:
    """Labels (G, n) after mergers and splits of boxes."""
    state = board.settle(labels)
    totals, W = state.totals, state.parameters.W
    halves = _grow_halves(board, labels, W, streams)
    children = board.sums(2 * labels + halves, 2 * board.n_boxes)
    nothing = board.scores(np.zeros_like(totals[:, :1]), W)
    scores = board.scores(totals, W)
    gain = board.scores(children, W).reshape(*scores.shape, 2).sum(axis=-1) - scores - nothing
    empty = children[:, :, board.layout.n_features].reshape(*scores.shape, 2) <= 0
    gain[empty.any(axis=-1)] = -np.inf
    result, least = labels.copy(), LEAST * loss_floor_of(board)
    for fit, stream in enumerate(streams):
        one = board.take(np.array([fit]))
        cost = _merger_costs(one, totals[fit], scores[fit], W[fit], float(nothing[fit, 0]))
        for first, second, split in _choose(gain[fit], cost, least[fit], stream):
            result[fit, labels[fit] == second] = first
            result[fit, (labels[fit] == split) & halves[fit]] = second
    return result


def _merger_costs(board: Board, totals: Floats, scores: Floats, W: Floats, nothing: float) -> Floats:
    """(K, K) rise of the loss when two boxes become one, infinite on and below the diagonal."""
    n_boxes = len(totals)
    first, second = np.triu_indices(n_boxes, 1)
    together = board.scores((totals[first] + totals[second])[None], W[None])[0]
    cost = np.full((n_boxes, n_boxes), np.inf)
    cost[first, second] = scores[first] + scores[second] - together - nothing
    return cost


def _choose(gain: Floats, cost: Floats, least: float, stream: np.random.Generator) -> list[tuple[int, int, int]]:
    """Disjoint (merged, merged, split) in the order of what they gain; if none gains, one of the best by lot."""
    splits = np.argsort(-gain, kind="stable")[:CONSIDERED]
    pairs = np.argsort(cost, axis=None, kind="stable")[: 4 * CONSIDERED]
    first, second = np.unravel_index(pairs, cost.shape)
    net = gain[splits][:, None] - cost[first, second]
    net[(splits[:, None] == first) | (splits[:, None] == second)] = -np.inf
    chosen: list[tuple[int, int, int]] = []
    while net.max() > least:
        split, pair = np.unravel_index(net.argmax(), net.shape)
        one = (int(first[pair]), int(second[pair]), int(splits[split]))
        chosen.append(one)
        net[np.isin(splits, one)] = -np.inf
        net[:, np.isin(first, one) | np.isin(second, one)] = -np.inf
    if not chosen:
        order = np.argsort(-net, axis=None, kind="stable")[: min(TRIED, net.size)]
        split, pair = np.unravel_index(order[min(int(stream.geometric(0.5)), len(order)) - 1], net.shape)
        if np.isfinite(net[split, pair]):
            chosen.append((int(first[pair]), int(second[pair]), int(splits[split])))
    return chosen


def _grow_halves(board: Board, labels: Integers, W: Floats, streams: Streams) -> Flags:
    """(G, n) which half of its box each row is in: two seeds by lot, then a few assignments of both halves."""
    share, codes = np.broadcast_to(board.pool.share, labels.shape), board.pool.rows.codes
    first = _draw_one_each(labels, share, streams, board.n_boxes)
    to_first = _to_seeds(board, labels, W, first, codes)
    second = _draw_one_each(labels, share * to_first, streams, board.n_boxes)
    halves = to_first > _to_seeds(board, labels, W, second, codes)
    for _ in range(GROWTH):
        S, Lambda, live = board.tables(board.sums(2 * labels + halves, 2 * board.n_boxes))
        one = board.costs(W, S[:, ::2], live[:, ::2], Lambda[:, ::2])
        two = board.costs(W, S[:, 1::2], live[:, 1::2], Lambda[:, 1::2])
        new = own_box(two, labels) < own_box(one, labels)
        if (new == halves).all():
            break
        halves = new
    return halves


def _to_seeds(board: Board, labels: Integers, W: Floats, seeds: Integers, codes: Integers) -> Floats:
    """(G, n) distance of each row to the seed (G, K) of its own box, another class counting as ``HALF`` eps_c."""
    rows = np.maximum(seeds, 0)
    cost = board.costs(W, board.pool.rows.x[rows], seeds >= 0)
    distance = np.maximum(own_box(cost, labels) + board.squares(W), 0.0)
    other = codes[np.take_along_axis(rows, labels, axis=1)] != codes
    result: Floats = distance + HALF * board.problem.eps_c[:, None] * other
    return result


def _draw_one_each(labels: Integers, pull: Floats, streams: Streams, n_boxes: int) -> Integers:
    """(G, K) one row of each box by lot, in proportion to its pull (G, n); -1 where nothing pulls.

    Each row waits for an exponential time, shorter where the pull is strong; the first of a box is drawn.
    """
    waits = np.stack([stream.exponential(size=labels.shape[1]) for stream in streams])
    waits = np.where(pull > 0, waits / np.where(pull > 0, pull, 1.0), np.inf)
    box = (labels + n_boxes * np.arange(len(labels))[:, None]).reshape(-1)
    order = np.lexsort((waits.reshape(-1), box))
    place = np.minimum(np.searchsorted(box[order], np.arange(len(labels) * n_boxes)), len(order) - 1)
    row = order[place]
    drawn = (box[row] == np.arange(len(row))) & np.isfinite(waits.reshape(-1)[row])
    found: Integers = np.where(drawn, row % labels.shape[1], -1).reshape(len(labels), n_boxes)
    return found


def loss_floor_of(board: Board) -> Floats:
    """(G,) range of the entropy term, as in :func:`entropice_core.espa.fit.loss_floor`."""
    return loss_floor(HOST, board.problem)


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
