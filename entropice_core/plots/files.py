"""Figures as PNG and SVG, tables as CSV: the same figure gives the same bytes."""

from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from entropice_core.errors import ConfigError

FORMATS = ("png", "svg", "pdf")
_NO_TIME = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def plain_text(text: str) -> str:
    r"""Take from text of data what Matplotlib would read as a formula.

    >>> print(plain_text("cost in $ of $1$"))
    cost in \$ of \$1\$
    """
    return text.replace("$", r"\$")


def figure_bytes(figure: Figure, kind: str = "png", dpi: int | None = None) -> bytes:
    """Render a figure as ``png``, ``svg`` or ``pdf``."""
    if kind not in FORMATS:
        raise ConfigError(f"A figure cannot be written as {kind!r}: name the file .png, .svg or .pdf.")
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    buffer = BytesIO()
    with rc_context({"svg.hashsalt": "entropice"}):  # names inside an SVG are random otherwise
        figure.savefig(buffer, format=kind, dpi=dpi or figure.dpi, metadata=_NO_TIME[kind])
    return buffer.getvalue()


def write_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format that the name of the file says."""
    content = figure_bytes(figure, path.suffix.removeprefix(".").lower())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def table_bytes(table: pd.DataFrame) -> bytes:
    """Write a table as CSV in UTF-8."""
    return table.to_csv(index=False, lineterminator="\n").encode()
