"""Embeddings of cells: exact sums of de-quantised vectors, every ground pixel once, the year that was asked for."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Proj

from entropice_core.cli.app import app
from entropice_core.cli.fetch_alphaearth import alphaearth
from entropice_core.cli.study import build
from entropice_core.compute import gpu_arrays
from entropice_core.config import Settings, load_study
from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.embeddings.tiles import STEP, EmbeddingTile, counted, layers, open_tiles, quantities
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.tiles import Tile, area_unit, pixel_centres
from entropice_core.fetch.alphaearth import bring_tiles, dequantised
from entropice_core.fetch.alphaearth_index import bring_index, tiles_of_year
from entropice_core.fetch.tiles import read_listing
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import materialize
from entropice_core.sources import open_source
from entropice_core.storage.partition import Partition
from tests.servers.alphaearth import coarser, quantised, two_zones

STUDY = """
schema_version = 1
[study]
name = "tiny"
title = "Where two UTM zones meet"
grids = ["h3-5", "healpix-8"]
years = {{ first = 2021, last = 2022 }}
[study_area]
min_latitude = 60.0
min_land_fraction = 0.0
bounds = [83.2, 67.6, 84.8, 68.4]
[inventories.slumps]
title = "none"
geometry = "polygon"
files = ["{{data}}/none.gpkg"]
year = {{ column = "year" }}
footprint = {{ kind = "study_area" }}
[sources.embedding]
kind = "alphaearth"
title = "Generated embeddings"
path = "{{data}}/alphaearth/{{year}}.json"
index = "{index}"
resolution_m = 40
lag = 1
[target]
inventory = "slumps"
[models.prevalence]
model = "prevalence"
"""
# healpix-8 has thousands of 40 m pixels in a cell; ids around the place where the zones meet
GRID = parse_grid_key("healpix-8")


def cells_here(grid=GRID):
    lon, lat = (part.ravel() for part in np.meshgrid(np.linspace(83.8, 84.2, 60), np.linspace(67.93, 68.07, 60)))
    return cell_coordinates(grid, np.unique(grid.locate(lon, lat)))


@pytest.fixture
def fetched(config, tmp_path, waits):
    index = bring_index(config.index, tmp_path, waits[1])
    refs = tiles_of_year(index, config, 2021, StudyArea(60.0))
    bring_tiles(config, refs, tmp_path, 2021, waits[1])
    return config, tmp_path


def test_every_byte_means_exactly_what_the_formula_says():
    found = dequantised()
    assert np.isnan(found[0]) and found[128] == 0.0
    for v in range(-127, 128):
        assert found[v + 128] == np.sign(v) * (v / 127.5) ** 2


def test_the_vectors_are_whole_numbers_of_steps_so_that_sums_are_exact():
    stored = np.arange(-128, 128, dtype=np.int8).reshape(1, 16, 16)
    steps, counts = quantities()[0].quantise(next(layers(stored)), "t")
    v = stored[0].astype(int)
    np.testing.assert_array_equal(steps, np.where(v == -128, -1, np.sign(v) * v**2 + 127**2))
    assert counts.tolist() == [255, 1, 0] and pytest.approx(4 / 255**2, rel=1e-15) == STEP


def holds(tile, lon, lat):
    x, y = Proj(tile.place.crs)(lon, lat)
    place, (rows, columns) = tile.place, tile.place.shape
    high = (x < place.left + columns * place.step_x) & (y < place.top + rows * place.step_y)
    return (x >= place.left) & (y >= place.top) & high


def nearer(one, other, lon):
    return np.abs(lon - (6 * one.zone - 183)) < np.abs(lon - (6 * other.zone - 183))


def naive(tiles: list[EmbeddingTile], grid, ids):
    """Mean, std and counts of cells pixel by pixel: each pixel of each tile is looked up by itself."""
    vectors, weights, cells = [], [], []
    for tile in tiles:
        place = tile.place
        lon, lat = place.lonlat(*pixel_centres(np.arange(np.prod(place.shape)), place.shape[1]))
        mine = ~np.any([holds(o, lon, lat) & nearer(o, tile, lon) for o in tiles if o.zone != tile.zone], axis=0)
        stored = tile.read().reshape(64, -1).astype(float)
        use = mine & (stored[0] != -128)
        vectors.append((np.sign(stored) * (stored / 127.5) ** 2)[:, use].T)
        weights.append(place.weights(area_unit(1600.0)).ravel()[use].astype(float))
        cells.append(grid.locate(lon[use], lat[use]))
    x, w, c = np.concatenate(vectors), np.concatenate(weights), np.concatenate(cells)
    mean, std = np.full((ids.size, 64), np.nan), np.full((ids.size, 64), np.nan)
    for i, cell in enumerate(ids):
        if (c == cell).any():
            mean[i] = np.average(x[c == cell], axis=0, weights=w[c == cell])
            std[i] = np.sqrt(np.average((x[c == cell] - mean[i]) ** 2, axis=0, weights=w[c == cell]))
    return mean, std, len(x)


def test_features_are_those_of_looking_up_every_pixel(fetched):
    config, root = fetched
    cells = cells_here()
    got = open_source("e", config, root).features(GRID, cells, 2021)
    table = {str(name): got["features"].values[:, i] for i, name in enumerate(got["feature"].values)}
    paths = open_source("e", config, root).files(2021)[1:]
    mean, std, used = naive(open_tiles(paths), GRID, cells["cell_ids"].values)
    assert np.isfinite(mean[:, 0]).sum() >= 2
    for band in range(64):
        np.testing.assert_allclose(table[f"A{band:02d}_mean"], mean[:, band], atol=2e-6)
        np.testing.assert_allclose(table[f"A{band:02d}_std"], std[:, band], atol=2e-6)
    length = np.sqrt((mean**2).sum(axis=1))
    np.testing.assert_allclose(table["R"], length, atol=2e-6)
    direction = np.stack([table[f"A{band:02d}_direction"] for band in range(64)], axis=1)
    np.testing.assert_allclose(direction, mean / length[:, None], atol=5e-6)
    # pixels of length 1: what R lacks of 1 is what the bands scatter
    scatter = (std**2).sum(axis=1) + length**2
    assert np.nanmax(np.abs(scatter - 1.0)) < 0.01
    counts = json.loads(got.attrs["counts"])["bands"]["embedding"]
    assert counts["used"] == used and counts["masked_counted_in_another_tile"] > 1000
    assert counts["pixels"] == 4 * 64 * 64 and "pixel_centres" in got.attrs["method"]
    assert set(got["unit"].values) == {"1"} and len(table) == 193
    for name, values in table.items():
        low, high = config.bounds_of(name)
        assert np.nanmin(values) >= low and np.nanmax(values) <= high


def test_only_the_parts_that_are_wanted_are_made(fetched):
    config, root = fetched
    few = config.model_copy(update={"parts": ("mean",)})
    names = open_source("e", few, root).features(GRID, cells_here(), 2021)["feature"].values
    assert len(names) == 65 and names[-1] == "R" and names[0] == "A00_mean"


def test_small_cells_share_pixels_out_by_area(fetched):
    config, root = fetched
    grid = parse_grid_key("healpix-10")
    coarse = config.model_copy(update={"resolution_m": 320})
    listing = read_listing(root / "alphaearth" / "2021.json", "alphaearth")
    (root / "alphaearth" / "2021.json").write_text(json.dumps({**listing, "resolution_m": 320}))
    got = open_source("e", coarse, root).features(grid, cells_here(grid), 2021)
    assert "coverage" in got.attrs["method"] and "overviews of 320 m" in got.attrs["method"]
    assert np.isfinite(got["features"]).any()


LATTICE = [Tile(f"z{zone}", CRS.from_epsg(32600 + zone), 3e5, 7.5e6, 4e3, 4e3, (100, 100)) for zone in (44, 45, 46)]
WIDE = [EmbeddingTile(None, place, 44 + i) for i, place in enumerate(LATTICE)]


def named(tiles, folder):
    return [EmbeddingTile(folder / f"{tile.place.name}.tif", tile.place, tile.zone) for tile in tiles]


@given(st.floats(78.0, 96.0), st.floats(67.8, 70.5))
def test_where_all_zones_have_tiles_the_zone_of_the_longitude_counts(lon, lat):
    holders = []
    for tile in WIDE:
        row, column = (int(np.floor(part[0])) for part in tile.place.pixels(np.array([lon]), np.array([lat])))
        if 0 <= row < 100 and 0 <= column < 100:
            one = EmbeddingTile(tile.path, tile.place.window(row, column, (1, 1)), tile.zone)
            centre = one.place.lonlat(np.array([0.5]), np.array([0.5]))[0][0]
            holders.append((tile, one, centre))
    if len(holders) < 2 or len({int((centre + 180) // 6) for *_, centre in holders}) > 1:
        return  # the pixels' centres lie on different sides of the edge: none of them is the other
    took = [one.zone for tile, one, _ in holders if counted(one, [other for other in WIDE if other is not tile]).all()]
    centre = holders[0][2]
    held = {tile.zone for tile, *_ in holders}
    nearest = min(held, key=lambda zone: abs(centre - (6 * zone - 183)))
    assert took == [nearest]


def test_the_area_that_counts_is_the_area_on_the_ground(tmp_path):
    tiles = named(WIDE, tmp_path)
    seen = 0.0
    for tile in tiles:
        others = [other for other in tiles if other is not tile]
        seen += float((tile.place.weights(2000.0) * counted(tile, others)).sum() * 2000.0)
    lon, lat = (part.ravel() for part in np.meshgrid(np.linspace(70, 105, 1401), np.linspace(66.5, 72.5, 1201)))
    inside = np.zeros(lon.size, dtype=bool)
    for tile in tiles:
        rows, columns = tile.place.pixels(lon, lat)
        inside |= (rows >= 0) & (rows < 100) & (columns >= 0) & (columns < 100)
    e2, a, phi = 0.00669438, 6_378_137.0, np.radians(lat[inside])
    element = a * a * (1 - e2) * np.cos(phi) / (1 - e2 * np.sin(phi) ** 2) ** 2
    area = element.sum() * np.radians(35 / 1400) * np.radians(6 / 1200)
    assert seen == pytest.approx(area, rel=2e-3)  # pixels of 4 km along the edges
    alone = sum(float(tile.place.weights(2000.0).sum() * 2000.0) for tile in tiles)
    assert alone > 1.3 * seen


def test_where_a_zone_has_no_tile_its_neighbours_pixels_count(tmp_path):
    left, middle, right = named(WIDE, tmp_path)
    with_all, without = counted(left, [middle, right]), counted(left, [right])
    assert (without & ~with_all).sum() > 500 and not (with_all & ~without).any()


def test_a_tile_that_is_listed_twice_counts_once(tmp_path):
    first, second = (EmbeddingTile(tmp_path / f"{n}.tif", LATTICE[0], 44) for n in "ab")
    assert counted(first, [second]).all() and not counted(second, [first]).any()


def test_work_is_used_again_after_a_kill_and_for_the_next_grid(fetched, tmp_path):
    config, root = fetched
    grids = {key: cells_here(parse_grid_key(key)) for key in ("healpix-8", "h3-5")}
    told: list[str] = []
    source = open_source("e", config, root, tmp_path / "work")
    both = source.serving({key: cells["cell_ids"].values for key, cells in grids.items()}, told.append)
    made = {key: both.features(parse_grid_key(key), cells, 2021) for key, cells in grids.items()}
    assert sum("computed" in line for line in told) == 4 and sum("was there" in line for line in told) == 4
    kept = sorted((tmp_path / "work").rglob("*.npz"))
    kept[0].unlink()
    kept[1].write_bytes(kept[1].read_bytes()[:-1])
    for key, cells in grids.items():
        alone = open_source("e", config, root).features(parse_grid_key(key), cells, 2021)
        again = both.features(parse_grid_key(key), cells, 2021)
        np.testing.assert_array_equal(alone["features"], made[key]["features"])
        np.testing.assert_array_equal(again["features"], made[key]["features"])
        assert alone.attrs == made[key].attrs


def ground(noise: float, kinds: int, patch: int) -> np.ndarray:
    """Cells of 32 x 32 pixels, each of some kinds of ground in patches, with noise in each pixel: (64, 256, 256)."""
    rng = np.random.default_rng(9)
    vectors = rng.normal(size=(kinds, 64, 8, 8)).repeat(32, axis=2).repeat(32, axis=3)
    kind = rng.integers(0, kinds, (256 // patch,) * 2).repeat(patch, axis=0).repeat(patch, axis=1)
    x = np.choose(kind, vectors) + noise * rng.normal(size=(64, 256, 256))
    return np.take(dequantised(), quantised(x / np.sqrt((x**2).sum(axis=0))).astype(int) + 128)


def compared(noise: float, kinds: int, patch: int) -> tuple[float, float, float]:
    """Lengths of the mean of pixels and of overviews 8 times as coarse, and the largest angle between them, degrees."""
    fine = ground(noise, kinds, patch)
    view = np.take(dequantised(), quantised(coarser(fine, 8)).astype(int) + 128)
    true, seen = fine.reshape(64, 8, 32, 8, 32).mean(axis=(2, 4)), view.reshape(64, 8, 4, 8, 4).mean(axis=(2, 4))
    lengths = [np.sqrt((part**2).sum(axis=0)) for part in (true, seen)]
    angle = np.degrees(np.arccos(np.clip((true * seen).sum(axis=0) / lengths[0] / lengths[1], -1, 1)))
    return float(lengths[0].mean()), float(lengths[1].mean()), float(angle.max())


def test_overviews_give_nearly_the_direction_of_the_mean_of_the_pixels_and_a_greater_length():
    """The figures of docs/alphaearth.md."""
    said = {
        (0.25, 1, 1): (0.971, 1.000),
        (0.5, 1, 1): (0.896, 0.998),
        (1.0, 1, 1): (0.710, 0.993),
        (0.25, 2, 2): (0.687, 0.973),
        (0.25, 2, 8): (0.710, 0.731),
    }
    for (noise, kinds, patch), lengths in said.items():
        true, seen, angle = compared(noise, kinds, patch)
        assert (true, seen) == pytest.approx(lengths, abs=2e-3) and seen > true and angle < 0.7


def test_the_years_before_the_first_are_refused(config, tmp_path):
    source = open_source("e", config.model_copy(update={"lag": 1}), tmp_path)
    with pytest.raises(SourceError, match="for the label year 2017 less the lag of 1: they begin in 2017"):
        source.files(2017)
    with pytest.raises(SourceError, match="no year was given"):
        source.files(None)


def test_tiles_that_are_not_there_or_of_another_level_are_named(fetched):
    config, root = fetched
    with pytest.raises(ConfigError, match=r"lists tiles of resolution_m 40, but sources.e has 80"):
        open_source("e", config.model_copy(update={"resolution_m": 80}), root).files(2021)
    next(root.rglob("45N_*.tif")).unlink()
    with pytest.raises(SourceError, match=r"lacks 1 of 4 tiles \(45N_x45"):
        open_source("e", config, root).files(2021)
    with pytest.raises(SourceError, match="entropice fetch alphaearth"):
        open_source("e", config, root).files(2018)


def test_the_setting_cuda_adds_up_with_arrays_of_the_gpu_and_gives_the_same_digest(fetched, tmp_path, monkeypatch):
    """CuPy's place is taken by the strict reference of the array API: no GPU is here."""
    strict = pytest.importorskip("array_api_strict")
    config, root = fetched
    study, told = tmp_path / "tiny.toml", []
    study.write_text(STUDY.format(index=config.index).replace("lag = 1", 'lag = 0\nparts = ["mean"]'))
    gpus, asked = SimpleNamespace(getDeviceCount=lambda: 1), []
    cupy = SimpleNamespace(
        cuda=SimpleNamespace(runtime=gpus),
        ndarray=type("ndarray", (), {}),  # array_api_compat asks what CuPy's arrays are
        asarray=lambda a: asked.append(len(a)) or strict.asarray(a),
    )
    monkeypatch.setenv("ENTROPICE_DATA", str(root))
    digests = {}
    for compute in ("serial", "cuda"):
        if compute == "cuda":
            monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setenv("ENTROPICE_COMPUTE", compute)
        monkeypatch.setenv("ENTROPICE_HOME", str(tmp_path / compute))
        context = Context(load_study(study), Settings.from_environment(), told.append)
        graph = build_graph(context.study)
        materialize(context, graph, graph["cells"], Partition("h3-5"))
        made = materialize(context, graph, graph["features.embedding"], Partition("h3-5", 2021))
        digests[compute] = made.manifest.digest
    assert digests["cuda"] == digests["serial"] and len(asked) > 64
    gpus.getDeviceCount = lambda: 0
    with pytest.raises(ConfigError, match="ENTROPICE_COMPUTE is cuda, but this machine has no GPU"):
        gpu_arrays()
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ConfigError, match=r"but CuPy gives no GPU \(ModuleNotFoundError"):
        gpu_arrays()


