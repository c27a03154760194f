"""Pixels of tiles become sums of cells: against asking the grid for every pixel, and against exactextract."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from entropice_core.errors import GridError, SchemaError, SourceError
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.partials import QUANTILES, STATISTICS, Partials, merge_all
from entropice_core.features.quantity import Quantity
from entropice_core.features.streaming import Reducer, choose_method
from entropice_core.features.tiles import Tile, area_unit
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea

POLAR, UTM, DEGREES = CRS("EPSG:3413"), CRS("EPSG:32654"), CRS("EPSG:4326")

TILES = {
    "Siberia": Tile("Siberia", POLAR, -400_000.0, 2_200_000.0, 250.0, -250.0, (260, 280)),
    "180 degrees": Tile("180 degrees", POLAR, -1_330_000.0, 1_400_000.0, 250.0, -250.0, (260, 280)),
    "the pole": Tile("the pole", POLAR, -30_000.0, 35_000.0, 250.0, -250.0, (260, 280)),
    "a UTM zone, rows from the south": Tile("utm", UTM, 400_000.0, 7_900_000.0, 250.0, 250.0, (260, 280)),
    "degrees": Tile("degrees", DEGREES, 130.0, 71.0, 1 / 200, -1 / 400, (260, 280)),
    "degrees across 180": Tile("degrees", DEGREES, 179.2, 68.0, 1 / 200, -1 / 400, (260, 280)),
    "degrees at the pole": Tile("degrees", DEGREES, -180.0, 90.0, 1.0, -1 / 200, (60, 360)),
}
KEYS = ("h3-3", "h3-5", "h3-6", "healpix-7", "healpix-9", "healpix-10")


def cells_at(tile: Tile, key: str, share: float = 1.0) -> np.ndarray:
    """Cells of the pixels of a tile, and their neighbours; a share of them."""
    grid = parse_grid_key(key)
    lon, lat = naive_lonlat(tile)
    ids = np.unique(grid.locate(lon[::17], lat[::17]))
    ids = np.union1d(ids, grid.neighbours(ids)[1])
    return ids[np.random.default_rng(1).random(ids.size) <= share]


def naive_lonlat(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of every pixel centre by the projection's inverse."""
    rows, columns = np.divmod(np.arange(tile.shape[0] * tile.shape[1]), tile.shape[1])
    x, y = tile.left + (columns + 0.5) * tile.step_x, tile.top + (rows + 0.5) * tile.step_y
    return Transformer.from_crs(tile.crs, "EPSG:4326", always_xy=True).transform(x, y)


def naive_labels(tile: Tile, key: str, ids: np.ndarray) -> np.ndarray:
    """The cell of every pixel, asked of the grid."""
    found = parse_grid_key(key).locate(*naive_lonlat(tile))
    at = np.minimum(np.searchsorted(ids, found), ids.size - 1)
    return np.where(ids[at] == found, at, -1).reshape(tile.shape)


HEIGHT = Quantity("height", "m", "height", -512.0, 7680.0, step=2.0**-7, bins=4096)
TILT = Quantity("tilt", "1", "tilt", -8.0, 8.0, step=2.0**-16, bins=200, bend=0.1)
UNIT = area_unit(250.0**2)


def field(tile: Tile, seed: int = 0, masked: float = 0.1) -> np.ndarray:
    """Smooth heights with noise and holes, a function of the place alone."""
    (r0, c0), (rows, columns) = tile.origin, tile.shape
    r, c = np.arange(r0, r0 + rows)[:, None], np.arange(c0, c0 + columns)[None, :]
    mixed = (r * 2654435761 + c * 40503 + seed * 97) % 65536 / 65536
    z = 900 + 700 * np.sin(r / 31) * np.cos(c / 23) + 40 * mixed
    return np.where(mixed < masked, np.nan, z).astype(np.float32)


@pytest.mark.parametrize("place", TILES)
@pytest.mark.parametrize("key", KEYS)
def test_every_pixel_has_the_label_that_the_grid_gives_its_centre(place, key):
    tile = TILES[place]
    ids = cells_at(tile, key, share=0.8)
    labels = CellIndex(parse_grid_key(key), ids).labels(tile)
    assert np.array_equal(labels, naive_labels(tile, key, ids))
    assert (labels >= 0).any()


