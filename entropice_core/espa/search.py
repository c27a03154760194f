"""Search over configurations x folds x restarts as one program.

Fits of one number of clusters share matrix products, held-out rows are scored by a by-product, prediction temperature
and smoothing cost no fits at all. Hopeless configurations leave after a few sweeps of a few restarts (as in successive
halving); those that stay are run to the end with all restarts. The result depends on the data, the settings and the
seed only, not on chunks, on resuming, or on the order of the grid.
What must not be here: scikit-learn's interface, files other than the cache.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.cache import Outcome, SearchCache
from entropice_core.espa.fit import FitResult
from entropice_core.espa.grid import Configuration, Plan, Progress
from entropice_core.espa.held_out import Members, held_out_losses
from entropice_core.espa.training import Jobs, Program
from entropice_core.espa.workers import Workers

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

HOST_COLUMNS = 4_000  # costs per row of one batch: more leave the cache (measured: 20 000 take twice as long)
DEVICE_COLUMNS = 262_144
SCREEN_SWEEPS = 10
MOVED = 4  # configurations that get the moves which leave poor optima; more when more are averaged


@dataclass(frozen=True)
class Candidate:
    """A scored combination.

    Attributes
    ----------
    log_loss : float
        Mean over folds, weighted by the held-out weight.
    fold_log_losses : (F,) float64
    stage : "screen", "full" or "moved"
        A few sweeps of a few restarts; all restarts to the end; the same with moves. Screened ones are never chosen.
    members : Members
        Its fits of all folds.
    """

    configuration: Configuration
    tau: float | None
    alpha: float
    log_loss: float
    fold_log_losses: Floats
    stage: str
    outcome: Outcome

    @property
    def members(self) -> Members:
        """Its fits of all folds."""
        return self.outcome.members


def search(
    program: Program,
    tests: Sequence[Integers],
    plan: Plan,
    *,
    workers: Workers,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Candidate]:
    """Score every combination, best first; those removed early follow at the end with stage "screen".

    Parameters
    ----------
    program : Program
        Its folds 1..F are the training parts that belong to ``tests``.
    tests : F arrays of held-out rows
    plan : Plan
    workers : Workers
        Where the chunks are computed.
    folder : Path, optional
        Finished chunks are kept here and found again by what they were computed from.
    progress : callable, optional
    """
    cache = SearchCache(folder, program, tests) if folder else None
    runner = _Runner(program, tests, plan, workers, cache, progress)
    everything = plan.grid.configurations()
    n_restarts = program.settings.n_init
    n_keep = max(plan.n_keep_least, int(np.ceil(plan.keep * len(everything))))
    removed: list[Candidate] = []
    survivors = everything
    if n_keep < len(everything):
        screen = np.unique(np.linspace(0, n_restarts - 1, min(plan.n_screen, n_restarts)).round().astype(np.intp))
        screened = runner.score(everything, screen, "screen")
        survivors = _best(screened, n_keep)
        removed = [candidate for candidate in screened if candidate.configuration not in survivors]
    finished = runner.score(survivors, np.arange(n_restarts), "full")
    if program.settings.n_moves:
        finished += runner.score(_best(finished, max(MOVED, plan.n_keep_least)), np.arange(n_restarts), "moved")
    return _ranked(finished) + _ranked(removed)


def _best(candidates: list[Candidate], n_keep: int) -> list[Configuration]:
    """Return the configurations with the best scores, in the order of the grid."""
    ranked = list(dict.fromkeys(candidate.configuration for candidate in _ranked(candidates)))
    return sorted(ranked[:n_keep], key=astuple)


def _ranked(candidates: list[Candidate]) -> list[Candidate]:
    """Best first; ties go to fewer clusters, weaker labels, more even weights and more smoothing."""

    def key(candidate: Candidate) -> tuple[Any, ...]:
        c = candidate.configuration
        read_out = (-candidate.alpha, -(candidate.tau or 0.0))
        return (candidate.log_loss, c.n_clusters, c.eps_c, -c.eps_w, c.mi_prior, c.scaling, *read_out)

    return sorted(candidates, key=key)


class _Runner:
    """Chunks of configurations, computed or read from the cache."""

    def __init__(
        self,
        program: Program,
        tests: Sequence[Integers],
        plan: Plan,
        workers: Workers,
        cache: SearchCache | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._program, self._tests, self._plan = program, tests, plan
        self._workers, self._cache, self._progress = workers, cache, progress
        self._shares = np.array([program.data.weights[test].sum() for test in tests])
        self._shares = self._shares / self._shares.sum()

    def score(self, configurations: list[Configuration], restarts: Integers, stage: str) -> list[Candidate]:
        chunks = self._chunks(configurations, len(restarts))
        scored: dict[int, list[Candidate]] = {}
        for number, outcome in self._outcomes([Chunk(tuple(chunk), restarts, stage) for chunk in chunks]):
            scored[number] = self._candidates(chunks[number], outcome, stage)
            if self._progress is not None:
                done = sum(len(chunks[finished]) for finished in scored)
                best = min(candidate.log_loss for found in scored.values() for candidate in found)
                self._progress(Progress(stage, done, len(configurations), best))
        return [candidate for number in sorted(scored) for candidate in scored[number]]

    def _chunks(self, configurations: list[Configuration], n_restarts: int) -> list[list[Configuration]]:
        """Consecutive configurations of one K whose batch stays within the column limit."""
        on_host = self._program.backend.is_numpy or str(self._program.backend.device) == "cpu"
        limit = HOST_COLUMNS if on_host else DEVICE_COLUMNS
        chunks: list[list[Configuration]] = []
        for n_clusters, group in itertools.groupby(configurations, key=lambda c: c.n_clusters):
            same = list(group)
            size = max(1, limit // (n_clusters * n_restarts * len(self._tests)))
            chunks += [same[i : i + size] for i in range(0, len(same), size)]
        return chunks

    def _outcomes(self, chunks: list["Chunk"]) -> Iterator[tuple[int, Outcome]]:
        """Chunks that are in the folder, then the others as they are finished."""
        cache = self._cache
        keys = [cache.key(c.configurations, c.restarts, c.stage, self._plan) for c in chunks] if cache else []
        left = []
        for number, chunk in enumerate(chunks):
            known = cache.load(keys[number]) if cache else None
            if known is None:
                left.append((number, chunk))
            else:
                yield number, known
        compute = partial(compute_chunk, self._tests, self._plan)
        for place, outcome in self._workers.compute(compute, [chunk for _, chunk in left]):
            number = left[place][0]
            if cache is not None:
                cache.save(keys[number], outcome)
            yield number, outcome

    def _candidates(self, chunk: list[Configuration], outcome: Outcome, stage: str) -> list[Candidate]:
        grid, single = self._plan.grid, [outcome.take(c) for c in range(len(chunk))]
        found = []
        for c, t, a in np.ndindex(len(chunk), len(grid.tau), len(grid.alpha)):
            losses = outcome.losses[c, t, a]
            mean = float(self._shares @ losses)
            found.append(Candidate(chunk[c], grid.tau[t], grid.alpha[a], mean, losses, stage, single[c]))
        return found


@dataclass(frozen=True)
class Chunk:
    """Configurations of one K that are fitted together, with the restarts they get."""

    configurations: tuple[Configuration, ...]
    restarts: Integers
    stage: str


def compute_chunk(tests: Sequence[Integers], plan: Plan, program: Program, chunk: Chunk) -> Outcome:
    """Fit all configurations of a chunk in all folds and score the held-out rows."""
    jobs = _jobs(program, chunk, plan, len(tests))
    result = program.run(jobs, SCREEN_SWEEPS if chunk.stage == "screen" else None, moves=chunk.stage == "moved")
    best = _best_restarts(result, len(chunk.restarts), plan.n_average)
    n_iter = np.array([len(curve) for curve in result.curves])
    chosen, jobs = result.take(best), jobs.take(best)
    n_configurations = len(chunk.configurations)
    members = Members(jobs, _short(chosen), program.read(jobs, chosen), n_configurations, len(tests))
    losses = held_out_losses(program, members, tests, plan.grid.tau, plan.grid.alpha)
    return Outcome(members, losses, n_iter.reshape(n_configurations, -1).mean(axis=1))


def _jobs(program: Program, chunk: Chunk, plan: Plan, n_folds: int) -> Jobs:
    """All fits of a chunk: configurations x folds x restarts."""
    configurations, restarts = chunk.configurations, chunk.restarts
    c, f, r = (axis.reshape(-1) for axis in np.indices((len(configurations), n_folds, len(restarts))))
    each = [np.array([getattr(x, name) for x in configurations])[c] for name in ("eps_c", "eps_w", "mi_prior")]
    fold = np.array([[program.fold(1 + p, x.scaling) for p in range(n_folds)] for x in configurations])[c, f]
    return Jobs(configurations[0].n_clusters, min(plan.grid.alpha), fold, restarts[r], *each)


def _best_restarts(result: FitResult, n_restarts: int, n_average: int) -> Integers:
    """Indices of the restarts of lowest loss in each configuration and fold."""
    losses = result.losses.reshape(-1, n_restarts)
    order = np.argsort(losses, axis=1, kind="stable")[:, :n_average]
    return (order + n_restarts * np.arange(len(losses))[:, None]).reshape(-1)


def _short(result: FitResult) -> FitResult:
    """Keep the last loss of each curve only; thousands of curves are of no use."""
    return replace(result, curves=[curve[-1:] for curve in result.curves])


def table(candidates: Sequence[Candidate]) -> dict[str, NDArray[Any]]:
    """Results as named columns, one entry per combination, best first."""
    columns: dict[str, list[Any]] = {
        "rank": list(range(1, len(candidates) + 1)),
        "stage": [c.stage for c in candidates],
        "n_clusters": [c.configuration.n_clusters for c in candidates],
        "eps_c": [c.configuration.eps_c for c in candidates],
        "eps_w": [c.configuration.eps_w for c in candidates],
        "mi_prior": [c.configuration.mi_prior for c in candidates],
        "scaling": [c.configuration.scaling for c in candidates],
        "tau": [np.nan if c.tau is None else c.tau for c in candidates],
        "alpha": [c.alpha for c in candidates],
        "log_loss": [c.log_loss for c in candidates],
        "log_loss_std": [float(c.fold_log_losses.std()) for c in candidates],
        "disagreement": [float(c.members.readout.disagreement.mean()) for c in candidates],
        "clusters_used": [float(c.members.readout.live.sum(axis=1).mean()) for c in candidates],
        "n_iter": [float(c.outcome.n_iter[0]) for c in candidates],
    }
    result: dict[str, NDArray[Any]] = {name: np.array(values) for name, values in columns.items()}
    for fold in range(len(candidates[0].fold_log_losses)):
        result[f"log_loss_fold_{fold}"] = np.array([c.fold_log_losses[fold] for c in candidates])
    return result
