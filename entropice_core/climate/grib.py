"""What can be said of a GRIB file without decoding it: how many messages it has, and whether it is cut short."""

from pathlib import Path
from typing import BinaryIO

_END = b"7777"
_BLOCK = 128


def describe_grib(path: Path) -> str:
    """Say in words what a file that begins with ``GRIB`` is.

    Each message states its length in its first octets (WMO FM 92: octets 5-7 in edition 1, 9-16 in edition 2) and
    ends with ``7777``; zeros between messages are padding.
    """
    size, start, messages = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while start < size:
            file.seek(start)
            head = file.read(_BLOCK)
            padding = len(head) - len(head.lstrip(b"\0"))
            if padding:
                start += padding
                continue
            length = _length(head)
            if length is None or start + length > size or not _ends(file, start + length):
                return f"a GRIB file, cut short or damaged after {messages} whole messages (byte {start} of {size})"
            start, messages = start + length, messages + 1
    return f"a GRIB file of {messages} messages"


def _length(head: bytes) -> int | None:
    if len(head) < 16 or not head.startswith(b"GRIB"):
        return None
    return int.from_bytes(head[4:7], "big") if head[7] == 1 else int.from_bytes(head[8:16], "big")


def _ends(file: BinaryIO, end: int) -> bool:
    file.seek(end - len(_END))
    return bool(file.read(len(_END)) == _END)
