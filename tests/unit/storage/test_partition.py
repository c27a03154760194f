import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropice_core.errors import ConfigError
from entropice_core.storage.layout import Layout
from entropice_core.storage.partition import GRID_KEYS, Partition, check_dataset


def test_there_are_nine_grids() -> None:
    h3, healpix = GRID_KEYS[:4], GRID_KEYS[4:]
    assert h3 == ("h3-3", "h3-4", "h3-5", "h3-6")
    assert healpix == ("healpix-6", "healpix-7", "healpix-8", "healpix-9", "healpix-10")


@pytest.mark.parametrize(
    ("partition", "path", "key"),
    [
        (Partition("h3-4", 2018), "h3-4/2018", "h3-4_2018"),
        (Partition("healpix-10"), "healpix-10/all", "healpix-10_all"),
        (Partition(year=1999), "all/1999", "all_1999"),
        (Partition(), "all/all", "all_all"),
    ],
)
def test_a_partition_is_read_back_from_its_path_and_its_key(partition: Partition, path: str, key: str) -> None:
    assert (partition.path, partition.key) == (path, key)
    assert Partition.parse(path) == partition == Partition.parse(key)


@pytest.mark.parametrize("grid", ["h3-7", "h3", "../h3-4", "h3-4/..", "", "healpix-08", "H3-4"])
def test_an_unknown_grid_is_refused_with_the_known_ones(grid: str) -> None:
    with pytest.raises(ConfigError, match="healpix-10"):
        Partition(grid, 2018)


@pytest.mark.parametrize("year", ["2018", 18, True, 2018.0, -2018, 20180])
def test_a_year_that_is_no_whole_number_of_four_digits_is_refused(year: object) -> None:
    with pytest.raises(ConfigError, match="four digits"):
        Partition("h3-4", year)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a..b", ".hidden", "", "Labels", "a b", "a\x00", "a\n", "x" * 101, "a~b"]
)
def test_a_dataset_name_that_could_leave_the_store_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="not allowed"):
        check_dataset(name)


@pytest.mark.parametrize("name", ["labels", "features.era5", "model.random_forest", "a-b", "0", "a__b"])
def test_a_plain_dataset_name_is_taken(name: str) -> None:
    assert check_dataset(name) == name


@given(dataset=st.text(), text=st.text() | st.from_regex(r"[a-z0-9./-]{1,12}[/_][a-z0-9.]{1,6}"))
def test_no_text_leads_out_of_the_store(tmp_path_factory: pytest.TempPathFactory, dataset: str, text: str) -> None:
    layout = Layout(tmp_path_factory.getbasetemp() / "root")
    try:
        partition = Partition.parse(text)
        folder = layout.folder(dataset, partition)
    except ConfigError:
        return
    assert folder.resolve().relative_to(layout.root.resolve()).parts == (dataset, *partition.path.split("/"))


def test_partitions_sort_by_grid_level_and_year() -> None:
    partitions = [Partition("healpix-10"), Partition("h3-4", 2019), Partition("healpix-6"), Partition("h3-4", 2018)]
    keys = [p.key for p in sorted(partitions, key=lambda p: p.sort_key)]
    assert keys == ["h3-4_2018", "h3-4_2019", "healpix-6_all", "healpix-10_all"]
