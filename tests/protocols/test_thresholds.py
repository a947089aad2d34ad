"""The conditions on the threshold, derived in params.py, by exhaustion on small cohorts."""

from __future__ import annotations

from itertools import product

import pytest

from protocols import ParameterError
from protocols.pairwise.params import (
    MIN_HIDDEN_INPUTS,
    Adversary,
    default_threshold,
    least_threshold,
    threshold_against_server,
)

pytestmark = pytest.mark.fast

SMALL = [(n, c) for n in range(2, 9) for c in range(n)]


def shares_of_both_secrets(answers: tuple[str, ...], colluders: int) -> tuple[int, int]:
    """How many shares of each secret of one victim come together when each honest client gives one kind."""
    return answers.count("self") + colluders, answers.count("key") + colluders


def active_server_wins(n: int, c: int, t: int) -> bool:
    """Whether some way to ask the n - c honest clients (the victim among them) opens both secrets."""
    ways = product(("self", "key", "nothing"), repeat=n - c)
    return any(min(shares_of_both_secrets(answers, c)) >= t for answers in ways)


def curious_server_wins(n: int, c: int, t: int) -> bool:
    """Whether following the protocol opens both: everybody honest answers one kind, the colluders know both."""
    return any(min(shares_of_both_secrets((kind,) * (n - c), c)) >= t for kind in ("self", "key"))


@pytest.mark.parametrize(("n", "c"), SMALL, ids=str)
def test_active_condition_is_exact(n: int, c: int) -> None:
    for t in range(1, n + 1):
        assert active_server_wins(n, c, t) == (2 * t <= n + c)
        assert (t >= threshold_against_server(n, "active", c)) == (not active_server_wins(n, c, t))


@pytest.mark.parametrize(("n", "c"), SMALL, ids=str)
def test_curious_condition_is_exact(n: int, c: int) -> None:
    for t in range(1, n + 1):
        assert curious_server_wins(n, c, t) == (t <= c)
        assert (t >= threshold_against_server(n, "curious", c)) == (not curious_server_wins(n, c, t))


@pytest.mark.parametrize("adversary", ["curious", "active"])
@pytest.mark.parametrize(("n", "c"), SMALL, ids=str)
def test_the_least_threshold_hides_two_inputs(n: int, c: int, adversary: Adversary) -> None:
    least = least_threshold(n, adversary, c)
    assert least - max(c, 1) >= MIN_HIDDEN_INPUTS
    one_less = least - 1
    assert one_less - max(c, 1) < MIN_HIDDEN_INPUTS or one_less < threshold_against_server(n, adversary, c)


@pytest.mark.parametrize("adversary", ["curious", "active"])
@pytest.mark.parametrize(("n", "c"), SMALL, ids=str)
def test_the_default_is_safe_and_can_be_met_or_is_refused(n: int, c: int, adversary: Adversary) -> None:
    least = least_threshold(n, adversary, c)
    if least > n:
        with pytest.raises(ParameterError, match=r"needed|hide"):
            default_threshold(n, adversary, c)
        return
    assert least <= default_threshold(n, adversary, c) <= n


def test_the_published_defaults() -> None:
    """Threshold floor(2n/3) + 1, from the table of small cohorts against an active server."""
    table = {3: 3, 4: 3, 5: 4, 7: 5, 10: 7, 16: 11, 32: 22}
    assert {n: default_threshold(n, "active", 1) for n in table} == table
