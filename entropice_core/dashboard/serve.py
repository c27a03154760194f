"""Start Streamlit's server with what the first page needs imported: ``python -m entropice_core.dashboard.serve``.

Streamlit runs a page's script, with its imports, after the browser has asked for it: a reader would wait for a second
or two of imports that could have been done while nobody was waiting.
"""

from importlib import import_module

from entropice_core.dashboard.warm import warm_up_later

FIRST_PAGE = ("entropice_core.dashboard.app", "entropice_core.dashboard.views.overview")


def main() -> None:
    """Import what the first page needs, then serve; the words on the command line are those of ``streamlit``."""
    for name in FIRST_PAGE:
        import_module(name)
    warm_up_later()
    import_module("streamlit.web.cli").main(prog_name="streamlit")


if __name__ == "__main__":
    main()
