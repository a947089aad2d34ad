"""A round's configuration as one text, for a server that proposes and a site that judges."""

from __future__ import annotations

import json
from typing import Any

import quant
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.privacy import RoundPrivacy

_PLAIN = (
    *("max_weight", "threshold", "study", "round_index", "attempt", "adversary", "colluders", "protocol"),
    *("tolerated_dropouts", "attempt_limit", "joint_randomness"),
)


def propose(config: RoundConfig) -> str:
    """Return canonical JSON from which ``read_proposal`` builds an equal configuration."""
    described = {name: getattr(config, name) for name in _PLAIN} | {
        "clients": list(config.clients),
        "layout": config.layout.config(),
        "quantization": config.codec.config(),
        "roster": config.roster.hex(),
        "metrics": dict(config.metrics),
        "privacy": None if config.privacy is None else config.privacy.config(),
    }
    return json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_proposal(text: str) -> RoundConfig:
    """Build the configuration that a server proposes; whether to accept it is the site's policy's business.

    Raises:
        UsageError: not a proposal.
        quant.QuantError: quantization that cannot be used.
        secagg.privacy.PrivacyInputError: numbers that make no private round.
        protocols.ParameterError: parameters that make no protocol.
    """
    try:
        given: dict[str, Any] = json.loads(text)
        plain = {name: given.pop(name) for name in _PLAIN}
        return RoundConfig(
            clients=tuple(given["clients"]),
            layout=quant.Layout.from_config(given["layout"]),
            quantization=given["quantization"],
            roster=bytes.fromhex(given["roster"]),
            metrics=given["metrics"],
            privacy=None if given["privacy"] is None else RoundPrivacy.from_config(given["privacy"]),
            **plain,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, UsageError | quant.QuantError):
            raise
        raise UsageError(f"this is not the proposal of a round: {error}") from error
