"""The Slurm scripts, with an ``sbatch`` that notes its calls, and tasks run in any order, killed and started again."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.assets.conftest import make_tiny
from tests.cluster.conftest import wait_for
from tests.cluster.slurm_site import ask, missing, slurm
from tests.cluster.stack import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(300)]

SBATCH = """#!{python}
# A stand-in for sbatch on one machine: notes how it was called, and answers with a number as --parsable does.
import json, pathlib, sys
log = pathlib.Path({log!r})
calls = json.loads(log.read_text()) if log.exists() else []
calls.append(sys.argv[1:])
log.write_text(json.dumps(calls))
print(1000 + len(calls))
"""
FEW = "inventory labels features"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a user of the cluster, with the stand-in first on the path."""
    tiny = make_tiny(tmp_path, tmp_path / "data")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, log=str(tmp_path / "calls.json")))
    (programs / "entropice").write_text(f'#!/bin/sh\nexec {sys.executable} -m entropice_core.cli "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ENTROPICE_", "SLURM_"))}
    own = {"ENTROPICE_STUDY": tiny.toml, "ENTROPICE_HOME": tmp_path / "home", "ENTROPICE_DATA": tiny.data}
    return {
        **kept,
        **{k: str(v) for k, v in own.items()},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }


def stage(environment: dict[str, str], count: int, datasets: str, task: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [str(ROOT / "deployment/slurm/stage.sh"), str(count), datasets],
        env={**environment, "SLURM_ARRAY_TASK_ID": str(task)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def digests(home: Path) -> dict[str, str]:
    store = home / "store" / "tiny"
    return {
        str(p.parent.relative_to(store)): json.loads(p.read_text())["digest"] for p in store.glob("*/*/*/current.json")
    }


def test_each_stage_waits_for_the_one_before_it_and_gets_an_array(environment: dict[str, str], tmp_path: Path) -> None:
    more = {"JOBS": "5", "GPU_OPTIONS": "--gres=gpu:1", "SBATCH_OPTIONS": "--partition=normal"}
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [str(ROOT / "deployment/slurm/study.sh")],
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    calls = json.loads((tmp_path / "calls.json").read_text())
    names = [next(word for word in call if word.startswith("--job-name")).split("-")[-1] for call in calls]
    assert names == ["prepare", "columns", "tables", "models", "maps", "rest"]
    waits = [[word for word in call if word.startswith("--dependency")] for call in calls]
    assert waits == [[]] + [[f"--dependency=afterok:{1000 + n}"] for n in range(1, 6)]
    assert ["--gres=gpu:1" in call for call in calls] == [False, False, False, True, False, False]
    assert all("--partition=normal" in call for call in calls)
    assert "--array=0-4" in calls[1]
    assert calls[1][-2:] == ["5", "labels features"]


def test_tasks_in_any_order_one_killed_publish_what_one_process_does(
    environment: dict[str, str], tmp_path: Path
) -> None:
    tasks = [0, 1, 2]
    random.Random(4).shuffle(tasks)
    killed = stage(environment, 3, FEW, tasks[0])
    with pytest.raises(subprocess.TimeoutExpired):
        killed.wait(4)
    os.killpg(killed.pid, 9)
    killed.wait()
    running = [stage(environment, 3, FEW, task) for task in [*tasks[1:], tasks[0]]]
    for process in running:
        _, problem = process.communicate(timeout=200)
        assert process.returncode == 0, problem.decode()
    alone = {**environment, "ENTROPICE_HOME": str(tmp_path / "alone")}
    assert stage(alone, 1, FEW, 0).wait(200) == 0
    assert digests(tmp_path / "home") == digests(tmp_path / "alone")
    assert "labels.squares/h3-3/2019" in digests(tmp_path / "home")


@pytest.mark.skipif(bool(missing()), reason="no Slurm here: apt-get install slurmctld slurmd slurm-client munge")
@pytest.mark.timeout(900)
def test_a_real_slurm_builds_the_whole_study_with_a_task_requeued_on_the_way(
    environment: dict[str, str], tmp_path: Path
) -> None:
    home, programs = tmp_path / "home", environment["PATH"].split(os.pathsep)[0]
    home.mkdir()
    (Path(programs) / "sbatch").unlink()  # the stand-in
    with slurm(tmp_path / "slurm", cpus=4) as given:
        asked = {**environment, "SLURM_CONF": given["SLURM_CONF"], "JOBS": "3"}
        script = str(ROOT / "deployment/slurm/study.sh")
        done = subprocess.run([script], env=asked, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        jobs = re.findall(r"(\w+): job (\d+), (\d+) tasks", done.stdout)
        assert [(name, count) for name, _, count in jobs] == [
            ("prepare", "1"), ("columns", "3"), ("tables", "4"), ("models", "4"), ("maps", "3"), ("rest", "1"),
        ]  # fmt: skip
        columns = jobs[1][1]
        wait_for(lambda: "RUNNING" in ask(given, "squeue", "-h", "-j", columns, "-t", "R", "-o", "%T"), 300, "it runs")
        time.sleep(6)  # in the middle of its work
        task = ask(given, "squeue", "-h", "-r", "-j", columns, "-t", "R", "-o", "%i").split()[0]
        ask(given, "scontrol", "requeue", task)
        ask(given, "scontrol", "update", f"jobid={task}", "starttime=now")
        wait_for(lambda: ask(given, "squeue", "-h") == "", 700, "all jobs end")
        assert f"Requeuing JobId={task}" in (tmp_path / "slurm" / "slurmctld.log").read_text()
        logs = {path.name: path.read_text() for path in home.glob("slurm-*.log")}
        assert len(logs) == 16
    alone = {**environment, "ENTROPICE_HOME": str(tmp_path / "alone")}
    assert stage(alone, 1, "", 0).wait(300) == 0
    assert digests(home) == digests(tmp_path / "alone"), logs
    assert "prediction.logistic_regression/h3-3/2019" in digests(home)
