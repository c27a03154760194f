"""Steps of Dagster runs on a Dask cluster.

==============  ==================================================================================
``executor``    the executor that a code location takes when ``ENTROPICE_COMPUTE`` names a scheduler
``handler``     hands a step to the scheduler, asks how it is, stops it
``child``       what runs on a worker: one child process for a step, watched until its end
==============  ==================================================================================

The executor of dagster-dask is for single runs on a cluster of their own: on a shared scheduler it reports success for
partitions that it never computed, as its task keys lack the run. The tag that asks for resources is the same.
"""

RESOURCES_TAG = "dagster-dask/resource_requirements"
"""As in dagster-dask: a JSON object such as {"GPU": 1} or {"MEMORY": 8}; MEMORY is in GB."""
