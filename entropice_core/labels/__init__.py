"""Labels: what was mapped as a retrogressive thaw slump (RTS), where anyone looked, and the density per cell.

================  =====================================================================================
``files``         which files an inventory names, and one reader per format
``shapefile``     whether a shapefile is complete, which GDAL does not tell
``years``         the Arctic year of each feature: from a column, the file name, or a column per year
``geometry``      any coordinate system to the equal-area plane and back; repair of polygons
``cleaning``      missing, empty, invalid, far-away and repeated features
``report``        counts of features in, kept and rejected by reason
``darts``         the columns of DARTS, by any of their names
``table``         all features of all layers, with a verdict on each
``inventory``     all of that: files -> clean features, footprint and report, and their storage
``footprint``     where an inventory looked, and in which years; masks
``observed``      how much of the land of each cell that is
``overlay``       polygons cut at the borders of cells, overlapping outlines joined
``uncertainty``   intervals by observed area, weights for training, what a detector's F1 means
``density``       the labels of one grid and year
``combine``       several years as one, weighted by observed land
``agreement``     inventories compared where and when both looked
``sensitivity``   labels at several thresholds of probability
``inspect``       what a file would give, said without a study
================  =====================================================================================

Nothing here knows models or features. Importing this package imports nothing else.
"""
