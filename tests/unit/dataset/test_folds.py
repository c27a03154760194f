"""Folds keep cells, blocks and neighbourhoods apart, for any grid and at 180 degrees and the pole."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from entropice_core.config import FoldsConfig
from entropice_core.dataset.folds import Fold, check_no_leakage, inner_folds_maker, make_folds
from entropice_core.errors import ConfigError, GridError, ProvenanceError, SchemaError, TrainingError
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea

LEVELS = {"h3": 1, "healpix": 3}
KINDS = ["spatial_block", "random"]


def rows_of(key, n_years=2, min_latitude=60.0):
    """Rows of every cell north of a latitude: (grid, cell_ids, lon, lat), a row a year."""
    grid = parse_grid_key(key)
    cells = grid.cells(StudyArea(min_latitude))
    lon, lat = grid.centers(cells)
    return grid, np.repeat(cells, n_years), np.repeat(lon, n_years), np.repeat(lat, n_years)


def labels_of(lon, lat):
    return ((np.sin(np.radians(3 * lon)) > 0.4) & (lat < 75)).astype(int)


HEALPIX = rows_of("healpix-6")
H3 = rows_of("h3-3")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [H3, HEALPIX], ids=["h3", "healpix"])
def test_every_row_is_tested_once_and_no_cell_is_on_both_sides(world, kind):
    grid, ids, lon, lat = world
    folds = make_folds(FoldsConfig(kind=kind, block_level=LEVELS), grid, ids, lon, lat, seed=3, y=labels_of(lon, lat))
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(ids.size))
    for fold in folds:
        assert not np.intersect1d(ids[fold.train], ids[fold.test]).size
        assert fold.train.size + fold.test.size + fold.n_buffer_dropped == ids.size
    check_no_leakage(folds, ids)


def test_whole_blocks_are_held_out():
    grid, ids, lon, lat = HEALPIX
    folds = make_folds(FoldsConfig(block_level=LEVELS), grid, ids, lon, lat, seed=0)
    blocks = grid.parents(ids, 3)
    for fold in folds:
        assert set(np.unique(blocks[fold.test]).tolist()) == set(fold.blocks)
        assert not set(fold.blocks) & set(np.unique(blocks[fold.train]).tolist())


def test_rows_and_positives_are_balanced_over_folds():
    grid, ids, lon, lat = HEALPIX
    y = labels_of(lon, lat)
    folds = make_folds(FoldsConfig(block_level=LEVELS), grid, ids, lon, lat, seed=0, y=y)
    rows = np.array([f.test.size for f in folds]) / ids.size
    positives = np.array([y[f.test].sum() for f in folds]) / y.sum()
    assert np.abs(rows - 0.2).max() < 0.04
    assert np.abs(positives - 0.2).max() < 0.04


def test_the_seed_decides_and_the_same_seed_gives_the_same_folds():
    grid, ids, lon, lat = HEALPIX
    config = FoldsConfig(block_level=LEVELS)
    one, again, other = (make_folds(config, grid, ids, lon, lat, seed) for seed in (1, 1, 2))
    assert [f.blocks for f in one] == [f.blocks for f in again]
    assert [f.blocks for f in one] != [f.blocks for f in other]


@settings(max_examples=15, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_folds_do_not_depend_on_the_order_of_rows(data, kind):
    grid, ids, lon, lat = H3
    y = labels_of(lon, lat)
    order = np.random.default_rng(data.draw(st.integers(0, 10**6))).permutation(ids.size)
    config = FoldsConfig(kind=kind, block_level=LEVELS)
    sorted_folds = make_folds(config, grid, ids, lon, lat, 5, y=y)
    mixed_folds = make_folds(config, grid, ids[order], lon[order], lat[order], 5, y=y[order])
    for before, after in zip(sorted_folds, mixed_folds, strict=True):
        assert np.array_equal(before.train, np.sort(order[after.train]))
        assert np.array_equal(before.test, np.sort(order[after.test]))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    buffer_km=st.floats(1.0, 900.0),
    place=st.sampled_from([(86.0, None), (64.0, (170.0, -170.0)), (60.0, None)]),
)
def test_no_training_cell_is_nearer_than_the_buffer_also_at_180_degrees_and_the_pole(seed, buffer_km, place):
    grid, ids, lon, lat = HEALPIX
    min_latitude, span = place
    inside = lat >= min_latitude
    if span is not None:
        inside &= (lon >= span[0]) | (lon < span[1])
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(inside))[:120]
    ids, lon, lat = ids[chosen], lon[chosen], lat[chosen]
    config = FoldsConfig(block_level={"healpix": 4}, buffer_km=buffer_km, n_folds=2)
    try:
        folds = make_folds(config, grid, ids, lon, lat, seed)
    except TrainingError as error:
        assert "buffer_km" in str(error)
        return
    for fold in folds:
        dropped = np.setdiff1d(np.arange(ids.size), np.concatenate([fold.train, fold.test]))
        assert dropped.size == fold.n_buffer_dropped
        assert nearest_km(lon, lat, fold.train, fold.test).min(initial=np.inf) >= buffer_km * (1 - 2e-5)
        assert nearest_km(lon, lat, dropped, fold.test).max(initial=0.0) <= buffer_km * (1 + 2e-5)


def nearest_km(lon, lat, rows, others):
    """Geodesic distance of each row to the nearest of the others, by brute force: the independent truth."""
    geod = Geod(ellps="WGS84")
    one, two = (a.ravel() for a in np.meshgrid(rows, others, indexing="ij"))
    distance = geod.inv(lon[one], lat[one], lon[two], lat[two])[2] / 1000
    return np.asarray(distance).reshape(rows.size, others.size).min(axis=1)


def test_neighbours_across_180_degrees_are_in_the_buffer():
    grid, ids, lon, lat = HEALPIX
    near = np.flatnonzero((np.abs(lon) > 176) & (lat > 64) & (lat < 70))
    ids, lon, lat = ids[near], lon[near], lat[near]
    regions = {"chukotka": (170.0, 60.0, 180.0, 75.0), "alaska_side": (-180.0, 60.0, -170.0, 75.0)}
    config = FoldsConfig(kind="leave_one_region_out", regions=regions, buffer_km=200.0)
    folds = make_folds(config, grid, ids, lon, lat, 0)
    assert all(fold.n_buffer_dropped > 0 for fold in folds)


def test_too_few_blocks_are_counted_and_a_level_is_named():
    grid, ids, lon, lat = HEALPIX
    with pytest.raises(TrainingError, match=r"in 4 blocks of healpix level 0.*block_level\.healpix = 1, which has 12"):
        make_folds(FoldsConfig(block_level={"healpix": 0}, n_folds=6), grid, ids, lon, lat, 0)


def test_a_single_cell_cannot_be_split():
    grid, ids, lon, lat = (HEALPIX[0], *(a[:2] for a in HEALPIX[1:]))
    with pytest.raises(TrainingError, match="no finer level has more"):
        make_folds(FoldsConfig(block_level=LEVELS), grid, ids, lon, lat, 0)
    with pytest.raises(TrainingError, match="1 cells are too few for 5 random folds"):
        make_folds(FoldsConfig(kind="random"), grid, ids, lon, lat, 0)


def test_positives_in_one_block_only_are_an_error_that_names_the_fold():
    grid, ids, lon, lat = HEALPIX
    blocks = grid.parents(ids, 3)
    y = (blocks == blocks[0]).astype(int)
    with pytest.raises(TrainingError, match=r"training set of fold 'block-\d' has no positive row.*tried 20 ways"):
        make_folds(FoldsConfig(block_level=LEVELS), grid, ids, lon, lat, 0, y=y)


def test_two_positive_blocks_are_never_tested_together_as_nothing_would_be_left_to_learn_from():
    grid, ids, lon, lat = HEALPIX
    blocks = grid.parents(ids, 3)
    few = np.isin(blocks, np.unique(blocks)[[5, 40]])
    config = FoldsConfig(block_level=LEVELS, n_folds=2, buffer_km=0)
    for seed in range(20):
        folds = make_folds(config, grid, ids, lon, lat, seed, y=few.astype(int))
        assert all(few[fold.train].any() for fold in folds)


def test_a_buffer_that_empties_the_training_set_is_an_error():
    grid, ids, lon, lat = HEALPIX
    with pytest.raises(TrainingError, match=r"'block-1' has no training cell outside folds.buffer_km = 20000"):
        make_folds(FoldsConfig(block_level=LEVELS, buffer_km=20000.0), grid, ids, lon, lat, 0)


def test_regions_may_cross_180_degrees_and_cells_in_none_are_counted_and_never_tested():
    grid, ids, lon, lat = H3
    regions = {"bering": (160.0, 60.0, -150.0, 75.0), "taymyr": (80.0, 60.0, 120.0, 80.0)}
    config = FoldsConfig(kind="leave_one_region_out", regions=regions, buffer_km=100.0)
    bering, taymyr = make_folds(config, grid, ids, lon, lat, 0, y=labels_of(lon, lat))
    assert (bering.name, taymyr.name) == ("bering", "taymyr")
    assert (lon[bering.test] >= 160).any() and (lon[bering.test] < -150).any()
    assert np.all((lon[bering.test] >= 160) | (lon[bering.test] < -150))
    assert bering.n_never_tested == taymyr.n_never_tested == ids.size - bering.test.size - taymyr.test.size
    assert np.setdiff1d(bering.train, taymyr.test).size > 0  # cells in no region still teach


@pytest.mark.parametrize(
    ("regions", "error", "message"),
    [
        ({"a": (0, 60, 20, 70), "b": (10, 65, 30, 75)}, ConfigError, "regions.a .* and folds.regions.b .* overlap"),
        ({"a": (170, 60, -170, 70), "b": (-175, 60, -160, 70)}, ConfigError, "overlap"),
        ({"a": (0, 70, 20, 60), "b": (30, 60, 40, 70)}, ConfigError, "regions.a is empty"),
        ({"a": (0, 60, 20, 70), "b": (30, -10, 40, 10)}, TrainingError, "No labelled cell lies in folds.regions.b"),
    ],
)
def test_bad_regions_are_named(regions, error, message):
    grid, ids, lon, lat = H3
    with pytest.raises(error, match=message):
        make_folds(FoldsConfig(kind="leave_one_region_out", regions=regions), grid, ids, lon, lat, 0)


def test_regions_that_share_an_edge_do_not_overlap():
    grid, ids, lon, lat = H3
    regions = {"west": (-180, 60, 0, 90), "east": (0, 60, 180, 90)}
    config = FoldsConfig(kind="leave_one_region_out", regions=regions, buffer_km=0)
    folds = make_folds(config, grid, ids, lon, lat, 0)
    assert sum(fold.test.size for fold in folds) == ids.size
    assert folds[0].n_never_tested == 0


def test_inner_folds_stay_within_the_training_rows_of_the_outer_fold():
    grid, ids, lon, lat = HEALPIX
    config = FoldsConfig(block_level=LEVELS, inner_folds=3)
    y = labels_of(lon, lat)
    outer = make_folds(config, grid, ids, lon, lat, 0, y=y)[0]
    inner = inner_folds_maker(config, grid, ids, lon, lat)(outer.train, y[outer.train], 1)
    assert len(inner) == 3
    assert sorted(np.concatenate([f.test for f in inner])) == list(range(outer.train.size))
    check_no_leakage(inner, ids[outer.train])


def test_inner_folds_of_left_out_regions_are_spatial_blocks():
    grid, ids, lon, lat = H3
    regions = {"west": (-180, 60, 0, 90), "east": (0, 60, 180, 90)}
    config = FoldsConfig(kind="leave_one_region_out", regions=regions, block_level=LEVELS)
    rows = np.flatnonzero(lon < 0)
    inner = inner_folds_maker(config, grid, ids, lon, lat)(rows, labels_of(lon, lat)[rows], 1)
    assert [fold.name for fold in inner] == ["block-1", "block-2", "block-3"]
    assert all(fold.blocks for fold in inner)


def good_folds():
    return [Fold("a", np.array([0, 1]), np.array([2, 3])), Fold("b", np.array([2, 3]), np.array([0, 1]))]


@pytest.mark.parametrize(
    ("change", "groups", "message"),
    [
        ({"train": np.array([0, 1, 2])}, None, "Fold 'a' trains and tests on 1 same cells, the first is 12"),
        ({}, [1, 2, 2, 3], "trains and tests on 1 same pixel groups, the first is 2"),
        ({"test": np.array([0, 2])}, None, "same cells"),
        ({"test": np.array([2, 9])}, None, "was made for other rows"),
        ({"train": np.array([0, 0])}, None, "1 of them double"),
    ],
)
def test_leaking_folds_are_refused(change, groups, message):
    folds = good_folds()
    with pytest.raises(ProvenanceError, match=message):
        check_no_leakage([replace(folds[0], **change), folds[1]], np.array([10, 11, 12, 13]), groups)


def test_a_row_that_is_tested_twice_is_refused():
    folds = [Fold("a", np.array([0]), np.array([2])), Fold("b", np.array([1]), np.array([2]))]
    with pytest.raises(ProvenanceError, match="cell 12 is tested in 2 folds"):
        check_no_leakage(folds, np.array([10, 11, 12]))


def test_folds_without_leakage_pass():
    assert check_no_leakage(good_folds(), np.array([10, 11, 12, 13]), [1, 1, 2, 2]) is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lon": np.zeros(3)}, SchemaError, "vectors of one length"),
        ({"cell_ids": np.zeros(HEALPIX[1].size)}, GridError, "float64; expected uint64"),
        ({"lat": np.full(HEALPIX[1].size, np.nan)}, GridError, "not finite"),
    ],
)
def test_bad_rows_are_refused(change, error, message):
    grid, ids, lon, lat = HEALPIX
    rows = {"cell_ids": ids, "lon": lon, "lat": lat, **change}
    with pytest.raises(error, match=message):
        make_folds(FoldsConfig(), grid, seed=0, **rows)


@pytest.mark.parametrize("levels", [{"h3": 1}, {"healpix": 7}])
def test_a_block_level_that_is_missing_or_finer_than_the_cells_is_a_configuration_error(levels):
    grid, ids, lon, lat = HEALPIX
    with pytest.raises(ConfigError, match="folds.block_level"):
        make_folds(FoldsConfig(block_level=levels), grid, ids, lon, lat, 0)
