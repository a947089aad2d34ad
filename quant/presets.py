"""Codecs by name: what a study's ``[quantization]`` table, the command line and notebooks write.

Order of the chain, fixed and visible here: clip (L2) -> clip_linf -> grid of ``levels`` points on [-range, range].
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from quant.checks import whole_number
from quant.clip import Clip, ClipL2, ClipLinf
from quant.codec import UpdateCodec, chain
from quant.errors import ConfigurationError
from quant.grid import UniformGrid

DEFAULTS: Mapping[str, object] = MappingProxyType({"bits": 12, "range": 1.0, "rounding": "stochastic"})
"""Used for keys that are absent. A range that fits the updates is worth more than bits: set it."""

KEYS = ("bits", "levels", "range", "clip", "clip_linf", "rounding", "dim")

MAX_BITS = 32


def from_config(config: Mapping[str, object], dim: int) -> UpdateCodec:
    """Build the codec that a table of settings describes, for vectors of shape (dim,).

    Keys, all optional (None counts as absent; see `DEFAULTS`):

    - ``bits``: 1 to 32, for 2^bits levels; or ``levels``: any whole number from 2 to 2^32. An odd number of levels
      has a grid point at zero, so that zeros stay zeros;
    - ``range``: the grid spans [-range, range]; if absent, the smaller of the clips that are given;
    - ``clip``: bound on the Euclidean norm; ``clip_linf``: bound on each coordinate;
    - ``rounding``: ``stochastic`` (unbiased) or ``nearest``;
    - ``dim``: as in ``codec.config()``; must agree with the argument.

    ``from_config(codec.config(), dim)`` equals ``codec``.

    Raises:
        ConfigurationError: an unknown key (naming the nearest known one), or a value that is out of range.
    """
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"quantization settings are a table of keys, not {type(config).__name__}")
    given = {key: value for key, value in config.items() if value is not None}
    for key in given:
        if key not in KEYS:
            raise ConfigurationError(_unknown(key))
    if given.get("dim", dim) != dim:
        raise ConfigurationError(f"these settings are for {given['dim']} coordinates, the update has {dim}")
    clips: list[Clip] = []  # the constructors check what they are given
    if "clip" in given:
        clips.append(ClipL2(given["clip"]))  # type: ignore[arg-type]
    if "clip_linf" in given:
        clips.append(ClipLinf(given["clip_linf"]))  # type: ignore[arg-type]
    reach = min((clip.bound for clip in clips), default=DEFAULTS["range"])
    return chain(*clips, _grid({"range": reach, **given}), dim=dim)


def _grid(given: Mapping[str, object]) -> UniformGrid:
    """Build the grid, with defaults where keys are absent."""
    if "bits" in given and "levels" in given:
        raise ConfigurationError("give bits or levels, not both (levels = 2^bits)")
    levels = given.get("levels")
    if levels is None:
        levels = 2 ** whole_number(given.get("bits", DEFAULTS["bits"]), "bits", 1, MAX_BITS)
    rounding = given.get("rounding", DEFAULTS["rounding"])
    return UniformGrid(levels, given["range"], rounding)  # type: ignore[arg-type]


def _unknown(key: object) -> str:
    """Say which key was meant, if one is near."""
    near = difflib.get_close_matches(str(key), KEYS, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(KEYS)}"
    return f"unknown quantization key {key!r}; {meant}"
