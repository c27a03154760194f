"""Every picture of Entropice: one package serves the dashboard, Dagster, MLflow and the command line.

==================  ================================================================================================
``layer``           what a map shows: cells, values, and the words around them; coarser cells where there are many
``view``            which part of the Arctic in which polar projection; which cell and what land lies under a pixel
``picture``         a layer in a view as pixels
``interactive``     the same as a Plotly figure: zoom, hover, click (needs the extra ``dashboard``)
``maps``            the same as a Matplotlib figure for papers, and its cells as GeoParquet
``multiples``       maps beside each other in one view and one scale of colours
``scores``          reliability, precision and recall, gain, confusion, importance, search, scores of folds
``trust``           reliability by class and region, coverage of sets, distances of folds and map, dissimilarity
``proxies``         which variables tell, by every measure, and whether that is stable
``comparison``      paired differences with intervals; where maps agree
``priority``        how much land a ranking saves
``distributions``   histograms, by class, series of years, clusters of features
``files``           figures as PNG and SVG, tables as CSV
==================  ================================================================================================

Functions take arrays and words and return figures; nothing here opens a store. Maps are polar, never Web Mercator, and
need no network: coast and land come from the land mask of the grids.
"""
