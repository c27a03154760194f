"""ESPASearch and ESPAEnsemble: eSPA+ that chooses its parameters and calibrates itself.

What must not be here: the search itself (``search.py``), spatial folds (any splitter with groups is accepted).
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state

from entropice_core.espa.backend import choose_backend
from entropice_core.espa.grid import Plan, Progress, grid_of
from entropice_core.espa.inputs import ESPAInput
from entropice_core.espa.members import build_predictor
from entropice_core.espa.read_outs import WAYS, choose_ways, held_out_ways
from entropice_core.espa.refit import best_configurations, refit
from entropice_core.espa.search import Candidate, search, table
from entropice_core.espa.splits import held_out_splits
from entropice_core.espa.training import Program, Settings, TrainingRows
from entropice_core.espa.validation import check_search, check_weights
from entropice_core.espa.workers import open_workers

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


class ESPASearch(ESPAInput, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """eSPA+ with parameters chosen by held-out log-loss, refitted on all rows and calibrated.

    Why: number of clusters and temperatures decide how good eSPA+ is, and a search in a loop of single fits wastes
    what they share. Here all configurations, folds and restarts of one number of clusters are one batch.

    Parameters
    ----------
    n_clusters, eps_c, eps_w, mi_prior, scaling, tau, alpha : sequences
        Values to combine. ``tau`` and ``alpha`` are applied after training; the training itself uses the smallest
        ``alpha``.
    cv : None, int, splitter or iterable of (train, test)
        None: stratified, five folds or as many as the rarest class has rows. A splitter may use ``groups``.
    n_models : int, optional
        Number of the best configurations that are refitted and averaged; 1 when not given.
    n_init : int, default 16
    n_average : int, default 4
        Restarts of lowest loss that are averaged in each configuration.
    keep : float in (0, 1], optional
        Share of the configurations that are run to the end; 0.15 when not given, 1 turns the early removal off.
    n_screen : int, default 4
        Restarts used to decide which.
    n_moves : int, default 1
        Rounds of moves that leave poor optima, as in the classifier, for the best configurations (``n_models``, four
        at least).
        Their scores without the moves stay in the table, and the better of both is taken.
    log_linear : bool, optional
        Try log-linear class tables too (``log_linear.py``) and keep them where held-out rows prefer them; False when
        not given. They are often better where classes have straight borders, and less readable.
    calibrate : bool, default True
        Fit one power and a bias per class to the held-out probabilities.
    folder : str or Path, optional
        Finished parts are kept here; an interrupted search goes on where it stopped.
    progress : callable, optional
        Called with a ``Progress`` after each part.
    n_jobs : int, optional
        Threads that compute parts of the search; 1 when not given, -1 for all cores. The result is the same.
    client : dask.distributed.Client, optional
        Its workers compute the parts, on whatever device each of them sees; the rows are sent to each of them once.
        The result is the same as in one process.
    eps_a, unbias, class_weight, mi_start, init, max_iter, tol, missing, backend, device, dtype,
    random_state
        As in :class:`~entropice_core.espa.ESPAClassifier`.

    Attributes
    ----------
    results_ : dict of arrays
        One entry per combination, best first: parameters, held-out log-loss with its folds, and diagnostics.
    best_params_ : dict
    best_score_ : float
        Negative held-out log-loss of the best combination; it chose, so it is a little too good.
    n_configurations_ : dict
        Configurations tried, and run to the end.
    held_out_probabilities_ : (T, M) float64
        Of the averaged configurations before calibration; NaN in rows that were never held out.
    read_out_ : tuple of LogLinear or None
        How class probabilities are read from the boxes, the ways that are averaged; None: counted.
    calibration_ : Calibration
    n_iter_ : int
        Sweeps of the longest of the final fits.
    classes_, predictor_, backend_
        As in the classifier.
    """

    _when_not_given: ClassVar[dict[str, Any]] = {"n_models": 1, "keep": 0.15, "log_linear": False}

    def __init__(
        self,
        n_clusters: Iterable[int] = (8, 16, 32),
        *,
        eps_c: Iterable[float] = (0.1, 0.3, 1.0),
        eps_w: Iterable[float] = (0.15, 0.5, 1.5),
        mi_prior: Iterable[float] = (0.0, 1.0),
        scaling: str | Iterable[str] = ("standard", "minmax"),
        tau: Iterable[float | None] = (0.0, 0.1, 0.2, 0.4),
        alpha: Iterable[float] = (0.5, 1.0, 2.0, 4.0),
        cv: Any = None,
        n_models: int | None = None,
        n_init: int = 16,
        n_average: int = 4,
        keep: float | None = None,
        n_screen: int = 4,
        n_moves: int = 1,
        log_linear: bool | None = None,
        calibrate: bool = True,
        folder: str | Path | None = None,
        progress: Callable[[Progress], None] | None = None,
        n_jobs: int | None = None,
        client: Any = None,
        eps_a: float = 0.0,
        unbias: bool = True,
        class_weight: Any = None,
        mi_start: float = 0.5,
        init: str = "balanced",
        max_iter: int = 200,
        tol: float = 1e-6,
        missing: str = "error",
        backend: str = "auto",
        device: str = "auto",
        dtype: str = "float64",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.eps_c = eps_c
        self.eps_w = eps_w
        self.mi_prior = mi_prior
        self.tau = tau
        self.alpha = alpha
        self.cv = cv
        self.n_models = n_models
        self.n_init = n_init
        self.n_average = n_average
        self.keep = keep
        self.n_screen = n_screen
        self.n_moves = n_moves
        self.log_linear = log_linear
        self.calibrate = calibrate
        self.folder = folder
        self.progress = progress
        self.n_jobs = n_jobs
        self.client = client
        self.eps_a = eps_a
        self.unbias = unbias
        self.scaling = scaling
        self.class_weight = class_weight
        self.mi_start = mi_start
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.missing = missing
        self.backend = backend
        self.device = device
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Search, refit and calibrate on X (T, D), y (T,), row weights (T,) and groups (T,) for the splitter."""
        parameters = self._given_parameters()
        grid = grid_of(parameters)
        check_search(parameters, grid)
        backend = choose_backend(X, self.backend, self.device, self.dtype)
        X, y = self._validate_training(X, y)
        weights = check_weights(sample_weight, len(X))
        data = TrainingRows.select(X, y, weights)
        splits = held_out_splits(self.cv, X, y, weights, groups, data)
        largest = {"n_clusters": max(grid.n_clusters), "mi_prior": max(grid.mi_prior)}
        settings = Settings.of({**parameters, **largest, "scaling": grid.scaling})
        random = check_random_state(self.random_state)
        program = Program(data, settings, random, backend, [train for train, _ in splits])
        plan = Plan(grid, self.n_average, parameters["keep"], parameters["n_models"], self.n_screen)
        tests = [test for _, test in splits]
        folder = None if self.folder is None else Path(self.folder)
        with open_workers(program, self.n_jobs, self.client) as workers:
            candidates = search(program, tests, plan, workers=workers, folder=folder, progress=self.progress)
            chosen = best_configurations(candidates, plan.n_keep_least)
            ways = WAYS if parameters["log_linear"] else WAYS[:1]
            held = dict(workers.compute(partial(held_out_ways, tests, ways), chosen))
            sums = [held[number] for number in sorted(held)]
            read = choose_ways(sums, ways, data.codes, data.weights, calibrate=self.calibrate)
            refits = dict(workers.compute(partial(refit, plan, read.ways), chosen))
        self._remember(candidates, plan)
        members = [member for number in sorted(refits) for member in refits[number][0]]
        self.n_iter_ = max(sweeps for _, sweeps in refits.values())
        self.read_out_, self.calibration_ = read.ways, read.calibration
        self.predictor_ = build_predictor(program, members, read.calibration.power, read.calibration.bias)
        self.held_out_probabilities_ = np.full((len(X), len(data.classes)), np.nan)
        self.held_out_probabilities_[np.flatnonzero(weights > 0)[read.seen]] = read.held_out
        self.classes_, self.backend_ = data.classes, backend.describe()
        return self

    def __sklearn_clone__(self) -> Self:
        """Copy the parameters; a client has a connection, which cannot be copied, and is shared."""
        parameters = self.get_params(deep=False)
        shared = parameters.pop("client")
        return type(self)(**{name: clone(value, safe=False) for name, value in parameters.items()}, client=shared)

    def _given_parameters(self) -> dict[str, Any]:
        """Parameters with what stands for those that are not given."""
        given = {name: value for name, value in self.get_params(deep=False).items() if value is not None}
        return {**self.get_params(deep=False), **self._when_not_given, **given}

    def _remember(self, candidates: list[Candidate], plan: Plan) -> None:
        best = candidates[0]
        self.results_ = table(candidates)
        self.best_params_ = {
            "n_clusters": best.configuration.n_clusters,
            "eps_c": best.configuration.eps_c,
            "eps_w": best.configuration.eps_w,
            "mi_prior": best.configuration.mi_prior,
            "scaling": best.configuration.scaling,
            "tau": best.tau,
            "alpha": best.alpha,
        }
        self.best_score_ = -best.log_loss
        finished = {candidate.configuration for candidate in candidates if candidate.stage != "screen"}
        self.n_configurations_ = {"tried": len(plan.grid.configurations()), "run to the end": len(finished)}


class ESPAEnsemble(ESPASearch):
    """ESPASearch that averages several good configurations; better probabilities, less readable.

    All parameters are those of :class:`ESPASearch`; only what ``n_models``, ``keep`` and ``log_linear`` are when they
    are not given differs: 8, 0.2 and True.
    """

    _when_not_given: ClassVar[dict[str, Any]] = {"n_models": 8, "keep": 0.2, "log_linear": True}
