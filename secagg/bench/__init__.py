"""``secagg bench``: measured tables, as ratios to the machine's own limits and to peers, in one run.

Every bench is a function from ``Effort`` to rows; ``command.BENCHES`` lists them. No benchmark fails a test run.
"""
