"""What a fitted eSPA says, in the units of the input: its boxes, and why a row got its probabilities.

A centroid is a prototype that can be read like a row of the data, and a prediction is a blend of the class
distributions of a few of them; both are shown here exactly as the prediction uses them, so that no second model has to
explain the first. Of an average of many fits one member is shown, and how far the average is from it.
What must not be here: pictures (``picture.py``), importances (``importances.py``), training.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from entropice_core.espa.backend import choose_backend
from entropice_core.espa.predictor import Predictor, adjust_probabilities
from entropice_core.espa.validation import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """Why one row got its probabilities.

    Attributes
    ----------
    box : int
        Nearest centroid of the member shown.
    rival : int or None
        Second nearest; None when there is a single box.
    features : DataFrame, one row per feature, what decides first
        ``value`` and ``centre`` (of the box) and ``rival_centre`` in input units; ``distance_share``, the share of the
        squared distance to the box (sum 1); ``decides``, by how much the feature speaks for the box against the
        rival: squared distance to the rival less that to the box, its sum is the gap between the two.
    boxes : DataFrame, one row per box, nearest first
        ``squared_distance`` (inside units), ``affiliation`` (sum 1) and the class distribution.
    path : DataFrame, one row per stage, one column per class
        From the nearest box to what ``predict_proba`` returns, which is the last row.
    """

    box: int
    rival: int | None
    features: pd.DataFrame
    boxes: pd.DataFrame
    path: pd.DataFrame

    def sentence(self, n_features: int = 3) -> str:
        """Say box, probability and the features that decide."""
        final = self.path.iloc[-1]
        text = f"Box {self.box} is nearest; class {final.idxmax()} gets probability {final.max():.3g}"
        if self.rival is None:
            return text + "."
        chosen = self.features[self.features["decides"] > 0].head(n_features)
        parts = [f"{name} = {row['value']:.4g} (box {row['centre']:.4g})" for name, row in chosen.iterrows()]
        return f"{text}; what sets it apart from box {self.rival}: {', '.join(parts) or 'no feature'}."


def feature_names(given: NDArray[Any] | None, n_features: int) -> list[str]:
    """Names seen in training, or x0, x1, ... as scikit-learn calls them."""
    return [f"x{d}" for d in range(n_features)] if given is None else [str(name) for name in given]


def describe_boxes(
    predictor: Predictor, names: list[str], mass: Floats | None, member: int = 0, n_defining: int = 3
) -> pd.DataFrame:
    """One row per box of a member: size, class distribution, defining features in input units.

    Parameters
    ----------
    predictor : Predictor
    names : D feature names
    mass : (K,) float64 or None
        Share of the rows in each box; None leaves the column out.
    member : int
    n_defining : int
        Features named in the column ``defining``: those with the largest share of the weighted squared distance
        between the box and the mean of all rows.

    Returns
    -------
    DataFrame indexed by ``box``, with the columns ``mass``, ``predicted``, ``P(class)`` for every class and
    ``defining``; largest first where sizes are known
    """
    check_member(predictor, member)
    live = predictor.live[member]
    table = pd.DataFrame({"box": np.flatnonzero(live)})
    if mass is not None:
        table["mass"] = mass
    probabilities = predictor.class_probabilities[member][live]
    table["predicted"] = predictor.decide(probabilities)
    for column, name in enumerate(predictor.classes.tolist()):
        table[f"P({name})"] = probabilities[:, column]
    shares = describe_features(predictor, names, member)
    table["defining"] = [
        "; ".join(_phrase(row) for _, row in shares[shares["box"] == box].head(n_defining).iterrows() if row["share"])
        for box in table["box"]
    ]
    ordered = table if mass is None else table.sort_values("mass", ascending=False, kind="stable")
    return ordered.set_index("box")


def _phrase(row: "pd.Series[Any]") -> str:
    side = "above" if row["centre"] > row["mean"] else "below"
    return f"{row['feature']} {row['centre']:.4g} ({side} {row['mean']:.4g})"


def describe_features(predictor: Predictor, names: list[str], member: int = 0) -> pd.DataFrame:
    """One row per box and feature, boxes in order and the most defining feature first.

    Returns
    -------
    DataFrame with ``box``, ``feature``, ``centre`` and ``mean`` (of all rows) in input units, and ``share``: of the
    weighted squared distance between the box and that mean; sums to one in each box that is not the mean itself
    """
    check_member(predictor, member)
    boxes = np.flatnonzero(predictor.live[member])
    inside = predictor.centroids[member][boxes]
    pull = predictor.metric[member] * inside**2
    total = pull.sum(axis=1, keepdims=True)
    n_boxes, n_features = inside.shape
    table = pd.DataFrame(
        {
            "box": np.repeat(boxes, n_features),
            "feature": np.tile(np.array(names, dtype=object), n_boxes),
            "centre": (inside * predictor.scale + predictor.center).reshape(-1),
            "mean": np.tile(predictor.center, n_boxes),
            "share": (pull / np.where(total > 0, total, 1.0)).reshape(-1),
        }
    )
    return table.sort_values(["box", "share"], ascending=[True, False], kind="stable", ignore_index=True)


def check_member(predictor: Predictor, member: int) -> None:
    """Raise ``DataError`` when there is no such member."""
    n_members = len(predictor.live)
    if not 0 <= member < n_members:
        raise DataError(f"member is {member}, but the model averages {n_members} fits; expected 0 to {n_members - 1}.")


def explain_row(predictor: Predictor, names: list[str], x: Floats, member: int = 0) -> Explanation:
    """Take the prediction of one row apart.

    Parameters
    ----------
    predictor : Predictor
    names : D feature names
    x : (D,) float64, input units
    member : int
        Which fit of the average to show.
    """
    check_member(predictor, member)
    terms = _distance_terms(predictor, x, member)
    boxes = np.flatnonzero(predictor.live[member])
    distance = terms.sum(axis=1)
    order = np.argsort(distance, kind="stable")
    affiliation = _affiliations(distance, float(predictor.temperature[member]))
    full = np.zeros(predictor.live.shape[1])
    full[boxes] = affiliation
    nearest, rival = int(order[0]), int(order[1]) if len(order) > 1 else None
    Lambda = predictor.class_probabilities[member][boxes]
    columns = [str(name) for name in predictor.classes.tolist()]
    shown = pd.DataFrame({"box": boxes, "squared_distance": distance, "affiliation": affiliation}).join(
        pd.DataFrame(Lambda, columns=[f"P({name})" for name in columns])
    )
    return Explanation(
        box=int(boxes[nearest]),
        rival=None if rival is None else int(boxes[rival]),
        features=_feature_frame(predictor, names, x, member, (terms, boxes, nearest, rival)),
        boxes=shown.iloc[order].set_index("box"),
        path=_path(predictor, x, Lambda[nearest], predictor.mix(full[None, :], member)[0], columns),
    )


def _distance_terms(predictor: Predictor, x: Floats, member: int) -> Floats:
    """(K', D) weighted squared differences of one row to the boxes of a member; missing values count nothing."""
    inside = (x - predictor.center) / predictor.scale
    boxes = predictor.centroids[member][predictor.live[member]]
    terms: Floats = np.nan_to_num(predictor.metric[member] * (inside - boxes) ** 2, nan=0.0)
    return terms


def _affiliations(distance: Floats, temperature: float) -> Floats:
    if temperature <= 0:
        hard: Floats = np.eye(len(distance))[distance.argmin()]
        return hard
    raised = np.exp((distance.min() - distance) / temperature)
    soft: Floats = raised / raised.sum()
    return soft


def _feature_frame(
    predictor: Predictor,
    names: list[str],
    x: Floats,
    member: int,
    found: tuple[Floats, NDArray[np.intp], int, int | None],
) -> pd.DataFrame:
    terms, boxes, nearest, rival = found
    centres = predictor.centroids[member][boxes] * predictor.scale + predictor.center
    total = terms[nearest].sum()
    columns = {"value": x, "centre": centres[nearest], "distance_share": terms[nearest] / (total if total > 0 else 1.0)}
    if rival is not None:
        columns |= {"rival_centre": centres[rival], "decides": terms[rival] - terms[nearest]}
    key = "distance_share" if rival is None else "decides"
    frame = pd.DataFrame(columns, index=pd.Index(names, name="feature"))
    return frame.sort_values(key, ascending=False, kind="stable")


def _path(predictor: Predictor, x: Floats, hard: Floats, soft: Floats, columns: list[str]) -> pd.DataFrame:
    backend = choose_backend(x, "numpy", "cpu")
    mean = predictor.member_probabilities(x[None, :], backend).mean(axis=0)
    stages = {"nearest box": hard, "all boxes by affiliation": soft}
    if len(predictor.live) > 1:
        stages[f"mean of {len(predictor.live)} members"] = mean[0]
    stages["returned"] = adjust_probabilities(mean, float(predictor.power[0]), predictor.class_bias)[0]
    return pd.DataFrame.from_dict(stages, orient="index", columns=columns)
