"""The Streamlit script: reads the study, shows one page, says in words what went wrong. See ``entropice dashboard``.

Every error that Entropice raises on purpose becomes its sentence with what to do; a trace helps nobody here. A page's
module is imported when the page is first asked for, so that the first page is there soon.
"""

import sys
from importlib import import_module
from pathlib import Path

import streamlit as st

from entropice_core.config import Settings, load_study
from entropice_core.dashboard.library import Library, refused_words
from entropice_core.dashboard.warm import somebody_came, taking_turns, warm_up
from entropice_core.dashboard.words import plain, show_command
from entropice_core.errors import ConfigError, EntropiceError, MissingPartitionError, StoreError

PAGES = ("Overview", "Grids", "Labels", "Features", "Training", "Predictions", "Priority")
FAVICON = Path(__file__).with_name("icon.png")


@st.cache_resource(show_spinner=False)
def open_library(study: str, home: str, tracking_uri: str, stamp: float) -> Library:  # noqa: ARG001 - the cache's key
    """Open a study once for all sessions; again when its TOML was changed."""
    return Library(load_study(study), Settings.from_environment())


def main() -> None:
    """Show the page that was asked for."""
    somebody_came()
    st.set_page_config(page_title="Entropice", page_icon=str(FAVICON), layout="wide")
    try:
        settings = Settings.from_environment()
        toml = Path(settings.study)
        stamp = toml.stat().st_mtime if toml.is_file() else 0.0
        with taking_turns("study"):
            library = open_library(settings.study, str(settings.home), settings.tracking_uri, stamp)
    except EntropiceError as error:
        st.title("Entropice")
        st.error(plain(error))
        return
    library.links.update({name: value for name, _, value in (word.partition("=") for word in sys.argv[1:]) if value})
    page = choose_page(library)
    st.title(page)
    with taking_turns(page):
        guarded(page, library)
    warm_up()


def choose_page(library: Library) -> str:
    """Let the reader choose a page; its name is in the address, so that a page can be linked to."""
    named = str(st.query_params.get("show", "")).capitalize()
    if "page" not in st.session_state:
        st.session_state["page"] = named if named in PAGES else PAGES[0]
    with st.sidebar:
        st.subheader("Entropice")
        page: str = st.radio("Page", PAGES, key="page", label_visibility="collapsed") or PAGES[0]
        st.caption(plain(library.study.study.title))
        st.caption(plain(f"study {library.study.study.name}"))
    st.query_params["show"] = page.lower()
    return page


def guarded(page: str, library: Library) -> None:
    """Show a page; what is missing or damaged is said in a sentence, with the command that helps."""
    study = library.settings.study
    try:
        import_module(f"entropice_core.dashboard.views.{page.lower()}").show(library)
    except MissingPartitionError as error:
        st.info(plain(error))
        show_command(f"entropice run --study {study}")
    except StoreError as error:
        st.error(plain(error))
        show_command(f"entropice verify --full --study {study}")
    except ConfigError as error:
        st.warning(plain(error))
    except PermissionError as error:
        st.error(plain(refused_words(error)))
        show_command(library.allow_command())
    except (EntropiceError, OSError) as error:
        st.error(plain(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
