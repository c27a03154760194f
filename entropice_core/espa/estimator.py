"""ESPAClassifier: eSPA+ behind the scikit-learn interface.

What must not be here: the mathematics (``steps.py``, ``objective.py``) and search over parameters.
"""

import math
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from entropice_core.espa.backend import Backend, choose_backend, is_foreign, to_host
from entropice_core.espa.fit import FitResult, Readout
from entropice_core.espa.inputs import FLOAT_TYPES, ESPAInput
from entropice_core.espa.members import build_predictor, members_of
from entropice_core.espa.scaling import Scaling
from entropice_core.espa.soft_labels import check_soft_labels
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows
from entropice_core.espa.validation import DisagreementWarning, check_finite, check_parameters, check_weights

Floats = NDArray[np.float64]
DISAGREEMENT = 0.3  # good fits have 0 to 0.1, permuted labels 0.2 to 0.4, too large an eps_c up to 0.6


class ESPAClassifier(ESPAInput, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Entropic scalable probabilistic approximation (eSPA+): label-aware clustering that weighs its features.

    Why: with few labelled rows and many features, forests and nets overfit. eSPA+ describes the data by a few
    centroids ("boxes"), learns one weight per feature, and gives each cluster a class distribution; every training
    step has a closed form and never raises the loss. Method: Horenko 2020 (doi 10.1162/neco_a_01296), Vecchi et al.
    2022 (doi 10.1162/neco_a_01490).

    Parameters
    ----------
    n_clusters : int, default 16
        K. Clusters that lose all rows are dropped. More clusters than classes times patterns cost little, because
        ``alpha`` shrinks small clusters to the class frequencies.
    eps_c : float, default 0.3
        Weight of the labels against squared distance (of unit-variance features). 0 = clustering without labels.
    eps_w : float, default 0.5
        Temperature of the feature weights, in mean squared distance per feature. Large or infinite: even weights;
        small: few features, in the end a single one. Search 0.03 to 1.
    eps_a : float, default 0.0
        Temperature of affiliations in training; 0 = each row in one cluster, as published. 1e-4 to 1e-2 smooths,
        at three to five times the sweeps.
    eps_t : float, default infinity
        Temperature of row weights that are learnt, in what a row costs (squared distance and label); infinite: the
        given weights are kept. Rows that cost much more than others by ``eps_t`` lose their say: use it against wrong
        labels, and not with a rare class, which looks like one.
    alpha : float, default 1.0
        Dirichlet prior of each cluster's class distribution, in rows, with the class frequencies as mean. 0 is the
        published rule and can predict probabilities of exactly zero, whose log-loss is unbounded.
    tau : float or None, default 0.2
        Temperature of affiliations in prediction, in units of the mean squared distance to the nearest centroid.
        0 = nearest centroid only, as published (K distinct outputs); None = ``eps_a``, as in training.
    unbias : bool, default True
        Count the classes of the clusters again after training with assignments that do not see the labels, as they
        will not when predicting. Without it probabilities are over-confident.
    scaling : {"standard", "minmax", "none"}, default "standard"
        Divisor inside. With "minmax", as in the papers' scripts, W rewards heavy-tailed features.
    class_weight : None, "balanced" or dict, default None
        Costs of the classes: they weigh the labels in training and the choice in ``predict``. The probabilities are
        counted without them and keep the real class frequencies.
    mi_prior : float, default 0.0
        Power p of the prior W ~ (mutual information with the class)^p; 0 = even prior.
    mi_start : float between 0 and 1, default 0.5
        Share of the restarts whose W starts at the mutual information. Features of equal variance need it.
    init : {"balanced", "k-means++", "random"}, default "balanced"
        Starting centroids; "balanced" makes every class weigh the same in k-means++ and own at least one seed.
    n_init : int, default 16
        Restarts, swept together. Restarts matter more than any other choice.
    n_average : int, default 1
        Number of the restarts with the lowest loss whose probabilities are averaged. 1 keeps one readable set of
        clusters; ``n_init`` gives better probabilities.
    n_moves : int, default 0
        Rounds of moves that leave poor optima (``moves.py``): boxes are merged and split, single rows change sides, and
        restarts are crossed; accepted only when the loss falls. With one or two rounds nearly every restart is within
        1 % of the best known loss, at five to thirteen times the passes. Restarts then resemble each other,
        so that averages of them (``n_average``) gain nothing: moves are for single models.
    max_iter : int, default 200
    tol : float, default 1e-8
        Relative fall of the loss at which a restart has settled.
    missing : {"error", "mask"}, default "error"
        "mask" leaves missing values (NaN) out of distances and means.
    backend : {"auto", "numpy", "torch", "cupy"}, default "auto"
        "auto": the library of X when X lives on a device, otherwise NumPy.
    device : str, default "auto"
        "auto": the first CUDA device the library sees, otherwise the CPU; ``backend_`` says which.
    dtype : {"float64", "float32"}, default "float64"
        Type of rows and costs; sums, updates and losses are float64.
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    classes_ : (M,)
    n_iter_ : int; loss_curve_ : (n_iter_,) float64
        Sweeps and losses of the best restart.
    cluster_centers_ : (K', D) float64, input units
        Centroids of the K' clusters that remain.
    class_probabilities_ : (K', M) float64
        Class distribution of each cluster (Lambda).
    cluster_mass_ : (K',) float64
        Share of the training weight in each cluster.
    feature_weights_ : (D,) float64, sum 1
        W. Not a relevance by itself; features that do not vary have none.
    explained_variance_ratio_ : (D,) float64, <= 1
        Share of each feature's variance that the clusters explain.
    feature_importances_ : (D,) float64, sum 1 (all 0 when nothing is explained)
        W times explained variance: each feature's share in what tells the clusters apart.
    labels_ : (T,) int
        Cluster of each training row, from its features alone.
    disagreement_ : float in [0, 1]
        Weight share of training rows that their label puts into another cluster than their features do. Above 0.3
        the clusters follow the labels rather than the features: lower ``eps_c``.
    restart_losses_ : (n_init,) float64
    instance_weights_ : (T,) float64 or None
        Learnt weight over given weight of each training row, mean 1 (0 where the given one is 0); None without
        ``eps_t``.
    effective_dimension_ : float
        exp of the entropy of W.
    backend_ : str
        Library, device and type that were used.
    predictor_ : Predictor
        The numbers behind ``predict_proba``; see ``to_arrays``.

    Examples
    --------
    >>> X = np.array([[0.0, 5.0], [0.1, 1.0], [0.2, 3.0], [1.0, 4.0], [1.1, 2.0], [1.2, 3.0]])
    >>> model = ESPAClassifier(n_clusters=2, random_state=0).fit(X, ["a", "a", "a", "b", "b", "b"])
    >>> model.predict([[0.05, 3.0], [1.15, 3.0]]).tolist()
    ['a', 'b']
    """

    def __init__(
        self,
        n_clusters: int = 16,
        *,
        eps_c: float = 0.3,
        eps_w: float = 0.5,
        eps_a: float = 0.0,
        eps_t: float = math.inf,
        alpha: float = 1.0,
        tau: float | None = 0.2,
        unbias: bool = True,
        scaling: str = "standard",
        class_weight: Any = None,
        mi_prior: float = 0.0,
        mi_start: float = 0.5,
        init: str = "balanced",
        n_init: int = 16,
        n_average: int = 1,
        n_moves: int = 0,
        max_iter: int = 200,
        tol: float = 1e-8,
        missing: str = "error",
        backend: str = "auto",
        device: str = "auto",
        dtype: str = "float64",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.eps_c = eps_c
        self.eps_w = eps_w
        self.eps_a = eps_a
        self.eps_t = eps_t
        self.alpha = alpha
        self.tau = tau
        self.unbias = unbias
        self.scaling = scaling
        self.class_weight = class_weight
        self.mi_prior = mi_prior
        self.mi_start = mi_start
        self.init = init
        self.n_init = n_init
        self.n_average = n_average
        self.n_moves = n_moves
        self.max_iter = max_iter
        self.tol = tol
        self.missing = missing
        self.backend = backend
        self.device = device
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (T, D), y (T,) and optional row weights (T,); zero weight = the row is absent."""
        parameters = self.get_params(deep=False)
        check_parameters(parameters)
        backend = choose_backend(X, self.backend, self.device, self.dtype)
        X, y = self._validate_training(X, y)
        weights = check_weights(sample_weight, len(X))
        return self._train(X, TrainingRows.select(X, y, weights), weights, backend)

    def fit_soft(self, X: Any, P: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train on labels that are distributions or absent.

        Parameters
        ----------
        X : (T, D)
        P : (T, M)
            Class distribution of each row; a row of NaN has no label, shapes the boxes and counts for no class. See
            :func:`entropice_core.espa.soft_labels.soft_labels` for labels with gaps.
        sample_weight : (T,), optional
        classes : (M,), optional
            Labels of the columns of P; 0, 1, ... when not given.
        """
        parameters = self.get_params(deep=False)
        check_parameters(parameters)
        backend = choose_backend(X, self.backend, self.device, self.dtype)
        host = validate_data(self, to_host(X) if is_foreign(X) else X, dtype=FLOAT_TYPES, ensure_all_finite=False)
        check_finite(host, self.missing == "mask", getattr(self, "feature_names_in_", None))
        weights = check_weights(sample_weight, len(host))
        targets, names = check_soft_labels(to_host(P) if is_foreign(P) else P, len(host), classes)
        return self._train(host, TrainingRows.select_soft(host, targets, names, weights), weights, backend)

    def _train(self, X: NDArray[Any], data: TrainingRows, weights: Floats, backend: Backend) -> Self:
        parameters = self.get_params(deep=False)
        program = Program(data, Settings.of(parameters), check_random_state(self.random_state), backend)
        temperatures = (self.eps_c, self.eps_w, self.n_init, self.mi_prior)
        jobs = Jobs.restarts_of_all_rows(self.n_clusters, self.alpha, *temperatures)
        result = program.run(jobs)
        best = np.argsort(result.losses, kind="stable")[: self.n_average]
        chosen = result.take(best)
        readout = program.read(jobs.take(best), chosen)
        members = members_of(program, jobs.take(best), chosen, readout, self.tau)
        self.predictor_ = build_predictor(program, members, 1.0, np.zeros(len(data.classes)))
        self.classes_ = data.classes
        self.backend_ = backend.describe()
        self.restart_losses_ = result.losses
        self.instance_weights_ = _relative(chosen.instance_weights, weights)
        self.labels_ = self.predictor_.nearest_clusters(X, backend)
        self._describe(chosen, readout, program.scaling)
        self._warn(chosen, program.n_distinct)
        return self

    def _describe(self, chosen: FitResult, readout: Readout, scaling: Scaling) -> None:
        """Set the attributes that tell about the best restart."""
        best, varies = self.predictor_, scaling.varies
        live = best.live[0]
        self.n_iter_ = len(chosen.curves[0])
        self.loss_curve_ = chosen.curves[0]
        self.cluster_centers_ = scaling.outside(best.centroids[0, live])
        self.class_probabilities_ = best.class_probabilities[0, live]
        self.cluster_mass_ = readout.mass[0][readout.live[0]]
        self.feature_weights_ = np.where(varies, chosen.W[0], 0.0)
        self.effective_dimension_ = effective_dimension(self.feature_weights_)
        unexplained = readout.dispersion[0] / np.where(varies, scaling.variance * scaling.observed, 1.0)
        self.explained_variance_ratio_ = np.where(varies, 1.0 - unexplained, 0.0)
        carried = self.feature_weights_ * np.maximum(self.explained_variance_ratio_, 0.0) * scaling.variance
        self.feature_importances_ = carried / carried.sum() if carried.any() else carried
        self.disagreement_ = float(readout.disagreement[0])

    def _warn(self, chosen: FitResult, n_distinct: int) -> None:
        if n_distinct < self.n_clusters:
            message = f"n_clusters is {self.n_clusters}, but the rows are only enough for {n_distinct}; fewer are used."
            warnings.warn(message, UserWarning, stacklevel=4)
        if not chosen.converged[0]:
            message = f"The best restart had not settled after {self.max_iter} sweeps; raise max_iter or tol."
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
        if self.disagreement_ > DISAGREEMENT:
            message = (
                f"Labels put {self.disagreement_:.0%} of the rows into other clusters than their features do, expected "
                f"at most {DISAGREEMENT:.0%}: the clusters follow the labels and will not predict; lower eps_c."
            )
            warnings.warn(message, DisagreementWarning, stacklevel=4)


def _relative(learnt: Floats | None, given: Floats) -> Floats | None:
    """(T,) learnt over given weight of the best restart, mean 1 under the given weights; 0 where nothing was given."""
    if learnt is None:
        return None
    ratio = np.zeros_like(given)
    used = given > 0
    ratio[used] = learnt[0] / (given[used] / given.sum())
    return ratio


def effective_dimension(W: Floats) -> float:
    """Return exp of the entropy of W: how many features share the weight.

    >>> round(effective_dimension(np.array([0.5, 0.5, 0.0])), 6)
    2.0
    """
    used = W[W > 0]
    return float(np.exp(-(used * np.log(used)).sum()))
