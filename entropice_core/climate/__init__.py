"""From daily fields of a reanalysis to climate indices of Arctic years.

================  ==============================================================
``calendar``      the days, months and seasons of an Arctic year
``quantities``    units and possible values of variables, and what is corrected
``formulae``      the formulae, with their sources
``indices``       the one table of all indices: names, units, needs, formulae
``daily_files``   a year of daily NetCDF files as the Climate Data Store serves them
``daily_zarr``    a year of a Zarr store of daily fields, by address or folder
``hourly``        day totals by the hourly definition, and whether a store keeps to it
``annual``        the indices of a year on the pixels of the grid, kept for all cells
``monthly``       what monthly means can give, and what they only approximate
``history``       anomalies, trends and extremes over years
``document``      writes the table of docs/era5.md
================  ==============================================================

Cells appear in ``sources.era5`` only: everything here is on pixels.
"""
