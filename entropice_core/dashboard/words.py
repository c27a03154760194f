"""Text on pages: of data it is escaped, never rendered; tables and commands of the first page are written here.

This module imports little, as the first page needs no more: what draws is in ``widgets``. A table of text is a real
table of the browser, which a screen reader reads; Streamlit's own table is a picture whose scripts take a second.
"""

import csv
import re
from collections.abc import Callable, Sequence
from io import StringIO

import streamlit as st


def plain(text: object) -> str:
    r"""Escape what Markdown would render: names and titles come from files that anybody may have written.

    >>> print(plain("a_b <b> [x](y)"))
    a\_b \<b\> \[x\]\(y\)
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~$:&-])", r"\\\1", str(text))


def readable(name: str) -> str:
    """Write the name of a variable as words."""
    return name.replace("_", " ")


def say(text: object) -> None:
    """Show a line of text of data, small."""
    st.caption(plain(text))


def explain_missing(sentence: str, command: str) -> None:
    """Say that something is not there, and how to make it."""
    st.info(plain(sentence))
    show_command(command)


def show_command(command: str) -> None:
    """Show a command to be copied."""
    st.code(command, language=None)


def as_code(text: str) -> str:
    """Mark text as code within a line of Markdown, whatever it holds.

    >>> as_code("entropice run"), as_code("a`b")
    ('` entropice run `', '`` a`b ``')
    """
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence} {' '.join(text.split())} {fence}"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown; its fields are Markdown already, so text of data must be escaped by ``plain``.

    >>> print(text_table(["a", "b"], [["1", ""]]))
    | a | b |
    | --- | --- |
    | 1 |  |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(" ".join(field.split()) for field in line) + " |" for line in lines)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """Write a table as CSV in UTF-8."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def save(label: str, make: Callable[[], bytes], name: str, mime: str) -> None:
    """Give a button that saves a file; it is made when the button is pressed."""
    st.download_button(
        label,
        make,
        name,
        mime,
        key=f"save {name} {label}",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
    )
