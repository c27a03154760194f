"""The static climatology knows the past of a cell, or of its neighbours, and nothing else."""

import numpy as np
import pytest

from entropice_core.training.climatology import climatology_forecast
from entropice_core.training.problem import Places

CELLS = np.array([1, 1, 2, 2, 3, 3], dtype=np.uint64)
LON = np.array([10.0, 10.0, 11.0, 11.0, 179.9, 179.9])


def places(n=6):
    return Places(CELLS[:n], LON[:n], np.full(n, 70.0), np.array([2018, 2019] * (n // 2)))


def test_a_cell_with_a_past_gets_the_shares_of_its_past_drawn_towards_all():
    train, test = np.array([0, 2, 4]), np.array([1, 3, 5])
    found = climatology_forecast(places(), train, test, np.array([1, 0, 0]), 2)
    overall = 1 / 3
    assert found[:, 1] == pytest.approx([(1 + overall) / 2, overall / 2, overall / 2])
    assert found.sum(axis=1) == pytest.approx([1, 1, 1])


def test_a_cell_without_a_past_gets_the_shares_of_the_nearest_cells_also_across_180_degrees():
    n = 60
    lon = np.concatenate([np.linspace(170, 179, 30), np.linspace(0, 9, 29), [-179.5]])
    at = Places(np.arange(n, dtype=np.uint64), lon, np.full(n, 70.0), np.full(n, 2018))
    y = (lon[:59] > 100).astype(int)  # slumps in the far east only
    found = climatology_forecast(at, np.arange(59), np.array([59]), y, 2)
    assert found[0, 1] > 0.97


def test_weights_count_in_the_shares():
    train, test = np.array([0, 1]), np.array([2])
    found = climatology_forecast(places(), train, test, np.array([0, 1]), 2, np.array([1.0, 3.0]))
    assert found[0, 1] == pytest.approx(0.75)
