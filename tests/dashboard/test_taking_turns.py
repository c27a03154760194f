"""Threads that import for the first time take turns: without, half of a package can stay in memory, for every page."""

import subprocess
import sys
from pathlib import Path

TWO_THREADS = """
import importlib, sys, threading, time
from contextlib import nullcontext
from entropice_core.dashboard import warm

warm.LATER, warm.LATER_PAGES = ("is_not_installed.inside", "slow"), ()
failed = []

def page():
    time.sleep(0.3)
    with warm.taking_turns("a page") if "turns" in sys.argv else nullcontext():  # without: KeyError
        try:
            importlib.import_module("slow.inside")
        except Exception as error:
            failed.append(error)

thread = threading.Thread(target=page)
thread.start()
try:
    warm._warm()
except Exception as error:
    failed.append(error)
thread.join()
sys.exit(repr(failed) if failed or not warm._ready.is_set() else 0)
"""


def test_a_page_and_the_warming_thread_import_one_package_at_the_same_time(tmp_path: Path) -> None:
    package = tmp_path / "slow"
    package.mkdir()
    (package / "__init__.py").write_text("import time\ntime.sleep(1)\ny = 1\nimport slow.inside\nz = slow.inside.x\n")
    (package / "inside.py").write_text("from slow import y\nx = y\n")
    command = [sys.executable, "-c", TWO_THREADS, "turns"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
