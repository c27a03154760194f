"""From pixels to cells: what becomes a column of the feature matrix.

==============  ================================================================
``layout``      where the pixels of a raster lie, in any coordinate system
``zonal``       area weights of pixels in cells, and statistics with them
``assemble``    features of all sources joined for training and for prediction
==============  ================================================================

Reading files belongs in ``sources``; nothing here knows a file format.
"""
