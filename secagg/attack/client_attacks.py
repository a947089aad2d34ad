"""What malicious clients do, against an honest server and honest clients. Client 2 lies; client 1 is the innocent one.

Each attack returns when it holds its prize, and otherwise raises whatever stopped it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

import msgspec
import numpy as np

from protocols import RemoteProtocolError, Secret
from protocols.pairwise import Client, Rule
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.primitives import shamir
from protocols.suites import CLASSICAL
from protocols.wire import Message
from secagg.attack.adversary import Attacker, AttackFailedError, same
from secagg.attack.cohort import MODEL, Cohort, identity
from secagg.attack.network import Delivery, Network, Tamper, edit, inside, read_frame
from secagg.attack.server_attacks import VICTIM, ask_alike

LIAR = 2
LOW_ORDER = [point.to_bytes(32, "little") for point in (0, 1, 2**255 - 20)]
"""Points of order 4, 1 and 2 on the curve or its twist, in canonical form (RFC 7748, section 6.1, has the reason)."""


def raise_what_stopped(network: Network) -> None:
    """Raise the first refusal on either side."""
    for _, error in network.rejected:
        raise error
    for error in network.refusals.values():
        raise error


def expect_wrong_sum(network: Network, honest: Sequence[int]) -> None:
    """The prize: the server accepts a sum that is not the sum of the inputs."""
    raise_what_stopped(network)
    opened = network.finish()
    if all(np.array_equal(opened[name], total) for name, total in network.cohort.sum_of(honest).items()):
        raise AttackFailedError("the sum is right")


def expect_innocent_blamed(network: Network, dealer: int) -> None:
    """The prize: the server ends the round with an accusation of an honest dealer."""
    raise_what_stopped(network)
    try:
        network.finish()
    except RemoteProtocolError as error:
        if (error.rule, error.culprit) == (Rule.SECRET_AS_ADVERTISED, dealer):
            return
    raise AttackFailedError("nobody innocent was blamed")


def expect_round_lost(network: Network) -> None:
    """The prize: one liar makes every honest client give up."""
    for _, error in network.rejected:
        raise error
    honest = set(network.cohort.ids) - {LIAR}
    if not honest <= network.refusals.keys():
        raise AttackFailedError(f"only {sorted(network.refusals)} gave up")


# -- keys and shares -------------------------------------------------------------------------------------------------


def join_uninvited(cohort: Cohort) -> None:
    """A client that nobody invited takes part. The prize: its input is in the sum."""
    same(Network(cohort, strict=True).run(), cohort.sum_of(cohort.ids))


def advertise_low_order_keys(cohort: Cohort) -> None:
    """All the victim's peers advertise mask keys of low order, and tell the server nothing.

    The prize: whoever sees the directory knows the victim's pairwise masks, so a curious server reads its input.
    """
    clients = cohort.clients()
    for peer, key in zip(cohort.ids[1:], LOW_ORDER, strict=True):
        advertise(clients[peer], inside(clients[peer]).advertised.enc_key, key)
    server = cohort.server()
    for client, machine in clients.items():
        server.receive(client, machine.start())
    attacker = Attacker(cohort, clients=clients).reach_inputs()
    ask_alike(attacker, cohort.ids, cohort.ids)
    attacker.agreed = dict.fromkeys(cohort.ids[1:], bytes(32))
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def advertise(client: Client, enc_key: bytes, mask_key: bytes) -> None:
    """Let a malicious client advertise keys of its choice, signed as the round asks."""
    me = inside(client).me
    commitment = inside(client).advertised.commitment
    signature = me.sign("advertise-keys", me.params.hash(), me.client, enc_key, mask_key, commitment)
    keys = m.AdvertiseKeys(enc_key, mask_key, commitment, signature)
    client.state = msgspec.structs.replace(client.state, advertised=keys)


def deal_nothing(cohort: Cohort) -> None:
    """The liar deals the others nothing. The prize: the server takes that for a dealing, and all others give up."""

    def change(message: m.ShareKeys) -> Message:
        dealt = tuple(msgspec.structs.replace(entry, sealed=b"") for entry in message.dealt)
        return msgspec.structs.replace(message, dealt=dealt)

    network = Network(cohort, tampers=[edit(m.ShareKeys, change, client=LIAR)])
    network.step()
    network.step()
    for _, error in network.rejected:
        raise error
    network.step()
    expect_round_lost(network)


def publish_another_share(cohort: Cohort, of: str = "self_mask_share_hash") -> None:
    """The liar deals the victim a share other than the published one. The prize: the victim is blamed for it."""
    network = Network(cohort, tampers=[change_dealt(VICTIM, hashes={of: sha256(b"another").digest()})])
    network.until(m.Phase.UNMASKING)
    for error in network.refusals.values():
        raise error
    refused = [error for _, error in network.rejected if isinstance(error, RemoteProtocolError)]
    blamed = [error for error in refused if error.rule is Rule.OPENING_AS_PUBLISHED]
    if [error.culprit for error in blamed] != [VICTIM]:
        raise AttackFailedError("the victim was not blamed")


def change_dealt(
    holder: int, *, published: Mapping[str, bytes] | None = None, hashes: Mapping[str, bytes] | None = None
) -> Tamper:
    """Let the liar publish other hashes, signed by it where the round asks for that.

    Args:
        holder: in whose entry.
        published: other values in the message.
        hashes: other values in the entry.
    """

    def tamper(delivery: Delivery) -> list[bytes]:
        session, message = read_frame(delivery.frame)
        if not isinstance(message, m.ShareKeys) or delivery.client != LIAR:
            return [delivery.frame]
        dealt = tuple(
            msgspec.structs.replace(entry, **(hashes or {})) if entry.holder == holder else entry
            for entry in message.dealt
        )
        message = msgspec.structs.replace(message, dealt=dealt, **(published or {}))
        if message.dealt[0].signature:
            message = resign(session, message)
        return [m.CODEC.encode(session, message)]

    return tamper


def resign(session: bytes, message: m.ShareKeys) -> m.ShareKeys:
    """The liar's own signatures on a message that it changed."""
    dealt = []
    for entry in message.dealt:
        about = (session, LIAR, entry.holder, message.commitments, entry.hashes)
        statement = check.dealt_statement(*about, entry.offers, entry.sealed)
        signature = CLASSICAL.sign(identity(LIAR), "share-keys", *statement)
        dealt.append(msgspec.structs.replace(entry, signature=signature))
    return msgspec.structs.replace(message, dealt=tuple(dealt))


