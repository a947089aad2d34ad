"""Rules C10 to C14, C27, C28, S4 and S11: the key directory and the joint seed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from protocols.pairwise.messages import AdvertisedKeys, AdvertiseKeys, RevealedPart
from protocols.pairwise.params import LocalPolicy, Roster, RoundParams
from protocols.pairwise.validation.parameters import check_graph
from protocols.pairwise.validation.rules import Rule, ascending, refuse, signed
from protocols.primitives.key_agreement import AgreementError
from protocols.suites import PrivateKey


def check_directory_ids(params: RoundParams, directory: Sequence[AdvertisedKeys]) -> None:
    """C10: ascending, nobody twice, nobody uninvited."""
    ids = [entry.client for entry in directory]
    if not ascending(ids) or not set(ids) <= set(params.clients):
        refuse(Rule.DIRECTORY_IDS, "the key directory repeats, reorders or invents clients")


def check_own_entry(directory: Sequence[AdvertisedKeys], client: int, advertised: AdvertiseKeys) -> None:
    """C11: this client's own keys stand in the directory as it sent them."""
    own = AdvertisedKeys(client, advertised.enc_key, advertised.mask_key, advertised.commitment, advertised.signature)
    if own not in directory:
        refuse(Rule.DIRECTORY_OWN_ENTRY, "the key directory leaves this client out or changes its keys")


def check_directory_size(params: RoundParams, policy: LocalPolicy, directory: Sequence[AdvertisedKeys]) -> None:
    """C12: enough clients are here, and a sparse graph is as safe among them as it would be among all invited."""
    if len(directory) < params.least_survivors:
        refuse(
            Rule.DIRECTORY_LARGE_ENOUGH,
            f"{len(directory)} clients advertised keys, fewer than the {params.least_survivors} that must stay",
        )
    if params.sparse:
        check_graph(params, policy, len(directory), Rule.DIRECTORY_LARGE_ENOUGH)


def check_directory_keys(params: RoundParams, directory: Sequence[AdvertisedKeys]) -> None:
    """C13: every key has the suite's length and appears once, in whatever role."""
    keys = [key for entry in directory for key in (entry.enc_key, entry.mask_key)]
    if any(len(key) != params.cipher_suite.agreement.public_bytes for key in keys):
        refuse(Rule.DIRECTORY_KEYS_DISTINCT, "a key of the directory has another length than the suite's")
    if len(set(keys)) != len(keys):
        refuse(Rule.DIRECTORY_KEYS_DISTINCT, "two entries of the key directory share a key")


def check_directory_signatures(
    params: RoundParams, policy: LocalPolicy, directory: Iterable[AdvertisedKeys], client: int
) -> None:
    """C14: with a roster every other entry is signed by its member; without one there are no signatures.

    Nobody is named: an entry that its member did not sign is not held against that member.
    """
    for entry in directory:
        if entry.client != client:
            keys = AdvertiseKeys(entry.enc_key, entry.mask_key, entry.commitment, entry.signature)
            if not advertised_keys_signed(params, policy.roster, entry.client, keys):
                refuse(Rule.DIRECTORY_SIGNED, f"the keys said to come from client {entry.client} are not signed by it")


def advertised_keys_signed(params: RoundParams, roster: Roster | None, client: int, keys: AdvertiseKeys) -> bool:
    """Tell whether ``keys`` carry the signature that this round asks for."""
    statement = (params.hash(), client, keys.enc_key, keys.mask_key, keys.commitment)
    return signed(params, roster, client, keys.signature, "advertise-keys", statement)


def check_initiated(key: PrivateKey, public: bytes, client: int) -> bytes:
    """C27: the key is canonical and not of low order. Returns the shared secret, for the caller's eyes only."""
    try:
        return key.initiated(public)
    except AgreementError as error:
        refuse(Rule.KEY_CONTRIBUTORY, f"client {client} advertised a {error}", client)


def check_responded(key: PrivateKey, public: bytes, offer: bytes, client: int) -> bytes:
    """C27, for the side that was made an offer."""
    try:
        return key.responded(public, offer)
    except AgreementError as error:
        refuse(Rule.KEY_CONTRIBUTORY, f"client {client} advertised a {error}", client)


def check_advertised_keys(
    params: RoundParams, roster: Roster | None, client: int, keys: AdvertiseKeys, known: Collection[bytes]
) -> None:
    """S4: two distinct fresh canonical keys of full order, signed as the round asks."""
    agreement = params.cipher_suite.agreement
    if {len(keys.enc_key), len(keys.mask_key)} != {agreement.public_bytes}:
        refuse(Rule.KEYS_ACCEPTABLE, f"client {client} advertised a key of another length", client)
    if keys.enc_key == keys.mask_key or keys.enc_key in known or keys.mask_key in known:
        refuse(Rule.KEYS_ACCEPTABLE, f"client {client} advertised a key that is already in use", client)
    probe = agreement.load(b"\x01" * agreement.secret_bytes)
    for key in (keys.enc_key, keys.mask_key):
        try:
            probe.initiated(key)
        except AgreementError as error:
            refuse(Rule.KEYS_ACCEPTABLE, f"client {client} advertised a {error}", client)
    if len(keys.commitment) != (32 if params.commits else 0):
        refuse(
            Rule.KEYS_ACCEPTABLE, f"client {client} committed to no part of the joint seed, or to one too many", client
        )
    if not advertised_keys_signed(params, roster, client, keys):
        refuse(Rule.KEYS_ACCEPTABLE, f"the keys of client {client} are not signed as this round asks", client)


# -- joint randomness ----------------------------------------------------------------------------------------------


def part_commitment(params: RoundParams, client: int, part: bytes) -> bytes:
    """Hash a client's 32-byte part of the joint seed; the hash hides and binds it."""
    return params.cipher_suite.hash("joint-commitment", params.hash(), client, part)


def check_parts(params: RoundParams, commitments: Mapping[int, bytes], parts: Sequence[RevealedPart]) -> None:
    """C28: everybody in the directory revealed exactly the part it had committed to.

    Nobody is named: parts are not signed, and the server has checked them by rule S11 if it is honest.
    """
    if [entry.client for entry in parts] != list(commitments):
        refuse(Rule.RANDOMNESS_AS_COMMITTED, "parts of the joint seed are missing, repeated or invented")
    for entry in parts:
        if part_commitment(params, entry.client, entry.part) != commitments[entry.client]:
            refuse(
                Rule.RANDOMNESS_AS_COMMITTED,
                f"the part said to come from client {entry.client} is not the one that it had committed to",
            )


def check_part(params: RoundParams, commitment: bytes, client: int, part: bytes) -> None:
    """S11: the same, at the server, for one client; who committed to nothing reveals nothing."""
    if (part_commitment(params, client, part) if part else b"") != commitment:
        refuse(
            Rule.PART_AS_COMMITTED,
            f"client {client} revealed another part of the joint seed than it had committed to",
            client,
        )
