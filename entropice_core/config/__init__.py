"""What a study is: the models of an Entropice TOML, and the settings that come from the environment.

One TOML holds the science; a section of it is a file here. Paths and secrets come from ``ENTROPICE_*`` variables
(``settings``). Nothing in here reads data, and nothing heavy is imported.

===============  ====================================================================
``base``         what all sections share: strict tables, provenance, years, grid keys
``inventories``  [inventories.<name>]: files, columns, footprint
``sources``      [sources.<name>]: a file for each kind
``fetch``        [fetch.<source>]: what is asked of the service that has a source's files
``validation``   [target] and [folds]
``models``       [models.<name>] and [training]
``study``        the whole TOML
``reading``      TOML -> Study, with sentences for what is wrong
``settings``     ENTROPICE_* variables
===============  ====================================================================
"""

from entropice_core.config.base import FIRST_YEAR, GRID_KEYS, Bounds, GridKey, Provenance, Strict, Years
from entropice_core.config.fetch import Era5Fetch
from entropice_core.config.inventories import FootprintConfig, InventoryConfig, YearOf
from entropice_core.config.models import ModelConfig, Range, TrainingConfig
from entropice_core.config.reading import load_study, preset_names
from entropice_core.config.settings import Settings
from entropice_core.config.sources import AnySource, BandConfig, RasterConfig, SourceBase
from entropice_core.config.study import Study, StudyAreaConfig, StudyConfig
from entropice_core.config.validation import FoldsConfig, TargetConfig

__all__ = [
    "FIRST_YEAR",
    "GRID_KEYS",
    "AnySource",
    "BandConfig",
    "Bounds",
    "Era5Fetch",
    "FoldsConfig",
    "FootprintConfig",
    "GridKey",
    "InventoryConfig",
    "ModelConfig",
    "Provenance",
    "Range",
    "RasterConfig",
    "Settings",
    "SourceBase",
    "Strict",
    "Study",
    "StudyAreaConfig",
    "StudyConfig",
    "TargetConfig",
    "TrainingConfig",
    "YearOf",
    "Years",
    "load_study",
    "preset_names",
]
