"""A tiny study on the generated Arctic, run through the command line as a user would."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

TINY = {
    'name = "demo"': 'name = "tiny"',
    'grids = ["h3-3", "healpix-6"]': 'grids = ["h3-3"]',
    "years = { first = 2021, last = 2023 }": "years = { first = 2022, last = 2023 }",
    "# bounds = [170.0, 60.0, -160.0, 75.0]": "bounds = [100.0, 60.0, -140.0, 80.0]",
    "n_folds = 5": "n_folds = 3",
    "inner_folds = 3": "inner_folds = 2",
    "n_init = 8, n_average = 8, n_clusters = 40": "n_init = 4, n_average = 4, n_clusters = 10",
}


def tiny_toml(path: Path, changes: dict[str, str] | None = None) -> Path:
    """Write the tiny study, with changes; a text that is not there any more fails here and not in silence."""
    text = (resources.files("entropice_core.presets") / "demo.toml").read_text()
    start = text.index("[models.random_forest]")  # the demo itself has it; runs are quicker without
    text = text[:start] + text[text.index("[models.espa]", start) :]
    for before, after in {**TINY, **(changes or {})}.items():
        assert before in text, f"the demo preset no longer has {before!r}"
        text = text.replace(before, after, 1)
    path.write_text(text + "\n[training]\nimportance_repeats = 1\n[proxies]\nseeds = 1\nrows = 50\n")
    return path


@dataclass
class Workplace:
    """One user's folder: a study, a home, data."""

    folder: Path
    data: Path
    study: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environment(self, **more: str) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ENTROPICE_")}
        own = {"ENTROPICE_HOME": str(self.home), "ENTROPICE_DATA": str(self.data), "OMP_NUM_THREADS": "1"}
        return {**clean, **own, "COLUMNS": "180", **more}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "entropice_core.cli", *words]

    def entropice(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=self.environment(**more), cwd=self.folder, capture_output=True, text=True,
            timeout=280,
        )  # fmt: skip

    def run(self, *words: str) -> str:
        done = self.entropice("run", "-s", str(self.study), *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def digests(self) -> dict[str, str]:
        root = self.home / "store" / "tiny"
        return {
            str(path.parent.relative_to(root)): json.loads(path.read_text())["digest"]
            for path in sorted(root.glob("*/*/*/current.json"))
        }


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory) -> Path:
    """The files of the generated Arctic."""
    from entropice_core.demo import write_demo

    return write_demo(tmp_path_factory.mktemp("data") / "demo")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, demo_data) -> tuple[Workplace, str]:
    """A tiny study that ran undisturbed from nothing, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    place = Workplace(folder, demo_data, tiny_toml(folder / "tiny.toml"))
    return place, place.run()


@pytest.fixture
def workplace(tmp_path, demo_data) -> Workplace:
    """A fresh folder with the tiny study and nothing built."""
    return Workplace(tmp_path, demo_data, tiny_toml(tmp_path / "tiny.toml"))
