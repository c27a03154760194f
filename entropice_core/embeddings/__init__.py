"""Embeddings: tiles of vectors in UTM zones, and what each of them gives to cells."""
