"""What a check sees and what it says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from entropice_core.config import Study
from entropice_core.pipeline.product import Product
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition

if TYPE_CHECKING:
    import xarray as xr

Severity = Literal["error", "warning"]
Values = NDArray[np.floating[Any]]

TOLERANCE = 1e-5
"""Relative slack for float32: a mean of equal values may come out one step above them."""


@dataclass(frozen=True)
class Subject:
    """A published partition as a check sees it: a dataset, or the folder of a bundle."""

    study: Study
    product: Product
    partition: Partition
    manifest: Manifest
    content: Any

    @property
    def dataset(self) -> "xr.Dataset":
        """The content of a Zarr partition."""
        found: xr.Dataset = self.content
        return found

    @property
    def folder(self) -> Path:
        """The folder of a bundle."""
        return Path(self.content)

    def values(self, name: str) -> Values:
        """One variable as an array."""
        return np.asarray(self.dataset[name].values)


@dataclass(frozen=True)
class Verdict:
    """Whether a check passed, in a sentence and numbers."""

    passed: bool
    sentence: str
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A property that partitions of one kind of dataset have."""

    name: str
    description: str
    severity: Severity
    judge: Callable[[Subject], Verdict]


@dataclass(frozen=True)
class Finding:
    """What a check found in one partition."""

    check: Check
    partition: Partition
    verdict: Verdict


def count_wrong(wrong: NDArray[np.bool_], what: str, good: str, numbers: Mapping[str, float] | None = None) -> Verdict:
    """Pass when nothing is wrong; otherwise say how many of how many."""
    n = int(np.count_nonzero(wrong))
    sentence = f"{n:,} of {wrong.size:,} {what}." if n else f"{good} ({wrong.size:,} looked at)."
    return Verdict(n == 0, sentence, {"looked_at": int(wrong.size), "wrong": n, **(numbers or {})})
