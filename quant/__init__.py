"""Floats to integers on a public grid and back: the numerics of secure aggregation, and nothing else.

Pure functions of numpy arrays; no cryptography, no IO. See README.md for the picture and the reading order.
"""

from quant.adaptive import AdaptiveClip, BitsByError, BitSchedule
from quant.capacity import field_width, max_clients, max_levels
from quant.chain import Chain, chain
from quant.clip import ClipL2, ClipLinf, l2_norm
from quant.codec import CodecFacts, UpdateCodec
from quant.errors import CapacityError, ConfigurationError, InputError, QuantError
from quant.feedback import ErrorFeedback
from quant.grid import Rounding, UniformGrid
from quant.lanes import LaneLayout
from quant.layered import LayeredGrid
from quant.layers import ClipPerLayer, LayerScales, bits_by_range
from quant.layout import Layout, Leaf, Update
from quant.lossless import LosslessGrid, fixed_point
from quant.mixed import NestedGrids
from quant.modular import ModularGrid, modular_step
from quant.planning import Plan, Setting, Updates, assess, plan
from quant.presets import DEFAULTS, from_config
from quant.public import PublicRandomness
from quant.robust import GroupedMean
from quant.rounding import nearest, stochastic
from quant.sparse import KeepCoordinates, SharedRandomK, server_top_k, top_groups
from quant.streams import RandomStream, SystemStream
from quant.transforms import HadamardRotation
from quant.weighting import Weighting

__all__ = [
    "DEFAULTS",
    "AdaptiveClip",
    "BitSchedule",
    "BitsByError",
    "CapacityError",
    "Chain",
    "ClipL2",
    "ClipLinf",
    "ClipPerLayer",
    "CodecFacts",
    "ConfigurationError",
    "ErrorFeedback",
    "GroupedMean",
    "HadamardRotation",
    "InputError",
    "KeepCoordinates",
    "LaneLayout",
    "LayerScales",
    "LayeredGrid",
    "Layout",
    "Leaf",
    "LosslessGrid",
    "ModularGrid",
    "NestedGrids",
    "Plan",
    "PublicRandomness",
    "QuantError",
    "RandomStream",
    "Rounding",
    "Setting",
    "SharedRandomK",
    "SystemStream",
    "UniformGrid",
    "Update",
    "UpdateCodec",
    "Updates",
    "Weighting",
    "assess",
    "bits_by_range",
    "chain",
    "field_width",
    "fixed_point",
    "from_config",
    "l2_norm",
    "max_clients",
    "max_levels",
    "modular_step",
    "nearest",
    "plan",
    "server_top_k",
    "stochastic",
    "top_groups",
]
