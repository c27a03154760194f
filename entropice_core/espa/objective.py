"""The functional that training lowers, from the statistics of a pass.

    L = sum_t w_t sum_k Gamma_tk sum_d W_d g_d (x_td - S_kd)^2        dispersion
      - eps_c sum_km (counts_km + a prior_m) log Lambda_km             label term (with its Dirichlet prior)
      + eps_w sum_d W_d (log W_d - log p_d)                            entropy of W, or its divergence from a prior
      + eps_a sum_t w_t sum_k Gamma_tk log Gamma_tk                    entropy of the affiliations

Pruned clusters keep their Dirichlet term at its minimum, Lambda = prior, so that losses of fits that ended with
different numbers of clusters can be compared. With eps_w infinite the entropy of W is left out.

The scale is the one of the data term per row; the functional of Horenko (2020, doi 10.1162/neco_a_01296) as printed
in the authors' parametrisation divides the first and third term by D and the second by M: their label weight times
D / M is ``eps_c`` here, at D times their loss.
"""

from dataclasses import dataclass
from typing import Any

from entropice_core.espa.backend import Array
from entropice_core.espa.steps import Parameters, Problem, Statistics, dispersion, safe_log, weighted_counts


@dataclass(frozen=True)
class Loss:
    """The terms of L, (B,) each, unscaled by their eps except where the name says total."""

    dispersion: Array
    label_term: Array
    weight_entropy: Array
    affiliation_entropy: Array
    total: Array


def evaluate_loss(xp: Any, problem: Problem, parameters: Parameters, statistics: Statistics) -> Loss:
    """L of parameters and of the affiliations that the statistics summarise."""
    b = dispersion(xp, problem, statistics, parameters.S)
    spread = xp.sum(parameters.W * problem.metric * b, axis=-1)
    labels = _label_term(xp, problem, parameters, statistics)
    entropy = _weight_entropy(xp, problem, parameters.W)
    eps_w = xp.where(xp.isfinite(problem.eps_w), problem.eps_w, xp.zeros_like(problem.eps_w))
    total = spread + problem.eps_c * labels + eps_w * entropy + problem.eps_a * statistics.entropy
    return Loss(spread, labels, entropy, statistics.entropy, total)


def _label_term(xp: Any, problem: Problem, parameters: Parameters, statistics: Statistics) -> Array:
    prior = (problem.prior_strength[:, None] * problem.class_prior)[:, None, :]
    surprise = (weighted_counts(problem, statistics) + prior) * safe_log(xp, parameters.Lambda)
    return -xp.sum(surprise, axis=(1, 2))


def _weight_entropy(xp: Any, problem: Problem, W: Array) -> Array:
    used = W > 0.0
    one = xp.ones_like(W)
    log_ratio = xp.log(xp.where(used, W, one)) - xp.where(used, problem.log_prior, xp.zeros_like(W))
    return xp.sum(xp.where(used, W * log_ratio, xp.zeros_like(W)), axis=-1)
