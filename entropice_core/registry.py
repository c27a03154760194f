"""Find a grid, source or model by name, lazily.

A registry maps a name to the module that implements it; the module is imported when it is first asked for, so that
a listing of all names costs nothing. A new grid, source or model is one file and one line here.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from entropice_core.errors import ConfigError, SchemaError, nearest_hint


@dataclass(frozen=True)
class Registry:
    """Names and the modules that implement them."""

    what: str
    modules: dict[str, str]

    def names(self) -> list[str]:
        """Known names in the order in which they were registered."""
        return list(self.modules)

    def load(self, name: str) -> ModuleType:
        """Import the module of a name; raise ``ConfigError`` with the known names when there is none."""
        if name not in self.modules:
            raise ConfigError(f"There is no {self.what} called {name!r}; {nearest_hint(name, self.modules)}.")
        return import_module(self.modules[name])


GRIDS = Registry("grid", {"h3": "entropice_core.grids.h3", "healpix": "entropice_core.grids.healpix"})
SOURCES = Registry(
    "source kind",
    {
        "raster": "entropice_core.sources.raster",
        "era5_daily": "entropice_core.sources.era5",
        "era5_monthly": "entropice_core.sources.era5",
        "era5_history": "entropice_core.sources.era5_history",
        "arcticdem": "entropice_core.sources.arcticdem",
        "alphaearth": "entropice_core.sources.alphaearth",
    },
)
MODELS = Registry(
    "model",
    {
        "prevalence": "entropice_core.models.prevalence",
        "logistic_regression": "entropice_core.models.logistic_regression",
        "random_forest": "entropice_core.models.random_forest",
        "knn": "entropice_core.models.knn",
        "xgboost": "entropice_core.models.xgboost",
        "espa": "entropice_core.models.espa",
        "autogluon": "entropice_core.models.autogluon",
    },
)


@cache
def module_version(module: str) -> str:
    """Read the ``VERSION`` of a module without importing it, as importing may load a heavy library.

    >>> module_version("entropice_core.features.assemble")
    '1'
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"There is no module {module!r}: the installation is incomplete, install Entropice again.")
    match = re.search(r'^VERSION(?::\s*\w+)?\s*=\s*"([^"]+)"', Path(spec.origin).read_text(encoding="utf-8"), re.M)
    if match is None:
        raise SchemaError(f'Module {module!r} has no line VERSION = "...": every step states the version of its code.')
    return match.group(1)
