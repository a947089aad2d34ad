"""What a round is (``RoundParams``, proposed by the server) and what a client insists on (``LocalPolicy``).

``RoundParams`` refuses values that make no protocol; ``LocalPolicy`` refuses values that make no *privacy* for the
client that holds it. The hash of the parameters is bound into every key, associated data and signature of the round.

Which threshold hides what (n clients, threshold t, c of them colluding with the server):

*Curious server.* It follows the protocol, so it asks for one set of survivors only and gets, for each client, shares
of one kind. What it could add are the c shares that its colluders hold of the *other* secret: t > c keeps that below
the threshold. (Bonawitz et al. 2017, section 5.)

*Active server.* It may show different survivor lists to different clients. Honest clients answer each peer with one
kind of share, so for one victim it can collect at most n - c answers from them, split in two, plus its c colluders
on both sides: 2c + (n - c) = n + c shares in all. Both secrets need 2t shares, so 2t > n + c makes it impossible.
(Section 6; tests/protocols/pairwise/test_thresholds.py exhausts this for small n.)

*What the sum shows.* An opened sum holds at least t inputs, of which c are known to the colluders. Every site sees the
sum, so one curious site is always assumed: t - max(c, 1) >= 2 or the sum of the others is somebody's own input.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, get_args

import msgspec

from protocols.errors import ParameterError
from protocols.primitives import bitpack, residues, signing
from protocols.suites import CLASSICAL, Suite, suite
from protocols.wire import Bytes32

MAX_CLIENTS = 1 << 14
"""Clients of one round; ids and Shamir points stay below 2^16, and a survivor list below 64 KiB."""

MAX_VECTORS = 16
MAX_LENGTH = 1 << 32
"""Elements of one vector: its mask stream of 8 bytes an element stays within one key's allowance (2^36 bytes)."""

CHUNK_ELEMENTS = 1 << 16
"""Elements of one ``MaskedInput`` message at most: 512 KiB, what a server holds while a longer vector streams by."""

STRETCH_CHUNKS = 16
"""Chunks that a client masks in one step: 8 MiB, long enough that setting up a cipher per neighbour costs nothing."""

MAX_ROUNDS = 1 << 32
"""Rounds of a study, and attempts at one round."""

MIN_HIDDEN_INPUTS = 2
"""Least number of inputs nobody knows in an opened sum; with one, the sum would be that input."""

ClientId = Annotated[int, msgspec.Meta(ge=1, lt=1 << 16)]
Adversary = Literal["curious", "active"]
Protocol = Literal["secagg", "secagg+"]


class VectorSpec:
    """A named vector of residues that every client contributes; a value, compared and hashed by its three fields.

    It is no msgspec struct because MessagePack has no integer 2^64: the modulus is encoded as text (see ``encode``).

    Attributes:
        name: unique in the round; bound into the mask derivation.
        length: number of elements.
        modulus: a power of two from 2 to 2^64, or any other number from 3 to 2^62. Values are ``uint64``. Modulo a
            power of two, masks are added modulo 2^64 and reduced when they are packed, which is the same thing.

    Raises:
        ParameterError: what cannot be masked or sent.
    """

    __slots__ = ("length", "modulus", "name")

    def __init__(self, name: str, length: int, modulus: int) -> None:
        if not name or len(name) > 64:
            raise ParameterError("a vector needs a name of 1 to 64 characters")
        if not 1 <= length <= MAX_LENGTH:
            raise ParameterError(f"vector {name!r} has {length} elements; allowed are 1 to {MAX_LENGTH}")
        largest = 1 << 64 if residues.is_power_of_two(modulus) else residues.MAX_MODULUS
        if not 2 <= modulus <= largest:
            raise ParameterError(
                f"vector {name!r}: modulus {modulus} is neither a power of two from 2 to 2^64 nor a number "
                "from 3 to 2^62"
            )
        self.name, self.length, self.modulus = name, length, modulus

    def __repr__(self) -> str:
        return f"VectorSpec(name={self.name!r}, length={self.length}, modulus={self.modulus})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VectorSpec) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def encode(self) -> tuple[str, int, str]:
        """Return the form that is hashed, sent and stored."""
        return self.name, self.length, str(self.modulus)

    @property
    def bits(self) -> int:
        """Bits of one element on the wire."""
        return (self.modulus - 1).bit_length()

    @property
    def packed_bytes(self) -> int:
        """Bytes of the whole vector on the wire."""
        return bitpack.packed_size(self.length, self.bits)

    def chunk_starts(self, start: int = 0, stop: int | None = None) -> range:
        """Return the first elements of the pieces in which the vector, or a stretch of it, is sent, in order."""
        return range(start, self.length if stop is None else stop, CHUNK_ELEMENTS)

    def chunk_end(self, start: int) -> int:
        """Return the element after the piece that begins at ``start``."""
        return min(start + CHUNK_ELEMENTS, self.length)

    def stretch_end(self, start: int) -> int:
        """Return the element after the pieces that are masked in one step from ``start`` on."""
        return min(start + STRETCH_CHUNKS * CHUNK_ELEMENTS, self.length)


