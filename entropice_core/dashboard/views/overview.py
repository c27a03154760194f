"""What data are there, from when, and what to do next."""

from collections import Counter

import pandas as pd
import streamlit as st

from entropice_core.dashboard import overview
from entropice_core.dashboard.library import Library
from entropice_core.dashboard.widgets import plain, say, show_table

TINTS = {
    overview.PUBLISHED: "#d6e9d8",
    overview.PROVISIONAL: "#d7e6f5",
    overview.STALE: "#fbe5b6",
    overview.MISSING: "#f3f3f3",
    overview.DAMAGED: "#f3c6c6",
}


def show(library: Library) -> None:
    """Show the matrix of dataset, grid and year, sizes, the last publications and what to do next."""
    study = library.study.study
    if study.description:
        say(study.description)
    grids = st.multiselect("Grids", list(study.grids), default=list(study.grids), key="overview grids")
    found = overview.entries(library, grids or study.grids)
    counts = Counter(entry.state for entry in found)
    places = st.columns(len(overview.SIGNS) + 1)
    for place, (state, sign) in zip(places, overview.SIGNS.items(), strict=False):
        place.metric(f"{sign} {state}", f"{counts[state]:,}")
    places[-1].metric("size", f"{sum(entry.size for entry in found) / 1e6:,.1f} MB")
    st.subheader("What to do next")
    for advice in overview.next_steps(library, found):
        st.markdown(plain(advice.sentence))
        st.code(advice.command, language="bash")
    st.subheader("Datasets, grids, years")
    table = overview.matrix(found)
    st.dataframe(table.style.map(_tint), hide_index=True, width="stretch", height=min(36 * (len(table) + 1), 720))
    with st.expander("Sizes and last publications"):
        show_table(overview.totals(found), f"{study.name}_sizes")
        show_table(overview.latest(found), f"{study.name}_latest")
    reasons = [(e.dataset, str(e.partition), e.state, e.reason) for e in found if e.reason]
    if reasons:
        with st.expander(f"Why {len(reasons)} partitions are stale or damaged"):
            show_table(pd.DataFrame(reasons, columns=["dataset", "partition", "state", "why"]), f"{study.name}_why")


def _tint(text: object) -> str:
    state = str(text).rpartition(" ")[2]
    return f"background-color: {TINTS[state]}" if state in TINTS else ""
