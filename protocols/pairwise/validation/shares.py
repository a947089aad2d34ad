"""Rules C15 to C20 and S5: who shared keys, and what they dealt."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocols.pairwise.messages import RelayedShares, ShareKeys, SharePair
from protocols.pairwise.params import LocalPolicy, Roster, RoundParams
from protocols.pairwise.validation.rules import Rule, ascending, refuse, signed
from protocols.suites import Context, Suite


def check_shared_ids(directory: Collection[int], shared: Sequence[int], client: int) -> None:
    """C15: U2 ascends, lies in U1 and holds this client."""
    if not ascending(shared) or not set(shared) <= set(directory) or client not in shared:
        refuse(Rule.SHARED_IDS, "the list of clients that shared keys repeats, invents or leaves out clients")


def check_shared_size(params: RoundParams, directory: Collection[int], shared: Sequence[int]) -> None:
    """C16: enough clients shared keys; on a sparse graph against an active server, all of the directory."""
    needed = len(directory) if params.shares_from_all else params.least_survivors
    if len(shared) < needed:
        refuse(Rule.SHARED_LARGE_ENOUGH, f"{len(shared)} clients shared keys, fewer than the {needed} that must")


def check_relayed(params: RoundParams, client: int, relayed: Sequence[RelayedShares], expected: Sequence[int]) -> None:
    """C17: one entry from each neighbour in U2, ascending, none from anybody else, with offers of the right length."""
    if [entry.dealer for entry in relayed] != list(expected) or any(
        len(entry.offers) != offers_length(params, entry.dealer, client) for entry in relayed
    ):
        refuse(
            Rule.RELAYED_COMPLETE,
            "the relayed shares are not exactly those of the neighbours that shared keys",
        )


def check_share_signed(
    params: RoundParams, policy: LocalPolicy, session: bytes, entry: RelayedShares, holder: int
) -> None:
    """C19: with a roster, the dealer signed what was passed on; without one there is no signature.

    Checked first: only what carries the dealer's own signature is held against it. Without, nobody can be named.
    """
    hashes = (entry.self_mask_share_hash, entry.mask_key_share_hash)
    statement = dealt_statement(session, entry.dealer, holder, entry.self_mask_hash, hashes, entry.offers, entry.sealed)
    if not signed(params, policy.roster, entry.dealer, entry.signature, "share-keys", statement):
        refuse(Rule.SHARE_AS_PUBLISHED, f"the shares said to come from client {entry.dealer} are not signed by it")


def check_share_pair(params: RoundParams, pair: SharePair | None, dealer: int, holder: int) -> SharePair:
    """C18: the sealed pair opened under the key and associated data of this direction, and names both ends.

    With a roster the dealer signed the sealed bytes, and is named; without one they may come from anybody.
    """
    if pair is None or (pair.dealer, pair.holder) != (dealer, holder):
        refuse(
            Rule.SHARE_AUTHENTIC,
            f"the shares said to come from client {dealer} are not from it to this client",
            dealer if params.adversary == "active" else None,
        )
    return pair


def check_published_share(params: RoundParams, session: bytes, entry: RelayedShares, pair: SharePair) -> None:
    """C19: each share is the one whose hash the dealer published."""
    hashes = (entry.self_mask_share_hash, entry.mask_key_share_hash)
    if hashes != share_hashes(params.cipher_suite, session, pair):
        refuse(Rule.SHARE_AS_PUBLISHED, f"client {pair.dealer} dealt other shares than it published", pair.dealer)


def share_hash(cipher: Suite, session: bytes, kind: str, dealer: int, holder: int, share: bytes) -> bytes:
    """Hash one share for publication. Shares are uniform field elements, so the hash hides them."""
    return cipher.hash("share", session, kind, dealer, holder, share)


def share_hashes(cipher: Suite, session: bytes, pair: SharePair) -> tuple[bytes, bytes]:
    """Hash both shares of a pair: (self mask, mask key)."""
    return (
        share_hash(cipher, session, "self-mask", pair.dealer, pair.holder, pair.self_mask_share),
        share_hash(cipher, session, "mask-key", pair.dealer, pair.holder, pair.mask_key_share),
    )


def self_mask_hash(cipher: Suite, session: bytes, dealer: int, seed: bytes) -> bytes:
    """Hash a self-mask seed for publication."""
    return cipher.hash("self-mask-seed", session, dealer, seed)


def dealt_statement(
    session: bytes,
    dealer: int,
    holder: int,
    seed_hash: bytes,
    hashes: tuple[bytes, bytes],
    offers: bytes,
    sealed: bytes,
) -> tuple[Context, ...]:
    """Return what a dealer signs for one holder."""
    return (session, dealer, holder, seed_hash, *hashes, offers, sealed)


def offers_length(params: RoundParams, dealer: int, holder: int) -> int:
    """Return the bytes of offers from ``dealer`` to ``holder``: channel, and pairwise mask if it initiates that."""
    one = params.cipher_suite.agreement.offer_bytes
    return 0 if dealer == holder else one + (one if dealer < holder else 0)


def check_model(requested: bytes, own: bytes) -> None:
    """C20: the server speaks of the model that this client trained."""
    if requested != own:
        refuse(
            Rule.MODEL_AGREED,
            "the server asks for an update of another model than the one this client trained",
        )


def check_dealt_shares(
    params: RoundParams,
    roster: Roster | None,
    session: bytes,
    dealer: int,
    message: ShareKeys,
    holders: Sequence[int],
) -> None:
    """S5: one signed entry per holder, ascending; sealed for others, open only in the dealer's own entry."""
    if [entry.holder for entry in message.dealt] != list(holders):
        refuse(Rule.SHARES_COMPLETE, f"client {dealer} did not deal to exactly its neighbours and itself", dealer)
    for entry in message.dealt:
        if (entry.holder == dealer) != (not entry.sealed):
            refuse(Rule.SHARES_COMPLETE, f"client {dealer} sealed a share to itself or left one unsealed", dealer)
        if len(entry.offers) != offers_length(params, dealer, entry.holder):
            refuse(Rule.SHARES_COMPLETE, f"client {dealer} made offers of another length than the suite's", dealer)
        hashes = (entry.self_mask_share_hash, entry.mask_key_share_hash)
        statement = dealt_statement(
            session, dealer, entry.holder, message.self_mask_hash, hashes, entry.offers, entry.sealed
        )
        if not signed(params, roster, dealer, entry.signature, "share-keys", statement):
            refuse(
                Rule.SHARES_COMPLETE,
                f"the shares of client {dealer} are not signed as this round asks",
                dealer,
            )
