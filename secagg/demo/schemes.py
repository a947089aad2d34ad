"""How the demo's updates are put on the grid: schemes by name, and what is public about the updates of each kind.

A weight delta is bounded coordinate by coordinate, by the optimiser (`secagg.demo.config.update_limit`). A gradient is
bounded by nothing, so its Euclidean norm is clipped, and a rotation makes the grid's range follow from the clip.
"""

from collections.abc import Mapping
from types import MappingProxyType

from quant.refused import refuse_scheme
from secagg.errors import UsageError

GRADIENT_CLIP = 2.0
"""Public bound on the Euclidean norm of one site's gradient."""

GRADIENT_SIGMAS = 16.0
"""Range of an unrotated gradient, in root mean squares of a gradient as long as the clip: few large coordinates."""

ROTATED_SIGMAS = 4.0
"""Range after a rotation, likewise: 6e-5 of the coordinates saturate."""

ADAPTIVE_START = 0.25
"""Where an adaptive clip begins: this share of the most that the norm of an update can be."""

SCHEMES: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "stochastic": {"rounding": "stochastic"},
        "nearest": {"rounding": "nearest"},
        "dither": {"rounding": "dither"},
        "rotation": {"rounding": "stochastic", "rotation": True},
        "rotation-dither": {"rounding": "dither", "rotation": True},
    }
)
"""Name to keys of ``quant.presets``. Dither and rotation draw on the joint seed that the sites make together."""


def check_scheme(name: str) -> None:
    """Refuse what is no scheme; of the field's schemes that cannot be summed, say why and what replaces them.

    Raises:
        quant.ConfigurationError: a scheme that cannot be summed.
        UsageError: an unknown name, with the ones there are.
    """
    if name not in SCHEMES:
        refuse_scheme(name)
        raise UsageError(f"unknown scheme {name!r}: choose one of {', '.join(SCHEMES)}")


def rotates(name: str) -> bool:
    """Whether a scheme rotates."""
    return "rotation" in SCHEMES[name]


def delta_settings(name: str, levels: int, limit: float, dim: int, clip: float | None) -> dict[str, object]:
    """Give the quantization of weight deltas.

    Args:
        name: one of `SCHEMES`.
        levels: of the grid.
        limit: bound on every coordinate of a delta.
        dim: coordinates.
        clip: L2 clip of this round, if the clip adapts (the round then adds it itself).
    """
    keys = {**SCHEMES[name], "levels": levels}
    if clip is not None:
        return keys | _range_of_clip(name, clip, dim, limit)
    # A rotation of a vector of such coordinates makes none longer than limit * sqrt(dim), and few longer than this.
    return keys | {"range": limit * (ROTATED_SIGMAS / 2 if rotates(name) else 1.0)}


def gradient_settings(name: str, levels: int, dim: int, clip: float | None) -> dict[str, object]:
    """Give the quantization of gradients; see `delta_settings`."""
    keys = {**SCHEMES[name], "levels": levels}
    if clip is not None:
        return keys | _range_of_clip(name, clip, dim, GRADIENT_CLIP)
    return keys | {"clip": GRADIENT_CLIP} | _range_of_clip(name, GRADIENT_CLIP, dim, GRADIENT_CLIP)


def _range_of_clip(name: str, clip: float, dim: int, most: float) -> dict[str, object]:
    sigmas = ROTATED_SIGMAS if rotates(name) else GRADIENT_SIGMAS
    return {"range": min(sigmas * clip / dim**0.5, most)}
