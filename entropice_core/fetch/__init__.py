"""Fetching: files of other people's services, brought into the data folder whole or not at all.

==============  ==========================================================================================
``calendar``    Arctic years and months: which there are, which are final
``variables``   names, GRIB numbers and step types of the variables of ERA5 and ERA5-Land
``plan``        an Arctic year as requests to the Climate Data Store (CDS)
``cds``         the CDS through its own client: credentials, one call, what its refusals mean
``patience``    how long to wait before a call is made again, and when to give up
``jobs``        the journal of jobs, which lets a killed run go on with the jobs it had
``download``    the result of a job as verified files: size, checksum, first bytes, zip members
``check``       what came, compared with what was asked
``receipts``    one result on disk with its receipt
``year``        one Arctic year in the data folder; ``merge``: its monthly file
``run``         the jobs of a year on their way, a few at a time
``era5``        all of it in order: `fetch_year`
``newest``      asking the service how far ERA5 has come
``survey``      what lies in the data folder, and what of it is not final
``stac``        which tiles a STAC catalogue lists; ``of_area``: which of them the cells of a study touch
``cog``         one tile on disk, in ranges, checked; ``tiles``: all of a study, and their list
``dataone``     data packages of a DataONE member node, by DOI or UUID; ``darts``: a release of DARTS
==============  ==========================================================================================

Nothing here computes features; a source reads what lies in the data folder afterwards. The client libraries are
imported when a call is made, not before: they are the extra ``entropice[fetch]``.
"""
