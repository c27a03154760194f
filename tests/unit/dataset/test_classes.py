"""Classes of density and count: edges, names, storage, and the way back to a density."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropice_core.dataset.classes import ClassEdges, expected_density, learn_classes
from entropice_core.errors import SchemaError, TrainingError


@pytest.fixture
def skewed() -> np.ndarray:
    """300 cells, two thirds without a slump, the rest log-normal."""
    rng = np.random.default_rng(7)
    return np.where(rng.random(300) < 0.66, 0.0, np.exp(rng.normal(-7.0, 1.5, 300)))


def test_zero_has_a_class_of_its_own_and_the_rest_is_cut_into_equal_parts(skewed: np.ndarray) -> None:
    classes = learn_classes(skewed, rule="quantiles", n_classes=4)
    of_row = classes.apply(skewed)
    assert classes.edges[0] == 0.0 and classes.n_classes == 4
    assert np.array_equal(of_row == 0, skewed == 0.0)
    sizes = np.bincount(of_row)[1:]
    assert sizes.max() - sizes.min() <= 1
    assert tuple(np.bincount(of_row)) == classes.n_rows


def test_edges_do_not_depend_on_rows_that_were_not_passed(skewed: np.ndarray) -> None:
    train, test = skewed[:200], skewed[200:]
    classes = learn_classes(train, rule="quantiles", n_classes=3)
    changed = learn_classes(train, rule="quantiles", n_classes=3)
    assert classes == changed
    assert set(np.unique(classes.apply(test * 100.0))) <= {0, 1, 2}


def test_presence_is_everything_above_zero() -> None:
    classes = learn_classes([0.0, 1e-9, 0.5], rule="presence")
    assert classes.edges == (0.0,) and classes.apply([0.0, 1e-12, 1.0]).tolist() == [0, 1, 1]


def test_the_edge_at_a_quantile_is_that_of_all_rows() -> None:
    classes = learn_classes([0, 1, 2, 3, 4], rule="above_quantile", quantile=0.75)
    assert classes.edges == (3.0,) and classes.n_rows == (4, 1)


def test_counts_that_tie_still_make_the_number_of_classes_that_was_asked() -> None:
    count = np.array([0] * 50 + [1] * 40 + [2] * 5 + [3] * 3 + [9] * 2)
    classes = learn_classes(count, quantity="count", density=count / 1000.0, rule="quantiles", n_classes=4)
    assert classes.edges == (0.0, 1.0, 2.0) and classes.n_rows == (50, 40, 5, 5)
    assert classes.mean_density == pytest.approx((0.0, 0.001, 0.002, 0.0054))


@pytest.mark.parametrize(
    ("values", "kwargs", "error", "words"),
    [
        ([0, 0, 1, 1], {"rule": "quantiles", "n_classes": 4}, TrainingError, "1 distinct values"),
        ([0, 0, 1, 2], {"rule": "given", "edges": (0.0, 5.0)}, TrainingError, "Class 2 of 3 .density > 5. has none"),
        ([0, 0, 0], {"rule": "presence"}, TrainingError, "Class 1 of 2"),
        ([0, 1], {"rule": "given", "edges": (0.5, 0.5)}, SchemaError, "increasing order"),
        ([0, 1], {"rule": "given"}, SchemaError, "one or more numbers"),
        ([0, np.nan], {"rule": "presence"}, SchemaError, "1 that are not finite"),
        ([0, -1], {"rule": "presence"}, SchemaError, "negative"),
        ([0, 1], {"rule": "presense"}, SchemaError, "did you mean 'presence'"),
        ([0, 1], {"rule": "presence", "quantity": "count"}, SchemaError, "pass density="),
        ([0, 1], {"rule": "presence", "density": [0.1]}, SchemaError, "1 densities for 2 values"),
        ([0, 1], {"rule": "quantiles", "n_classes": 1}, SchemaError, "2 or more"),
    ],
)
def test_what_cannot_be_made_into_classes_is_told(values, kwargs, error, words) -> None:
    with pytest.raises(error, match=words):
        learn_classes(values, **kwargs)


def test_stored_classes_are_the_same_after_json(skewed: np.ndarray) -> None:
    classes = learn_classes(skewed, rule="quantiles", n_classes=5)
    again = ClassEdges.from_dict(json.loads(json.dumps(classes.to_dict())))
    assert again == classes
    stored = classes.to_dict()
    del stored["edges"]
    with pytest.raises(SchemaError, match="lack or do not know edges"):
        ClassEdges.from_dict(stored)


def test_a_certain_class_gives_back_the_densities_of_its_training_rows(skewed: np.ndarray) -> None:
    classes = learn_classes(skewed, rule="quantiles", n_classes=4)
    expected = expected_density(np.eye(4), classes, coverage=0.8)
    for k in range(4):
        inside = skewed[classes.apply(skewed) == k]
        assert expected.mean[k] == pytest.approx(inside.mean())
        assert expected.low[k] == pytest.approx(np.quantile(inside, 0.1), rel=0.02)
        assert expected.high[k] == pytest.approx(np.quantile(inside, 0.9), rel=0.02)


def test_the_interval_holds_the_share_of_cells_that_it_promises() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 4000)
    density = np.where(truth == 0, 0.0, truth * 0.01 + rng.random(4000) * 0.01)
    classes = learn_classes(density, rule="given", edges=(0.0, 0.02))
    p = np.tile(np.bincount(truth) / truth.size, (4000, 1))
    mean, low, high = expected_density(p, classes, coverage=0.9)
    assert mean[0] == pytest.approx(density.mean(), rel=1e-9)
    inside = (density >= low) & (density <= high)
    assert inside.mean() == pytest.approx(0.95, abs=0.005)  # the lower bound is 0, which no cell is below


def test_a_row_without_probabilities_has_no_density() -> None:
    classes = learn_classes([0.0, 1.0], rule="presence")
    expected = expected_density([[np.nan, np.nan], [0.0, 1.0]], classes)
    assert np.isnan([part[0] for part in expected]).all() and expected.mean[1] == 1.0


@pytest.mark.parametrize(
    ("p", "words"), [([[1.0]], "do not fit 2 classes"), ([[0.7, 0.7]], "row 0"), ([[1.5, -0.5]], "row 0")]
)
def test_probabilities_that_are_none_are_refused(p, words) -> None:
    with pytest.raises(SchemaError, match=words):
        expected_density(p, learn_classes([0.0, 1.0], rule="presence"))


@given(
    st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.002, 0.5, 1.0]) | st.floats(0, 1), min_size=12, max_size=40),
    st.integers(2, 4),
    st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
)
def test_expected_densities_lie_inside_what_was_seen_and_intervals_are_in_order(values, n_classes, weights) -> None:
    try:
        classes = learn_classes(values, rule="quantiles", n_classes=n_classes)
    except TrainingError:
        assert min(values) > 0.0 or len({v for v in values if v > 0.0}) < n_classes - 1
        return
    p = np.array([weights[:n_classes]]) / sum(weights[:n_classes])
    mean, low, high = expected_density(p, classes)
    wider = expected_density(p, classes, coverage=0.99)
    assert 0.0 <= low[0] <= high[0] <= max(values) and mean[0] <= max(values) + 1e-12
    assert wider.low[0] <= low[0] and wider.high[0] >= high[0]