def test_from_the_index_to_features_of_two_grids_with_a_lag(server, tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    study = tmp_path / "tiny.toml"
    study.write_text(STUDY.format(index=f"{server.files}/aef_index.parquet"))
    monkeypatch.setenv("ENTROPICE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ENTROPICE_HOME", str(tmp_path / "home"))
    alphaearth(study=str(study), year=(2022,), dry_run=True)
    assert "embedding: 4 tiles of 2021, 40 m" in capsys.readouterr().out
    alphaearth(study=str(study), year=(2022,))
    assert "embedding 2021: 4 tiles: 0 were there, 4 fetched" in capsys.readouterr().out
    context = Context(load_study(study), Settings.from_environment(), lambda _: None)
    graph = build_graph(context.study)
    for key in context.study.study.grids:
        materialize(context, graph, graph["cells"], Partition(key))
        assert materialize(context, graph, graph["features.embedding"], Partition(key, 2022)).built
        assert not materialize(context, graph, graph["features.embedding"], Partition(key, 2022)).built
        made = context.open("features.embedding", Partition(key, 2022))
        assert (made.attrs["lag"], made.attrs["file_year"]) == (1, "2021")
    capsys.readouterr()
    for named in ("alphaearth", "embedding"):  # by kind, by name: entropice build features --source alphaearth ...
        app(["build", "features", "--source", named, "--year", "2022", "--grid", "h3-5", "--study", str(study)],
            result_action="return_value")  # fmt: skip
        assert "nothing to rebuild, 2 already current" in capsys.readouterr().out  # with the cells of the grid
    with pytest.raises(ConfigError, match="has no source 'alfaearth', nor one of that kind; did you mean 'alphaearth'"):
        build("features", source=("alfaearth",), study=str(study))
    with pytest.raises(ConfigError, match="Only features are made from one source"):
        build("labels", source=("alphaearth",), study=str(study))
    with pytest.raises(ConfigError, match="no source 'x' of the kind alphaearth; it has: embedding"):
        alphaearth(study=str(study), source=("x",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution_m": 300}, "is no level of the files"),
        ({"path": "{data}/tiles.json"}, "must hold {year}"),
        ({"index": "https://a.b/index"}, "a .parquet or .csv file"),
        ({"parts": ["mean", "mean"]}, "parts must differ"),
        ({"lag": -1}, "greater than or equal to 0"),
    ],
)
def test_tables_that_cannot_be_are_refused(change, message):
    table = {"kind": "alphaearth", "title": "t", "path": "{data}/{year}.json", **change}
    with pytest.raises(ValueError, match=message):
        AlphaEarthConfig(**table)


def test_the_generated_tiles_are_where_the_zones_meet():
    places = [tile.place() for tile in two_zones()]
    lon = np.concatenate([place.border()[0] for place in places])
    assert lon.min() < 83.95 < 84.05 < lon.max()
