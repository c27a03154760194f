"""The methods of the estimators that tell people what was learnt.

What must not be here: how it is computed (``interpretation.py``, ``importances.py``) and drawn (``picture.py``).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from entropice_core.espa.backend import Backend, is_foreign, to_host
from entropice_core.espa.importances import compare_importances, prepare_sample
from entropice_core.espa.interpretation import (
    Explanation,
    check_member,
    describe_boxes,
    describe_features,
    explain_row,
    feature_names,
)
from entropice_core.espa.predictor import Predictor
from entropice_core.espa.validation import DataError, check_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


class ReadableESPA:
    """What the classifier, the search and the ensemble tell about themselves."""

    predictor_: Predictor

    def _validate_new(self, X: Any) -> tuple[NDArray[Any], Backend]:
        raise NotImplementedError(f"{type(self).__name__} cannot check rows; use one of the estimators of this room.")

    def box_table(self, X: Any = None, sample_weight: Any = None, member: int = 0, n_defining: int = 3) -> pd.DataFrame:
        """One row per box: share of the rows, class distribution, and the features that set it apart in input units.

        Parameters
        ----------
        X : (T, D), optional
            Rows to measure the sizes on. Without it the classifier tells those of its training rows, while search
            and ensemble, which do not keep them, leave ``mass`` out.
        sample_weight : (T,), optional
        member : int, default 0
            Which fit of an average; 0 is the one of lowest loss.
        n_defining : int, default 3

        Returns
        -------
        DataFrame indexed by ``box``, see :func:`entropice_core.espa.interpretation.describe_boxes`
        """
        check_is_fitted(self)
        return describe_boxes(self.predictor_, self._names(), self._mass(X, sample_weight, member), member, n_defining)

    def box_features(self, member: int = 0) -> pd.DataFrame:
        """Every centre of every box in input units, with the feature's share in what sets the box apart."""
        check_is_fitted(self)
        return describe_features(self.predictor_, self._names(), member)

    def explain(self, x: Any, member: int = 0) -> Explanation:
        """Take the prediction of one row x (D,) apart: box, rival, distance per feature, probability by stages."""
        rows = x if is_foreign(x) or hasattr(x, "iloc") else np.asarray(x)
        rows = rows[None, :] if getattr(rows, "ndim", 2) == 1 and not hasattr(rows, "iloc") else rows
        rows = rows.to_frame().T if hasattr(rows, "to_frame") else rows
        host, _ = self._validate_new(rows)
        if len(host) != 1:
            raise DataError(f"explain was given {len(host)} rows, expected a single one; call it row by row.")
        return explain_row(self.predictor_, self._names(), np.asarray(host[0], dtype=np.float64), member)

    def compare_importances(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        n_repeats: int = 5,
        random_state: int = 0,
    ) -> pd.DataFrame:
        """W, explained variance, their product and shuffling side by side, with their spread over the averaged fits.

        Parameters
        ----------
        X, y, sample_weight : rows to measure on
            Training rows tell what the model uses, held-out rows what it is good for.
        groups : (T,), optional
            Spatial blocks; values are then shuffled within each of them.
        n_repeats : int, default 5
        random_state : int, default 0

        Returns
        -------
        DataFrame indexed by ``feature``, see :func:`entropice_core.espa.importances.compare_importances`
        """
        host, backend = self._validate_new(X)
        labels = np.asarray(to_host(y) if is_foreign(y) else y)
        if labels.shape != (len(host),):
            raise DataError(f"y has shape {labels.shape}, expected ({len(host)},): one label per row.")
        weights = check_weights(sample_weight, len(host))
        sample = prepare_sample(self.predictor_, host, labels, weights, groups, n_repeats)
        return compare_importances(self.predictor_, self._names(), sample, backend, n_repeats, random_state)

    def draw_boxes(self, X: Any = None, sample_weight: Any = None, member: int = 0, n_features: int = 10) -> "Figure":
        """Draw the boxes: size, class distribution, and the centres of the features that set them apart."""
        from entropice_core.espa.picture import draw_boxes

        check_is_fitted(self)
        mass = self._mass(X, sample_weight, member)
        return draw_boxes(self.predictor_, self._names(), mass, member, n_features)

    def _names(self) -> list[str]:
        return feature_names(getattr(self, "feature_names_in_", None), len(self.predictor_.center))

    def _mass(self, X: Any, sample_weight: Any, member: int) -> Floats | None:
        check_member(self.predictor_, member)
        if X is None:
            known: Floats | None = getattr(self, "cluster_mass_", None)
            return known if member == 0 else None
        host, backend = self._validate_new(X)
        weights = check_weights(sample_weight, len(host))
        labels = self.predictor_.nearest_clusters(host, backend, member)
        live = self.predictor_.live[member]
        mass: Floats = np.bincount(labels, weights, len(live))[live] / weights.sum()
        return mass
