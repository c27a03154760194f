"""The order of the steps, what each needs, and how a partition is brought up to date.

``product`` says what a product is, ``graph`` lists the products of a study, ``steps`` connects each to the core
function that makes it, ``run`` brings partitions up to date. The command line and the Dagster assets both go through
``run.materialize``, so both publish the same digests.
"""
