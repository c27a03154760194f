"""What a training costs is counted, also what it let others do."""

import subprocess
import sys

from entropice_core.training.cost import Clock


def test_processor_time_of_processes_that_were_started_counts():
    clock = Clock.start()
    busy = "import time\nwhile time.process_time() < 0.6: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    told = clock.stop("cpu")
    assert told["cpu_seconds"] >= 0.5  # the system counts in hundredths
    assert told["seconds"] > 0 and told["device"] == "cpu" and told["packages"]["numpy"]
