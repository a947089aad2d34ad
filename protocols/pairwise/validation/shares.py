"""Rules C15 to C20 and S5: who shared keys, and what they dealt."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocols.pairwise.messages import DealtShares, RelayedShares, ShareKeys, SharePair, most_sealed
from protocols.pairwise.noise import ShareTree
from protocols.pairwise.params import LocalPolicy, Roster, RoundParams
from protocols.pairwise.validation.rules import Rule, ascending, refuse, signed
from protocols.primitives import shamir
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
    """C17: one entry from each neighbour in U2, ascending, none from anybody else, in the form of this round."""
    if [entry.dealer for entry in relayed] != list(expected) or any(
        len(entry.offers) != offers_length(params, entry.dealer, client) or not _in_form(params, entry, entry)
        for entry in relayed
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
    about = (session, entry.dealer, holder, entry.commitments, entry.hashes)
    statement = dealt_statement(*about, entry.offers, entry.sealed)
    if not signed(params, policy.roster, entry.dealer, entry.signature, "share-keys", statement):
        refuse(Rule.SHARE_AS_PUBLISHED, f"the shares said to come from client {entry.dealer} are not signed by it")


def check_share_pair(params: RoundParams, pair: SharePair | None, dealer: int, holder: int) -> SharePair:
    """C18: the sealed pair opened under the key and associated data of this direction, and names both ends.

    It holds as many shares of noise as the round has components.
    With a roster the dealer signed the sealed bytes, and is named; without one they may come from anybody.
    """
    noise_bytes = shamir.ELEMENT_BYTES * params.noise_components
    if pair is None or (pair.dealer, pair.holder, len(pair.noise_shares)) != (dealer, holder, noise_bytes):
        refuse(
            Rule.SHARE_AUTHENTIC,
            f"the shares said to come from client {dealer} are not from it to this client",
            dealer if params.adversary == "active" else None,
        )
    return pair


def check_published_share(params: RoundParams, session: bytes, entry: RelayedShares, pair: SharePair) -> None:
    """C19: each share is the one whose hash the dealer published."""
    if entry.hashes != share_hashes(params.cipher_suite, session, pair):
        refuse(Rule.SHARE_AS_PUBLISHED, f"client {pair.dealer} dealt other shares than it published", pair.dealer)


def share_hash(cipher: Suite, session: bytes, kind: str, dealer: int, holder: int, share: bytes) -> bytes:
    """Hash one share for publication. Shares are uniform field elements, so the hash hides them."""
    return cipher.hash("share", session, kind, dealer, holder, share)


def share_hashes(cipher: Suite, session: bytes, pair: SharePair) -> tuple[bytes, bytes, bytes]:
    """Hash the shares of a pair: (self mask, mask key, root over those of the noise)."""
    return (
        share_hash(cipher, session, "self-mask", pair.dealer, pair.holder, pair.self_mask_share),
        share_hash(cipher, session, "mask-key", pair.dealer, pair.holder, pair.mask_key_share),
        ShareTree(cipher, session, pair.dealer, pair.holder).root(pair.noise_shares),
    )


def self_mask_hash(cipher: Suite, session: bytes, dealer: int, seed: bytes) -> bytes:
    """Hash a self-mask seed for publication."""
    return cipher.hash("self-mask-seed", session, dealer, seed)


def dealt_statement(
    session: bytes,
    dealer: int,
    holder: int,
    commitments: tuple[bytes, bytes],
    hashes: tuple[bytes, bytes, bytes],
    offers: bytes,
    sealed: bytes,
) -> tuple[Context, ...]:
    """Return what a dealer signs for one holder.

    ``commitments`` are to the self-mask seed and to the noise, ``hashes`` those of the holder's shares.
    """
    return (session, dealer, holder, *commitments, *hashes, offers, sealed)


def _in_form(params: RoundParams, by: ShareKeys | RelayedShares, entry: DealtShares | RelayedShares) -> bool:
    """Tell whether noise is committed to if and only if the round has some to remove, and no sealed pair is longer."""
    size = 32 if params.noise_components else 0
    committed = len(by.noise_commitment) == len(entry.noise_shares_root) == size
    return committed and len(entry.sealed) <= most_sealed(params.noise_components)


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
    """S5: one signed entry per holder, ascending; sealed for others, open only in the dealer's own entry.

    It is in the form of this round: offers as its suite makes them, commitments to noise if it has some to remove.
    """
    if [entry.holder for entry in message.dealt] != list(holders):
        refuse(Rule.SHARES_COMPLETE, f"client {dealer} did not deal to exactly its neighbours and itself", dealer)
    for entry in message.dealt:
        if (entry.holder == dealer) != (not entry.sealed):
            refuse(Rule.SHARES_COMPLETE, f"client {dealer} sealed a share to itself or left one unsealed", dealer)
        if len(entry.offers) != offers_length(params, dealer, entry.holder):
            refuse(Rule.SHARES_COMPLETE, f"client {dealer} made offers of another length than the suite's", dealer)
        if not _in_form(params, message, entry):
            refuse(Rule.SHARES_COMPLETE, f"client {dealer} dealt shares of another form than this round's", dealer)
        about = (session, dealer, entry.holder, message.commitments, entry.hashes)
        statement = dealt_statement(*about, entry.offers, entry.sealed)
        if not signed(params, roster, dealer, entry.signature, "share-keys", statement):
            refuse(
                Rule.SHARES_COMPLETE,
                f"the shares of client {dealer} are not signed as this round asks",
                dealer,
            )
