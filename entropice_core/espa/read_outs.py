"""How class probabilities are read from averaged fits, and which way held-out rows prefer.

The ways are counting (a mean of class shares) and log-linear tables (``log_linear.py``) at three widths of the
affiliations and two penalties; the widest are slopes. Fits are the same in all of them, so that trying costs no sweeps.
Boxes and slopes are wrong in other places, so that the mean of the best of both is tried too (better than either on
wine in nested folds, docs/espa.md).
What must not be here: training of fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from entropice_core.espa.calibration import Calibration, fit_calibration
from entropice_core.espa.fit import FitResult, Readout
from entropice_core.espa.held_out import FLOOR, Members, affiliations, held_out_probabilities, smoothed
from entropice_core.espa.log_linear import fit_table, spread_of
from entropice_core.espa.predictor import adjust_probabilities
from entropice_core.espa.search import Candidate
from entropice_core.espa.starts import SEED_ROWS, at_most
from entropice_core.espa.training import Jobs, Program

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


@dataclass(frozen=True)
class LogLinear:
    """Log-linear tables: width of the affiliations, in mean distances to the nearest box, and penalty, in rows times
    the variance of the affiliations.

    The wider the affiliations the more the logits are linear in the features: at ``SLOPE`` they are, in the directions
    that lead from box to box.
    """

    width: float
    penalty: float


SLOPE = 64.0
WAYS: tuple[LogLinear | None, ...] = (None, *(LogLinear(w, p) for w in (0.4, 1.6, SLOPE) for p in (1.0, 0.1)))


def held_out_ways(
    tests: Sequence[Integers], ways: Sequence[LogLinear | None], program: Program, candidate: Candidate
) -> tuple[Floats, Integers]:
    """Sums of held-out probabilities (n_ways, T, M) of one configuration and how often each row was held out (T,)."""
    counted, times = held_out_probabilities(program, candidate.members, tests, candidate.tau, candidate.alpha)
    found = [counted if way is None else _held_out(tests, way, program, candidate) for way in ways]
    return np.stack(found), times


def _held_out(tests: Sequence[Integers], way: LogLinear, program: Program, candidate: Candidate) -> Floats:
    members = candidate.members
    total = np.zeros((len(program.data.codes), len(program.data.classes)))
    for position, test in enumerate(tests):
        for fit in members.of_fold(position):
            one = np.array([fit])
            single = Members(members.jobs.take(one), members.result.take(one), members.readout.take(one), 1, 1)
            scores = log_linear_scores(
                program, single.jobs, single.result, single.readout, way=way, alpha=candidate.alpha
            )
            width = way.width * single.readout.distance_scale
            inside = affiliations(program, single.jobs, single.result, single.readout, width, test)
            total[test] += softmax(inside[:, 0] @ scores[0], axis=1) / members.n_average
    return total


def log_linear_scores(
    program: Program, jobs: Jobs, result: FitResult, readout: Readout, *, way: LogLinear, alpha: float
) -> Floats:
    """(B, K, M) scores of fits, each fitted to the rows that its fold trains on (20 000 of them at most)."""
    counted = smoothed(readout, program, jobs, alpha)
    weights = program.backend.to_host(program.rows.weights)
    parts = [program.folds[fold].part for fold in jobs.fold]
    tables = []
    for fit in range(len(jobs.fold)):
        one = np.array([fit])
        seen = np.flatnonzero(weights[parts[fit]] > 0)
        some = at_most(seen, SEED_ROWS, np.random.RandomState(0))
        own_fit = (jobs.take(one), result.take(one), readout.take(one))
        inside = affiliations(program, *own_fit, way.width * readout.distance_scale[one], some)[:, 0]
        own = program.data.weights[some] * (program.data.weights[seen].sum() / program.data.weights[some].sum())
        penalty = way.penalty * spread_of(inside, own)
        tables.append(fit_table(inside, program.data.codes[some], own, counted[fit], penalty))
    return np.stack(tables)


@dataclass(frozen=True)
class Read:
    """Ways that are averaged, their calibration, and their held-out probabilities (n, M) of the rows ``seen``."""

    ways: tuple[LogLinear | None, ...]
    calibration: Calibration
    held_out: Floats
    seen: NDArray[np.bool_]


def choose_ways(
    held: Sequence[tuple[Floats, Integers]],
    ways: Sequence[LogLinear | None],
    codes: Integers,
    weights: Floats,
    *,
    calibrate: bool,
) -> Read:
    """Average the held-out probabilities of configurations, calibrate, and keep the way that has the least log-loss.

    Parameters
    ----------
    held : sums (n_ways, T, M) and counts (T,) of every configuration
        From :func:`held_out_ways`.
    ways, codes, weights
    calibrate : bool
    """
    times = held[0][1]
    seen = times > 0
    codes, weights = codes[seen], weights[seen]
    mean = sum(sums[:, seen] for sums, _ in held) / (len(held) * times[seen])[:, None]

    def judged(chosen: tuple[int, ...]) -> tuple[float, Calibration, Floats]:
        average: Floats = mean[list(chosen)].mean(axis=0)
        found = Calibration(1.0, np.zeros(average.shape[1]))
        if calibrate:
            found = fit_calibration(average, codes, weights)
        adjusted = adjust_probabilities(average, found.power, found.bias)
        surprise = -np.log(np.maximum(adjusted[np.arange(len(codes)), codes], FLOOR))
        return float(weights @ surprise) / float(weights.sum()), found, average

    single = [judged((number,)) for number in range(len(ways))]
    tried: dict[tuple[int, ...], tuple[float, Calibration, Floats]] = {(n,): found for n, found in enumerate(single)}
    slopes = [number for number, way in enumerate(ways) if way is not None and way.width >= SLOPE]
    boxes = [number for number in range(len(ways)) if number not in slopes]
    if slopes and boxes:
        both = tuple(min(kind, key=lambda number: single[number][0]) for kind in (boxes, slopes))
        tried[both] = judged(both)
    best = min(tried, key=lambda chosen: tried[chosen][0])
    _, calibration, average = tried[best]
    return Read(tuple(ways[number] for number in best), calibration, average, seen)