def mask_with_another_seed(cohort: Cohort) -> None:
    """The liar masks with, and publishes the hash of, a seed other than the one it dealt. The prize: a wrong sum."""
    other = Secret(sha256(b"another seed").digest())
    network = Network(cohort)
    network.step()
    ahead = network.fork().server
    ahead.advance()
    seed_hash = check.self_mask_hash(cohort.params.cipher_suite, inside(ahead).session, LIAR, other.reveal())
    network.tampers.append(change_dealt(0, published={"self_mask_hash": seed_hash}))
    network.step()
    liar = network.clients[LIAR]
    liar.state = msgspec.structs.replace(liar.state, self_mask_seed=other)
    network.until(m.Phase.UNMASKING)
    expect_wrong_sum(network, cohort.ids)


# -- inputs ----------------------------------------------------------------------------------------------------------


def send_input_without_shares(cohort: Cohort) -> None:
    """The liar advertises keys, deals no shares and still sends an input. The prize: all others give up."""
    network = Network(cohort)
    network.step()
    network.step([client for client in cohort.ids if client != LIAR])
    network.step()
    session = inside(network.server).session
    spec = cohort.params.vectors[0]
    network.server.receive(LIAR, m.CODEC.encode(session, signed_chunk(cohort, session, 0, bytes(spec.packed_bytes))))
    network.step()
    expect_round_lost(network)


def signed_chunk(cohort: Cohort, session: bytes, vector: int, payload: bytes) -> m.MaskedInput:
    """A chunk that the liar signs where the round asks for that."""
    statement = check.chunk_statement(session, MODEL, vector, 0, sha256(payload).digest())
    signature = CLASSICAL.sign(identity(LIAR), "masked-input", *statement) if cohort.variant.active else b""
    return m.MaskedInput(vector, 0, payload, signature)


def change_an_input_on_the_way(cohort: Cohort) -> None:
    """Somebody between a client and the server changes its masked input. The prize: a wrong sum."""

    def change(chunk: m.MaskedInput) -> Message:
        changed = bytes([chunk.payload[0] ^ 1]) + chunk.payload[1:]
        return m.MaskedInput(chunk.vector, chunk.offset, changed, chunk.signature)

    network = Network(cohort, tampers=[edit(m.MaskedInput, change, client=LIAR)], strict=True)
    network.until(m.Phase.UNMASKING)
    expect_wrong_sum(network, cohort.ids)


