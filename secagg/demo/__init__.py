"""The main job, end to end: a consortium of in-process hospitals trains on real data, the server sees only sums.

Two federations run side by side from the same split, seeds and drop-outs: one averages through
`secagg.aggregate`, the other in plain floats. What differs between them is what secure aggregation costs.

    DemoConfig   what to run, checked at construction        config.py
    run          both federations, round by round             runner.py (needs torch and scikit-learn)
    DemoResult   everything measured, and its JSON form        result.py

This package alone may import torch, scikit-learn and matplotlib, and does so where it uses them: importing
`secagg.demo` loads none of the three.
"""

from secagg.demo.config import DemoConfig
from secagg.demo.result import DemoResult, RoundOutcome, to_json

__all__ = ["DemoConfig", "DemoResult", "RoundOutcome", "to_json"]
