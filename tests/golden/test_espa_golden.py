"""Golden values of eSPA+: ten small cases traced step by step with 40-digit arithmetic, and one real data set."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from entropice_core.espa.backend import Backend, choose_backend
from entropice_core.espa.estimator import effective_dimension
from entropice_core.espa.fit import read_out, run_fits, update_parameters
from entropice_core.espa.mutual_information import ross_mutual_information
from entropice_core.espa.objective import evaluate_loss
from entropice_core.espa.predictor import Predictor
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import Scaling
from entropice_core.espa.steps import Parameters, Problem, class_costs, cost_operator, dispersion
from entropice_core.espa.sweep import pass_over_rows

GOLDEN = json.loads((Path(__file__).parent / "espa_golden.json").read_text())
X, Y = np.array(GOLDEN["X"]), np.array(GOLDEN["y"])
TOLERANCE = 1e-12

BACKENDS = ["numpy", pytest.param("torch", marks=pytest.mark.torch), "array_api_strict"]


def open_backend(name: str) -> Backend:
    if name == "array_api_strict":
        strict = pytest.importorskip("array_api_strict")
        return choose_backend(strict.asarray([[0.0]]))
    if name == "torch":
        pytest.importorskip("torch")
    return choose_backend(X, name, "cpu")


def identity(n_features: int) -> Scaling:
    one = np.ones(n_features)
    return Scaling(0.0 * one, one, one, one)


class Case:
    """One golden case as the engine sees it, a batch of one fit."""

    def __init__(self, case: dict[str, Any], backend: Backend) -> None:
        self.backend = backend
        w, Q = np.array(case["w"]), np.array(case["Q"])
        target = Q.sum(1)
        factor = [1.0, 1.0]
        ratio = target / w
        self.rows = Rows(X, identity(4), backend, codes=Y, n_classes=2, weights=w[None, :], label_ratio=ratio)
        prior = case.get("prior", case["Lam_init"][0])
        eps_w = math.inf if case["eps_W"] is None else case["eps_W"]
        number = lambda value: backend.numbers(np.array([value]))  # noqa: E731
        self.problem = Problem(
            eps_c=number(case["eps_C"]),
            eps_w=number(eps_w),
            eps_a=number(0.0),
            prior_strength=number(case.get("a", 0.0)),
            class_prior=number(prior),
            class_frequency=number(prior),
            class_factor=number(factor),
            metric=number(np.ones(4)),
            log_prior=number(np.zeros(4)),
            second_moment=backend.numbers(self.rows.second_moments()),
            fold=backend.integers(np.zeros(1)),
        )
        live = backend.integers(np.ones((1, len(case["S_init"])))) > 0
        self.start = Parameters(number(case["W_init"]), number(case["S_init"]), number(case["Lam_init"]), live)

    def assign(self, parameters: Parameters) -> Any:
        xp = self.backend.xp
        costs = class_costs(xp, self.problem, parameters.Lambda)
        weights = parameters.W * self.problem.metric
        operator = cost_operator(self.backend, self.rows.layout, weights, parameters.S, parameters.live, costs)
        return pass_over_rows(self.rows, operator, self.problem.fold, None, keep_labels=True)

    def nearest(self, parameters: Parameters) -> np.ndarray:
        weights = parameters.W * self.problem.metric
        operator = cost_operator(self.backend, self.rows.layout, weights, parameters.S, parameters.live)
        return pass_over_rows(self.rows, operator, self.problem.fold, None, keep_labels=True).labels[:, 0]

    def host(self, array: Any) -> np.ndarray:
        return self.backend.to_host(array)[0]

    def loss(self, parameters: Parameters, statistics: Any) -> float:
        return float(self.host(evaluate_loss(self.backend.xp, self.problem, parameters, statistics).total))


def renumber(labels: np.ndarray, live: np.ndarray) -> list[int]:
    """Number the clusters that live as pruning does."""
    return (np.cumsum(live) - 1)[labels].tolist()


@pytest.mark.parametrize("name", list(GOLDEN["cases"]))
@pytest.mark.parametrize("backend_name", BACKENDS)
def test_every_substep_has_the_golden_loss_and_values(name: str, backend_name: str) -> None:
    golden = GOLDEN["cases"][name]
    case = Case(golden, open_backend(backend_name))
    parameters = case.start
    for step in golden["trace"]:
        before = case.host(parameters.live)
        found = case.assign(parameters)
        assert renumber(found.labels[:, 0], before) == step["labels_before_prune"]
        assert case.loss(parameters, found.statistics) == pytest.approx(step["loss_after_gamma"], abs=TOLERANCE)
        updated = update_parameters(case.backend.xp, case.problem, parameters, found.statistics)
        if step["b"] is not None:
            b = case.host(dispersion(case.backend.xp, case.problem, found.statistics, parameters.S))
            np.testing.assert_allclose(b, step["b"], rtol=0, atol=TOLERANCE)
        mixed = Parameters(updated.W, parameters.S, parameters.Lambda, updated.live)
        assert case.loss(mixed, found.statistics) == pytest.approx(step["loss_after_W"], abs=TOLERANCE)
        mixed = Parameters(updated.W, updated.S, parameters.Lambda, updated.live)
        assert case.loss(mixed, found.statistics) == pytest.approx(step["loss_after_S"], abs=TOLERANCE)
        parameters = updated
        live = case.host(parameters.live)
        assert renumber(found.labels[:, 0], live) == step["labels"]
        assert live.sum() == step["K"]
        np.testing.assert_allclose(case.host(parameters.W), step["W"], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(case.host(parameters.S)[live], step["S"], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(case.host(parameters.Lambda)[live], step["Lam"], rtol=0, atol=TOLERANCE)
        assert case.loss(parameters, found.statistics) == pytest.approx(step["loss"], abs=TOLERANCE)


@pytest.mark.parametrize("name", list(GOLDEN["cases"]))
@pytest.mark.parametrize("backend_name", BACKENDS)
def test_unbiased_counts_and_predictions_are_golden(name: str, backend_name: str) -> None:
    golden = GOLDEN["cases"][name]
    case = Case(golden, open_backend(backend_name))
    result = run_fits(case.rows, case.problem, case.start, max_iter=6, tol=0.0)
    final = golden["trace"][-1]
    assert result.losses[0] == pytest.approx(final["loss"], abs=TOLERANCE)
    readout = read_out(case.rows, case.problem, result.parameters(case.backend), unbias=True, soft=False)
    live = readout.live[0]
    assert renumber(case.nearest(result.parameters(case.backend)), live) == golden["unbias"]["labels"]
    np.testing.assert_allclose(result.S[0, live], golden["unbias"]["S"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(readout.Lambda[0, live], golden["unbias"]["Lam"], rtol=0, atol=TOLERANCE)
    for key, temperature in (("predict_hard", 0.0), ("predict_soft_tau_0.05", 0.05)):
        predictor = Predictor(
            classes=np.array([0, 1]),
            center=np.zeros(4),
            scale=np.ones(4),
            metric=result.W,
            centroids=result.S,
            class_probabilities=readout.Lambda,
            live=readout.live,
            temperature=np.array([temperature]),
            power=np.ones(1),
            class_bias=np.zeros(2),
            decision_weights=np.ones(2),
            scores=np.zeros_like(readout.Lambda),
            log_linear=np.zeros(1, dtype=bool),
        )
        found = predictor.predict_proba(np.array(GOLDEN["X_new"]), case.backend)
        np.testing.assert_allclose(found, golden[key], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("backend_name", BACKENDS)
def test_breast_cancer_follows_the_golden_path(backend_name: str) -> None:
    golden = GOLDEN["breast_cancer"]
    raw, y = load_breast_cancer(return_X_y=True)
    data = (raw - raw.min(0)) / (raw.max(0) - raw.min(0))
    backend = open_backend(backend_name)
    rows = Rows(data, identity(30), backend, codes=y, n_classes=2)
    prior = np.bincount(y) / len(y)
    number = lambda value: backend.numbers(np.array([value]))  # noqa: E731
    problem = Problem(
        eps_c=number(golden["eps_C"]),
        eps_w=number(golden["eps_W"]),
        eps_a=number(0.0),
        prior_strength=number(0.0),
        class_prior=number(prior),
        class_frequency=number(prior),
        class_factor=number(np.ones(2)),
        metric=number(np.ones(30)),
        log_prior=number(np.zeros(30)),
        second_moment=backend.numbers(rows.second_moments()),
        fold=backend.integers(np.zeros(1)),
    )
    seeds = data[golden["init"]["S_rows"]]
    start = Parameters(
        number(np.full(30, 1 / 30)),
        number(seeds),
        number(np.tile(prior, (8, 1))),
        backend.integers(np.ones((1, 8))) > 0,
    )
    result = run_fits(rows, problem, start, tol=golden["tol"])
    assert len(result.curves[0]) == golden["n_iter"]
    np.testing.assert_allclose(result.curves[0], golden["loss"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.W[0], golden["W"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.S[0, 0], golden["S_row0"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.Lambda[0], golden["Lam"], rtol=0, atol=TOLERANCE)
    assert effective_dimension(result.W[0]) == pytest.approx(golden["deff"], abs=1e-10)
    readout = read_out(rows, problem, result.parameters(backend), unbias=True, soft=False)
    assert np.round(readout.mass[0] * len(y)).astype(int).tolist() == golden["unbiased_cluster_sizes"]


def test_the_authors_scale_of_the_loss_differs_by_the_number_of_features() -> None:
    golden = GOLDEN["matlab_equivalence"]["example"]
    plain = GOLDEN["cases"][golden["is_case"]]
    assert golden["matlab_eps_CL"] * golden["D"] / golden["M"] == pytest.approx(plain["eps_C"])
    assert plain["trace"][-1]["loss"] / golden["D"] == pytest.approx(golden["matlab_L"], abs=TOLERANCE)


@pytest.mark.parametrize(
    ("x", "y", "k", "expected"),
    [("x", "y", 3, "k3_nats"), ("x", "y", 1, "k1_nats"), ("x_overlap", "y_overlap", 3, "overlap_k3_nats")],
)
def test_nearest_neighbour_mutual_information_is_golden(x: str, y: str, k: int, expected: str) -> None:
    golden = GOLDEN["mi_ross"]
    found = ross_mutual_information(np.array(golden[x]), np.array(golden[y]), k)
    assert found == pytest.approx(golden[expected], abs=TOLERANCE)
