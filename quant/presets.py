"""Codecs by name: what a study's ``[quantization]`` table, the command line and notebooks write.

Order of the chain, fixed and visible here: clips (L2, per layer, L-infinity) -> layer scales -> kept coordinates ->
rotation -> random_k -> grid.
"""

import difflib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from quant.chain import Chain, Stage, chain
from quant.checks import positive_bound, whole_number
from quant.clip import Clip, ClipL2, ClipLinf
from quant.errors import ConfigurationError
from quant.grid import Grid, UniformGrid
from quant.layered import LayeredGrid
from quant.layers import ClipPerLayer, LayerScales
from quant.lossless import LosslessGrid, fixed_point
from quant.modular import ModularGrid
from quant.refused import refuse_scheme
from quant.rounding import MAX_SHORT_LEVELS
from quant.sparse import KeepCoordinates, SharedRandomK
from quant.transforms import HadamardRotation, Transform, out_dims

DEFAULTS: Mapping[str, object] = MappingProxyType({"bits": 12, "range": 1.0, "rounding": "stochastic"})
"""Used for keys that are absent. A range that fits the updates is worth more than bits: set it."""

DEFAULT_SIGMAS = 4.0
"""Range after a rotation, in standard deviations of a coordinate of a vector as long as the clip: 6e-5 saturate."""

CLIP_KEYS = ("clip", "clip_linf", "layer_clips")
SHAPE_KEYS = ("layer_scales", "keep", "rotation", "random_k", "amplify")
UNIFORM_KEYS = ("bits", "levels", "integer_bits", "fraction_bits", "range", "range_sigmas")
LAYERED_KEYS = ("layer_levels", "layer_ranges")
MODULAR_KEYS = ("modulus_bits", "step")
LOSSLESS_KEYS = ("exact_low", "exact_high")
ROUNDING_KEYS = ("rounding", "coin_bits")
KEYS = (
    *("bits", "levels", "range", "range_sigmas", "integer_bits", "fraction_bits", *CLIP_KEYS, *SHAPE_KEYS, "layers"),
    *(*LAYERED_KEYS, *MODULAR_KEYS, *LOSSLESS_KEYS, *ROUNDING_KEYS, "dim", "scheme"),
)

MAX_BITS = 32


def from_config(config: Mapping[str, object], dim: int) -> Chain:
    """Build the codec that a table of settings describes, for vectors of shape (dim,).

    Keys, all optional (None counts as absent; see `DEFAULTS`):

    - ``bits``: 1 to 32, for 2^bits levels; or ``levels``: any whole number from 2 to 2^32. An odd number of levels
      has a grid point at zero, so that zeros stay zeros; or ``integer_bits`` and ``fraction_bits``: fixed point;
    - ``range``: the grid spans [-range, range]; or ``range_sigmas``: range = range_sigmas * clip / sqrt(d), d the
      rotated coordinates. If both are absent: with ``rotation`` and ``clip`` range_sigmas = 4, else the smallest clip;
    - ``clip``: bound on the Euclidean norm; ``clip_linf``: bound on each coordinate; ``layer_clips``: bounds on the
      norms of the layers, whose lengths are ``layers``;
    - ``layer_scales``: public scales, one per layer; ``layer_levels`` and ``layer_ranges``: a grid per layer;
    - ``keep``: runs [start, stop) of coordinates that are sent at all;
    - ``rotation``: true, or the length of its blocks; ``random_k``: how many coordinates are kept at random, and
      ``amplify``: false to leave the decoded sum unscaled;
    - ``rounding``: ``stochastic``, ``dither`` (both unbiased), ``conditional`` or ``nearest``; ``coin_bits``: 16 or
      32, if absent 16 for dither of at most 2^14 levels, else 32;
    - ``modulus_bits`` and ``step``: modular clipping instead of a range;
    - ``exact_low`` and ``exact_high``: lossless, exponents of the window of floats;
    - ``scheme``: ``uniform``; the name of a scheme that cannot be summed is refused with its substitute;
    - ``dim``: as in ``codec.config()``; must agree with the argument.

    ``from_config(codec.config(), dim)`` equals ``codec``.

    Raises:
        ConfigurationError: an unknown key (naming the nearest known one), keys that contradict each other, or a value
            that is out of range.
    """
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"quantization settings are a table of keys, not {type(config).__name__}")
    given = {key: value for key, value in config.items() if value is not None}
    _check_keys(given, dim)
    layers = tuple(_sequence(given, "layers"))
    clips = _clips(given, layers)
    transforms = _transforms(given, layers)
    stages: list[Stage] = [*clips, *transforms]
    return chain(*stages, _grid(given, layers, clips, transforms, dim), dim=dim)


