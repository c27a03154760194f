"""The command that opens the dashboard."""

import os
import sys
from pathlib import Path

from entropice_core.cli.app import StudyName, app, load, say
from entropice_core.errors import ConfigError

LOCAL = "127.0.0.1"
PRIMARY, TEXT = "#246084", "#101010"
"""Colours of the pages; quiet text is drawn at 60 % of the second, and chosen words on 20 % of the first."""


@app.command
def dashboard(
    study: StudyName = None,
    *,
    port: int = 8501,
    address: str = LOCAL,
    dagster: str | None = None,
    mlflow: str | None = None,
    browser: bool = False,
) -> None:
    """Open the dashboard: what data there are, how good the models are, what they say where. It writes nothing.

    Parameters
    ----------
    port
        Where it listens.
    address
        Whom it listens to: this machine only, unless you put a proxy that asks for passwords in front.
    dagster
        Address of the Dagster UI for links, such as http://127.0.0.1:3000.
    mlflow
        Address of the MLflow UI for links, such as http://127.0.0.1:5000.
    browser
        Open a browser window.
    """
    _, settings = load(study)
    command = streamlit_command(port, address, browser, dagster, mlflow)
    chosen = study or settings.study
    named = str(Path(chosen).absolute()) if chosen.endswith(".toml") else chosen
    say(f"dashboard of {named}: http://{address}:{port}  (stop it with Ctrl-C)")
    sys.stdout.flush()
    environment = {**os.environ, "ENTROPICE_STUDY": named, "ENTROPICE_HOME": str(settings.home)}
    os.execve(sys.executable, command, environment)  # noqa: S606


def streamlit_command(
    port: int, address: str = LOCAL, browser: bool = False, dagster: str | None = None, mlflow: str | None = None
) -> list[str]:
    """Give the command that serves the dashboard; nothing of it is sent elsewhere."""
    from importlib.util import find_spec

    if find_spec("streamlit") is None or find_spec("plotly") is None:
        raise ConfigError("The dashboard needs Streamlit and Plotly: pip install 'entropice[dashboard]'.")
    options = {
        "server.address": address,
        "server.port": str(port),
        "server.headless": str(not browser).lower(),
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "theme.base": "light",
        "theme.primaryColor": PRIMARY,
        "theme.textColor": TEXT,
    }
    script = Path(__file__).parents[1] / "dashboard" / "app.py"
    links = [f"{name}={value}" for name, value in (("dagster", dagster), ("mlflow", mlflow)) if value]
    given = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "entropice_core.dashboard.serve", "run", str(script), *given, "--", *links]
