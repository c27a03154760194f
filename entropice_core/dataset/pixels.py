"""Which cells read the same pixel of a coarse source, so that none of them tests what another has learned from.

Cells of H3 level 5 and 6, or HEALPix level 9 and 10, are smaller than a pixel of ERA5: neighbours have the same
climate to the last bit, and a fold with one of them on either side tests on what it has seen.
"""

import numpy as np
import numpy.typing as npt

VERSION = "1"


def pixel_groups(lon: npt.ArrayLike, lat: npt.ArrayLike, degrees: float) -> npt.NDArray[np.int64]:
    """Number the pixel in which each centre lies; pixels have their centres at multiples of ``degrees``, as ERA5 has.

    Parameters
    ----------
    lon, lat : (n,) float64, degrees
    degrees : width and height of a pixel

    Returns
    -------
    (n,) int64

    >>> pixel_groups([10.1, 10.12, 10.13, -180.0, 179.9], [70.0, 70.1, 70.1, 70.0, 70.0], 0.25).tolist()
    [403240, 403240, 403241, 403920, 403920]
    """
    columns = round(360.0 / degrees)
    row = np.rint(np.asarray(lat, dtype=np.float64) / degrees).astype(np.int64)
    column = np.rint(np.asarray(lon, dtype=np.float64) / degrees).astype(np.int64) % columns
    return np.asarray(row * columns + column)
