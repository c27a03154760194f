"""What data are there, from when, and what to do next."""

from collections import Counter

import streamlit as st

from entropice_core.dashboard import overview
from entropice_core.dashboard.library import Library
from entropice_core.dashboard.overview import Entry
from entropice_core.dashboard.words import as_code, csv_text, plain, save, say, text_table

TINTS = {
    overview.PUBLISHED: "green",
    overview.PROVISIONAL: "blue",
    overview.STALE: "orange",
    overview.MISSING: "gray",
    overview.DAMAGED: "red",
}
MOST_REASONS = 100
NO_BREAK, GLUE = "\u00a0", "\u2060"
"""A space at which a line is not broken, and nothing at which it is not broken."""


def show(library: Library) -> None:
    """Show what to do next, the matrix of dataset, grid and year, sizes and the last publications."""
    study = library.study.study
    if study.description:
        say(study.description)
    found = overview.entries(library)
    counts = Counter(entry.state for entry in found)
    size = sum(entry.size for entry in found)
    st.markdown(" ".join(_chip(state, f"{counts[state]:,} {state}") for state in TINTS) + f" of {megabytes(size)} MB")
    st.subheader("What to do next")
    for advice in overview.next_steps(library, found):
        st.markdown(f"{plain(advice.sentence)}  \n{as_code(advice.command)}")
    st.subheader("Datasets, grids, years")
    st.markdown(_matrix(found))
    save("CSV", lambda: csv_text(overview.LISTED, overview.listed(found)), f"{study.name}_partitions.csv", "text/csv")
    st.subheader("Published last")
    st.markdown(_latest(found))
    _reasons(found)


def megabytes(size: int) -> str:
    """Write a size in MB, with a digit where it is small.

    >>> megabytes(20_000_000), megabytes(150_000), megabytes(0)
    ('20', '0.15', '0')
    """
    return f"{size / 1e6:,.0f}" if size >= 1e7 or not size else f"{size / 1e6:.2g}"


def _chip(state: str, words: str) -> str:
    whole = f"{overview.SIGNS[state]} {plain(words)}".replace(" ", NO_BREAK).replace("–", f"{GLUE}–{GLUE}")
    return f":{TINTS[state]}-background[{whole}]"


def _matrix(found: list[Entry]) -> str:
    grids, rows = overview.matrix(found)
    fields = [
        [
            plain(row.dataset),
            *(" ".join(_chip(state, _words(state, years)) for state, years in row.fields[grid]) for grid in grids),
            megabytes(row.size) if row.size else "",
        ]
        for row in rows
    ]
    return text_table(["dataset", *map(plain, grids), "MB"], fields)


def _words(state: str, years: str) -> str:
    return years if state == overview.PUBLISHED else f"{state} {years}"


def _minute(created: str) -> str:
    return created[:16].replace("T", " ")


def _latest(found: list[Entry]) -> str:
    rows = [
        [plain(_minute(e.created)), plain(e.dataset), plain(e.partition), megabytes(e.size), as_code(e.digest[:12])]
        for e in overview.latest(found)
    ]
    return text_table(["UTC", "dataset", "partition", "MB", "digest"], rows) if rows else "Nothing was published yet."


def _reasons(found: list[Entry]) -> None:
    reasons = [[plain(e.dataset), plain(e.partition), e.state, plain(e.reason)] for e in found if e.reason]
    if not reasons:
        return
    with st.expander(f"Why {len(reasons)} partitions are stale or damaged"):
        st.markdown(text_table(["dataset", "partition", "state", "why"], reasons[:MOST_REASONS]))
        if len(reasons) > MOST_REASONS:
            st.caption(f"The first {MOST_REASONS} of {len(reasons):,}; all are in the CSV.")
