"""The records of a transcript: one JSON object a line, in the order in which a study makes them.

Every record says its number and the SHA-256 of the line before it. Hashes, keys and signatures are lower-case hex,
payloads base64, signatures empty where the round has no identities. No record holds a share. ``Opening`` is the one
that holds more than sites see of each other, and is written on request only: read its text.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from protocols.pairwise.params import ClientId, RoundParams, decode_field, encode_field
from secagg.transcript.receipts import Hash, Receipt, Signature

FORMAT = 1
"""Version of the schema; a reader refuses others."""

Count = Annotated[int, msgspec.Meta(ge=0)]
Ids = tuple[ClientId, ...]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    """Base of all records.

    Attributes:
        number: place in the transcript, from 0.
        previous: SHA-256 of the line before, without its newline; zeros in the first.
    """

    number: Count = 0
    previous: Hash = "0" * 64


class Study(Record, frozen=True, tag="study"):
    """The first record: who takes part and what is assumed.

    Attributes:
        format: version of the schema.
        study: name of the study, the one in the parameters of every round.
        software: what wrote the transcript.
        roster: (client, hex of its identity key), ascending; empty in a study without identities.
        colluders: sites that are assumed to collude with the server (c).
        sigma: bits of statistical security asked of sparse graphs.
        max_attempts: attempts at one round that sites allow.
        min_cohort_difference: sites by which the cohorts of two answers to one query must differ.
        facts: what an impact assessment asks for and no protocol knows, by heading ("purpose", "data" ...).
    """

    format: int
    study: str
    software: str
    roster: tuple[tuple[ClientId, Hash], ...]
    colluders: Count
    sigma: Count = 40
    max_attempts: Count = 4
    min_cohort_difference: Count = 2
    facts: dict[str, str] = {}


class Parameters(Record, frozen=True, tag="parameters"):
    """A round begins.

    Attributes:
        params: the protocol parameters, all fields (bytes in base64).
        params_hash: what every derivation of the round is bound to.
        task: the canonical JSON whose SHA-256 is ``params.task`` (layout, quantization, weighting, privacy).
        model_hash: hash of the model that is trained.
    """

    params: RoundParams
    params_hash: Hash
    task: str
    model_hash: Hash


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One client's advertised keys, and its commitment to a part of the joint seed (or empty)."""

    client: ClientId
    enc_key: str
    mask_key: str
    commitment: str
    signature: Signature


class Directory(Record, frozen=True, tag="directory"):
    """The key directory U1, ascending, and the session that it makes."""

    entries: tuple[Keys, ...]
    session: Hash


class Randomness(Record, frozen=True, tag="randomness"):
    """The revealed parts of the joint seed, and the seed."""

    parts: tuple[tuple[ClientId, Hash], ...]
    seed: Hash


class Graph(Record, frozen=True, tag="graph"):
    """Who is whose neighbour, in a sparse graph."""

    neighbours: tuple[tuple[ClientId, Ids], ...]


class Shared(Record, frozen=True, tag="shared"):
    """Who shared keys (U2), and what everybody published of its secrets, ascending.

    Attributes:
        self_mask_hashes: hash of the self-mask seed, by client.
        noise_commitments: end of the chain of noise links, by client; empty in a round without removable noise.
    """

    self_mask_hashes: tuple[tuple[ClientId, Hash], ...]
    noise_commitments: tuple[tuple[ClientId, Hash], ...] = ()


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One chunk of a masked input: place, SHA-256 of its packed bytes, signature, and the bytes where they are kept."""

    vector: Count
    offset: Count
    digest: Hash
    signature: Signature
    payload: bytes | None = None


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One client's masked input, complete."""

    client: ClientId
    chunks: tuple[Chunk, ...]


class Inputs(Record, frozen=True, tag="inputs"):
    """The masked inputs of the survivors, ascending."""

    inputs: tuple[Input, ...]


class Survivors(Record, frozen=True, tag="survivors"):
    """Whose inputs are in the sum (U3), who of U2 is not, and the signatures of U4 on U3."""

    survivors: Ids
    dropped: Ids
    signatures: tuple[tuple[ClientId, Signature], ...]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of whom one client revealed a share of self-mask seed, mask key, or a link of the noise. Never the shares."""

    client: ClientId
    self_masks: Ids
    mask_keys: Ids
    noise: Ids = ()


class Answers(Record, frozen=True, tag="answers"):
    """The answers to Unmasking, by client (U5)."""

    answers: tuple[Answer, ...]


class Opening(Record, frozen=True, tag="opening"):
    """The secrets that the answers opened: with kept inputs, they prove the sum.

    They are what the server knows at the end of the round, no more: self-mask seeds of survivors, mask keys of clients
    that dropped out, and the link of each survivor's noise from which on its noise came off. They open the sum and no
    input, unless their reader also holds a masked input that came too late to be recorded *and* its self mask, which no
    one reveals. Who reads them must be trusted as the server is.
    """

    self_mask_seeds: tuple[tuple[ClientId, Hash], ...]
    mask_secrets: tuple[tuple[ClientId, Hash], ...]
    noise_links: tuple[tuple[ClientId, Hash], ...] = ()


class Total(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The opened sum of one vector: SHA-256 of its packed residues, and the bytes where they are kept."""

    name: str
    digest: Hash
    payload: bytes | None = None


class Opened(Record, frozen=True, tag="sum"):
    """The sum of the round, by vector. ``result`` is the hash over all of it that receipts name."""

    totals: tuple[Total, ...]
    result: Hash


class Spend(Record, frozen=True, tag="spend"):
    """What the round spends of the privacy budget, as the sites' ledgers charge it.

    Attributes:
        unit: ``"patient"`` or ``"site"``.
        adjacency: how two neighbouring data sets differ, in words.
        mechanism: name and parameters of the mechanism, numbers in grid units.
        delta: of both epsilons.
        epsilon: of this round alone.
        total: of all rounds so far together.
    """

    unit: str
    adjacency: str
    mechanism: dict[str, float | int | str]
    delta: float
    epsilon: float
    total: float


class Receipts(Record, frozen=True, tag="receipts"):
    """What the sites that saw the round through signed of it."""

    receipts: tuple[Receipt, ...]


class Aborted(Record, frozen=True, tag="aborted"):
    """The round ended without a sum."""

    reason: str


class End(Record, frozen=True, tag="end"):
    """The last record: how many rounds began."""

    rounds: Count


AnyRecord = (
    Study
    | Parameters
    | Directory
    | Randomness
    | Graph
    | Shared
    | Inputs
    | Survivors
    | Answers
    | Opening
    | Opened
    | Spend
    | Receipts
    | Aborted
    | End
)

_ENCODER = msgspec.json.Encoder(enc_hook=encode_field)
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyRecord, dec_hook=decode_field)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, ValueError)
"""What ``read`` raises on a line that is no record."""


def write(record: Record) -> bytes:
    """Encode one record as its line, without the newline."""
    return _ENCODER.encode(record)


def read(line: bytes) -> AnyRecord:
    """Decode one line.

    Raises:
        ValueError: no record of this format, or one in another than its canonical form.
    """
    record: AnyRecord = _DECODER.decode(line)
    if write(record) != line:
        raise ValueError("the record is not in canonical form")
    return record