class Roster(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """Long-term Ed25519 identities of the members, agreed on outside of the protocol.

    Attributes:
        members: (client id, 32-byte verification key), ascending by id, no key twice.
    """

    members: tuple[tuple[ClientId, Bytes32], ...]

    def __post_init__(self) -> None:
        """Refuse unsorted or repeated members."""
        ids = [client for client, _ in self.members]
        if ids != sorted(set(ids)):
            raise ParameterError("roster members are listed once each, in ascending order of their ids")
        if any(signing.is_small_order(key) for _, key in self.members):
            raise ParameterError("an identity key of small order: anybody could sign for that member")
        if len({key for _, key in self.members}) != len(ids):
            raise ParameterError("two roster members have the same identity key: every site needs its own")

    def key(self, client: int) -> bytes | None:
        """Return the verification key of ``client``, or ``None`` if it is no member."""
        return self._keys.get(client)

    @cached_property
    def _keys(self) -> dict[int, bytes]:
        return dict(self.members)

    def hash(self) -> bytes:
        """Return the 32 bytes that members compare and that ``RoundParams.roster`` binds."""
        return CLASSICAL.hash("roster", self.members)


NO_ROSTER = bytes(32)
"""``RoundParams.roster`` of a round without identities (curious server only)."""


class RoundParams(msgspec.Struct, frozen=True, dict=True):
    """Everything that both sides of a round must agree on.

    Attributes:
        study: name of the study; together with ``round_index`` and ``attempt`` it makes rounds distinct.
        round_index: number of the round, from 0.
        attempt: number of the try at this round, from 0.
        clients: ids of the invited clients, ascending, each from 1 to 65535.
        threshold: Shamir threshold t, the least number of clients that must stay to the end.
        vectors: what every client contributes.
        task: 32-byte hash of what lies above this layer (quantization, weighting, privacy).
        roster: hash of the roster, or ``NO_ROSTER``.
        adversary: ``"curious"`` or ``"active"``: whom the round withstands.
        protocol: ``"secagg"``, the complete graph, or ``"secagg+"``, a graph of ``degree`` neighbours.
        degree: neighbours of a client, itself excluded; 0 stands for all others.
        min_survivors: least number of inputs in an opened sum; 0 stands for ``threshold``. In the complete graph the
            threshold is over all clients; in a sparse one it is over a client's neighbours and itself.
        joint_randomness: whether the clients make a random seed together, for the layers above. A sparse graph always
            does. A client that vanishes between committing to its part and revealing it ends such a round.
        noise_components: K, removable components of every client's noise (``noise.py``); 0 where there is none to
            remove. Component j is taken out of the sum when fewer than j clients are missing, and at most
            n - ``least_survivors`` can be: any component beyond that would be added only to be removed for certain.
        suite: code point of the cipher suite.

    Raises:
        ParameterError: a value that makes no protocol, saying which would.
    """

    study: str
    round_index: int
    clients: tuple[ClientId, ...]
    threshold: int
    vectors: tuple[VectorSpec, ...]
    task: Bytes32 = bytes(32)
    attempt: int = 0
    roster: Bytes32 = NO_ROSTER
    adversary: Adversary = "curious"
    protocol: Protocol = "secagg"
    degree: int = 0
    min_survivors: int = 0
    joint_randomness: bool = False
    noise_components: int = 0
    suite: int = CLASSICAL.code

    def __post_init__(self) -> None:
        """Refuse at construction."""
        suite(self.suite)
        _check_choice("adversary", self.adversary, Adversary)
        _check_choice("protocol", self.protocol, Protocol)
        if not self.study or len(self.study) > 256:
            raise ParameterError("a study needs a name of 1 to 256 characters")
        if not (0 <= self.round_index < MAX_ROUNDS and 0 <= self.attempt < MAX_ROUNDS):
            raise ParameterError(f"round_index and attempt count from 0 and stay below {MAX_ROUNDS}")
        self._check_clients()
        if not 1 <= len(self.vectors) <= MAX_VECTORS:
            raise ParameterError(f"a round carries 1 to {MAX_VECTORS} vectors, not {len(self.vectors)}")
        if len({vector.name for vector in self.vectors}) != len(self.vectors):
            raise ParameterError("two vectors of the round have the same name")
        if self.adversary == "active" and self.roster == NO_ROSTER:
            raise ParameterError("an active adversary is only withstood with a roster of identities")
        self._check_graph()
        if not 0 <= self.noise_components <= len(self.clients) - self.least_survivors:
            raise ParameterError(
                f"{self.noise_components} removable components of noise: at most {len(self.clients)} - "
                f"{self.least_survivors} clients can be missing, so from 0 to that many make sense"
            )

    def _check_graph(self) -> None:
        others = len(self.clients) - 1
        if self.protocol == "secagg" and self.degree not in (0, others):
            raise ParameterError(f"secagg has the complete graph: degree 0 (all others), not {self.degree}")
        if self.sparse and (self.degree % 2 or self.degree < 2):
            raise ParameterError(f"a sparse graph has an even degree from 2 to {others - 1}, not {self.degree}")
        if self.sparse and self.threshold > self.degree + 1:
            raise ParameterError(f"threshold {self.threshold} cannot be met by {self.degree} neighbours and oneself")
        if self.sparse and not self.threshold <= self.min_survivors <= len(self.clients):
            raise ParameterError("a sparse graph needs min_survivors, from the threshold to the number of clients")
        if not self.sparse and self.min_survivors not in (0, self.threshold):
            raise ParameterError("in the complete graph the threshold is the least number of survivors")

    def _check_clients(self) -> None:
        if list(self.clients) != sorted(set(self.clients)):
            raise ParameterError("clients are listed once each, in ascending order of their ids")
        if len(self.clients) > MAX_CLIENTS or any(not 1 <= client < 1 << 16 for client in self.clients):
            raise ParameterError(f"a round has at most {MAX_CLIENTS} clients, with ids from 1 to 65535")
        if not 2 <= self.threshold <= len(self.clients):
            raise ParameterError(
                f"threshold {self.threshold} cannot be met: it lies from 2 to the {len(self.clients)} clients invited"
            )

    @property
    def sparse(self) -> bool:
        """Whether clients have fewer neighbours than there are others."""
        return self.protocol == "secagg+" and 0 < self.degree < len(self.clients) - 1

    @property
    def least_survivors(self) -> int:
        """Least number of clients that must stay in every phase."""
        return self.min_survivors or self.threshold

    @property
    def most_holders(self) -> int:
        """Most clients, itself included, among whom a client shares its secrets."""
        return self.degree + 1 if self.sparse else len(self.clients)

    @property
    def commits(self) -> bool:
        """Whether clients commit to, and reveal, a part of a joint seed."""
        return self.sparse or self.joint_randomness

    @property
    def shares_from_all(self) -> bool:
        """Whether everybody in the directory must share keys.

        Against an active server on a sparse graph: it could tell a victim that some of its neighbours shared no keys,
        and everybody else that the others dropped out, and the victim's masks would all be known or not be there.
        """
        return self.sparse and self.adversary == "active"

    @property
    def everybody_signs(self) -> bool:
        """Whether a survivor list needs the signatures of most members, not of a neighbourhood alone.

        How much noise comes off depends on its length, so in a sparse graph, too, everybody must hold the same list.
        """
        return self.sparse and self.adversary == "active" and self.noise_components > 0

    @property
    def cipher_suite(self) -> Suite:
        """The suite behind the code point."""
        return suite(self.suite)

    def hash(self) -> bytes:
        """Return the 32-byte hash that every derivation of the round is bound to.

        It is taken of the MessagePack map from name to value of all fields, in the order in which the class has them
        (which is not that of the text above), with each vector as ``VectorSpec.encode`` gives it.
        """
        return self._hash

    @cached_property
    def _hash(self) -> bytes:
        return self.cipher_suite.hash("round-params", msgspec.msgpack.encode(self, enc_hook=encode_field))


def encode_field(value: Any) -> Any:
    """Encode what msgspec does not know, for its ``enc_hook``."""
    if isinstance(value, VectorSpec):
        return value.encode()
    raise NotImplementedError(f"no encoding for {type(value).__name__}")


def decode_field(kind: type, value: Any) -> Any:
    """Decode what ``encode_field`` encoded, for msgspec's ``dec_hook``."""
    if kind is VectorSpec:
        name, length, modulus = msgspec.convert(value, tuple[str, int, str])
        return VectorSpec(name, length, int(modulus))
    raise NotImplementedError(f"no decoding for {kind.__name__}")


class LocalPolicy(msgspec.Struct, frozen=True):
    """What one client insists on, whatever the server proposes.

    Attributes:
        min_clients: least number of invited clients.
        min_threshold: least threshold; an opened sum holds at least that many inputs.
        colluders: how many other clients (c) may collude with the server without harm to this one.
        sigma: bits of statistical security asked of a sparse graph.
        min_cohort_difference: the same query is not answered over cohorts that together set fewer members apart.
        max_attempts: attempts at one round that this client takes part in; a server that may try again can choose
            among that many graphs, so log2 of it is added to ``sigma``.
        adversary: the weakest adversary class that this client accepts to be protected against.
        suites: accepted cipher suites.
        max_packed_bytes: most bytes that this client is willing to upload as masked input.
        roster: the members this client knows; required to take part in an ``active`` round.
        studies: accepted study names, or ``None`` for any.
        task: accepted 32-byte task hash, or ``None`` for any.
    """

    min_clients: int = 3
    min_threshold: int = 3
    colluders: int = 1
    sigma: int = 40
    min_cohort_difference: int = 2
    max_attempts: int = 4
    adversary: Adversary = "curious"
    suites: tuple[int, ...] = (CLASSICAL.code,)
    max_packed_bytes: int = 1 << 33
    roster: Roster | None = None
    studies: tuple[str, ...] | None = None
    task: Bytes32 | None = None

    def __post_init__(self) -> None:
        """Refuse a policy that protects nothing."""
        _check_choice("adversary", self.adversary, Adversary)
        if self.colluders < 0:
            raise ParameterError("colluders is a number of clients, 0 or more")
        if self.sigma < 1 or self.max_attempts < 1:
            raise ParameterError("sigma is a number of bits and max_attempts a number of attempts, 1 or more")
        if self.min_clients < 1 or self.min_threshold < 1:
            raise ParameterError("min_clients and min_threshold are numbers of clients, 1 or more")


def _check_choice(name: str, value: str, choices: Any) -> None:
    """Refuse a misspelt choice: taken for the other one, it would switch a protection off in silence."""
    if value not in get_args(choices):
        raise ParameterError(f"{name} is one of {', '.join(map(repr, get_args(choices)))}, not {value!r}")


def threshold_against_server(clients: int, adversary: Adversary, colluders: int) -> int:
    """Return the least threshold that keeps both secrets of a client from the server and its colluders."""
    return colluders + 1 if adversary == "curious" else (clients + colluders) // 2 + 1


def least_threshold(clients: int, adversary: Adversary, colluders: int) -> int:
    """Return the least threshold that hides inputs (see the module's text), which may exceed ``clients``."""
    hidden = max(colluders, 1) + MIN_HIDDEN_INPUTS
    return max(hidden, threshold_against_server(clients, adversary, colluders))


def default_threshold(clients: int, adversary: Adversary = "curious", colluders: int = 1) -> int:
    """Return floor(2n/3) + 1, or the least safe threshold if that is larger.

    Raises:
        ParameterError: the cohort is too small for any safe threshold.
    """
    threshold = max(2 * clients // 3 + 1, least_threshold(clients, adversary, colluders))
    if threshold > clients:
        raise ParameterError(
            f"{clients} clients cannot hide {MIN_HIDDEN_INPUTS} inputs from {max(colluders, 1)} curious: "
            f"at least {max(colluders, 1) + MIN_HIDDEN_INPUTS} are needed"
        )
    return threshold
