"""Finished chunks of a search in a folder, so that an interrupted search goes on where it stopped.

A chunk is named by a digest of everything it was computed from; a file is written beside its name and moved onto it,
so that a kill leaves either a whole chunk or none. A file that cannot be read is computed again.
What must not be here: computing.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from entropice_core.espa.fit import FitResult, Readout
from entropice_core.espa.held_out import Members
from entropice_core.espa.training import Jobs, Program

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
VERSION = "espa-search-3"
_FITS = ("W", "S", "Lambda", "live", "converged")
_JOBS = ("fold", "restart", "eps_c", "eps_w", "mi_prior")


@dataclass(frozen=True)
class Outcome:
    """A chunk of C configurations.

    Attributes
    ----------
    members : Members
    losses : (C, n_taus, n_alphas, F) float64
    n_iter : (C,) float64
        Mean number of sweeps.
    """

    members: Members
    losses: Floats
    n_iter: Floats

    def take(self, configuration: int) -> "Outcome":
        """One configuration as a chunk of its own."""
        members = self.members
        size = members.n_folds * members.n_average
        index = np.arange(configuration * size, (configuration + 1) * size)
        own = Members(
            members.jobs.take(index), members.result.take(index), members.readout.take(index), 1, members.n_folds
        )
        return Outcome(
            own, self.losses[configuration : configuration + 1], self.n_iter[configuration : configuration + 1]
        )


class SearchCache:
    """Chunks of one program (data, folds, settings, starts) in one folder."""

    def __init__(self, folder: Path, program: Program, tests: Sequence[Integers]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._program_digest = _digest_program(program, tests)

    def key(self, chunk: Sequence[Any], restarts: Integers, stage: str, plan: Any) -> str:
        """Digest of a chunk."""
        what = {
            "program": self._program_digest,
            "configurations": [asdict(configuration) for configuration in chunk],
            "restarts": restarts.tolist(),
            "stage": stage,
            "n_average": plan.n_average,
            "tau": plan.grid.tau,
            "alpha": plan.grid.alpha,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]

    def load(self, key: str) -> Outcome | None:
        """Read a chunk, or None when it was never finished or is damaged."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return _unpack(dict(stored))
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError):
            return None

    def save(self, key: str, outcome: Outcome) -> None:
        """Write a chunk whole or not at all."""
        path = self._path(key)
        staging = path.with_name(f"{path.name}.{uuid4().hex}.part")  # machines may share a folder
        with staging.open("wb") as stream:
            np.savez(stream, **_pack(outcome))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staging, path)

    def _path(self, key: str) -> Path:
        return self._folder / f"chunk-{key}.npz"


def _digest_program(program: Program, tests: Sequence[Integers]) -> str:
    digest = hashlib.sha256(VERSION.encode())
    settings = {name: repr(value) for name, value in asdict(program.settings).items()}
    digest.update(json.dumps([settings, program.backend.describe()], sort_keys=True).encode())
    data = program.data
    digest.update(repr((data.X.shape, str(data.X.dtype), data.classes.tolist())).encode())
    for start in range(0, len(data.X), 65_536):
        digest.update(np.ascontiguousarray(data.X[start : start + 65_536]).tobytes())
    for array in (data.codes, data.weights, *tests):
        digest.update(np.ascontiguousarray(array).tobytes())
    for fold in program.folds:
        digest.update(repr(fold.total).encode())
        for part in (fold.frequency, fold.W, fold.S, fold.live):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _pack(outcome: Outcome) -> dict[str, Any]:
    members = outcome.members
    packed: dict[str, Any] = {"losses": outcome.losses, "n_iter": outcome.n_iter}
    packed |= {f"fit_{name}": getattr(members.result, name) for name in _FITS}
    packed |= {"fit_losses": members.result.losses}
    packed |= {f"read_{field.name}": getattr(members.readout, field.name) for field in fields(Readout)}
    packed |= {f"job_{name}": getattr(members.jobs, name) for name in _JOBS}
    packed |= {"job_n_clusters": members.jobs.n_clusters, "job_alpha": members.jobs.alpha}
    packed |= {"shape": np.array([members.n_configurations, members.n_folds])}
    return {name: np.asarray(value) for name, value in packed.items()}


def _unpack(stored: dict[str, NDArray[Any]]) -> Outcome:
    curves = [np.array([loss]) for loss in stored["fit_losses"]]
    arrays = {name: stored[f"fit_{name}"] for name in _FITS}
    result = FitResult(curves=curves, **arrays)
    readout = Readout(**{field.name: stored[f"read_{field.name}"] for field in fields(Readout)})
    parts = [stored[f"job_{name}"] for name in _JOBS]
    jobs = Jobs(int(stored["job_n_clusters"]), float(stored["job_alpha"]), *parts)
    n_configurations, n_folds = (int(n) for n in stored["shape"])
    members = Members(jobs, result, readout, n_configurations, n_folds)
    return Outcome(members, stored["losses"], stored["n_iter"])
