"""Rules S1 to S3, S6, S8 to S10 and S12: what the server refuses of a client."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocols.pairwise.messages import MaskedInput, Unmasking
from protocols.pairwise.params import Roster, RoundParams, VectorSpec
from protocols.pairwise.validation.rules import Rule, refuse, signed
from protocols.primitives import bitpack, residues
from protocols.secret import Secret
from protocols.suites import Context


def check_sender(params: RoundParams, client: int) -> None:
    """S1."""
    if client not in params.clients:
        refuse(Rule.SENDER_INVITED, f"client {client} is not invited to this round", client)


def check_in_phase(taking_part: Collection[int], client: int, message: str) -> None:
    """S2: the sender completed every earlier phase, and the message belongs to the present one."""
    if client not in taking_part:
        refuse(Rule.IN_PHASE, f"{message} from client {client}, which is out of the round or out of step", client)


def check_same_again(earlier: object, message: object, client: int) -> None:
    """S3: a repeated message is the same message."""
    if earlier != message:
        refuse(Rule.SAID_ONCE, f"client {client} said two different things in one phase", client)


def check_chunk(
    vectors: Sequence[VectorSpec], expected: tuple[int, int] | None, chunk: MaskedInput, client: int
) -> None:
    """S6: the next chunk of the vector in turn, of exactly its packed size, with zero padding."""
    if expected is None or (chunk.vector, chunk.offset) != expected:
        refuse(Rule.CHUNK_FITS, f"client {client} sent a chunk out of turn", client)
    spec = vectors[chunk.vector]
    length = spec.chunk_end(chunk.offset) - chunk.offset
    if len(chunk.payload) != bitpack.packed_size(length, spec.bits):
        refuse(
            Rule.CHUNK_FITS,
            f"client {client} sent a chunk of {len(chunk.payload)} bytes, not its size",
            client,
        )
    padding = -length * spec.bits % 8
    if padding and chunk.payload[-1] >> (8 - padding):
        refuse(Rule.CHUNK_FITS, f"client {client} sent a chunk whose padding is not zero", client)
    if not residues.is_power_of_two(spec.modulus):
        values = bitpack.unpack(chunk.payload, length, spec.bits)
        if int(values.max()) >= spec.modulus:
            refuse(Rule.CHUNK_FITS, f"client {client} sent a residue that is not below {spec.modulus}", client)


def chunk_statement(session: bytes, model_hash: bytes, vector: int, offset: int, digest: bytes) -> tuple[Context, ...]:
    """Return what a client signs for one chunk; ``digest`` is the SHA-256 of its payload."""
    return (session, model_hash, vector, offset, digest)


def check_chunk_signed(
    params: RoundParams, roster: Roster | None, client: int, statement: tuple[Context, ...], signature: bytes
) -> None:
    """S12: with a roster, the chunk is signed by its client; without one there is no signature."""
    if not signed(params, roster, client, signature, "masked-input", statement):
        refuse(Rule.INPUT_SIGNED, f"a chunk of client {client} is not signed as this round asks", client)


def check_answer(
    client: int, answer: Unmasking, survivors: Sequence[int], dropped: Sequence[int], *, noise: bool = False
) -> None:
    """S8: a share of exactly the secret that was asked for, of every neighbour, and of survivors' noise if it is."""
    self_masks = [entry.dealer for entry in answer.self_mask_shares]
    mask_keys = [entry.dealer for entry in answer.mask_key_shares]
    noises = [entry.dealer for entry in answer.noise_shares]
    if self_masks != list(survivors) or mask_keys != list(dropped) or noises != (list(survivors) if noise else []):
        refuse(Rule.ANSWER_COMPLETE, f"client {client} did not answer for exactly its neighbours", client)


def check_opening(published: bytes, opened: bytes | None, holder: int, dealer: int) -> None:
    """S9: a revealed share is the one that its dealer published for this holder."""
    if published != opened:
        refuse(
            Rule.OPENING_AS_PUBLISHED,
            f"client {holder} revealed another share of client {dealer} than it holds",
            holder,
        )


def check_secret(advertised: bytes, recomputed: bytes | None, secret: Secret | None, dealer: int) -> Secret:
    """S10: a reconstructed secret is the one that its dealer advertised. Returns the secret."""
    if secret is None or recomputed != advertised:
        refuse(
            Rule.SECRET_AS_ADVERTISED,
            f"client {dealer} dealt shares of another secret than it advertised",
            dealer,
        )
    return secret
