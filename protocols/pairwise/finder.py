"""How many neighbours are enough: degree k and threshold t of the SecAgg+ graph, with a certificate.

A client of the k-regular graph shares its secrets with k neighbours and itself, and any t of these k + 1 shares open
one. With A corrupt and D vanishing clients among n, at random places of the graph, four things may go wrong; the finder
takes the least even k for which it can prove that each is unlikely (Bell et al. 2020, section 4 and appendix):

*connectivity, curious server* - the honest clients that stay fall apart into two groups, so that the server gets two
    sums. On a ring with reach k/2 this takes two runs of k/2 removed clients each; a union bound over the places of two
    runs gives n (n - k - 1) / 2 * C(A + D, k) / C(n, k), with C the binomial coefficient.
*connectivity, active server* - such a server sees the graph before it says who dropped out, so drop-outs are not at
    random places. Clients look for themselves (rule C29): any k/2 in a row on the ring must keep more survivors than
    can be corrupt among them. That needs no assumption on who drops out; that honest drop-outs do not trip the rule is
    part of correctness.
*secrecy* - some client has more than a corrupt neighbours, with a as small as the bound allows; it needs a < t. Where
    some of the n invited may never advertise keys, the population is the rest, among which corrupt ones weigh more.
*both shares, active server* - honest neighbours answer one kind of share each and corrupt ones both, so both secrets of
    a client need 2t <= (k + 1 - a) + 2a. Refused by 2t > k + 1 + a.
*correctness* - some client has fewer than t neighbours that stay, and the round cannot be opened.

What breaks secrecy is bounded by 2^-(sigma + 1) each (sigma = 40, plus log2 of the attempts that clients allow), what
breaks correctness by 2^-eta (eta = 20). Probabilities are hypergeometric and computed from exact integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from protocols.errors import ParameterError
from protocols.pairwise.params import Adversary

COMPLETE_BELOW = 64
"""Below this many clients the complete graph is used: rates round to whole clients, and k would come near n anyway."""

SIGMA = 40
ETA = 20


@dataclass(frozen=True)
class Bound:
    """One proven bound of a certificate, in bits: the event has probability at most 2^-bits, and needs ``required``."""

    event: str
    bits: float
    required: float

    @property
    def margin(self) -> float:
        """Bits to spare."""
        return self.bits - self.required


@dataclass(frozen=True)
class Certificate:
    """Degree and threshold for one setting, and why they suffice.

    Attributes:
        clients: n.
        corrupt: A, clients that collude with the server.
        dropped: D, clients that may vanish.
        adversary: ``"curious"`` or ``"active"``.
        degree: k, neighbours of a client, itself excluded.
        threshold: t, shares out of k + 1 that open a secret.
        corrupt_neighbours: a, the most corrupt neighbours that any client has (but for the secrecy bound).
        bounds: each event with its proven and its required bits; none for the complete graph.
    """

    clients: int
    corrupt: int
    dropped: int
    adversary: Adversary
    degree: int
    threshold: int
    corrupt_neighbours: int
    bounds: tuple[Bound, ...]

    @property
    def complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return self.degree == self.clients - 1


def find(
    clients: int,
    corrupt: int,
    dropped: int,
    adversary: Adversary,
    *,
    absent: int = 0,
    sigma: float = SIGMA,
    eta: float = ETA,
) -> Certificate:
    """Find the least degree, and its threshold, that withstand ``corrupt`` colluders and ``dropped`` drop-outs.

    Args:
        clients: n.
        corrupt: A, a whole number of clients.
        dropped: D, a whole number of clients.
        adversary: the server to withstand.
        absent: how many of the dropped may be missing from the start, so that the graph is drawn among the others.
        sigma: security in bits; add log2 of the number of attempts at the graph that clients allow.
        eta: correctness in bits.

    Raises:
        ParameterError: not even the complete graph withstands this, saying what it could.
    """
    if not 0 <= absent <= dropped:
        raise ParameterError(f"{absent} absent clients are not among the {dropped} that may drop out")
    if corrupt < 0 or dropped < 0 or corrupt + dropped >= clients:
        raise ParameterError(f"{corrupt} corrupt and {dropped} dropped leave nobody of {clients} clients")
    if clients >= COMPLETE_BELOW:
        start = 2 if adversary == "curious" else 4
        for degree in range(start, clients - 1, 2):
            found = _try(clients, corrupt, dropped, adversary, degree, clients - absent, sigma, eta)
            if found is not None:
                return found
    return _complete(clients, corrupt, dropped, adversary)


def _try(
    clients: int,
    corrupt: int,
    dropped: int,
    adversary: Adversary,
    degree: int,
    present: int,
    sigma: float,
    eta: float,
) -> Certificate | None:
    """Return the certificate of one degree, or ``None`` if one of its bounds fails."""
    secret, stay = sigma + 1, clients - dropped
    connected = Bound("survivors fall apart", connectivity_bits(clients, corrupt + dropped, degree), secret)
    if adversary == "curious" and connected.margin < 0:
        return None
    around = most_marked(present, corrupt, degree, secret)
    threshold = max(around + 1 if adversary == "curious" else (degree + 1 + around) // 2 + 1, 2)
    bounds = [
        Bound(
            f"a client has more than {around} corrupt neighbours", any_above(present, corrupt, degree, around), secret
        ),
        # A client that stays holds its own share too, so t - 1 surviving neighbours would do; one that drops does not.
        Bound(f"{degree} neighbours keep fewer than {threshold}", any_below(clients, stay, degree, threshold), eta),
    ]
    if adversary == "curious":
        bounds.append(connected)
    else:
        run = degree // 2
        within = most_marked(present, corrupt, run, secret)
        bounds += [
            Bound(f"{run} in a row hold more than {within} corrupt", any_above(present, corrupt, run, within), secret),
            Bound(f"{run} in a row keep fewer than {within + 1}", any_below(clients, stay, run, within + 1), eta),
        ]
    if any(bound.margin < 0 for bound in bounds):
        return None
    return Certificate(clients, corrupt, dropped, adversary, degree, threshold, around, tuple(bounds))


def _complete(clients: int, corrupt: int, dropped: int, adversary: Adversary) -> Certificate:
    least = corrupt + 1 if adversary == "curious" else (clients + corrupt) // 2 + 1
    threshold = max(least, max(corrupt, 1) + 2)
    if threshold > clients - dropped:
        raise ParameterError(
            f"infeasible: against {corrupt} corrupt of {clients} clients and an {adversary} server, {threshold} must "
            f"stay, so at most {max(clients - threshold, 0)} may drop out, not {dropped}"
        )
    return Certificate(clients, corrupt, dropped, adversary, clients - 1, threshold, corrupt, ())


# -- the bounds ----------------------------------------------------------------------------------------------------


def connectivity_bits(clients: int, removed: int, degree: int) -> float:
    """Return -log2 of the union bound that ``removed`` random clients cut the ring; infinite if they are too few."""
    if degree > removed:
        return math.inf
    runs = clients * (clients - degree - 1) / 2
    chosen = math.lgamma(removed + 1) - math.lgamma(removed - degree + 1)
    of_all = math.lgamma(clients + 1) - math.lgamma(clients - degree + 1)
    return -(math.log(runs) + chosen - of_all) / math.log(2)


def graph_bits(sigma: float, attempts: int) -> float:
    """Return the bits asked of each bound on secrecy when a server may try ``attempts`` graphs."""
    return sigma + 1 + math.log2(attempts)


@lru_cache(maxsize=4096)
def most_marked(clients: int, marked: int, draws: int, bits: float) -> int:
    """Return the least a such that any of ``clients`` random sets has more than a marked with at most 2^-bits."""
    allowed = math.log2(_all_draws(clients, draws)) - math.log2(clients) - bits
    total = 0
    for value, ways in _ways_down(clients, marked, draws):
        total += ways
        if math.log2(total) > allowed:
            return value
    return 0


def any_above(clients: int, marked: int, draws: int, value: int) -> float:
    """Return the bits of the union bound that any of ``clients`` random sets has more than ``value`` marked."""
    total = sum(ways for found, ways in _ways_down(clients, marked, draws) if found > value)
    return _union_bits(total, clients, draws)


def any_below(clients: int, marked: int, draws: int, value: int) -> float:
    """Return the bits of the union bound that any of ``clients`` random sets has fewer than ``value`` marked."""
    unmarked = _ways_down(clients, clients - marked, draws)
    return _union_bits(sum(ways for found, ways in unmarked if draws - found < value), clients, draws)


def _ways_down(clients: int, marked: int, draws: int) -> Iterator[tuple[int, int]]:
    """Yield (x, number of draws with exactly x marked) from the largest x down, in exact integers."""
    unmarked, value = clients - marked, min(marked, draws)
    ways = math.comb(marked, value) * math.comb(unmarked, draws - value)
    while value >= 0 and draws - value <= unmarked:
        yield value, ways
        ways = ways * value * (unmarked - draws + value) // ((marked - value + 1) * (draws - value + 1))
        value -= 1


def _union_bits(ways: int, clients: int, draws: int) -> float:
    if not ways:
        return math.inf
    return math.log2(_all_draws(clients, draws)) - math.log2(ways) - math.log2(clients)


@lru_cache(maxsize=1024)
def _all_draws(population: int, draws: int) -> int:
    return math.comb(population, draws)


# -- the published table ----------------------------------------------------------------------------------------------


def reference(
    clients: int, corrupt_rate: float, dropout_rate: float, adversary: Adversary, sigma: float = SIGMA, eta: float = ETA
) -> tuple[int, int] | None:
    """Return (k, t) by the published procedure, without our stronger active condition; ``None`` if infeasible.

    For comparison only: it rounds rates down to whole clients, and its active threshold grants 2t > k + a, which
    forgets the victim's own share and lets the server choose who drops out. Use ``find``.
    """
    corrupt, dropped = math.floor(corrupt_rate * clients), math.floor(dropout_rate * clients)
    for degree in range(2, clients - 1, 2):
        if connectivity_bits(clients, corrupt + dropped, degree) <= sigma + 1:
            continue
        least = most_marked(clients, corrupt, degree, sigma + 1)
        if adversary == "active":
            least = math.ceil((least + degree - 1.25) / 2)
        stay = math.ceil((1 - dropout_rate) * clients)
        most = _greatest_kept(clients, stay, degree, eta)
        if least < most:
            return degree, max(least + 1, 2)
    return None


def _greatest_kept(clients: int, stay: int, degree: int, eta: float) -> int:
    """Return the greatest t such that P[some client keeps fewer than t neighbours] <= 2^-eta."""
    return degree - most_marked(clients, clients - stay, degree, eta)