def test_a_tile_far_from_all_cells_has_no_labels_and_no_sums():
    ids = cells_at(TILES["Siberia"], "h3-4")
    assert (CellIndex(parse_grid_key("h3-4"), ids).labels(TILES["the pole"]) == -1).all()
    sums = Reducer({"h3-4": ids}, [HEIGHT], UNIT, 250.0**2).reduce(TILES["the pole"], [field(TILES["the pole"])])
    assert sums["h3-4"].cell_ids.size == 0


@pytest.mark.parametrize("place", ["Siberia", "180 degrees", "the pole", "a UTM zone, rows from the south", "degrees"])
def test_weights_are_the_true_areas_of_the_pixels(place):
    tile = TILES[place]
    layout = tile.layout
    rows, columns = np.divmod(np.arange(0, tile.shape[0] * tile.shape[1], 37), tile.shape[1])
    unit = area_unit(float(layout.pixel_areas_m2(rows, columns).max()))
    place_of = {int(o): i for i, o in enumerate(layout.y.order)}
    expected = layout.pixel_areas_m2(np.array([place_of[r] for r in rows]), columns)
    found = tile.weights(unit)[rows, columns] * unit
    assert np.abs(found / expected - 1).max() < 1.2e-4
    assert found.sum() == pytest.approx(expected.sum(), rel=5e-5)


def test_a_unit_too_small_for_the_pixels_is_refused():
    with pytest.raises(SchemaError, match="give the largest pixel of the data set to area_unit"):
        TILES["Siberia"].weights(area_unit(32.0**2))


@pytest.mark.parametrize("place", ["Siberia", "180 degrees", "the pole"])
@pytest.mark.parametrize("key", ["h3-5", "healpix-8"])
def test_statistics_are_those_of_the_pixels_of_each_cell_weighted_by_area(place, key):
    tile = TILES[place]
    ids, z = cells_at(tile, key, share=0.9), field(tile)
    sums = Reducer({key: ids}, [HEIGHT, TILT], UNIT, 250.0**2).reduce(tile, [z, z / 1000])[key]
    labels, weights = naive_labels(tile, key, ids), tile.weights(UNIT).astype(float)
    tables = {name: sums.statistic(name)[:, 0] for name in STATISTICS}
    assert sums.cell_ids.tolist() == ids[np.unique(labels[labels >= 0])].tolist()
    for i, cell in enumerate(sums.cell_ids):
        inside = labels == np.searchsorted(ids, cell)
        valid = inside & np.isfinite(z)
        w, x = weights[valid], z[valid].astype(float)
        assert sums.pixels()[i].tolist() == [valid.sum()] * 2
        assert sums.seen_area_m2()[i] == weights[inside].sum() * UNIT
        assert sums.valid_area_m2()[i, 0] == w.sum() * UNIT
        mean = (w * x).sum() / w.sum()
        assert tables["mean"][i] == pytest.approx(mean, abs=HEIGHT.step / 2)
        assert tables["std"][i] == pytest.approx(np.sqrt((w * (x - mean) ** 2).sum() / w.sum()), abs=HEIGHT.step)
        assert tables["min"][i] == pytest.approx(x.min(), abs=HEIGHT.step / 2)
        assert tables["max"][i] == pytest.approx(x.max(), abs=HEIGHT.step / 2)
        order = np.argsort(x)
        for name, share in QUANTILES.items():
            exact = x[order][np.searchsorted(np.cumsum(w[order]), share * w.sum())]
            assert abs(tables[name][i] - exact) <= 2.0 + HEIGHT.step  # the width of a bin


def test_tiles_in_any_order_and_any_cut_give_the_same_digest():
    whole = TILES["180 degrees"]
    cells = {key: cells_at(whole, key) for key in ("h3-4", "h3-6", "healpix-7", "healpix-9")}
    reducer = Reducer(cells, [HEIGHT, TILT], UNIT, 250.0**2)
    cuts = [(0, 0, 100, 130), (0, 130, 100, 150), (100, 0, 160, 33), (100, 33, 160, 247)]
    pieces = [whole.window(r, c, (h, w)) for r, c, h, w in cuts]
    parts = [reducer.reduce(tile, [field(tile), field(tile) / 999]) for tile in pieces]
    at_once = reducer.reduce(whole, [field(whole), field(whole) / 999])
    for key in cells:
        expected = at_once[key].digest
        for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
            assert merge_all(parts[i][key] for i in order).digest == expected
        a, b, c, d = (part[key] for part in parts)
        assert a.merge(b.merge(c)).merge(d).digest == (a.merge(b)).merge(c.merge(d)).digest == expected


