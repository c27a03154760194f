"""``entropice fetch darts`` as a process of its own, against a local data centre."""

import os
import subprocess
import sys
from pathlib import Path

from entropice_core.fetch.darts import DOI
from tests.servers.dataone import DataOneServer


def entropice(*words: str, data: Path | None = None, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ENTROPICE_")} | {"COLUMNS": "200"}
    env |= {"ENTROPICE_DATA": str(data)} if data else {}
    env |= {"ENTROPICE_HOME": str(home)} if home else {}
    return subprocess.run(
        [sys.executable, "-m", "entropice_core.cli", *words], capture_output=True, text=True, env=env, check=False
    )


def test_darts_is_listed_and_fetched_into_the_data_folder(tmp_path: Path) -> None:
    files = {"DARTS_v1_features_level2.parquet": b"x" * 2000, "DARTS_v1_coverage_level2.parquet": b"y" * 1000}
    with DataOneServer() as server:
        server.publish(DOI, {**files, "readme.txt": b"z"}, "DARTS of the tests")
        listed = entropice("fetch", "darts", "--node", server.url, "--dry-run")
        fetched = entropice("fetch", "darts", "--node", server.url, data=tmp_path)
        homeless = entropice("fetch", "darts", "--node", server.url)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.lstrip().startswith(f"DARTS of the tests (doi:{DOI})")
    assert listed.stdout.count("take DARTS_v1_") == 2 and "     readme.txt" in listed.stdout
    assert "2 files fetched (0.0 MB), 0 already there" in fetched.stdout, fetched.stderr
    assert (tmp_path / "darts" / "DARTS_v1_features_level2.parquet").read_bytes() == b"x" * 2000
    assert homeless.returncode == 1 and "ENTROPICE_DATA is not set" in homeless.stderr
