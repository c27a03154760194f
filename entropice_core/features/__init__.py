"""From pixels to cells: what becomes a column of the feature matrix.

===============  ===================================================================================
``streaming``    the front for tiles: one tile in, sums for the cells of all grids and levels out
``tiles``        where a tile's pixels lie on the globe and how large each truly is
``cell_labels``  the cell of every pixel of a tile, by outlines drawn with scan lines
``quantity``     values as whole steps, so that sums are exact
``partials``     sums that can be added in any order, and the statistics made of them
``array_sums``   the same sums with arrays of a GPU
``kernels``      the compiled loops
``layout``       where the pixels of a whole raster lie, in any coordinate system
``zonal``        a whole raster of coarse pixels: area weights in cells, and statistics with them
``weights``      exact area weights of longitude-latitude grids such as ERA5's, and means with them
``weights``      exact area weights of longitude-latitude grids in cells
``assemble``     features of all sources joined for training and for prediction
===============  ===================================================================================

Reading files belongs in ``sources``; nothing here knows a file format.
"""