def _check_keys(given: Mapping[str, object], dim: int) -> None:
    """Refuse keys that mean nothing, alone or together."""
    for key in given:
        if key not in KEYS:
            refuse_scheme(key)
            raise ConfigurationError(_unknown(key))
    if given.get("dim", dim) != dim:
        raise ConfigurationError(f"these settings are for {given['dim']} coordinates, the update has {dim}")
    scheme = given.get("scheme", "uniform")
    if scheme != "uniform":
        refuse_scheme(scheme)
        raise ConfigurationError(f"unknown scheme {scheme!r}; leave it out, and set rotation, rounding and levels")
    kinds = {
        "a uniform grid": [key for key in UNIFORM_KEYS if key in given],
        "grids per layer": [key for key in LAYERED_KEYS if key in given],
        "modular clipping": [key for key in MODULAR_KEYS if key in given],
        "a lossless grid": [key for key in LOSSLESS_KEYS if key in given],
    }
    used = [f"{kind} ({', '.join(keys)})" for kind, keys in kinds.items() if keys]
    if len(used) > 1:
        raise ConfigurationError(f"settings of two grids: {' and '.join(used)}; choose one")
    if "amplify" in given and "random_k" not in given:
        raise ConfigurationError("amplify says how random_k is decoded: give random_k, or leave it out")
    layered = [key for key in ("layer_clips", "layer_scales", *LAYERED_KEYS) if key in given]
    if ("layers" in given) != bool(layered):
        raise ConfigurationError(
            "layers (their lengths) go with layer_clips, layer_scales or layer_levels, and only so"
        )


def _clips(given: Mapping[str, Any], layers: tuple[int, ...]) -> list[Clip]:
    """Build the clips; their constructors check what they are given."""
    clips: list[Clip] = []
    if "clip" in given:
        clips.append(ClipL2(given["clip"]))
    if "layer_clips" in given:
        clips.append(ClipPerLayer(layers, tuple(_sequence(given, "layer_clips"))))
    if "clip_linf" in given:
        clips.append(ClipLinf(given["clip_linf"]))
    return clips


def _transforms(given: Mapping[str, Any], layers: tuple[int, ...]) -> list[Transform]:
    """Build the transforms."""
    transforms: list[Transform] = []
    if "layer_scales" in given:
        transforms.append(LayerScales(layers, tuple(_sequence(given, "layer_scales"))))
    if "keep" in given:
        runs = _sequence(given, "keep")
        if not all(isinstance(run, list | tuple) and len(run) == 2 for run in runs):
            raise ConfigurationError("keep is a list of runs [start, stop)")
        transforms.append(KeepCoordinates(tuple((run[0], run[1]) for run in runs)))
    if rotation := given.get("rotation"):
        transforms.append(HadamardRotation(None if rotation is True else rotation))
    if "random_k" in given:
        transforms.append(SharedRandomK(given["random_k"], given.get("amplify", True)))
    return transforms


