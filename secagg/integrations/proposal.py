"""A round's configuration as one text, for a server that proposes and a site that judges."""

from __future__ import annotations

import json
from typing import Any

import msgspec

import quant
from protocols.pairwise.params import Adversary, Protocol
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.privacy import RoundPrivacy


class _Proposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a proposal says, typed: a study that is a list, or a round 2.5, would spoil the ledger of its reader."""

    clients: tuple[int, ...]
    layout: dict[str, Any]
    quantization: dict[str, Any]
    max_weight: int | None
    threshold: int | None
    study: str
    round_index: int
    attempt: int
    adversary: Adversary
    roster: str
    colluders: int
    protocol: Protocol
    tolerated_dropouts: int | None
    attempt_limit: int
    joint_randomness: bool
    metrics: dict[str, float]
    privacy: dict[str, Any] | None


_BUILT = {"layout", "quantization", "roster", "metrics", "privacy"}


def propose(config: RoundConfig) -> str:
    """Return canonical JSON from which ``read_proposal`` builds an equal configuration."""
    described = {name: getattr(config, name) for name in _Proposal.__struct_fields__ if name not in _BUILT} | {
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
        given = msgspec.json.decode(text, type=_Proposal)
        plain = {name: getattr(given, name) for name in _Proposal.__struct_fields__ if name not in _BUILT}
        return RoundConfig(
            layout=quant.Layout.from_config(given.layout),
            quantization=given.quantization,
            roster=bytes.fromhex(given.roster),
            metrics=given.metrics,
            privacy=None if given.privacy is None else RoundPrivacy.from_config(given.privacy),
            **plain,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, UsageError | quant.QuantError):
            raise
        raise UsageError(f"this is not the proposal of a round: {error}") from error
