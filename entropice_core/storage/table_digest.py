"""Digest of a Parquet table by its content: columns, types and values, not row groups, codecs or the writer's name."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from entropice_core.errors import StoreError
from entropice_core.storage.digest import Hash, canonical_bytes
from entropice_core.storage.recipe import canonical_json


def parquet_digest(path: Path) -> str:
    """Digest of a table: column names in order, types, values, and the coordinate system of a GeoParquet file."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"The table {path} cannot be read as Parquet ({error}); write it again.") from error
    total = hashlib.sha256(b"entropice table 1\n")
    total.update(canonical_json({"geo": _geography(table.schema.metadata or {}), "rows": table.num_rows}).encode())
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        array = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        total.update(f"\n{name}\n".encode())
        _add_array(total, array)
    return total.hexdigest()


def _geography(metadata: dict[bytes, bytes]) -> Any:
    """What a GeoParquet header says about geometry, without who wrote it and without PROJ's long description."""
    columns = json.loads(metadata.get(b"geo", b"{}")).get("columns", {})
    wanted = {}
    for name, column in columns.items():
        crs = column.get("crs")
        identity = crs.get("id", crs.get("name")) if isinstance(crs, dict) else crs
        wanted[name] = {"encoding": column.get("encoding"), "crs": identity}
    return wanted


def _add_array(total: Hash, array: Any) -> None:
    """Add type, nulls and values of an Arrow array; values under a null never count."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _add_array(total, array.dictionary_decode())
    total.update(f"{_type_name(kind)} {len(array)}\n".encode())
    total.update(np.packbits(np.asarray(pc.is_null(array), dtype=bool)).tobytes())
    if pa.types.is_struct(kind):
        for field, child in zip(kind, array.flatten(), strict=True):
            total.update(f"{field.name}\n".encode())
            _add_array(total, child)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        total.update(_numbers(pc.list_value_length(array)))
        _add_array(total, pc.list_flatten(array))
    elif _is_text(kind) or _is_binary(kind):
        _add_bytes(total, array)
    elif not pa.types.is_null(kind):
        total.update(_numbers(array))
    return None


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _type_name(kind: Any) -> str:
    if _is_text(kind):
        return "text"
    if _is_binary(kind):
        return "bytes"
    if pa.types.is_nested(kind):
        return "struct" if pa.types.is_struct(kind) else "list"
    return str(kind)


def _add_bytes(total: Hash, array: Any) -> None:
    filled = pc.fill_null(array.cast(pa.large_binary()), b"")
    total.update(_numbers(pc.binary_length(filled)))
    total.update(b"".join(filled.to_pylist()))


def _numbers(array: Any) -> bytes:
    """The values of numbers, dates and truth values as bytes, zero under a null."""
    if pa.types.is_temporal(array.type):
        array = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.string()).cast(pa.large_binary())
        return b"\n".join(value or b"" for value in array.to_pylist())
    filled = pc.fill_null(array, pa.scalar(0).cast(array.type)) if array.null_count else array
    return canonical_bytes(np.asarray(filled.to_numpy(zero_copy_only=False))).tobytes()
