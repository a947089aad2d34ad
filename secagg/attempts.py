"""A round is tried again when the joint seed could not be made, as often as everybody's policy allows.

Only attempts that ended before any input was sent are repeated: one contribution per round and model is all that a
client ever makes. Every client counts the attempts itself, in its ledger (rule C30), and the margin of the SecAgg+
graph pays for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from protocols import Secret
from protocols.pairwise import LocalPolicy, MemoryLedger, Phase, Roster
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.errors import SeedMissing
from secagg.feedback import SiteResidual
from secagg.inprocess import InProcessRound, Observer
from secagg.opened import Opened
from secagg.privacy import SitePrivacy
from secagg.record import RoundRecord
from secagg.session import ClientSession
from secagg.witness import RoundWitness


def run_attempts(
    config: RoundConfig,
    model_hash: bytes,
    contribute: Callable[[int, ClientSession], Contribution],
    *,
    dropouts: Mapping[int, str] | None = None,
    policy: LocalPolicy | None = None,
    identities: Mapping[int, Secret] | None = None,
    roster: Roster | None = None,
    workers: int = 1,
    view: bool = False,
    observe: Observer | None = None,
    residuals: Mapping[int, SiteResidual] | None = None,
    witness: Callable[[RoundConfig], RoundWitness] | None = None,
    privacy: Mapping[int, SitePrivacy] | None = None,
) -> tuple[Opened, InProcessRound]:
    """Run a round in one process, again without those who vanished for as long as the joint seed cannot be made.

    Args:
        config: the round; its ``attempt`` is the first.
        model_hash: 32-byte hash of the model that everybody trained.
        contribute: see ``InProcessRound.run``; called in the attempt that gets so far, once a client.
        dropouts: client -> the phase that it does not complete; one that vanished stays away from later attempts.
        policy: what every client insists on, ``max_attempts`` included.
        identities: of the clients, against an active server.
        roster: their public keys.
        workers: threads for taking off masks.
        view: keep one client's update three times in the record.
        observe: called as clients complete phases.
        residuals: with error feedback, what each client kept of earlier rounds.
        witness: makes what keeps the evidence of an attempt.
        privacy: in a private round, every client's ledger and policy. An attempt is charged when its input is made, so
            one that ended before is free.

    Returns:
        The opened sum, and the attempt that opened it; its record holds the bytes and seconds of all attempts.

    Raises:
        SeedMissing: in the last attempt that policy and round allow.
        RoundRefused: too few clients stayed, or a rule was broken.
    """
    policy = policy or LocalPolicy(colluders=config.colluders, adversary=config.adversary, roster=roster)
    gone, record = dict(dropouts or {}), None
    ledgers = {client: MemoryLedger() for client in config.clients}
    last = config.attempt + min(policy.max_attempts, config.attempt_limit) - 1
    while True:
        attempt = InProcessRound(
            config,
            model_hash,
            dropouts=gone,
            policy=policy,
            identities=identities,
            roster=roster,
            workers=workers,
            view=view,
            observe=observe,
            ledgers=ledgers,
            residuals=residuals,
            record=record,
            witness=None if witness is None else witness(config),
            privacy=privacy,
        )
        try:
            return attempt.run(contribute), attempt
        except SeedMissing as error:
            if config.attempt >= last:
                raise
            record = _continued(attempt.record)
            gone |= dict.fromkeys(error.missing, Phase.ADVERTISE_KEYS.value)
            config = replace(config, attempt=config.attempt + 1)


def _continued(record: RoundRecord) -> RoundRecord:
    """Give the record of an attempt that failed, for the next one to go on with."""
    record.attempts += 1
    return record
