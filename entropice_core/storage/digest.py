"""Content digests: the same content has the same digest, whatever wrote it and however it is chunked.

A digest over stored bytes would change with every release of a compressor and make the whole store look stale. These
digests are *logical*: names, dimensions, types, values and attributes of a dataset; columns of a table; arrays of an
``.npz``. Files of any other kind count by their bytes. Checksums of stored bytes, which ``verify`` needs, are a
different thing (:func:`file_sha256`).
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError, StoreError
from entropice_core.storage.recipe import canonical_json

if TYPE_CHECKING:
    import xarray as xr

BLOCK_BYTES = 64 * 2**20
"""Values are hashed in blocks of about this size, so that a digest never needs the whole array in memory."""

PICTURES = (".png", ".svg")
"""Pictures carry dates and fonts of the machine that drew them; they are checked by checksum, never by content."""


class Hash(Protocol):
    """What this module needs of a hash."""

    def update(self, data: Any, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """The digest so far."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def dataset_digest(dataset: "xr.Dataset") -> str:
    """Digest of a dataset's content: dimensions, coordinates, variables, values and attributes.

    Independent of chunks, compressors, byte order, the payload of NaNs, the order in which variables were added and of
    whether values are in memory. Arrays are read in blocks along their first dimension.

    >>> import xarray as xr
    >>> a = xr.Dataset({"density": ("cell", np.array([0.0, np.nan], dtype="<f4"))})
    >>> b = xr.Dataset({"density": ("cell", np.array([0.0, -np.nan], dtype=">f4"))})
    >>> dataset_digest(a) == dataset_digest(b)
    True
    """
    total = hashlib.sha256(b"entropice dataset 1\n")
    _add_text(total, canonical_json(dict(dataset.attrs), "the attributes of the dataset"))
    for name in sorted(map(str, dataset.variables)):
        _add_variable(total, name, dataset)
    return total.hexdigest()


def _add_variable(total: Hash, name: str, dataset: "xr.Dataset") -> None:
    variable = dataset.variables[name]
    head = {
        "name": name,
        "coordinate": name in dataset.coords,
        "dims": [str(dim) for dim in variable.dims],
        "shape": list(variable.shape),
        "dtype": logical_dtype(variable.dtype, name),
        "attrs": dict(variable.attrs),
    }
    _add_text(total, canonical_json(head, f"the attributes of {name!r}"))
    for block in blocks(variable):
        _add_values(total, block, name)


def blocks(variable: "xr.Variable") -> Iterator[npt.NDArray[Any]]:
    """Yield the values of a variable in order, in blocks of whole rows of about ``BLOCK_BYTES``.

    Rows come in multiples of the stored chunks where these are known, so that no chunk is decoded twice.
    """
    if not variable.shape or not isinstance(variable.dtype, np.dtype):  # text of pandas cannot be cut
        yield np.asarray(variable.values)
        return
    row_bytes = max(1, int(np.prod(variable.shape[1:], dtype=np.int64)) * variable.dtype.itemsize)
    step = max(1, BLOCK_BYTES // row_bytes)
    chunk = (variable.encoding.get("chunks") or (1,))[0]
    step = max(chunk, step // chunk * chunk)
    for start in range(0, variable.shape[0], step):
        yield np.asarray(variable[start : start + step].values)


def logical_dtype(dtype: Any, name: str) -> str:
    """Type name without byte order; every kind of text is ``str``.

    >>> logical_dtype(np.dtype(">f4"), "x"), logical_dtype(np.dtype("<U3"), "x")
    ('float32', 'str')
    """
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return str(dtype.newbyteorder("=").name)
    if isinstance(dtype, np.dtype) and dtype.kind == "M":
        return "datetime64"
    if getattr(dtype, "kind", "") in "UOT" or str(dtype).startswith(("str", "String")):
        return "str"
    raise SchemaError(
        f"The variable {name!r} has the type {dtype}; the store takes float, int, bool, datetime64 and text "
        f"(write durations as numbers with a unit)."
    )


def _add_values(total: Hash, values: npt.NDArray[Any], name: str) -> None:
    kind = logical_dtype(values.dtype, name)
    if kind == "str":
        return _add_strings(total, values, name)
    if kind == "datetime64":
        values = values.astype("datetime64[ns]").view("int64")
    total.update(canonical_bytes(values).reshape(-1).view(np.uint8).data)
    return None


def canonical_bytes(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values in C order and little endian, every NaN the same NaN."""
    array = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if array.dtype.kind == "f":
        unknown = np.isnan(array)
        if unknown.any():
            array = np.where(unknown, np.array(np.nan, dtype=array.dtype), array)
    return array


def _add_strings(total: Hash, values: npt.NDArray[Any], name: str) -> None:
    for item in values.ravel().tolist():
        if not isinstance(item, str):
            raise SchemaError(f"The variable {name!r} holds {item!r} among text; every value must be text.")
        _add_text(total, item)


def _add_text(total: Hash, text: str) -> None:
    # the length first, so that ("ab", "c") and ("a", "bc") differ
    data = text.encode("utf-8", "surrogatepass")
    total.update(len(data).to_bytes(8, "little") + data)


def bundle_digest(folder: Path, names: list[str], volatile: tuple[str, ...] = ()) -> str:
    """Digest of a folder of files: (relative path, logical digest) of each file that counts.

    Parameters
    ----------
    folder : the folder
    names : relative paths of its files, with forward slashes
    volatile : names or relative paths of files that do not count, such as a log; pictures never count
    """
    total = hashlib.sha256(b"entropice bundle 1\n")
    for name in sorted(names):
        if counts_for_digest(name, volatile):
            _add_text(total, name)
            _add_text(total, logical_file_digest(folder / name))
    return total.hexdigest()


def edition(folder: Path, names: list[str], volatile: tuple[str, ...] = ()) -> str:
    """Six characters for the bytes of the files that do not count, empty where there are none.

    Equal content drawn anew keeps its digest, so nothing downstream becomes stale, but it gets a folder of its own.
    """
    rest = [f"{file_sha256(folder / name)} {name}" for name in sorted(names) if not counts_for_digest(name, volatile)]
    return hashlib.sha256("\n".join(rest).encode()).hexdigest()[:6] if rest else ""


def counts_for_digest(name: str, volatile: tuple[str, ...]) -> bool:
    """Whether a file of a bundle is content, not decoration.

    >>> counts_for_digest("model/arrays.npz", ()), counts_for_digest("map.png", ())
    (True, False)
    """
    return not name.lower().endswith(PICTURES) and name not in volatile and name.rsplit("/", 1)[-1] not in volatile


def logical_file_digest(path: Path) -> str:
    """Digest of one file of a bundle: tables and array archives by content, everything else by bytes."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from entropice_core.storage.table_digest import parquet_digest

        return parquet_digest(path)
    return _npz_digest(path) if suffix == ".npz" else file_sha256(path)


def _npz_digest(path: Path) -> str:
    total = hashlib.sha256(b"entropice arrays 1\n")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            for name in sorted(archive.files):
                array = archive[name]
                head = {"name": name, "shape": list(array.shape), "dtype": logical_dtype(array.dtype, name)}
                _add_text(total, canonical_json(head))
                _add_values(total, array, name)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"The array file {path} cannot be read ({error}); write it with numpy.savez.") from error
    return total.hexdigest()
