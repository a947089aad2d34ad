"""``secagg plan``: from a cohort and a goal to a quantization, and what every alternative would cost.

`goal.decide` is the one place where settings are chosen; what else a round must satisfy one day (a privacy budget)
belongs into ``Goal`` and ``decide``, and then shows in every table, in the JSON and in the study file.
"""
