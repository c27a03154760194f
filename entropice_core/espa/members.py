"""Fits of all rows as members of one predictor.

What must not be here: training, choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.fit import FitResult, Readout
from entropice_core.espa.predictor import Predictor
from entropice_core.espa.training import Jobs, Program
from entropice_core.espa.validation import class_factors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """One fit of all rows as part of a predictor: metric (D,), W in the units of the rows, S (K, D), Lambda (K, M).

    ``scores`` (K, M) are those of a log-linear read-out, or None.
    """

    metric: Floats
    S: Floats
    Lambda: Floats
    temperature: float
    scores: Floats | None = None


def members_of(
    program: Program, jobs: Jobs, result: FitResult, readout: Readout, tau: float | None, scores: Floats | None = None
) -> list[Member]:
    """Fits without their dead clusters, with the temperature of their predictions."""
    eps_a, metric = program.settings.eps_a, result.W * np.stack([program.folds[f].metric for f in jobs.fold])
    temperature = np.full(len(result.W), eps_a) if tau is None else tau * readout.distance_scale
    return [
        Member(
            metric[b],
            result.S[b, live],
            readout.Lambda[b, live],
            float(temperature[b]),
            None if scores is None else scores[b, live],
        )
        for b, live in enumerate(readout.live)
    ]


def build_predictor(program: Program, members: Sequence[Member], power: float, class_bias: Floats) -> Predictor:
    """Average members that were fitted on all rows."""
    data, settings, fold = program.data, program.settings, program.folds[0]
    K = max(len(member.S) for member in members)

    def padded(values: Floats) -> Floats:
        return np.pad(values, ((0, K - len(values)), (0, 0)))

    scores = [np.zeros_like(member.Lambda) if member.scores is None else member.scores for member in members]
    return Predictor(
        classes=data.classes,
        center=program.scaling.center,
        scale=program.scaling.scale,
        metric=np.stack([member.metric for member in members]),
        centroids=np.stack([padded(member.S) for member in members]),
        class_probabilities=np.stack([padded(member.Lambda) for member in members]),
        live=np.stack([np.arange(K) < len(member.S) for member in members]),
        temperature=np.array([member.temperature for member in members]),
        power=np.array([power]),
        class_bias=class_bias,
        decision_weights=class_factors(settings.class_weight, data.classes, fold.frequency),
        masked=settings.missing == "mask",
        scores=np.stack([padded(own) for own in scores]),
        log_linear=np.array([member.scores is not None for member in members]),
    )
