"""The science of Entropice: where thaw slumps are dense, how sure we are, and which variables tell.

Folders are the steps, in the order in which data flow through them::

    grids -> labels, sources -> features -> dataset -> espa, models -> training -> prediction -> comparison

``storage`` keeps what every step publishes, ``config`` says what a study is, ``pipeline`` names the steps and what
each needs, ``cli`` runs them. Nothing here imports Dagster (``entropice_assets`` does) and importing this package
imports no heavy library.
"""

__version__ = "0.1.0"
