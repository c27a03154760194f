"""AlphaEarth embeddings by way of Google Earth Engine: pixels stay there, sums of cells are asked for."""
