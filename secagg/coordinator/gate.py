"""Who may speak: size, rate, signature, clock and sequence are checked before anything is done."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from secagg.study.definition import Study
from secagg.transport.authentication import CLOCK_TOLERANCE, RequestHead, Unsigned, read_head

MAX_ADDRESSES = 4096
"""Addresses whose failures are remembered; the least recently seen one is forgotten first."""


class Refused(Exception):
    """A request that is not served.

    Attributes:
        status: of the answer.
        reason: one line for the side that must act.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class Bucket:
    """A token bucket: ``burst`` at once, ``rate`` a second in the long run."""

    rate: float
    burst: float
    level: float = 0.0
    last: float = 0.0

    def take(self, now: float) -> bool:
        """Tell whether one more is allowed."""
        self.level = max(0.0, self.level - (now - self.last) * self.rate)
        self.last = now
        if self.level + 1 > self.burst:
            return False
        self.level += 1
        return True


class Gate:
    """Lets the members of one study in.

    Args:
        study: whose members.
        sequences: the highest sequence number of each site that is remembered on disk.
        wall: the coordinator's clock, seconds since 1970.
        clock: seconds that only grow, for rates.
        tolerance: seconds that a site's clock may be off; ``None`` where requests are under way for days.
    """

    def __init__(
        self,
        study: Study,
        sequences: Mapping[int, int],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        tolerance: float | None = CLOCK_TOLERANCE,
    ) -> None:
        self._tolerance = tolerance
        self._study, self._wall, self._clock = study, wall, clock
        self._sequences = dict(sequences)
        self._sites: dict[int, Bucket] = {}
        self._failures: OrderedDict[str, Bucket] = OrderedDict()

    def admit(self, address: str, method: str, target: str, headers: Mapping[str, str]) -> tuple[RequestHead, bytes]:
        """Return (head, signature) of a request that may be served; its body is still to be compared with the head.

        Raises:
            Refused: saying what to do.
        """
        failures = self._failures.get(address)
        if failures is not None and failures.level >= failures.burst - 1 and not failures.take(self._clock()):
            raise Refused(429, "too many refused requests from this address: wait a minute")
        try:
            head, signature = self._checked(method, target, headers)
        except Refused:
            self._failed(address)
            raise
        bucket = self._sites.setdefault(head.site, Bucket(rate=100, burst=400))
        if not bucket.take(self._clock()):
            raise Refused(429, "this site sends too many requests: wait a second")
        self._sequences[head.site] = head.sequence
        return head, signature

    def _checked(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[RequestHead, bytes]:
        try:
            head, signature = read_head(method, target, headers)
        except Unsigned as error:
            raise Refused(401, str(error)) from None
        if head.study != self._study.hash:
            raise Refused(
                409, f"the coordinator runs another study file (fingerprint {self._study.fingerprint}): compare it"
            )
        key = self._study.roster.key(head.site)
        if key is None:
            raise Refused(403, f"there is no site {head.site} on the roster: send the .pub file to the lead")
        if not head.is_signed(key, signature):
            raise Refused(401, f"this request is not signed by site {head.site}: wrong key, or changed on the way")
        skew = head.time - self._wall()
        if self._tolerance is not None and abs(skew) > self._tolerance:
            raise Refused(
                401,
                f"this site's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}: set it (NTP), then retry",
            )
        last = self._sequences.get(head.site, -1)
        if head.sequence <= last:
            raise Refused(
                425,
                f"sequence number {head.sequence} was used before (last: {last}): a replayed request, or another "
                "machine uses this site's key",
            )
        return head, signature

    def _failed(self, address: str) -> None:
        bucket = self._failures.setdefault(address, Bucket(rate=20, burst=400))
        bucket.take(self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
