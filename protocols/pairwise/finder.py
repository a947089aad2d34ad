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
*secrecy* - some client has more than a corrupt neighbours, with a as small as the bound allows; it needs a < t. The
    population is the n - D clients that may be all that take part, where corrupt ones weigh most.
*both shares, active server* - honest neighbours answer one kind of share each and corrupt ones both, so both secrets of
    a client need 2t <= (k + 1 - a) + 2a. Refused by 2t > k + 1 + a.
*correctness* - some client has fewer than t neighbours that stay, and the round cannot be opened.

What breaks secrecy is bounded by 2^-(sigma + 1) each (sigma = 40, plus log2 of the attempts that clients allow), what
breaks correctness by 2^-eta (eta = 20). Probabilities are hypergeometric and computed from exact integers.
"""

from __future__ import annotations

import math
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
    clients: int, corrupt: int, dropped: int, adversary: Adversary, *, sigma: float = SIGMA, eta: float = ETA
) -> Certificate:
    """Find the least degree, and its threshold, that withstand ``corrupt`` colluders and ``dropped`` drop-outs.

    Args:
        clients: n.
        corrupt: A, a whole number of clients.
        dropped: D, a whole number of clients.
        adversary: the server to withstand.
        sigma: security in bits; add log2 of the number of attempts at the graph that clients allow.
        eta: correctness in bits.

    Raises:
        ParameterError: not even the complete graph withstands this, saying what it could.
    """
    if corrupt < 0 or dropped < 0 or corrupt + dropped >= clients:
        raise ParameterError(f"{corrupt} corrupt and {dropped} dropped leave nobody of {clients} clients")
    if clients >= COMPLETE_BELOW:
        start = 2 if adversary == "curious" else 4
        for degree in range(start, clients - 1, 2):
            found = _try(clients, corrupt, dropped, adversary, degree, sigma, eta)
            if found is not None:
                return found
    return _complete(clients, corrupt, dropped, adversary)


def _try(
    clients: int, corrupt: int, dropped: int, adversary: Adversary, degree: int, sigma: float, eta: float
) -> Certificate | None:
    """Return the certificate of one degree, or ``None`` if one of its bounds fails."""
    secret, least_present = sigma + 1, clients - dropped
    corrupt_neighbours = most_marked(least_present, corrupt, degree, secret)
    least = corrupt_neighbours + 1 if adversary == "curious" else (degree + 1 + corrupt_neighbours) // 2 + 1
    threshold = max(least, 2)
    bounds = [
        Bound(
            f"a client has more than {corrupt_neighbours} corrupt neighbours",
            -any_above(least_present, corrupt, degree, corrupt_neighbours),
            secret,
        ),
        # A client that stays holds its own share too, so t - 1 surviving neighbours would do; one that drops does not.
        Bound(
            f"a client keeps fewer than {threshold} neighbours",
            -log2_tail_below(clients, least_present, degree, threshold) - math.log2(clients),
            eta,
        ),
    ]
    if adversary == "curious":
        bounds.append(Bound("survivors fall apart", connectivity_bits(clients, corrupt + dropped, degree), secret))
    else:
        run = degree // 2
        corrupt_run = most_marked(clients, corrupt, run, secret)
        kept = -log2_tail_below(clients, least_present, run, corrupt_run + 1) - math.log2(clients)
        bounds.append(
            Bound(
                f"a run of {run} has more than {corrupt_run} corrupt clients",
                -any_above(clients, corrupt, run, corrupt_run),
                secret,
            )
        )
        bounds.append(Bound(f"a run of {run} keeps fewer than {corrupt_run + 1} clients", kept, eta))
    if any(bound.margin < 0 for bound in bounds):
        return None
    return Certificate(clients, corrupt, dropped, adversary, degree, threshold, corrupt_neighbours, tuple(bounds))


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
    """Return the least a such that P[any of ``clients`` sets of random ``draws`` has more than a marked] <= 2^-bits."""
    draws = min(draws, clients)  # of fewer clients than wanted, all are drawn
    return next(a for a in range(draws + 1) if any_above(clients, marked, draws, a) <= -bits)


def any_above(clients: int, marked: int, draws: int, value: int) -> float:
    """Return log2 of the union bound over ``clients`` sets on P[more than ``value`` marked ones among ``draws``]."""
    return log2_tail_above(clients, marked, draws, value) + math.log2(clients)


def log2_tail_above(population: int, marked: int, draws: int, value: int) -> float:
    """Return log2 P[X > value] for X hypergeometric: marked ones among ``draws`` out of ``population``."""
    return _log2_ratio(_cumulative(population, marked, draws, value + 1, draws), population, draws)


def log2_tail_below(population: int, marked: int, draws: int, value: int) -> float:
    """Return log2 P[X < value] for X hypergeometric."""
    return _log2_ratio(_cumulative(population, marked, draws, 0, value - 1), population, draws)


def _cumulative(population: int, marked: int, draws: int, low: int, high: int) -> int:
    """Count the draws with low to high marked ones."""
    low, high = max(low, draws - (population - marked), 0), min(high, draws, marked)
    if low > high:
        return 0
    term = math.comb(marked, low) * math.comb(population - marked, draws - low)
    total = term
    for x in range(low, high):
        term = term * (marked - x) * (draws - x) // ((x + 1) * (population - marked - draws + x + 1))
        total += term
    return total


def _log2_ratio(count: int, population: int, draws: int) -> float:
    return -math.inf if count == 0 else math.log2(count) - math.log2(_all_draws(population, draws))


@lru_cache(maxsize=256)
def _all_draws(population: int, draws: int) -> int:
    return math.comb(population, draws)


# -- the published table ----------------------------------------------------------------------------------------------


def reference(
    clients: int, corrupt_rate: float, dropout_rate: float, adversary: Adversary, sigma: float = SIGMA, eta: float = ETA
) -> tuple[int, int] | None:
    """Return (k, t) by the published procedure, without our stronger active condition; ``None`` if infeasible.

    For comparison only: it rounds rates down to whole clients, and its active threshold grants 2t > k + a, which
    forgets the victim's own share. Use ``find``.
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
    kept = 0
    while kept < degree and log2_tail_below(clients, stay, degree, kept + 1) + math.log2(clients) <= -eta:
        kept += 1
    return kept
