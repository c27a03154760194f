"""Pictures for papers from the command line: the functions of the dashboard, and sentences where something is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from entropice_core.cli.dashboard import streamlit_command
from entropice_core.dashboard.pictures import TRUST
from entropice_core.errors import ConfigError


def plot(place, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "entropice_core.cli", "plot", *words]
    return subprocess.run(command, env=place.environment, cwd=folder, capture_output=True, text=True, timeout=200)


def test_a_map_of_a_difference_is_written_as_svg(built, monkeypatch, tmp_path: Path) -> None:
    from entropice_core.cli import plot as commands

    for name, value in built.environment.items():
        monkeypatch.setenv(name, value)
    first, second = (("prediction.prevalence", f"h3-3/{year}") for year in (2019, 2018))
    commands.map_(*first, out=tmp_path / "p.svg", minus=second)
    picture = (tmp_path / "p.svg").read_bytes()
    assert picture.startswith(b"<?xml") and b"minus" in picture


@pytest.mark.parametrize("command", ["reliability", "importance", "coverage", "gain", "precision_recall"])
def test_each_picture_of_a_model_is_written_in_the_format_of_its_name(
    built, monkeypatch, tmp_path, command: str
) -> None:
    from entropice_core.cli import plot as commands

    for name, value in built.environment.items():
        monkeypatch.setenv(name, value)
    getattr(commands, command)("logistic_regression", out=tmp_path / "figures" / "x.pdf")
    assert (tmp_path / "figures" / "x.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("figure", sorted(TRUST))
def test_each_picture_of_trust_is_written_as_svg(built, monkeypatch, tmp_path, figure: str) -> None:
    from entropice_core.cli import plot as commands

    for name, value in built.environment.items():
        monkeypatch.setenv(name, value)
    commands.trust("logistic_regression", figure, out=tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")


def test_what_was_not_built_is_told_in_a_sentence_with_the_command_that_builds_it(built, tmp_path: Path) -> None:
    words = "map prediction.prevalence healpix-6/2019 --minus prediction.prevalence h3-3/2018 -o x.png"
    done = plot(built, tmp_path, *words.split(" "))
    assert done.returncode == 1 and "entropice build prediction" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_misspelt_model_or_measure_names_the_nearest(built, monkeypatch, tmp_path: Path) -> None:
    from entropice_core.cli import plot as commands

    for name, value in built.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="did you mean 'logistic_regression'"):
        commands.coverage("logistic_regresion", out=tmp_path / "x.png")
    with pytest.raises(ConfigError, match="did you mean 'features'"):
        commands.importance("logistic_regression", out=tmp_path / "x.png", measure="feature")


def test_the_dashboard_listens_to_this_machine_only_and_tells_nobody() -> None:
    command = streamlit_command(8501)
    assert "--server.address=127.0.0.1" in command and "--browser.gatherUsageStats=false" in command
    assert command[-1] == "--" and streamlit_command(8501, mlflow="http://m")[-1] == "mlflow=http://m"


def test_no_page_renders_data_as_html() -> None:
    folder = Path(__file__).parents[2] / "entropice_core" / "dashboard"
    for path in folder.rglob("*.py"):
        text = path.read_text()
        assert "unsafe_allow" not in text and "st.html" not in text and "components" not in text, path
