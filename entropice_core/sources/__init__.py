"""Sources: files that other people made, read into features of cells.

===============  =========================================================================
``base``         what every source must do, and which file of a source belongs to a year
``formats``      what a file really is, told from its first bytes
``geotiff``      pixels of a GeoTIFF
``arrays``       pixels of a NetCDF file or a Zarr store
``raster``       the source that a study TOML describes band by band
===============  =========================================================================

A new source is one module with ``VERSION`` and ``open_source(name, config, data_root)``, and one line in
``entropice_core.registry.SOURCES``. Importing this package imports no file library.
"""

from entropice_core.sources.base import Source, open_source

__all__ = ["Source", "open_source"]
