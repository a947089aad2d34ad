"""Rules C1 to C9 and C30: the round that the server proposes, against the client's own policy."""

from __future__ import annotations

from protocols.pairwise import finder
from protocols.pairwise.params import MIN_HIDDEN_INPUTS, LocalPolicy, RoundParams, threshold_against_server
from protocols.pairwise.validation.rules import Rule, refuse


def check_params(params: RoundParams, policy: LocalPolicy, client: int) -> None:
    """Rules C1 to C9 and C30: the round that the server proposes is one that this client accepts."""
    check_suite(params, policy)
    check_cohort(params, policy)
    check_threshold(params, policy)
    check_hidden_inputs(params, policy)
    check_adversary(params, policy)
    check_invited(params, client)
    check_roster(params, policy)
    check_upload(params, policy)
    check_task(params, policy)
    check_attempts(params, policy)


def check_suite(params: RoundParams, policy: LocalPolicy) -> None:
    """C1."""
    if params.suite not in policy.suites:
        refuse(Rule.SUITE_ACCEPTED, f"cipher suite {params.suite:#06x} is not accepted by the local policy")


def check_cohort(params: RoundParams, policy: LocalPolicy) -> None:
    """C2."""
    if len(params.clients) < policy.min_clients:
        refuse(
            Rule.COHORT_LARGE_ENOUGH,
            f"{len(params.clients)} clients are invited; the local policy asks for at least {policy.min_clients}",
        )


def check_threshold(params: RoundParams, policy: LocalPolicy) -> None:
    """C3: no lower than the policy's own minimum, and safe for the adversary class and its colluders."""
    if params.least_survivors < policy.min_threshold:
        refuse(
            Rule.THRESHOLD_SAFE,
            f"{params.least_survivors} inputs may be opened; the local policy asks for at least {policy.min_threshold}",
        )
    check_graph(params, policy, len(params.clients), Rule.THRESHOLD_SAFE)


def check_graph(params: RoundParams, policy: LocalPolicy, present: int, rule: Rule) -> None:
    """Refuse a threshold or degree that is not safe among ``present`` clients (C3 for all invited, C12 for U1)."""
    holders, corrupt = present, policy.colluders
    if params.sparse and params.degree < present - 1:
        holders, corrupt = params.degree + 1, _corrupt_neighbours(params, policy, present, rule)
    safe = threshold_against_server(holders, params.adversary, corrupt)
    if params.threshold < safe:
        refuse(
            rule,
            f"threshold {params.threshold} of {holders} falls to {corrupt} colluders and an {params.adversary} server; "
            f"at least {safe} is needed",
        )


def _corrupt_neighbours(params: RoundParams, policy: LocalPolicy, present: int, rule: Rule) -> int:
    """Check that a sparse graph stays connected, and return the most corrupt neighbours that any client has."""
    bits = finder.graph_bits(policy.sigma, policy.max_attempts)
    if not policy.colluders < params.least_survivors:
        refuse(rule, f"{policy.colluders} colluders among {params.least_survivors} leave nobody to hide among")
    # Against an active server rule C29 looks at the survivors themselves, whatever made the others drop out.
    if params.adversary == "curious":
        removed = policy.colluders + max(present - params.least_survivors, 0)
        if finder.connectivity_bits(present, removed, params.degree) < bits:
            refuse(
                rule,
                f"a graph of degree {params.degree} may fall apart when {removed} of {present} clients are corrupt or "
                "gone; a larger degree is needed",
            )
    return finder.most_marked(present, policy.colluders, params.degree, bits)


def check_attempts(params: RoundParams, policy: LocalPolicy) -> None:
    """C30: a server that may try again and again chooses among as many joint seeds."""
    if params.commits and params.attempt >= policy.max_attempts:
        refuse(Rule.ATTEMPTS_FEW, f"attempt {params.attempt + 1}; the local policy allows {policy.max_attempts}")


def check_hidden_inputs(params: RoundParams, policy: LocalPolicy) -> None:
    """C4: an opened sum hides at least two inputs from whoever knows c of them."""
    curious = max(policy.colluders, 1)
    if params.least_survivors - curious < MIN_HIDDEN_INPUTS:
        refuse(
            Rule.INPUTS_HIDDEN,
            f"a sum of {params.least_survivors} inputs shows those of the honest to {curious} curious; "
            f"at least {curious + MIN_HIDDEN_INPUTS} must survive",
        )


def check_adversary(params: RoundParams, policy: LocalPolicy) -> None:
    """C5."""
    if policy.adversary == "active" and params.adversary != "active":
        refuse(Rule.ADVERSARY_WITHSTOOD, "the round assumes a curious server; the local policy asks for active")


def check_invited(params: RoundParams, client: int) -> None:
    """C6."""
    if client not in params.clients:
        refuse(Rule.SELF_INVITED, f"client {client} is not among the invited clients")


def check_roster(params: RoundParams, policy: LocalPolicy) -> None:
    """C7: in an active round everybody is a member of the roster that this client knows."""
    if params.adversary != "active":
        return
    if policy.roster is None:
        refuse(Rule.ROSTER_KNOWN, "an active round needs a roster, and the local policy names none")
    if policy.roster.hash() != params.roster:
        refuse(Rule.ROSTER_KNOWN, "the round uses another roster than the one that the local policy approved")
    strangers = sorted(set(params.clients) - {client for client, _ in policy.roster.members})
    if strangers:
        refuse(Rule.ROSTER_KNOWN, f"clients {strangers[:8]} are not on the roster")


def check_upload(params: RoundParams, policy: LocalPolicy) -> None:
    """C8."""
    size = sum(vector.packed_bytes for vector in params.vectors)
    if size > policy.max_packed_bytes:
        refuse(
            Rule.UPLOAD_BOUNDED,
            f"masked input of {size} bytes; the local policy allows {policy.max_packed_bytes}",
        )


def check_task(params: RoundParams, policy: LocalPolicy) -> None:
    """C9."""
    if policy.studies is not None and params.study not in policy.studies:
        refuse(Rule.TASK_KNOWN, f"study {params.study!r} is not one that the local policy allows")
    if policy.task is not None and params.task != policy.task:
        refuse(
            Rule.TASK_KNOWN,
            "the task (quantization, weighting, privacy) is not the one that this client expects",
        )
