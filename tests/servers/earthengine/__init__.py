"""Earth Engine on this machine: its REST protocol, and an evaluator of the expressions that are asked for.

The discovery document and the signatures of all algorithms are those that the library's wheel brings along.
"""

from tests.servers.earthengine.images import EeStoredImage, images_of_tiles
from tests.servers.earthengine.server import EarthEngineServer, EeFault, service_account

__all__ = ["EarthEngineServer", "EeFault", "EeStoredImage", "images_of_tiles", "service_account"]
