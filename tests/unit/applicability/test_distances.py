"""Distances of folds and map, and the side on which folds err."""

import json

import numpy as np
import pytest
from pyproj import Geod

from entropice_core.applicability.distances import match_distances
from entropice_core.config import FoldsConfig
from entropice_core.dataset.folds import make_folds
from entropice_core.errors import SchemaError
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea


def cells():
    grid = parse_grid_key("healpix-6")
    ids = grid.cells(StudyArea(66.0, bounds=(150.0, 66.0, -150.0, 76.0)))
    return grid, ids, *grid.centers(ids)


def test_distances_are_those_of_the_ellipsoid_across_180_degrees():
    lon, lat = np.array([179.0, -179.0, 178.0, -170.0]), np.array([70.0, 70.0, 71.0, 70.0])
    splits = [(np.array([1, 3]), np.array([0])), (np.array([0, 2]), np.array([1]))]
    found = match_distances(lon, lat, splits, [180.0], [70.0])
    true = Geod(ellps="WGS84").inv(179.0, 70.0, -179.0, 70.0)[2] / 1000
    assert found.cv == pytest.approx([true, true], rel=2e-3)
    assert found.prediction[0] == pytest.approx(true / 2, rel=2e-3)


def test_blocks_and_buffer_are_farther_than_the_map_of_a_region_that_was_observed_whole():
    grid, ids, lon, lat = cells()
    folds = make_folds(FoldsConfig(n_folds=3, block_level={"healpix": 3}, buffer_km=120.0), grid, ids, lon, lat, 0)
    found = match_distances(lon, lat, [(f.train, f.test) for f in folds], lon, lat)
    report = found.to_dict()
    assert found.prediction.max() == 0
    assert found.cv.min() > 110
    assert report["w_km"] == pytest.approx(found.cv.mean())
    assert "pessimistic" in report["verdict"]
    json.dumps(report, allow_nan=False)


def test_a_map_far_from_its_training_cells_makes_the_folds_optimistic():
    lon, lat = np.linspace(100, 110, 20), np.full(20, 70.0)
    splits = [(np.arange(10, 20), np.arange(10)), (np.arange(10), np.arange(10, 20))]
    report = match_distances(lon, lat, splits, np.linspace(-160, -150, 20), np.full(20, 65.0)).to_dict()
    assert "optimistic" in report["verdict"] and report["w_km"] > 1000 and report["mean_gap_km"] < 0


def test_nothing_to_match_is_refused():
    with pytest.raises(SchemaError, match="1 training cells"):
        match_distances([1.0], [70.0], [], [1.0], [70.0])