def test_pixels_that_two_tiles_share_are_counted_once():
    whole = TILES["Siberia"]
    cells = {"h3-5": cells_at(whole, "h3-5"), "healpix-9": cells_at(whole, "healpix-9")}
    reducer = Reducer(cells, [HEIGHT], UNIT, 250.0**2)
    left, right = whole.window(0, 0, (260, 150)), whole.window(0, 144, (260, 136))
    owned = np.ones(right.shape, dtype=bool)
    owned[:, :6] = False
    parts = reducer.reduce(left, [field(left)]), reducer.reduce(right, [field(right)], counted=owned)
    once = reducer.reduce(whole, [field(whole)])
    for key in cells:
        assert parts[0][key].merge(parts[1][key]).digest == once[key].digest


def test_coarse_levels_of_healpix_are_the_same_whether_looked_up_or_added_up():
    tile = TILES["Siberia"]
    cells = {f"healpix-{level}": cells_at(tile, f"healpix-{level}", share=0.6) for level in (6, 8, 9, 10)}
    together = Reducer(cells, [HEIGHT, TILT], UNIT, 250.0**2).reduce(tile, [field(tile), field(tile) / 500])
    for key, ids in cells.items():
        alone = Reducer({key: ids}, [HEIGHT, TILT], UNIT, 250.0**2).reduce(tile, [field(tile), field(tile) / 500])
        assert alone[key].digest == together[key].digest


