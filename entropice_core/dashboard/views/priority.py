"""Where to look next: the ranking of cells with its gain curve and a download."""

import streamlit as st

from entropice_core.dashboard.library import Library
from entropice_core.dashboard.widgets import explain_missing


def show(library: Library) -> None:
    """Show the ranking of cells."""
    explain_missing("No ranking was made yet.", library.command("priority"))
    st.caption("")
