"""Chosen configurations, fitted to all rows.

What must not be here: choice among combinations (``search.py``) and read-outs (``read_outs.py``).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from entropice_core.espa.grid import Plan
from entropice_core.espa.held_out import smoothed
from entropice_core.espa.members import Member, members_of
from entropice_core.espa.read_outs import LogLinear, log_linear_scores
from entropice_core.espa.search import Candidate
from entropice_core.espa.training import Jobs, Program


def best_configurations(candidates: list[Candidate], n_models: int) -> list[Candidate]:
    """Best combination of each of the ``n_models`` best configurations that were run to the end."""
    best: dict[Any, Candidate] = {}
    for candidate in candidates:
        if candidate.stage != "screen":
            best.setdefault(candidate.configuration, candidate)
    return list(best.values())[:n_models]


def refit(
    plan: Plan, ways: Sequence[LogLinear | None], program: Program, candidate: Candidate
) -> tuple[list[Member], int]:
    """Fit all rows with the chosen configuration; keep the restarts of lowest loss, and say how long they took."""
    configuration = candidate.configuration
    jobs = Jobs.restarts_of_all_rows(
        configuration.n_clusters,
        min(plan.grid.alpha),
        configuration.eps_c,
        configuration.eps_w,
        program.settings.n_init,
        configuration.mi_prior,
        program.fold(0, configuration.scaling),
    )
    result = program.run(jobs, moves=candidate.stage == "moved")
    best = np.argsort(result.losses, kind="stable")[: plan.n_average]
    jobs, result = jobs.take(best), result.take(best)
    readout = program.read(jobs, result)
    counted = replace(readout, Lambda=smoothed(readout, program, jobs, candidate.alpha))
    members = []
    for way in ways:
        tau, scores = candidate.tau, None
        if way is not None:
            tau = way.width
            scores = log_linear_scores(program, jobs, result, readout, way=way, alpha=candidate.alpha)
        members += members_of(program, jobs, result, counted, tau, scores)
    return members, max(len(curve) for curve in result.curves)
