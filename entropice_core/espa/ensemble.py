"""ESPASearch and ESPAEnsemble: eSPA+ that chooses its parameters and calibrates itself.

What must not be here: the search itself (``search.py``), spatial folds (any splitter with groups is accepted).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.utils import check_random_state

from entropice_core.espa.backend import choose_backend
from entropice_core.espa.calibration import Calibration, fit_calibration
from entropice_core.espa.estimator import ESPAInput
from entropice_core.espa.held_out import held_out_probabilities, smoothed
from entropice_core.espa.members import Member, build_predictor, members_of
from entropice_core.espa.search import Candidate, Grid, Plan, Progress, search, table
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows
from entropice_core.espa.validation import DataError, check_search, check_weights

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


class ESPASearch(ESPAInput, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """eSPA+ with parameters chosen by held-out log-loss, refitted on all rows and calibrated.

    Why: number of clusters and temperatures decide how good eSPA+ is, and a search in a loop of single fits wastes
    what they share. Here all configurations, folds and restarts of one number of clusters are one batch.

    Parameters
    ----------
    n_clusters, eps_c, eps_w, tau, alpha : sequences
        Values to combine. ``tau`` and ``alpha`` are applied after training; the training itself uses the smallest
        ``alpha``.
    cv : None, int, splitter or iterable of (train, test)
        None: stratified, five folds or as many as the rarest class has rows. A splitter may use ``groups``.
    n_models : int, default 1
        Number of the best configurations that are refitted and averaged.
    n_init : int, default 8
    n_average : int, default 4
        Restarts of lowest loss that are averaged in each configuration.
    keep : float in (0, 1], default 0.25
        Share of the configurations that are run to the end; 1 turns the early removal off.
    n_screen : int, default 4
        Restarts used to decide which.
    n_swaps : int, default 0
        Rounds of moves that leave poor optima, for fits that are run to the end; as in the classifier.
    calibrate : bool, default True
        Fit one power and a bias per class to the held-out probabilities.
    folder : str or Path, optional
        Finished parts are kept here; an interrupted search goes on where it stopped.
    progress : callable, optional
        Called with a ``Progress`` after each part.
    eps_a, unbias, scaling, class_weight, mi_prior, mi_start, init, max_iter, tol, missing, backend, device, dtype,
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
    calibration_ : Calibration
    n_iter_ : int
        Sweeps of the longest of the final fits.
    classes_, predictor_, backend_
        As in the classifier.
    """

    def __init__(
        self,
        n_clusters: Iterable[int] = (8, 16, 32),
        *,
        eps_c: Iterable[float] = (0.1, 0.3, 1.0),
        eps_w: Iterable[float] = (0.15, 0.5, 1.5),
        tau: Iterable[float | None] = (0.0, 0.1, 0.2, 0.4),
        alpha: Iterable[float] = (0.5, 1.0, 2.0, 4.0),
        cv: Any = None,
        n_models: int = 1,
        n_init: int = 8,
        n_average: int = 4,
        keep: float = 0.25,
        n_screen: int = 4,
        n_swaps: int = 0,
        calibrate: bool = True,
        folder: str | Path | None = None,
        progress: Callable[[Progress], None] | None = None,
        eps_a: float = 0.0,
        unbias: bool = True,
        scaling: str = "standard",
        class_weight: Any = None,
        mi_prior: float = 0.0,
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
        self.tau = tau
        self.alpha = alpha
        self.cv = cv
        self.n_models = n_models
        self.n_init = n_init
        self.n_average = n_average
        self.keep = keep
        self.n_screen = n_screen
        self.n_swaps = n_swaps
        self.calibrate = calibrate
        self.folder = folder
        self.progress = progress
        self.eps_a = eps_a
        self.unbias = unbias
        self.scaling = scaling
        self.class_weight = class_weight
        self.mi_prior = mi_prior
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
        parameters = self.get_params(deep=False)
        grid = _grid(parameters)
        check_search(parameters, grid)
        backend = choose_backend(X, self.backend, self.device, self.dtype)
        X, y = self._validate_training(X, y)
        weights = check_weights(sample_weight, len(X))
        data = TrainingRows.select(X, y, weights)
        splits = _splits(self.cv, X, y, weights, groups, data)
        settings = Settings.of({**parameters, "n_clusters": max(grid.n_clusters)})
        random = check_random_state(self.random_state)
        program = Program(data, settings, random, backend, [train for train, _ in splits])
        plan = Plan(grid, self.n_average, self.keep, self.n_models, self.n_screen)
        tests = [test for _, test in splits]
        folder = None if self.folder is None else Path(self.folder)
        candidates = search(program, tests, plan, folder=folder, progress=self.progress)
        self._remember(candidates, plan)
        chosen = _best_configurations(candidates, self.n_models)
        self.calibration_ = self._calibrated(program, chosen, tests, np.flatnonzero(weights > 0), len(X))
        refits = [_refit(program, candidate, plan) for candidate in chosen]
        members = [member for refit, _ in refits for member in refit]
        self.n_iter_ = max(sweeps for _, sweeps in refits)
        self.predictor_ = build_predictor(program, members, self.calibration_.power, self.calibration_.bias)
        self.classes_, self.backend_ = data.classes, backend.describe()
        return self

    def _remember(self, candidates: list[Candidate], plan: Plan) -> None:
        best = candidates[0]
        self.results_ = table(candidates)
        self.best_params_ = {
            "n_clusters": best.configuration.n_clusters,
            "eps_c": best.configuration.eps_c,
            "eps_w": best.configuration.eps_w,
            "tau": best.tau,
            "alpha": best.alpha,
        }
        self.best_score_ = -best.log_loss
        finished = {candidate.configuration for candidate in candidates if candidate.stage == "full"}
        self.n_configurations_ = {"tried": len(plan.grid.configurations()), "run to the end": len(finished)}

    def _calibrated(
        self, program: Program, chosen: list[Candidate], tests: list[Integers], kept: Integers, n_rows: int
    ) -> Calibration:
        """Average the held-out probabilities of the chosen configurations and fit power and biases to them."""
        total = np.zeros((len(program.data.codes), len(program.data.classes)))
        for candidate in chosen:
            part, count = held_out_probabilities(program, candidate.members, tests, candidate.tau, candidate.alpha)
            total += part
        seen = count > 0
        mean = total[seen] / (len(chosen) * count[seen])[:, None]
        self.held_out_probabilities_ = np.full((n_rows, total.shape[1]), np.nan)
        self.held_out_probabilities_[kept[seen]] = mean
        if not self.calibrate:
            return Calibration(1.0, np.zeros(total.shape[1]))
        return fit_calibration(mean, program.data.codes[seen], program.data.weights[seen])


class ESPAEnsemble(ESPASearch):
    """ESPASearch that averages several good configurations; better probabilities, less readable.

    Parameters
    ----------
    n_models : int, default 8
    **parameters
        As in :class:`ESPASearch`.
    """

    def __init__(
        self,
        n_clusters: Iterable[int] = (8, 16, 32),
        *,
        eps_c: Iterable[float] = (0.1, 0.3, 1.0),
        eps_w: Iterable[float] = (0.15, 0.5, 1.5),
        tau: Iterable[float | None] = (0.0, 0.1, 0.2, 0.4),
        alpha: Iterable[float] = (0.5, 1.0, 2.0, 4.0),
        cv: Any = None,
        n_models: int = 8,
        n_init: int = 8,
        n_average: int = 4,
        keep: float = 0.34,
        n_screen: int = 4,
        n_swaps: int = 0,
        calibrate: bool = True,
        folder: str | Path | None = None,
        progress: Callable[[Progress], None] | None = None,
        eps_a: float = 0.0,
        unbias: bool = True,
        scaling: str = "standard",
        class_weight: Any = None,
        mi_prior: float = 0.0,
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
        own = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(**own)


def _grid(parameters: dict[str, Any]) -> Grid:
    names = ("n_clusters", "eps_c", "eps_w", "tau", "alpha")
    return Grid(**{name: _values(parameters[name]) for name in names})


def _values(given: Any) -> tuple[Any, ...]:
    """Plain Python numbers from a number, a sequence or an array."""
    values = np.atleast_1d(np.array(given, dtype=object)).tolist()
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def _splits(
    cv: Any, X: NDArray[Any], y: NDArray[Any], weights: Floats, groups: Any, data: TrainingRows
) -> list[tuple[Integers, Integers]]:
    """Training and held-out rows of each fold, counted among the rows of positive weight."""
    kept = np.flatnonzero(weights > 0)
    position = np.full(len(weights), -1, dtype=np.intp)
    position[kept] = np.arange(len(kept))
    if cv is None:
        found = _default_splitter(data).split(data.X, data.codes)
        return [(np.asarray(train), np.asarray(test)) for train, test in found]
    raw = check_cv(cv, y, classifier=True).split(X, y, groups)
    splits = [tuple(position[part][position[part] >= 0] for part in split) for split in raw]
    for number, (train, test) in enumerate(splits):
        absent = np.setdiff1d(data.codes, data.codes[train])
        if len(absent):
            name = data.classes.tolist()[absent[0]]
            raise DataError(
                f"The training part of fold {number} has no row of class {name!r}; use fewer or other folds."
            )
        if not len(test):
            raise DataError(f"Fold {number} holds out no row of positive weight; leave it out.")
    return [(train, test) for train, test in splits]


def _default_splitter(data: TrainingRows) -> StratifiedKFold:
    smallest = np.bincount(data.codes).min()
    if smallest < 2:
        name = data.classes.tolist()[np.bincount(data.codes).argmin()]
        message = f"Class {name!r} has only 1 sample, expected at least 2 to hold one out; add rows or pass `cv`."
        raise DataError(message)
    return StratifiedKFold(min(5, int(smallest)), shuffle=True, random_state=0)


def _best_configurations(candidates: list[Candidate], n_models: int) -> list[Candidate]:
    """Best combination of each of the ``n_models`` best configurations that were run to the end."""
    best: dict[Any, Candidate] = {}
    for candidate in candidates:
        if candidate.stage == "full":
            best.setdefault(candidate.configuration, candidate)
    return list(best.values())[:n_models]


def _refit(program: Program, candidate: Candidate, plan: Plan) -> tuple[list[Member], int]:
    """Fit all rows with the chosen configuration; keep the restarts of lowest loss, and say how long they took."""
    configuration = candidate.configuration
    jobs = Jobs.restarts_of_all_rows(
        configuration.n_clusters,
        min(plan.grid.alpha),
        configuration.eps_c,
        configuration.eps_w,
        program.settings.n_init,
    )
    result = program.run(jobs)
    best = np.argsort(result.losses, kind="stable")[: plan.n_average]
    jobs, result = jobs.take(best), result.take(best)
    readout = program.read(jobs, result)
    readout = replace(readout, Lambda=smoothed(readout, program, jobs, candidate.alpha))
    members = members_of(result, readout, candidate.tau, program.settings.eps_a)
    return members, max(len(curve) for curve in result.curves)
