"""Private rounds over the sessions themselves, small enough to look into: what tests of private rounds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import quant
from protocols.pairwise import LocalPolicy
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.opened import Opened
from secagg.privacy import Fitted, Goal, LocalPrivacyPolicy, SitePrivacy, Unit, fit
from secagg.session import ClientSession, ServerSession
from tests.secagg.conftest import MODEL
from tests.support.entropy import InsecureSeededEntropy


def fitted(
    dim: int,
    *,
    clients: int = 5,
    least: int = 3,
    unit: Unit = Unit.PATIENT,
    width: int = 24,
    epsilon: float = 4.0,
    releases: int = 1,
    patients: int = 12,
    **settings: Any,
) -> Fitted:
    goal = Goal(epsilon=epsilon, delta=1e-5, releases=releases, least_survivors=least, colluders=1)
    found = fit(goal, clients=clients, dim=dim, clip=1.0, width=width, unit=unit, patients=patients, **settings)
    assert isinstance(found, Fitted), found.reason
    return found


def private_config(found: Fitted, dim: int, *, clients: int = 5, **settings: Any) -> RoundConfig:
    chosen: dict[str, Any] = {"threshold": found.privacy.least_survivors, "privacy": found.privacy} | settings
    return RoundConfig(
        clients=tuple(range(1, clients + 1)),
        layout=quant.Layout.of(np.zeros(dim)),
        quantization=found.quantization,
        **chosen,
    )


def rehearsal(config: RoundConfig) -> SitePrivacy:
    assert config.privacy_terms is not None
    return SitePrivacy.rehearsal(config.privacy_terms)


class Exchange:
    """One round, driven step by step; every frame that a client sent is kept, in order.

    Args:
        seed: makes the whole round repeatable; None for the operating system's entropy.
    """

    def __init__(
        self,
        config: RoundConfig,
        sites: Mapping[int, SitePrivacy] | None = None,
        *,
        seed: object = None,
        drop_inputs: Sequence[int] = (),
        drop_early: Sequence[int] = (),
    ) -> None:
        self.config = config
        private = config.clients if config.privacy is not None else ()
        self.sites = dict(sites or {client: rehearsal(config) for client in private})
        self.server = ServerSession(config, MODEL)
        self.sent: list[tuple[int, bytes]] = []
        self._gone = set(drop_inputs)
        self.sessions = {
            client: ClientSession(
                config,
                client,
                policy=LocalPolicy(),
                privacy=self.sites[client] if config.privacy is not None else None,
                entropy=None if seed is None else InsecureSeededEntropy(seed, client),
            )
            for client in config.clients
            if client not in drop_early
        }
        for client, session in self.sessions.items():
            self._send(client, session.start())
        while not any(session.wants_input for session in self.sessions.values()):
            self.exchange()

    def _send(self, client: int, frame: bytes) -> None:
        self.sent.append((client, frame))
        self.server.receive(client, frame)

    def exchange(self) -> None:
        for client, request in list(self.server.advance()):
            if client in self.sessions and not (client in self._gone and self.sessions[client].has_sent_input):
                for frame in self.sessions[client].receive(request):
                    self._send(client, frame)

    def submit(self, make: Callable[[int], Any]) -> dict[int, Contribution]:
        """Let every client that stays send what ``make`` gives for it."""
        contributions = {}
        for client, session in self.sessions.items():
            if client in self._gone:
                continue
            contributions[client] = session.prepare(make(client))
            for frame in session.submit(contributions[client], MODEL):
                self._send(client, frame)
        for client in self._gone:
            self.sessions.pop(client, None)
        return contributions

    def open(self) -> Opened:
        self.exchange()
        if self.config.adversary == "active":
            self.exchange()
        self.server.advance()
        return self.server.result()


def policy(clients: int) -> LocalPrivacyPolicy:
    return LocalPrivacyPolicy(max_survivors=clients)
