"""What all tests share: the folder of real data, and skips that say why."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # a machine under load takes long for anything now and then
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests whose needs this machine does not have, with the reason."""
    needs = {
        "real": (real_data_folder() is not None, "ENTROPICE_DATA names no folder of real data"),
        "torch": (importlib.util.find_spec("torch") is not None, "PyTorch is not installed"),
        "browser": (chromium() is not None, "no Chromium on this machine (Debian: apt-get install chromium)"),
    }
    for item in items:
        for marker, (is_met, reason) in needs.items():
            if item.get_closest_marker(marker) and not is_met:
                item.add_marker(pytest.mark.skip(reason=reason))
        params = getattr(getattr(item, "callspec", None), "params", {})
        if not AUTOGLUON and any(isinstance(value, str) and value == "autogluon" for value in params.values()):
            item.add_marker(pytest.mark.skip(reason="ENTROPICE_AUTOGLUON_PYTHON names no interpreter with AutoGluon"))


AUTOGLUON = os.environ.get("ENTROPICE_AUTOGLUON_PYTHON")
NAMED = os.environ.get("ENTROPICE_DATA")  # read once: tests of assets take the variables away while they run


def real_data_folder() -> Path | None:
    """The folder of real data, if ENTROPICE_DATA names one."""
    return Path(NAMED) if NAMED and Path(NAMED, "rts_inventories").is_dir() else None


def chromium() -> str | None:
    """The Chromium of this machine."""
    return next((p for p in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(p).exists()), None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("ENTROPICE_DATA names no folder of real data")
    return folder
