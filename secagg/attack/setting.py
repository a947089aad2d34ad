"""The configuration under attack."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from protocols.pairwise import default_threshold, finder
from protocols.pairwise.params import Adversary, Protocol
from secagg.attack.cohort import ACTIVE, CURIOUS, SPARSE_ACTIVE, SPARSE_CURIOUS, Cohort, Variant, make_cohort
from secagg.errors import UsageError
from secagg.study import definition
from secagg.study.rounds import noise_over_clip

REHEARSED = 12
"""Clients of a rehearsal at most, on the complete graph; threshold and colluders shrink in proportion."""

REHEARSED_SPARSE = 70

_POLICY = ("colluders", "min_clients", "min_threshold", "sigma", "min_cohort_difference", "max_attempts", "adversary")


@dataclass(frozen=True)
class Setting:
    """What is attacked: a round, what its sites insist on, and what lies above the protocol.

    Attributes:
        clients: n.
        threshold: t; ``None`` for the default.
        adversary: the server that the round withstands, ``"curious"`` or ``"active"``.
        protocol: ``"secagg"`` or ``"secagg+"``.
        colluders: sites that collude with the server.
        dropouts: sites that may vanish (secagg+).
        policy: fields of ``LocalPolicy`` that differ from a default that expects this adversary and these colluders.
        pin_task: whether sites insist on one task.
        quantization: keys of ``quant.presets``.
        field_bits: bits of one coordinate's sum; ``None`` for as many as are needed.
        dim: coordinates of an update.
        noise_multiplier: standard deviation of the noise in the sum over one site's clip; 0 for none.
        clear: names of numbers about its data that a site sends beside the masked ones.
        model_pinned: whether sites train only a model that they looked at before.
        evidence: whether masked inputs are kept for an auditor.
        batch: examples of one site's gradient, for gradient inversion.
        own_grid: whether every site takes as many bits as its own update needs.
        own_pattern: whether every site chooses which coordinates it sends.

    Raises:
        UsageError: a value that makes no configuration.
    """

    clients: int = 10
    threshold: int | None = None
    adversary: Adversary = "active"
    protocol: Protocol = "secagg"
    colluders: int = 1
    dropouts: int | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    pin_task: bool = True
    quantization: Mapping[str, object] = field(default_factory=lambda: {"bits": 12, "range": 1.0, "clip": 1.0})
    field_bits: int | None = None
    dim: int = 4096
    noise_multiplier: float = 0.0
    clear: tuple[str, ...] = ()
    model_pinned: bool = False
    evidence: bool = False
    batch: int = 8
    own_grid: bool = False
    own_pattern: bool = False

    def __post_init__(self) -> None:
        """Refuse at construction."""
        if self.adversary not in ("curious", "active") or self.protocol not in ("secagg", "secagg+"):
            raise UsageError("adversary is curious or active, protocol is secagg or secagg+")
        if self.clients < 3 or self.colluders < 0 or self.dim < 1 or self.batch < 1 or self.noise_multiplier < 0:
            raise UsageError("clients (3 or more), colluders, dim, batch and noise_multiplier are counts or sizes")
        unknown = set(self.policy) - set(_POLICY)
        if unknown:
            raise UsageError(f"[policy] has no {sorted(unknown)[0]!r}; known are {', '.join(_POLICY)}")

    @property
    def sparse(self) -> bool:
        """Whether the graph is sparse at this size."""
        return self.protocol == "secagg+" and self.clients >= finder.COMPLETE_BELOW

    @property
    def least(self) -> int:
        """Least number of inputs in a sum."""
        if self.sparse:
            return self.clients - self._dropped(self.clients)
        return self.threshold or default_threshold(self.clients, self.adversary, self.colluders)

    def _dropped(self, clients: int) -> int:
        return self.dropouts if self.dropouts is not None else -(-clients // 20)

    def cohort(self, *, full: bool = False, **changes: Any) -> Cohort:
        """Return the round as it is rehearsed, or with all its clients.

        Args:
            full: with all clients; only to see whether sites accept the round.
            changes: fields of ``RoundParams`` that differ.
        """
        most = REHEARSED_SPARSE if self.sparse else REHEARSED
        size = self.clients if full else min(self.clients, most)
        colluders = min(self.colluders, -(-self.colluders * size // self.clients))
        policy = {"colluders": colluders, **self.policy}
        if self.pin_task:
            policy["task"] = bytes(32)
        if self.sparse:
            sigma = finder.SIGMA + 2
            gone = min(self._dropped(self.clients), self._dropped(size)) if self.dropouts is None else self.dropouts
            found = finder.find(size, colluders, gone, self.adversary, absent=gone, sigma=sigma)
            return make_cohort(
                self._variant(), size, found.threshold, policy=policy,
                **{"degree": found.degree, "min_survivors": size - gone, **changes},
            )  # fmt: skip
        threshold = max(2, -(-self.least * size // self.clients))
        return make_cohort(self._variant(), size, threshold, policy=policy, **changes)

    def _variant(self) -> Variant:
        if self.sparse:
            return SPARSE_ACTIVE if self.adversary == "active" else SPARSE_CURIOUS
        return ACTIVE if self.adversary == "active" else CURIOUS


def read_setting(path: Path, **over: Any) -> Setting:
    """Read a configuration from TOML.

    Tables and keys: ``[round]`` with the fields of ``Setting`` up to ``dropouts``; ``[policy]``; ``[quantization]``;
    ``[leakage]`` with the others. All are optional.

    The ``study.toml`` of a consortium is read too: sites, ``[protocol]``, ``[quantization]`` and ``[privacy]`` say all
    that is needed.

    Args:
        path: the file.
        over: fields that the command line gave; they win.

    Raises:
        UsageError: no such file, no TOML, or an unknown key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {str(path)!r}: {error}") from None
    known = {entry.name for entry in fields(Setting)}
    told: dict[str, Any] = {}
    if "study" in document:
        told, document = _of_study(document, path), {}
    for name, table in document.items():
        if name in ("policy", "quantization") and isinstance(table, dict):
            told[name] = table
        elif name in ("round", "leakage") and isinstance(table, dict):
            told |= table
        else:
            raise UsageError(f"{str(path)!r} has {name!r}; known are [round], [policy], [quantization] and [leakage]")
    if set(told) - known:
        raise UsageError(f"{str(path)!r} has an unknown key {sorted(set(told) - known)[0]!r}")
    told |= {name: value for name, value in over.items() if value is not None}
    if "clear" in told:
        told["clear"] = tuple(told["clear"])
    try:
        return Setting(**told)
    except TypeError as error:
        raise UsageError(f"{str(path)!r}: {error}") from None


def _of_study(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Read what an attacker needs to know out of a study that a consortium signed."""
    told: dict[str, Any] = {"clients": len(document.get("site", ())), "pin_task": True}
    protection = document.get("protocol", {})
    told |= {
        name: protection[name] for name in ("protocol", "adversary", "colluders", "threshold") if name in protection
    }
    if document.get("quantization"):
        told["quantization"] = document["quantization"]
    if document.get("privacy"):
        told["noise_multiplier"] = noise_over_clip(definition.load(path), Setting.dim)
    return told
