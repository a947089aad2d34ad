"""Pairwise masking: SecAgg (Bonawitz et al., CCS 2017) and, on the same machine, SecAgg+ (Bell et al., CCS 2020).

Reading order: ``messages``, ``states``, ``client``, ``server``, ``validation``.
"""

from protocols.pairwise.accumulate import Accumulator, MemoryAccumulator
from protocols.pairwise.client import Client
from protocols.pairwise.ledger import Ledger, MemoryLedger
from protocols.pairwise.messages import Phase
from protocols.pairwise.params import LocalPolicy, Roster, RoundParams, VectorSpec, default_threshold
from protocols.pairwise.relay import MemoryRelay, Relay
from protocols.pairwise.server import Server
from protocols.pairwise.validation import Rule

__all__ = [
    "Accumulator",
    "Client",
    "Ledger",
    "LocalPolicy",
    "MemoryAccumulator",
    "MemoryLedger",
    "MemoryRelay",
    "Phase",
    "Relay",
    "Roster",
    "RoundParams",
    "Rule",
    "Server",
    "VectorSpec",
    "default_threshold",
]
