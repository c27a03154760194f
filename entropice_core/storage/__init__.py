"""The store: every step publishes here, whole or not at all, and every reader goes through a manifest.

Why: a process killed while it writes an array store leaves something that opens without error and reads as missing
values, so neither "it exists" nor "it opens" says that data are complete. Here a partition is staged, read back,
renamed to a name that carries its digest, and only then does a small pointer file name it.

==================  ================================================================================================
``partition``       which slice of a dataset: grid key and year; every name is checked before it touches a path
``recipe``          how content came to be: step, versions, configuration, inputs, source files; one digest of it
``manifest``        what was published: digest, recipe, counts, statistics, files with checksums
``digest``          content digests that do not depend on codecs, chunks or writers
``content``         how a dataset or a folder of files is written, read back and summarised
``schema``          the promised shape of datasets (``schemas/*.json``) and drift between years
``store``           ``PartitionStore``: publish, open, manifest, path, is_current, status, lineage, verify, gc
``publish``         the steps of publishing, in the order that survives a kill
``verify``          damage, orphans and staleness; removal of old versions
``lineage``         from a partition back to the source files
``files``           checksums of source files, with a cache
``conventions``     CF, xdggs and zarr-dggs metadata
``locking``         one writer per partition
``durable``         atomic, flushed writes
==================  ================================================================================================

Nothing here knows grids, sources or models, and importing this package imports no heavy library.
"""
