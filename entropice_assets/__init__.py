"""Entropice in Dagster: the same steps as ``entropice run``, as assets with partitions, checks and pictures.

======================  ==================================================================================
``definitions``         what Dagster loads; nothing but ``defs``
``build``               ``build_defs``, the only place where the parts are put together
``partitions``          grids and years as Dagster keys, and back
``resources``           study and paths, handed to every asset
``assets``              one module per room of the science, all through the same factory
``asset_checks``        the checks of ``entropice_core.checks`` as Dagster asset checks
``results``             what is shown of a finished partition: digest, counts, schema, picture
``values``              values as metadata, plain Python only
``provenance``          data versions of runs that build several partitions
``keys``                names of datasets as asset keys
``failures``            our errors as Dagster failures with the same sentence
``metrics``             what Prometheus is told
``jobs``, ``sensors``   what can be started as a whole, and what starts by itself
``schedules``           asking a service for new years of files
``automation``          features of years whose files have come
======================  ==================================================================================

No science belongs here, and no heavy library is imported by any of these modules.
"""
