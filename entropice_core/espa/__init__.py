"""eSPA+: entropic scalable probabilistic approximation, a classifier for few rows and many features.

The map of the room::

    estimator.py, inputs.py ESPAClassifier, the scikit-learn interface; what it shares with the search
    validation.py           checks of its parameters and data, with one sentence per error
    ensemble.py             ESPASearch and ESPAEnsemble: parameters chosen by held-out log-loss, calibrated
    search.py, held_out.py  configurations x folds x restarts as one program; log-loss of held-out rows
    grid.py                 what a search is asked
    calibration.py          one power and a bias per class; cache.py: finished parts of a search
    predictor.py            fitted numbers -> probabilities; arrays + JSON, no pickles
    reading.py              the methods that tell what was learnt: interpretation.py boxes and explanations,
                            importances.py measures side by side, picture.py
    objective.py            the functional that every step minimises
    training_rows.py        what a training is given; soft_labels.py: labels that are distributions or absent
    training.py, starts.py  rows and settings -> batches of fits; members.py: fits -> members of a predictor
    steps.py                its closed-form minimisers, for a batch of fits at once
    sweep.py, fit.py        one pass over the rows; the loop with restarts, pruning and compaction
    host_pass.py            the same pass on the host, several times faster
    splits.py, workers.py   rows that are held out; parts of a search in threads or on the workers of a cluster
    read_outs.py            counted or log-linear class tables (log_linear.py), as held-out rows prefer
    moves.py, board.py      moves that leave poor optima, and what they gain
    instance_weights.py     row weights that are learnt
    rows.py, scaling.py     rows as blocks, in memory or memory-mapped; units inside and outside
    seeds.py                k-means++ starts, weighted and balanced over the classes
    mutual_information.py   relevance of single features, for starts and priors
    backend.py              NumPy, PyTorch or CuPy, and which device was chosen

Names follow Horenko (2020, doi 10.1162/neco_a_01296) and Vecchi et al. (2022, doi 10.1162/neco_a_01490): W feature
weights, S centroids ("boxes"), Lambda class probabilities given the cluster, Gamma affiliations.
What must not be here: cross-validation over space, files of this project, maps.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entropice_core.espa.ensemble import ESPAEnsemble, ESPASearch
    from entropice_core.espa.estimator import ESPAClassifier
    from entropice_core.espa.predictor import Predictor

_HOMES = {
    "ESPAEnsemble": "entropice_core.espa.ensemble",
    "ESPASearch": "entropice_core.espa.ensemble",
    "ESPAClassifier": "entropice_core.espa.estimator",
    "Predictor": "entropice_core.espa.predictor",
}

__all__ = ["ESPAClassifier", "ESPAEnsemble", "ESPASearch", "Predictor"]


def __getattr__(name: str) -> Any:
    """Import the public classes when they are first asked for; the package itself stays free of heavy imports."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
