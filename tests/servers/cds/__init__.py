"""A Climate Data Store on 127.0.0.1 that speaks the protocol of the real one, and misbehaves when told to.

Addresses, messages and states are those that the service's own clients expect (catalogue messages, processes, costing,
constraints, execution, jobs, results, receipts, deletion, licences). What may be asked for comes from real catalogue
files when a folder of them is given. Results are generated fields in the layouts that the service serves since 2024:
NetCDF split by step type, zipped when there are several, ``valid_time``, ``number``, ``expver``, GRIB attributes.

``server`` holds the state and the faults, ``handler`` the calls, ``catalogue`` what may be asked for, ``fields`` and
``results`` the files.
"""

from tests.servers.cds.catalogue import DAILY, LAND_DAILY, LAND_HOURLY, LAND_MONTHLY, MONTHLY
from tests.servers.cds.fields import FIELDS, LAND_FIELDS, field_of
from tests.servers.cds.model import Fault, Job
from tests.servers.cds.server import KEY, CdsServer

__all__ = [
    "DAILY",
    "FIELDS",
    "KEY",
    "LAND_DAILY",
    "LAND_FIELDS",
    "LAND_HOURLY",
    "LAND_MONTHLY",
    "MONTHLY",
    "CdsServer",
    "Fault",
    "Job",
    "field_of",
]
