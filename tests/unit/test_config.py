"""A study TOML: every mistake gets one sentence that says what to write instead."""

import re
from pathlib import Path

import pytest

from entropice_core.config import GRID_KEYS, Settings, load_study, preset_names
from entropice_core.errors import ConfigError

PRESET = Path(__file__).parents[2] / "entropice_core" / "presets" / "ne_siberia.toml"

MISTAKES = [
    ("quantile = 0.75", "quantle = 0.75", r"target\.quantle \(line \d+\) is not a known key; did you mean 'quantile'"),
    ("n_folds = 5", "n_folds = 1", r"folds\.n_folds \(line \d+\).*greater than or equal to 2 \(got 1\)"),
    ('"h3-4"', '"h3-9"', r"'h3-9' is not a grid; did you mean 'h3-"),
    ('along = "month"', 'alnog = "month"', r"bands\.0\.alnog .*did you mean 'along'"),
    ('model = "espa"', 'model = "esp"', r"models\.espa\.model: 'esp' is not known; did you mean 'espa'"),
    ('inventory = "runge2022"', 'inventory = "rung2022"', r"did you mean 'runge2022'"),
    ("first = 2018, last = 2019", "first = 2019, last = 2018", r"last \(2018\) lies before first \(2019\)"),
    ("valid_range = [0.0, 6000.0]", "valid_range = [6000.0, 0.0]", r"low < high"),
    ('name = "t2m_month_{index:02d}"', 'name = "t2m"', r"its name must hold \{index\}"),
    ('column_per_year = "Area_{year}_"', 'column_per_year = "Area"', r"must hold \{year\}"),
    ('year = { column = "image_date" }', "year = { }", r"name exactly one of column, file_name, column_per_year"),
    ('kind = "raster"', 'kind = "rastr"', r"'rastr' is not known; did you mean 'raster'"),
    ("schema_version = 1", "schema_version = 2", r"schema_version \(line \d+\)"),
    ("[study_area]", "[study_area", r"is not valid TOML"),
]


def write(folder: Path, before: str, after: str) -> Path:
    text = PRESET.read_text()
    assert before in text
    path = folder / "study.toml"
    path.write_text(text.replace(before, after))
    return path


@pytest.mark.parametrize(("before", "after", "sentence"), MISTAKES)
def test_a_mistake_in_the_toml_is_named_with_what_was_probably_meant(tmp_path, before, after, sentence):
    path = write(tmp_path, before, after)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_study(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_valid_study(name):
    study = load_study(name)
    assert study.study.name == name
    assert set(study.study.grids) <= set(GRID_KEYS)


@pytest.mark.parametrize(
    ("before", "after", "line_holds"),
    [
        ('title = "AgERA5', 'titel = "AgERA5', 'titel = "AgERA5'),  # a key that other tables have too
        ('doi = "10.7289/V5D798BF"', "doi = 7", "doi = 7"),
        ("valid_range = [0.0, 6000.0]", 'valid_range = "all"', 'valid_range = "all"'),  # the third list of bands
        (
            '{ name = "agera5_4", select = 4',
            "{ name = 4, select = 4",
            "{ name = 4, select = 4",
        ),
        ("last = 2019 }", 'last = "x" }', 'last = "x" }'),
    ],
)
def test_the_line_is_that_of_the_key_in_its_own_table(tmp_path, before, after, line_holds):
    path = write(tmp_path, before, after)
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    number = int(re.findall(r"\(line (\d+)\)", str(caught.value))[-1])
    assert line_holds in path.read_text().splitlines()[number - 1]


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ConfigError, match="did you mean 'ne_siberia'"):
        load_study("ne_sibera")


def test_a_toml_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none.toml"))):
        load_study(tmp_path / "none.toml")


def test_a_misspelt_variable_of_the_environment_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'ENTROPICE_DATA'"):
        Settings.from_environment({"ENTROPICE_DATAS": "/x"})


def test_real_data_without_a_folder_says_which_variable_to_set(tmp_path):
    settings = Settings.from_environment({"ENTROPICE_HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match="ENTROPICE_DATA is not set"):
        settings.data_root(load_study("ne_siberia"))


def test_a_data_folder_that_is_not_there_is_named(tmp_path):
    settings = Settings.from_environment({"ENTROPICE_HOME": str(tmp_path), "ENTROPICE_DATA": str(tmp_path / "no")})
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "no"))):
        settings.data_root(load_study("ne_siberia"))