LEVELS = st.integers(0, 2**20 - 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), LEVELS, st.integers(0, 2**64 - 1)), min_size=1, max_size=12), st.randoms())
def test_sums_beyond_64_bits_are_exact_in_any_order(rows, random):
    one = Quantity("q", "1", "q", 0.0, 1048575.0, step=1.0, bins=16)

    def part(cell: int, q: int, s2: int) -> Partials:
        made = Partials.empty([one], 1.0, np.array([cell], dtype=np.uint64))
        made.whole[0, 0] = [1, 3, 3 * q, 7, s2]
        made.low[:], made.high[:] = q, q
        bins = np.array([int(one.bin_of[q])], dtype=np.uint64)
        return Partials(**{**made.__dict__, "bin_keys": bins, "bin_weights": np.array([3], dtype=np.uint64)})

    parts = [part(*row) for row in rows]
    merged = merge_all(parts)
    for i, cell in enumerate(merged.cell_ids.tolist()):
        mine = [row for row in rows if row[0] == cell]
        n, w, wq, high, low = merged.whole[i, 0].tolist()
        assert (n, w, wq) == (len(mine), 3 * len(mine), 3 * sum(q for _, q, _ in mine))
        assert (high << 64) + low == sum((7 << 64) + s2 for *_, s2 in mine)
        assert (merged.low[i, 0], merged.high[i, 0]) == (min(q for _, q, _ in mine), max(q for _, q, _ in mine))
    random.shuffle(parts)
    assert merge_all(parts).digest == merged.digest
    together = merged.grouped(merged.cell_ids // np.uint64(2))
    assert sum((int(h) << 64) + int(x) for h, x in together.whole[:, 0, 3:]) == sum((7 << 64) + r[2] for r in rows)
    assert together.bin_weights.sum() == 3 * len(rows)


def test_masked_pixels_are_counted_by_reason_and_weigh_nothing():
    tile = TILES["Siberia"]
    z = np.full(tile.shape, 100.0, dtype=np.float32)
    z[0, :5], z[1, :7] = np.nan, 9999.0
    ids = cells_at(tile, "h3-4")
    sums = Reducer({"h3-4": ids}, [HEIGHT], UNIT, 250.0**2).reduce(tile, [z])["h3-4"]
    assert sums.counts.tolist() == [[z.size - 12, 5, 7]]
    assert (sums.statistic("mean") == 100.0).all() and (sums.statistic("std") == 0.0).all()
    assert sums.seen_area_m2().sum() > sums.valid_area_m2().sum()


def test_an_infinite_pixel_is_refused_and_the_tile_named():
    tile = TILES["Siberia"]
    z = field(tile)
    z[3, 4] = np.inf
    with pytest.raises(SourceError, match="tile Siberia, height: 1 of 72800 pixels are infinite"):
        Reducer({"h3-4": cells_at(tile, "h3-4")}, [HEIGHT], UNIT, 250.0**2).reduce(tile, [z])


def test_a_cell_without_a_valid_pixel_has_area_but_no_statistics():
    tile = TILES["Siberia"]
    sums = Reducer({"h3-4": cells_at(tile, "h3-4")}, [HEIGHT], UNIT, 250.0**2).reduce(
        tile, [np.full(tile.shape, np.nan, dtype=np.float32)]
    )["h3-4"]
    assert (sums.seen_area_m2() > 0).all() and all(np.isnan(sums.statistic(name)).all() for name in STATISTICS)


def test_sums_of_other_quantities_or_units_are_not_added():
    a, b = Partials.empty([HEIGHT], 1.0), Partials.empty([TILT], 1.0)
    with pytest.raises(SchemaError, match="cannot be added to sums of"):
        a.merge(b)
    with pytest.raises(SchemaError, match="no tile was processed"):
        merge_all([])


def test_layers_of_another_shape_or_number_are_refused():
    tile, ids = TILES["Siberia"], cells_at(TILES["Siberia"], "h3-4")
    reducer = Reducer({"h3-4": ids}, [HEIGHT, TILT], UNIT, 250.0**2)
    with pytest.raises(SchemaError, match=r"height of tile Siberia is \(2, 2\)"):
        reducer.reduce(tile, [np.zeros((2, 2))])
    with pytest.raises(SchemaError, match="has 1 layers for 2 quantities"):
        reducer.reduce(tile, [field(tile)])
    with pytest.raises(GridError, match="sorted without repeats"):
        Reducer({"h3-4": ids[::-1]}, [HEIGHT], UNIT, 250.0**2)


@pytest.mark.parametrize(
    ("low", "high", "step", "bins"), [(0.0, 1.0, 1e-9, 0), (1.0, 0.0, 0.1, 0), (0.0, 1.0, 0.0, 0), (0.0, 1.0, 0.5, 9)]
)
def test_quantities_that_cannot_be_summed_exactly_are_refused(low, high, step, bins):
    with pytest.raises(SchemaError):
        Quantity("x", "1", "x", low, high, step, bins)


@pytest.mark.parametrize("module", ["numpy", "array_api_strict"])
def test_arrays_of_the_array_api_give_the_sums_of_the_compiled_loops(module):
    arrays = pytest.importorskip(module)
    tile = TILES["Siberia"].window(0, 0, (90, 110))
    cells = {key: cells_at(tile, key, share=0.8) for key in ("h3-5", "healpix-10")}
    layers = [field(tile), field(tile) * 10 - 5000]
    compiled = Reducer(cells, [HEIGHT, HEIGHT], UNIT, 250.0**2).reduce(tile, layers)
    by_arrays = Reducer(cells, [HEIGHT, HEIGHT], UNIT, 250.0**2, arrays=arrays).reduce(tile, layers)
    assert all(by_arrays[key].digest == compiled[key].digest for key in cells)
    assert (compiled["h3-5"].counts[:, 2] > 0).any()


# --- against exactextract --------------------------------------------------------------------------------------------


def exact(tile: Tile, z: np.ndarray, key: str, ids: np.ndarray, operation: str, unit: float = UNIT) -> np.ndarray:
    """exactextract on the cells' outlines in the plane of the tile, weighted by the true area of the pixels."""
    from exactextract import exact_extract
    from exactextract.feature import JSONFeatureSource
    from exactextract.raster import NumPyRasterSource

    rings = parse_grid_key(key).outlines(ids, 32)
    rows, columns = tile.pixels(rings.lon, rings.lat)
    x, y = tile.xy(rows, columns)
    polygons = [
        shapely.Polygon(np.column_stack([x, y])[a:b])
        for a, b in zip(rings.offsets[:-1], rings.offsets[1:], strict=True)
    ]
    features = [
        {"type": "Feature", "id": i, "properties": {}, "geometry": shapely.geometry.mapping(p)}
        for i, p in enumerate(polygons)
    ]
    width, bottom = tile.shape[1], tile.top + tile.shape[0] * tile.step_y
    box = {"xmin": tile.left, "xmax": tile.left + width * tile.step_x, "ymin": bottom, "ymax": tile.top}
    values = NumPyRasterSource(z.astype(float), **box, name="z")
    weights = NumPyRasterSource(tile.weights(unit).astype(float), **box, name="w")
    found = exact_extract(values, JSONFeatureSource(features), [operation], weights=weights)
    return np.array([one["properties"][operation] for one in found])


@pytest.mark.parametrize("key", ["h3-5", "h3-6", "healpix-8", "healpix-10"])
def test_means_by_pixel_centres_agree_with_exact_coverage_within_the_stated_bound(key):
    tile = TILES["180 degrees"]
    grid, noise = parse_grid_key(key), np.random.default_rng(2).normal(100.0, 1.0, tile.shape)
    ids = cells_at(tile, key)
    sums = Reducer({key: ids}, [HEIGHT], UNIT, 250.0**2).reduce(tile, [noise])[key]
    most = np.flatnonzero(sums.seen_area_m2() > 0.9 * grid.areas_m2(sums.cell_ids))
    error = sums.statistic("mean")[most, 0] - exact(tile, noise, key, sums.cell_ids[most], "weighted_mean")
    assert most.size >= 1 and np.sqrt((error**2).mean()) < 0.007 and np.abs(error).max() < 0.03


@pytest.mark.parametrize("key", ["h3-6", "healpix-10"])
def test_cells_of_few_pixels_share_pixels_out_by_area(key):
    coarse = Tile("coarse", POLAR, -1_330_000.0, 1_400_000.0, 2000.0, -2000.0, (36, 38))
    noise, ids = np.random.default_rng(3).normal(100.0, 1.0, coarse.shape), cells_at(coarse, key)
    reducer = Reducer({key: ids}, [HEIGHT], area_unit(2000.0**2), 2000.0**2)
    assert reducer.methods == {key: "coverage"} and "shared out" in reducer.method_words()[key]
    sums = reducer.reduce(coarse, [noise])[key]
    most = sums.cell_ids[sums.seen_area_m2() > 0.97 * parse_grid_key(key).areas_m2(sums.cell_ids)]
    expected = exact(coarse, noise, key, most, "weighted_mean", area_unit(2000.0**2))
    error = sums.take(most).statistic("mean")[:, 0] - expected
    assert most.size > 10 and np.sqrt((error**2).mean()) < 0.02 and np.abs(error).max() < 0.08
    halves = coarse.window(0, 0, (36, 20)), coarse.window(0, 20, (36, 18))
    parts = [
        reducer.reduce(half, [noise[:, s]])[key] for half, s in zip(halves, (slice(0, 20), slice(20, 38)), strict=True)
    ]
    assert parts[0].merge(parts[1]).pixels().sum() >= sums.pixels().sum()


def test_the_method_is_chosen_by_pixels_in_a_cell():
    assert choose_method(25e3**2, 12e9) == "coverage" and choose_method(5e3**2, 12e9) == "pixel_centres"


def test_a_cell_partly_outside_all_tiles_knows_how_much_was_seen():
    tile, key = TILES["Siberia"], "h3-4"
    grid, ids = parse_grid_key(key), cells_at(TILES["Siberia"], "h3-4")
    sums = Reducer({key: ids}, [HEIGHT], UNIT, 250.0**2).reduce(tile, [field(tile, masked=0.0)])[key]
    share = sums.seen_area_m2() / grid.areas_m2(sums.cell_ids)
    weight = exact(tile, np.ones(tile.shape), key, sums.cell_ids, "weighted_sum")
    expected = weight * UNIT / grid.areas_m2(sums.cell_ids)
    assert share.min() < 0.5 and np.abs(share - expected).max() < 0.01


def test_the_pole_cell_is_seen_whole():
    tile = Tile("pole", POLAR, -64_000.0, 64_000.0, 250.0, -250.0, (512, 512))
    ids = parse_grid_key("h3-4").cells(StudyArea(89.7))
    sums = Reducer({"h3-4": ids}, [HEIGHT], UNIT, 250.0**2).reduce(tile, [np.full(tile.shape, 5.0)])["h3-4"]
    pole = sums.cell_ids == int("8403263ffffffff", 16)
    area = parse_grid_key("h3-4").areas_m2(sums.cell_ids)
    assert pole.sum() == 1 and sums.seen_area_m2()[pole] == pytest.approx(area[pole], rel=1e-3)
