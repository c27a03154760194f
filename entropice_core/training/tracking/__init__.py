"""Record training runs in MLflow. The only package that talks to MLflow.

The store is the truth; MLflow is where people compare. So a run is recorded after its model was published, a tracking
server that is down never costs a result, and what could not be recorded is recorded by the next run: a small receipt
beside the store says which model version is already in which tracking server.

Runs are nested: a study, in it a run for each model and grid, in it a run for each candidate of the search. The model
registry holds no pickle: a version points at the artifacts of a run, which are our arrays and JSON, and
``load_champion`` reads them with our own loader and its digests.
"""

from entropice_core.training.tracking.champion import crown, load_champion
from entropice_core.training.tracking.record import record_map, record_once
from entropice_core.training.tracking.runs import Receipt, SeenRun, TrackedInput, TrackedRun, read_receipt, receipt_path
from entropice_core.training.tracking.seen import list_runs
from entropice_core.training.tracking.server import open_client

__all__ = [
    "Receipt",
    "SeenRun",
    "TrackedInput",
    "TrackedRun",
    "crown",
    "list_runs",
    "load_champion",
    "open_client",
    "read_receipt",
    "receipt_path",
    "record_map",
    "record_once",
]
