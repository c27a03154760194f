"""Terrain from elevation models: the shape of the ground at every pixel, whatever tiles it comes in.

===============  ==============================================================================
``geometry``     how pixels lie on the ellipsoid: true distances and true north
``kernels``      the loops over pixels
``derivatives``  elevation -> slope, curvature, position, ruggedness ..., and what each is
``mosaic``       files of one elevation model as one raster, each ground pixel once
``units``        pieces of the raster -> partial statistics, kept, verified and used again
===============  ==============================================================================
"""
