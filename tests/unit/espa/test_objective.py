"""Every step lowers the functional; the batched statistics equal plain sums over rows."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropice_core.espa.backend import choose_backend
from entropice_core.espa.fit import run_fits, sweep_once
from entropice_core.espa.objective import evaluate_loss
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import Scaling
from entropice_core.espa.steps import (
    Parameters,
    Problem,
    class_costs,
    cost_operator,
    dispersion,
    update_centroids,
    update_probabilities,
    update_weights,
    weighted_counts,
)
from entropice_core.espa.sweep import living, pass_over_rows, soften
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows

BASE = Settings(
    n_clusters=5,
    eps_a=0.0,
    unbias=True,
    scaling="standard",
    class_weight=None,
    mi_prior=0.0,
    mi_start=0.5,
    init="balanced",
    n_init=3,
    max_iter=60,
    tol=0.0,
    missing="error",
)


@dataclass(frozen=True)
class Prepared:
    """One configuration, laid out and before its first sweep."""

    rows: Rows
    scaling: Scaling
    problem: Problem
    start: Parameters
    eps_c: float
    eps_w: float


@dataclass(frozen=True)
class Drawn:
    """A random data set, settings and temperatures."""

    data: TrainingRows
    settings: Settings
    seed: int
    alpha: float
    eps_c: float
    eps_w: float

    def prepare(self) -> Prepared:
        random = np.random.RandomState(self.seed % 2**31)
        program = Program(self.data, self.settings, random, choose_backend(self.data.X))
        n_clusters, n_init = self.settings.n_clusters, self.settings.n_init
        jobs = Jobs.restarts_of_all_rows(n_clusters, self.alpha, self.eps_c, self.eps_w, n_init)
        return Prepared(
            program.rows, program.scaling, program.problem(jobs), program.start(jobs), self.eps_c, self.eps_w
        )

    @property
    def soft(self) -> bool:
        return self.settings.eps_a > 0


@st.composite
def problems(draw: Any) -> Drawn:
    """Small random data sets with ties, weights, missing values, and settings over their whole range."""
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    n, d, m = draw(st.integers(4, 40)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    X = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4, size=d)
    if draw(st.booleans()):
        X = np.round(X, 1)
    masked = draw(st.booleans())
    if masked:
        X[rng.random(X.shape) < 0.2] = np.nan
    y = rng.integers(0, m, n)
    weights = rng.exponential(size=n) if draw(st.booleans()) else np.ones(n)
    chosen = replace(
        BASE,
        n_clusters=draw(st.integers(1, 8)),
        eps_a=draw(st.sampled_from([0.0, 0.0, 1e-3, 0.5])),
        scaling=draw(st.sampled_from(["standard", "minmax"])),
        class_weight=draw(st.sampled_from([None, "balanced"])),
        mi_prior=draw(st.sampled_from([0.0, 1.0])),
        init=draw(st.sampled_from(["balanced", "k-means++", "random"])),
        missing="mask" if masked else "error",
    )
    eps_c = draw(st.sampled_from([0.0, 1e-3, 0.1, 5.0]))
    eps_w = draw(st.sampled_from([1e-5, 1e-2, 0.3, 100.0, float("inf")]))
    alpha = draw(st.sampled_from([0.0, 1.0, 10.0]))
    return Drawn(TrainingRows.select(X, y, weights), chosen, seed, alpha, eps_c, eps_w)


def slack(loss: np.ndarray) -> np.ndarray:
    return 1e-11 * np.maximum(1.0, np.abs(loss))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_no_substep_ever_raises_the_loss(problem) -> None:
    prepared = problem.prepare()
    soft = problem.soft
    rows, fixed, now = prepared.rows, prepared.problem, prepared.start
    xp = rows.backend.xp
    before = None
    for _ in range(12):
        costs = class_costs(xp, fixed, now.Lambda)
        operator = cost_operator(rows.backend, rows.layout, now.W * fixed.metric, now.S, now.live, costs)
        sums = pass_over_rows(rows, operator, fixed.fold, fixed.eps_a if soft else None).statistics
        live = living(sums)
        W = update_weights(xp, fixed, dispersion(xp, fixed, sums, now.S))
        S = update_centroids(xp, sums, now.S)
        Lambda = update_probabilities(xp, fixed, weighted_counts(fixed, sums), fixed.class_prior)
        path = [
            now,
            Parameters(W, now.S, now.Lambda, live),
            Parameters(W, S, now.Lambda, live),
            Parameters(W, S, Lambda, live),
        ]
        losses = [evaluate_loss(xp, fixed, point, sums).total for point in path]
        if before is not None:
            losses.insert(0, before)
        for higher, lower in zip(losses, losses[1:], strict=False):
            assert (lower <= higher + slack(higher)).all()
        now, before = path[-1], losses[-1]


ORDERS = [("W", "S", "Lambda"), ("S", "W", "Lambda"), ("S", "Lambda", "W"), ("Lambda", "S", "W")]


def one_block(name: str, xp: Any, fixed: Problem, now: Parameters, sums: Any) -> Parameters:
    """Minimise over one block with the others held."""
    if name == "W":
        return replace(now, W=update_weights(xp, fixed, dispersion(xp, fixed, sums, now.S)))
    if name == "S":
        return replace(now, S=update_centroids(xp, sums, now.S))
    counts = weighted_counts(fixed, sums)
    return replace(now, Lambda=update_probabilities(xp, fixed, counts, fixed.class_prior))


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=40, deadline=None)
@given(problems())
def test_the_loss_falls_whatever_the_order_of_the_steps(order, problem) -> None:
    prepared = problem.prepare()
    rows, fixed, now = prepared.rows, prepared.problem, prepared.start
    xp = rows.backend.xp
    before, labels = None, []
    for _ in range(8):
        costs = class_costs(xp, fixed, now.Lambda)
        operator = cost_operator(rows.backend, rows.layout, now.W * fixed.metric, now.S, now.live, costs)
        found = pass_over_rows(rows, operator, fixed.fold, fixed.eps_a if problem.soft else None, keep_labels=True)
        now = replace(now, live=living(found.statistics))
        for name in order:
            now = one_block(name, xp, fixed, now, found.statistics)
            loss = evaluate_loss(xp, fixed, now, found.statistics).total
            if before is not None:
                assert (loss <= before + slack(before)).all()
            before = loss
        labels.append(found.labels)
    if not problem.soft and order[0] == "S" and (labels[-1] == labels[-2]).all():
        # all three blocks are functions of the assignment alone, so a repeated assignment is the end
        again = one_block("S", xp, fixed, now, found.statistics)
        np.testing.assert_allclose(again.S, now.S, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_every_run_comes_to_rest_and_keeps_its_promises(problem) -> None:
    prepared = problem.prepare()
    result = run_fits(prepared.rows, prepared.problem, prepared.start, max_iter=500, tol=1e-10, soft=problem.soft)
    for curve in result.curves:
        assert (np.diff(curve) <= slack(curve[:-1])).all()
    np.testing.assert_allclose(result.W.sum(1), 1.0)
    np.testing.assert_allclose(result.Lambda.sum(2), 1.0)
    assert np.isfinite(result.S).all()
    assert result.live.any(1).all()
    if not problem.soft:
        assert result.converged.all()


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_loss_from_statistics_equals_the_sum_over_rows(problem) -> None:
    data, chosen = problem.data, problem.settings
    prepared = problem.prepare()
    rows, fixed = prepared.rows, prepared.problem
    soft = chosen.eps_a > 0
    now, _ = sweep_once(rows, fixed, prepared.start, soft=soft)
    xp, backend = rows.backend.xp, rows.backend
    costs = class_costs(xp, fixed, now.Lambda)
    operator = cost_operator(backend, rows.layout, now.W * fixed.metric, now.S, now.live, costs)
    found = pass_over_rows(rows, operator, fixed.fold, fixed.eps_a if soft else None, keep_labels=True)
    total = evaluate_loss(xp, fixed, now, found.statistics).total
    x, w = prepared.scaling.inside(data.X), data.weights / data.weights.sum()
    seen = ~np.isnan(data.X)
    for fit in range(chosen.n_init):
        metric = now.W[fit] * fixed.metric[fit]
        square = ((x[:, None, :] - now.S[fit]) ** 2 * seen[:, None, :]) @ metric
        surprise = -np.log(np.maximum(now.Lambda[fit], np.finfo(float).eps)).T[data.codes]
        cost = square + problem.eps_c * fixed.class_factor[fit][data.codes][:, None] * surprise
        cost = np.where(now.live[fit], cost, 1e100)
        gamma = np.eye(now.live.shape[1])[found.labels[:, fit]]
        if soft:
            gamma = soften(xp, cost[:, None, :], fixed.eps_a[:1])[:, 0]
        expected = (w[:, None] * gamma * np.where(gamma > 0, cost, 0.0)).sum()
        prior = fixed.prior_strength[fit] * fixed.class_prior[fit]
        expected -= problem.eps_c * (prior * np.log(np.maximum(now.Lambda[fit], np.finfo(float).eps))).sum()
        used = now.W[fit] > 0
        if np.isfinite(problem.eps_w):
            expected += (
                problem.eps_w * (now.W[fit][used] * (np.log(now.W[fit][used]) - fixed.log_prior[fit][used])).sum()
            )
        logs = np.log(np.where(gamma > 0, gamma, 1.0))
        expected += chosen.eps_a * (w[:, None] * gamma * logs).sum()
        assert total[fit] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_class_weights_as_factors_equal_class_weights_in_the_rows() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    data = TrainingRows.select(X, y, np.ones(60))
    prepared = Drawn(data, replace(BASE, class_weight={0: 1.0, 1: 3.0}), 1, 0.0, 0.1, 0.3).prepare()
    by_factor = run_fits(prepared.rows, prepared.problem, prepared.start, tol=1e-12)
    heavy = np.where(y == 1, 3.0, 1.0)
    ratio = heavy / heavy.mean()
    rows = type(prepared.rows)(X, prepared.scaling, prepared.rows.backend, codes=y, n_classes=2, label_ratio=ratio)
    neutral = replace(prepared.problem, class_factor=np.ones_like(prepared.problem.class_factor))
    by_rows = run_fits(rows, neutral, prepared.start, tol=1e-12)
    np.testing.assert_allclose(by_factor.losses, by_rows.losses, atol=1e-12)
    np.testing.assert_allclose(by_factor.Lambda, by_rows.Lambda, atol=1e-12)
