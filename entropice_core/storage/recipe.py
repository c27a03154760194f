"""How content came to be, as plain values with one digest.

A partition is up to date when a step would be run with the recipe that is already recorded: the same code version,
configuration, inputs (by content digest), source files (by checksum) and seed. Time, host and paths are no part of
a recipe, so the same study gives the same recipes on a laptop and on a cluster.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Self

import numpy as np

from entropice_core.errors import SchemaError
from entropice_core.storage.partition import Partition, check_dataset

type_error = "The value {value!r} at {where} is a {kind}; expected text, a number, a truth value, a list or a table."


def plain(value: Any, where: str = "the value") -> Any:
    """Turn a value into what JSON can hold, so that equal values are written equally.

    NumPy scalars and arrays become Python numbers and lists, tuples become lists, keys become text. Values that JSON
    cannot hold exactly (NaN, infinity, objects, paths) are refused: a silent ``str()`` would put memory addresses or
    folders of one machine into a digest.

    >>> plain({"levels": (3, 4), "share": np.float64(0.5)})
    {'levels': [3, 4], 'share': 0.5}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where)
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise SchemaError(type_error.format(value=value, where=where, kind=type(value).__name__))


def canonical_json(value: Any, where: str = "the value") -> str:
    """One text for one value: sorted keys, no spaces, no characters outside ASCII.

    >>> canonical_json({"b": 1, "a": [True, None]})
    '{"a":[true,null],"b":1}'
    """
    return json.dumps(plain(value, where), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def text_digest(text: str) -> str:
    """SHA-256 of a text, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, order=True)
class SourceFile:
    """One file of the data folder: name relative to it, size in bytes, SHA-256 of its bytes."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if not self.name or path.is_absolute() or ".." in path.parts or "\\" in self.name:
            raise SchemaError(
                f"The source file name {self.name!r} is not relative to the data folder; give it with forward "
                f"slashes, without a leading slash and without '..'."
            )


@dataclass(frozen=True)
class InputRef:
    """A published partition that a step read, named by its content digest."""

    dataset: str
    partition: Partition
    digest: str

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        if not isinstance(self.partition, Partition):
            raise SchemaError(f"The input {self.dataset!r} names the partition {self.partition!r}, not a Partition.")


@dataclass(frozen=True)
class Recipe:
    """What a step was run with.

    Attributes
    ----------
    step : name of the step, such as ``labels`` or ``features_era5``
    code_version : the ``VERSION`` of the source, model or step
    config : the resolved configuration that the step saw, JSON-able
    inputs : published partitions that were read
    sources : files of the data folder that were read
    seed : the random seed, or ``None`` where nothing is random

    >>> a = Recipe("labels", "1", {"min_latitude": 60}, seed=1)
    >>> a.digest == Recipe("labels", "1", {"min_latitude": 60}, seed=1).digest
    True
    >>> a.digest == Recipe("labels", "2", {"min_latitude": 60}, seed=1).digest
    False
    """

    step: str
    code_version: str
    config: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[InputRef, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        # sorted and plain, so that the order in which a step listed its files never makes a partition stale
        object.__setattr__(self, "config", plain(self.config, f"the configuration of step {self.step!r}"))
        object.__setattr__(
            self, "inputs", tuple(sorted(self.inputs, key=lambda ref: (ref.dataset, ref.partition.path)))
        )
        object.__setattr__(self, "sources", tuple(sorted(self.sources)))
        object.__setattr__(self, "code_version", str(self.code_version))

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the recipe."""
        return text_digest(canonical_json(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return {
            "step": self.step,
            "code_version": self.code_version,
            "config": self.config,
            "inputs": [{"dataset": r.dataset, "partition": r.partition.path, "digest": r.digest} for r in self.inputs],
            "sources": [{"name": s.name, "size": s.size, "sha256": s.sha256} for s in self.sources],
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The recipe from plain values, as written by :meth:`to_dict`."""
        return cls(
            step=values["step"],
            code_version=values["code_version"],
            config=values["config"],
            inputs=tuple(
                InputRef(r["dataset"], Partition.parse(r["partition"]), r["digest"]) for r in values["inputs"]
            ),
            sources=tuple(SourceFile(s["name"], s["size"], s["sha256"]) for s in values["sources"]),
            seed=values["seed"],
        )
