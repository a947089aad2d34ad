"""The transcript of a study: a hash-chained file of public records, for auditors.

Reading order: ``records`` (what is written), ``chain`` (how), ``recorder`` (from the frames of a round), ``receipts``
(what a site signs). The schema is in ``secagg/README.md``. Nothing here depends on who runs the round, and nothing is
imported here, so that an auditor reads records without the code that makes them.
"""
