"""De-quantisation on vectors that Earth Engine gave out: what the bytes mean is known from the numbers themselves."""

import numpy as np
import pandas as pd
import pytest

from entropice_core.embeddings.tiles import STEP, quantities
from entropice_core.fetch.alphaearth import dequantised

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def vectors(real_data):
    """All vectors: (2880, 64)."""
    paths = sorted((real_data / "alphaearth_points").glob("*.csv"))
    columns = [f"A{band:02d}" for band in range(64)]
    return np.concatenate([pd.read_csv(path, usecols=columns)[columns].to_numpy() for path in paths])


def test_each_published_number_is_what_a_byte_means(vectors):
    meanings = dequantised()[1:]
    at = np.searchsorted(meanings, vectors - 1e-12)
    assert vectors.shape == (2880, 64)
    np.testing.assert_allclose(vectors, meanings[at], rtol=0, atol=1e-15)
    assert np.unique(at).size > 100  # most of the 255 bytes occur


def test_published_vectors_have_length_one_to_a_hundredth(vectors):
    assert np.abs(np.sqrt((vectors**2).sum(axis=1)) - 1.0).max() < 0.02


def test_published_numbers_are_whole_steps_of_our_sums(vectors):
    steps, counts = quantities()[0].quantise(vectors.astype(np.float32), "points")
    assert counts.tolist() == [vectors.size, 0, 0]
    np.testing.assert_allclose((steps - 127**2) * STEP, vectors, rtol=0, atol=1e-15)
