"""The exception tree, grouped by what a caller does about it.

::

    EntropiceError
    ├── ConfigError            change the study TOML or an ENTROPICE_* variable
    ├── SourceError            a source file or service is wrong; trying again does not help
    │   └── RetryableSourceError   trying again later may help
    ├── SchemaError            data do not have the promised shape, type or unit: a defect, not a bad file
    ├── GridError              cells of one grid were used with another, or a cell id is not valid
    ├── StoreError             the store is damaged, locked or full
    │   └── MissingPartitionError  the partition was never published: build it
    ├── ProvenanceError        versions that do not belong together were about to be mixed
    └── TrainingError          the data cannot train a model (one class, no label, too few blocks)

Every message is one sentence that says what, what was found, what was expected and what to do; it names the file,
dataset, cell or row.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class EntropiceError(Exception):
    """Base of all errors that Entropice raises on purpose."""


class ConfigError(EntropiceError):
    """The study TOML or an ENTROPICE_* variable must be changed."""


class SourceError(EntropiceError):
    """A source file or service is wrong; trying again does not help."""


class RetryableSourceError(SourceError):
    """A source did not answer as it should; trying again later may help."""


class SchemaError(EntropiceError):
    """Data do not have the promised dimensions, type, names or units."""


class GridError(EntropiceError):
    """Cells of one grid or level were used with another, or a cell id is not valid."""


class StoreError(EntropiceError):
    """The store is damaged, locked by another process, or full."""


class MissingPartitionError(StoreError):
    """The partition was never published."""


class ProvenanceError(EntropiceError):
    """Versions that do not belong together were about to be mixed."""


class TrainingError(EntropiceError):
    """The data cannot train or validate a model."""


def nearest_hint(got: str, known: Iterable[str]) -> str:
    """Say which of the known names was probably meant.

    >>> nearest_hint("helpix", ["h3", "healpix"])
    "did you mean 'healpix'? Known: h3, healpix"
    >>> nearest_hint("zzz", ["h3", "healpix"])
    'known: h3, healpix'
    """
    names = [str(name) for name in known]
    match = get_close_matches(str(got), names, n=1, cutoff=0.6)
    listing = ", ".join(names)
    return f"did you mean {match[0]!r}? Known: {listing}" if match else f"known: {listing}"