def _grid(
    given: Mapping[str, Any], layers: tuple[int, ...], clips: list[Clip], transforms: list[Transform], dim: int
) -> Grid:
    """Build the grid, with defaults where keys are absent."""
    rounding = given.get("rounding", DEFAULTS["rounding"])
    if any(key in given for key in LOSSLESS_KEYS):
        return LosslessGrid(_required(given, "exact_low"), _required(given, "exact_high"))
    if any(key in given for key in MODULAR_KEYS):
        return ModularGrid(_required(given, "modulus_bits"), _required(given, "step"), rounding)
    if any(key in given for key in LAYERED_KEYS):
        levels, ranges = _sequence(given, "layer_levels"), _sequence(given, "layer_ranges")
        if len(levels) != len(ranges):
            raise ConfigurationError(f"{len(levels)} layer_levels do not go with {len(ranges)} layer_ranges")
        short = all(whole_number(most, "levels", 2, 2**MAX_BITS) <= MAX_SHORT_LEVELS for most in levels)
        coin_bits = given.get("coin_bits", 16 if rounding == "dither" and short else 32)
        pairs = zip(levels, ranges, strict=True)
        return LayeredGrid(layers, tuple(UniformGrid(most, reach, rounding, coin_bits) for most, reach in pairs))
    if "integer_bits" in given or "fraction_bits" in given:
        if any(key in given for key in ("bits", "levels", "range", "range_sigmas")):
            raise ConfigurationError("integer_bits and fraction_bits say it all: leave out bits, levels and range")
        point = fixed_point(_required(given, "integer_bits"), _required(given, "fraction_bits"), rounding)
        levels, reach = point.levels, point.bound
    else:
        levels, reach = _levels(given), _range(given, clips, transforms, dim)
    short = rounding == "dither" and whole_number(levels, "levels", 2, 2**MAX_BITS) <= MAX_SHORT_LEVELS
    return UniformGrid(levels, reach, rounding, given.get("coin_bits", 16 if short else 32))


def _levels(given: Mapping[str, Any]) -> Any:
    """Give the number of levels."""
    if "bits" in given and "levels" in given:
        raise ConfigurationError("give bits or levels, not both (levels = 2^bits)")
    if "levels" in given:
        return given["levels"]
    return 2 ** whole_number(given.get("bits", DEFAULTS["bits"]), "bits", 1, MAX_BITS)


def _range(given: Mapping[str, Any], clips: list[Clip], transforms: list[Transform], dim: int) -> Any:
    """Give the range of the grid: stated, in standard deviations, or what the clips suggest."""
    if "range" in given and "range_sigmas" in given:
        raise ConfigurationError("give range or range_sigmas, not both")
    if "range" in given:
        return given["range"]
    rotated = any(isinstance(stage, HadamardRotation) for stage in transforms)
    if "range_sigmas" in given or (rotated and "clip" in given and "layer_scales" not in given):
        if not rotated or "clip" not in given or "layer_scales" in given:
            raise ConfigurationError("range_sigmas needs rotation and clip, and no layer_scales: else give range")
        sigmas = positive_bound(given.get("range_sigmas", DEFAULT_SIGMAS), "range_sigmas")
        rotation = [isinstance(stage, HadamardRotation) for stage in transforms].index(True)
        return sigmas * ClipL2(given["clip"]).bound / math.sqrt(out_dims(transforms[: rotation + 1], dim)[-1])
    if "layer_scales" in given:
        return DEFAULTS["range"]
    return min((clip.bound for clip in clips), default=DEFAULTS["range"])


def _sequence(given: Mapping[str, Any], key: str) -> Any:
    """Give a list of the table, or an empty one."""
    value = given.get(key, ())
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"{key} must be a list, not {value!r}")
    return value


def _required(given: Mapping[str, Any], key: str) -> Any:
    """Give a value that has no default."""
    if key not in given:
        raise ConfigurationError(f"{key} is missing: this grid needs it")
    return given[key]


def _unknown(key: object) -> str:
    """Say which key was meant, if one is near."""
    near = difflib.get_close_matches(str(key), KEYS, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(KEYS)}"
    return f"unknown quantization key {key!r}; {meant}"
