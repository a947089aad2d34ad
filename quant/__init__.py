"""Floats to integers on a public grid and back: the numerics of secure aggregation, and nothing else.

Pure functions of numpy arrays; no cryptography, no IO. See README.md for the picture and the reading order.
"""

from quant.capacity import field_width, max_clients, max_levels
from quant.clip import ClipL2, ClipLinf, l2_norm
from quant.codec import CodecFacts, UpdateCodec, chain
from quant.errors import CapacityError, ConfigurationError, InputError, QuantError
from quant.grid import UniformGrid
from quant.lanes import LaneLayout
from quant.layout import Layout, Leaf, Update
from quant.presets import DEFAULTS, from_config
from quant.rounding import nearest, stochastic
from quant.streams import RandomStream, SystemStream
from quant.weighting import Weighting

__all__ = [
    "DEFAULTS",
    "CapacityError",
    "ClipL2",
    "ClipLinf",
    "CodecFacts",
    "ConfigurationError",
    "InputError",
    "LaneLayout",
    "Layout",
    "Leaf",
    "QuantError",
    "RandomStream",
    "SystemStream",
    "UniformGrid",
    "Update",
    "UpdateCodec",
    "Weighting",
    "chain",
    "field_width",
    "from_config",
    "l2_norm",
    "max_clients",
    "max_levels",
    "nearest",
    "stochastic",
]
