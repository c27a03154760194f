"""Maps on different grids meet at common points, and agree where they should."""

import numpy as np
import pandas as pd
import pytest

from entropice_core.comparison.agreement import (
    agreement_table,
    between_families,
    common_points,
    sample_maps,
    to_ranks,
    write_agreement,
)
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea

AREA = StudyArea(60.0, bounds=(170.0, 62.0, -170.0, 70.0))  # across 180 degrees


def a_map(key, value):
    grid = parse_grid_key(key)
    cells = grid.cells(AREA)
    return cells, value(*grid.centers(cells))


def maps():
    """The same field on two grids, and its opposite."""
    return {
        ("smooth", "h3-4"): a_map("h3-4", lambda lon, lat: (lat - 62) / 8),
        ("smooth", "healpix-7"): a_map("healpix-7", lambda lon, lat: (lat - 62) / 8),
        ("opposite", "h3-4"): a_map("h3-4", lambda lon, lat: (70 - lat) / 8),
    }


def test_the_same_field_on_two_grids_agrees_and_its_opposite_does_not():
    grids = {key: parse_grid_key(key) for key in ("h3-4", "healpix-7")}
    lon, lat = common_points(AREA, grids)
    table = agreement_table(sample_maps(lon, lat, grids, maps())).set_index(["first", "second"])
    same, opposite = table.loc["h3-4 smooth", "healpix-7 smooth"], table.loc["h3-4 smooth", "h3-4 opposite"]
    assert same["spearman"] > 0.97 and same["mean_abs_difference"] < 0.05 and same["top_tenth_shared"] > 0.6
    assert opposite["spearman"] < -0.99 and opposite["top_tenth_shared"] == 0


def test_points_are_of_equal_area_and_several_to_a_cell_also_beyond_180_degrees():
    grids = {"h3-3": parse_grid_key("h3-3")}
    lon, lat = common_points(AREA, grids)
    cells = grids["h3-3"].cells(AREA)
    assert (lon > 170).any() and (lon < -170).any()
    assert lon.size > 4 * cells.size
    assert parse_grid_key("healpix-6").level < 7 <= parse_grid_key("healpix-7").level


def test_a_place_outside_a_map_has_no_value_there():
    grids = {"h3-4": parse_grid_key("h3-4")}
    found = sample_maps(
        np.array([0.0, 175.0]), np.array([66.0, 66.0]), grids, {("smooth", "h3-4"): maps()["smooth", "h3-4"]}
    )
    values = found["smooth", "h3-4"]
    assert np.isnan(values[0]) and np.isfinite(values[1])


def test_ranks_run_from_0_to_1_and_leave_gaps_alone():
    assert to_ranks(np.array([5.0, np.nan, 1.0, 3.0])).tolist()[0] == 1.0
    assert np.isnan(to_ranks(np.array([np.nan, 2.0]))).all()


def test_families_are_compared_where_both_are_there():
    one, other = np.array([0.2, 0.8]), np.array([0.3, 0.5])
    assert between_families({("a", "h3-4"): one}) is None
    assert between_families({("a", "h3-4"): one, ("a", "healpix-7"): other}) == pytest.approx([0.1, -0.3])


def test_table_points_and_figure_are_written(tmp_path):
    counts = write_agreement(tmp_path, AREA, maps(), "A study, 2019")
    assert counts["maps"] == 3 and counts["pairs"] == 3
    points = pd.read_parquet(tmp_path / "points.parquet")
    assert len(points) == counts["points"] and "rank h3-4 smooth" in points
    assert (tmp_path / "agreement.png").stat().st_size > 10_000
