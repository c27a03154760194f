"""Work that nobody used for long is swept; what was used, locks and everything else in the home stay."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from entropice_core.cli.store import gc
from entropice_core.config import Settings
from entropice_core.errors import ConfigError
from entropice_core.features.kept import KeptFiles
from entropice_core.pipeline.leftovers import sweep_work


def age(path: Path, days: float) -> Path:
    then = time.time() - days * 86400
    os.utime(path, (then, then))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with work of some age."""
    work = tmp_path / "work"
    kept = KeptFiles(work / "terrain" / "dem")
    for name in ("used", "unused"):
        age(kept.write(name, {}, {"x": np.arange(3)}), 100)
    assert kept.find("used") is not None
    (work / "climate" / "2019-abc").mkdir(parents=True)
    (work / "climate" / "2019-abc" / "maps.npy").write_bytes(b"1")
    age(work / "climate" / "2019-abc", 100)
    (work / "climate" / "2020-abc").mkdir()
    for name in ("climate/2019-abc.lock", "fingerprints.json"):
        (work / name).touch()
        age(work / name, 100)
    (tmp_path / "store").mkdir()
    return tmp_path


def test_only_what_nobody_used_goes(home: Path) -> None:
    settings = Settings(home=home, tracking_uri="")
    planned = sweep_work(settings, 90, dry_run=True)
    assert [path.name.split("-")[0] for path in planned] == ["2019", "unused"]
    assert all(path.exists() for path in planned)
    assert sweep_work(settings, 90) == planned
    assert sorted(path.name.split("-")[0] for path in (home / "work").rglob("*")) == [
        "2019", "2020", "climate", "dem", "fingerprints.json", "terrain", "used",
    ]  # fmt: skip
    assert sweep_work(settings, 90) == []


def test_the_command_says_what_goes(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENTROPICE_HOME", str(home))
    gc("demo", work_days=200)
    assert "0 removed" in capsys.readouterr().out
    gc("demo")
    said = capsys.readouterr().out
    assert "2 removed" in said and said.count("work that was not used for 90 days") == 2
    with pytest.raises(ConfigError, match="--work-days is 0"):
        gc("demo", work_days=0)
