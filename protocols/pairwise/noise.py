"""Removable noise: seeds that every client draws, shares, and lets the survivors open as far as noise is to come off.

Whoever adds noise for privacy sizes it for the fewest survivors, and takes the excess out of the sum when more survive
("XNoise", Jiang, Wang and Chen 2024, "Dordis: efficient federated learning with dropout-resilient differential
privacy"). Each client adds components j = 1 .. K, each from a seed of its own. With D of the n invited clients missing
from U3, the components j > D of the survivors are redundant; their seeds, and no others, become known to the server.

**A chain of links.** What is opened is always a tail D + 1 .. K. So a client draws one link s_1 and goes on from there,

    s_{j+1} = derive(s_j, "noise-link", session, client, j),
    seed of component j = derive(s_j, "noise-component", session, client, j):

a forward-secure generator (Bellare and Yee 2003). To open the tail is to open s_{D+1}: it gives every later link and
component, and as long as the derivation is a pseudorandom function the earlier ones look uniform to whoever has it.
The end of the chain, s_{K+1}, is published with the shares: the dealer's commitment.

**Shares.** Every link is Shamir-shared like the other two secrets, with the same threshold t among the same holders. So
a survivor that never answers cannot keep its noise in the sum, and no phase is added. A holder computes D itself,
from the invited clients and the survivor list that it answers for, and gives one share of one link of every survivor
near it: of the links before that, and of anybody who is missing, it gives nothing. It answers once (rule C32).

**Commitment to shares.** A holder has K shares of a dealer and shows at most one. The dealer therefore publishes the
root of a hash tree over them (32 bytes, whatever K is), and the answer carries the path: log2 K hashes.

**Which threshold hides what.** Fix a victim. Its links are s_1 .. s_K; whoever opens s_j has all later ones, so what
counts is the smallest j that is opened.

*Curious server.* It asks once and names the true U3. Every honest holder gives shares of s_{D+1}; c colluders know
their own shares of all links. For j <= D that is c < t shares of s_j: nothing. That is the condition on the other two
secrets, t > c; and s_{D+1} is what the server is meant to have.

*Active server.* Honest holders answer once, each with a share of one link. To open two links of the victim it takes 2t
shares; n honest and colluding holders give at most n + c (``params``): 2t > n + c makes that impossible, with holders
for n and the corrupt among them for c in a sparse graph. So one link is opened, that of one survivor list, and all
honest clients hold the same list L: more than (n + c) / 2 have signed it (rule C25; in a sparse graph that is asked for
beside the t of a neighbourhood, where different neighbourhoods could agree on lists of different sizes).
Whatever sum is opened holds every honest client of L: their masks for each other cancel in it only. So n - D - c honest
clients or more are in it, each with the noise that is left after D. A colluder on the list that sent nothing changes
nothing: it was assumed to add no noise.

*The missing.* Of a client outside of U3 nothing is revealed. If its input arrives late, all its noise is in it; and the
input stays under its self mask.

K is at most n - ``least_survivors``, since no more can be missing. The layer that sizes the noise wants K equal to n
less the fewest survivors that it was sized for; a smaller K leaves the noise short when more than K are missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.pairwise.params import RoundParams
from protocols.primitives import merkle, shamir
from protocols.secret import Secret
from protocols.suites import Suite


def first_removed(params: RoundParams, survivors: Iterable[int]) -> int | None:
    """Return the number of the first component that comes off, D + 1; ``None`` if all of them stay in the sum.

    D counts the invited clients that are no survivors, whatever else stands in the list.
    """
    number = len(set(params.clients).difference(survivors)) + 1
    return number if number <= params.noise_components else None


# -- the dealer's chain ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """The links of one client's noise from one of them on.

    Attributes:
        cipher, session, client: what every derivation is bound to.
        first: number of the link that is known, from 1.
        last: K.
        link: s_first, 32 bytes.
    """

    cipher: Suite
    session: bytes
    client: int
    first: int
    last: int
    link: Secret

    def links(self) -> tuple[Secret, ...]:
        """Return s_first .. s_K."""
        return tuple(map(Secret, self._walk()[:-1]))

    def seeds(self) -> tuple[Secret, ...]:
        """Return the 32-byte seeds of components first .. K."""
        return tuple(
            Secret(self.cipher.derive(link, "noise-component", self.session, self.client, number))
            for number, link in enumerate(self._walk()[:-1], start=self.first)
        )

    def commitment(self) -> bytes:
        """Return s_{K+1}, which the dealer publishes."""
        return self._walk()[-1]

    def _walk(self) -> list[bytes]:
        found = [self.link.reveal()]
        for number in range(self.first, self.last + 1):
            found.append(self.cipher.derive(found[-1], "noise-link", self.session, self.client, number))
        return found


# -- a holder's shares -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShareTree:
    """The hash tree over the shares that one holder has of one dealer's links.

    Shares are uniform field elements, so their hashes hide them. Leaf j - 1 is the share of s_j.
    """

    cipher: Suite
    session: bytes
    dealer: int
    holder: int

    def root(self, shares: bytes) -> bytes:
        """Return the root over the shares, which stand one behind the other; empty if there are none."""
        return merkle.root(self._leaves(shares), self._join) if shares else b""

    def open(self, shares: bytes, number: int) -> tuple[bytes, bytes]:
        """Return (share of s_number, path to the root)."""
        path = merkle.path(self._leaves(shares), number - 1, self._join)
        return _elements(shares)[number - 1], path

    def opened_root(self, share: bytes, number: int, components: int, path: bytes) -> bytes | None:
        """Return the root under which ``share`` is the one of s_number, or ``None`` if the path has another length."""
        return merkle.climb(self._leaf(number, share), number - 1, components, path, self._join)

    def _leaves(self, shares: bytes) -> list[bytes]:
        return [self._leaf(number, share) for number, share in enumerate(_elements(shares), start=1)]

    def _leaf(self, number: int, share: bytes) -> bytes:
        return self.cipher.hash("noise-share", self.session, self.dealer, self.holder, number, share)

    def _join(self, left: bytes, right: bytes) -> bytes:
        return self.cipher.hash("noise-shares", left, right)


def _elements(shares: bytes) -> list[bytes]:
    size = shamir.ELEMENT_BYTES
    return [shares[low : low + size] for low in range(0, len(shares), size)]
