"""``secagg attack``: the field's attacks, run against a configuration with real machines.

``server_attacks``, ``survivor_attacks``, ``sparse_attacks`` and ``client_attacks`` are code that could win: each
returns when it holds its prize and otherwise raises what stopped it. ``leakage``, ``grid_leaks`` and ``inversion``
attack what is left when the protocol holds: the sum and the grid. ``catalogue`` lists them all; ``setting`` says
against what.
"""
