"""``secagg simulate``: rounds on synthetic vectors, measured."""