def say_two_things(cohort: Cohort) -> None:
    """The liar advertises two pairs of keys. The prize: the server does not notice."""
    network = Network(cohort)
    network.step()
    other = cohort.client(LIAR, cohort.entropy(99))
    network.server.receive(LIAR, other.start())


def send_one_vector_twice(cohort: Cohort) -> None:
    """The liar sends its second vector in place of the first. The prize: a wrong sum."""
    swapped = {0: 1, 1: 1}

    network = Network(cohort)

    def change(chunk: m.MaskedInput) -> Message:
        return signed_chunk(cohort, inside(network.server).session, swapped[chunk.vector], chunk.payload)

    network.tampers.append(edit(m.MaskedInput, change, client=LIAR))
    network.until(m.Phase.UNMASKING)
    expect_wrong_sum(network, cohort.ids)


# -- survivors and answers -------------------------------------------------------------------------------------------


def sign_other_survivors(cohort: Cohort) -> None:
    """The liar's signature on the survivors is no signature. The prize: all others give up."""
    change = edit(m.ConsistencyCheck, lambda message: m.ConsistencyCheck(bytes(64)), client=LIAR)
    network = Network(cohort, tampers=[change]).until(m.Phase.CONSISTENCY_CHECK)
    for _, error in network.rejected:
        raise error
    network.step()
    expect_round_lost(network)


def answer_for_some(cohort: Cohort) -> None:
    """The liar leaves the victim's share out of its answer. The prize: the victim is blamed as a bad dealer."""

    def change(answer: m.Unmasking) -> Message:
        kept = tuple(entry for entry in answer.self_mask_shares if entry.dealer != VICTIM)
        return msgspec.structs.replace(answer, self_mask_shares=kept)

    expect_innocent_blamed(answer_falsely(cohort, change), VICTIM)


def answer_falsely(cohort: Cohort, change: Callable[[m.Unmasking], Message]) -> Network:
    """A round in which just t clients, the liar among them, answer the unmasking question."""
    network = Network(cohort, tampers=[edit(m.Unmasking, change, client=LIAR)])
    network.until(cohort.variant.phases[-2])
    network.step(cohort.ids[: cohort.params.threshold])
    return network


def change_a_share(cohort: Cohort) -> Callable[[m.Unmasking], Message]:
    """Move the victim's self-mask seed by one: the liar knows with which weight its share enters."""
    points = cohort.ids[: cohort.params.threshold]
    weight = shamir.lagrange_at_zero(points)[points.index(LIAR)]

    def moved(entry: m.RevealedShare) -> m.RevealedShare:
        if entry.dealer != VICTIM:
            return entry
        share = shamir.decode_element(entry.share) + pow(weight, -1, shamir.PRIME)
        return m.RevealedShare(entry.dealer, shamir.encode_element(share % shamir.PRIME))

    return lambda answer: msgspec.structs.replace(answer, self_mask_shares=tuple(map(moved, answer.self_mask_shares)))


def reveal_a_false_share(cohort: Cohort) -> None:
    """The liar reveals a share that it was not dealt. The prize: the victim is blamed as a bad dealer."""
    expect_innocent_blamed(answer_falsely(cohort, change_a_share(cohort)), VICTIM)


def falsify_the_sum_with_a_share(cohort: Cohort) -> None:
    """The liar reveals a share that it was not dealt. The prize: a wrong sum."""
    network = answer_falsely(cohort, change_a_share(cohort))
    raise_what_stopped(network)
    expect_wrong_sum(network, cohort.ids)


def reveal_another_part(cohort: Cohort) -> None:
    """The liar reveals another part of the joint seed than it committed to. The prize: all others give up."""
    other = sha256(b"another part").digest()

    def change(message: Message) -> Message:
        return msgspec.structs.replace(message, part=other)

    tampers = [edit(kind, change, client=LIAR) for kind in (m.RevealRandomness, m.ShareKeys)]
    network = Network(cohort, tampers=tampers[:1] if cohort.variant.sparse else tampers[1:])
    network.step()
    network.step()
    for _, error in network.rejected:
        raise error
    network.step()
    expect_round_lost(network)
