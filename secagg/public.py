"""Public randomness of a round: streams by label, from the seed that the clients made together."""

from __future__ import annotations

from protocols.primitives.prg import AesCtrStream
from protocols.suites import Suite


class JointRandomness:
    """Derives every public stream of one round from its joint seed (implements ``quant.PublicRandomness``).

    The seed was committed to by all clients before anybody revealed a part, it is bound to the session, and a session
    takes one input of each client: no stream meets two updates.

    Args:
        cipher: the round's suite.
        seed: the joint seed, 32 bytes.
    """

    def __init__(self, cipher: Suite, seed: bytes) -> None:
        self._cipher = cipher
        self._seed = seed

    def stream(self, label: str, client: int | None = None) -> AesCtrStream:
        """Give the stream of ``label``, from its first byte; of one client if it is not common to all."""
        return AesCtrStream(self._cipher.hash("public-randomness", self._seed, label, client or 0))
