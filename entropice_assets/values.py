"""Values as Dagster metadata, plain Python only.

Dagster fails on a NumPy number while it stores the event, after all the work is done; so every value goes through here.
"""

from typing import Any

import dagster as dg

from entropice_core.describe import Row


def to_metadata(value: Any) -> dg.MetadataValue[Any]:
    """Turn one value into metadata; NumPy scalars become Python numbers, anything unusual its text."""
    plain: Any = to_plain(value)
    makers: dict[type, Any] = {bool: dg.MetadataValue.bool, int: dg.MetadataValue.int, float: dg.MetadataValue.float}
    made: dg.MetadataValue[Any] = makers.get(type(plain), dg.MetadataValue.text)(plain)
    return made


def to_plain(value: Any) -> str | int | float | bool:
    """Reduce a value to text, a Python number or a truth value.

    >>> to_plain(3), to_plain((1, 2))
    (3, '(1, 2)')
    """
    unwrapped = value.item() if hasattr(value, "item") else value
    return unwrapped if isinstance(unwrapped, str | bool | int | float) else str(unwrapped)


def to_table(rows: list[Row]) -> dg.MetadataValue[Any]:
    """Show rows as a table; columns in the order of the first row."""
    names = list(rows[0])
    kinds = {name: "string" if any(isinstance(row[name], str) for row in rows) else "number" for name in names}
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kinds[name]) for name in names])
    records = [dg.TableRecord({name: _cell(row[name], kinds[name]) for name in names}) for row in rows]
    return dg.MetadataValue.table(records=records, schema=schema)


def _cell(value: Any, kind: str) -> str | int | float | bool:
    plain = to_plain(value)
    return f"{plain:,}" if kind == "string" and isinstance(plain, int | float) else plain
