"""Who takes part in a round that is attacked, under which variant of the protocol, with which inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols import Entropy, Secret, SystemEntropy
from protocols.pairwise import Client, Ledger, LocalPolicy, Phase, Roster, RoundParams, Server, VectorSpec
from protocols.pairwise.params import NO_ROSTER
from protocols.primitives import signing

Vectors = dict[str, NDArray[np.uint64]]

MODEL = sha256(b"the model of this round").digest()
OTHER_MODEL = sha256(b"another model").digest()


@dataclass(frozen=True)
class Variant:
    """One variant of the protocol.

    Attributes:
        name: of the variant, in texts.
        params: what ``RoundParams`` says of it.
        phases: what clients go through.
        policy: what the clients' policies say of it.
        n, threshold: of a small round.
    """

    name: str
    params: Mapping[str, Any]
    phases: tuple[Phase, ...]
    policy: Mapping[str, Any] = field(default_factory=dict)
    n: int = 4
    threshold: int = 3

    @property
    def active(self) -> bool:
        """Whether the round withstands an active server."""
        return self.params.get("adversary") == "active"

    @property
    def sparse(self) -> bool:
        """Whether the graph is sparse."""
        return Phase.REVEAL_RANDOMNESS in self.phases

    def __str__(self) -> str:
        return self.name


_CURIOUS_PHASES = (Phase.ADVERTISE_KEYS, Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.UNMASKING)
_ACTIVE_PHASES = (*_CURIOUS_PHASES[:3], Phase.CONSISTENCY_CHECK, Phase.UNMASKING)


def _sparse(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    return (Phase.ADVERTISE_KEYS, Phase.REVEAL_RANDOMNESS, *phases[1:])


CURIOUS = Variant("secagg-curious", {"adversary": "curious"}, _CURIOUS_PHASES)
ACTIVE = Variant("secagg-active", {"adversary": "active"}, _ACTIVE_PHASES)
JOINT = Variant("secagg-joint", {"adversary": "curious", "joint_randomness": True}, _CURIOUS_PHASES)
NOISY = Variant("secagg-noise", {"adversary": "active", "noise_components": 1}, _ACTIVE_PHASES)
# Six clients with four neighbours each: the bounds on random graphs say nothing of so few, so what is asked of them
# holds for sure: curious, fewer are corrupt or gone than it takes to cut the ring; active, nobody is corrupt.
SPARSE_CURIOUS = Variant(
    "secagg+-curious",
    {"adversary": "curious", "protocol": "secagg+", "degree": 4, "min_survivors": 4},
    _sparse(_CURIOUS_PHASES),
    n=6,
)
SPARSE_ACTIVE = Variant(
    "secagg+-active",
    {"adversary": "active", "protocol": "secagg+", "degree": 4, "min_survivors": 4},
    _sparse(_ACTIVE_PHASES),
    policy={"colluders": 0},
    n=6,
)
COMPLETE = (CURIOUS, ACTIVE)
VARIANTS = (CURIOUS, ACTIVE, JOINT, NOISY, SPARSE_CURIOUS, SPARSE_ACTIVE)


@cache
def identity(client: int) -> Secret:
    """The long-term identity of ``client`` in every rehearsal: known to all, hence nobody's real one."""
    return Secret(sha256(b"identity of %d" % client).digest())


@cache
def roster(ids: tuple[int, ...]) -> Roster:
    """List the identities of ``ids``."""
    return Roster(tuple((client, signing.public_key(identity(client).reveal())) for client in ids))


EntropySource = Callable[[object, int], Entropy]


def system_entropy(seed: object, client: int) -> Entropy:
    """Give every client the operating system's randomness."""
    del seed, client
    return SystemEntropy()


@dataclass(frozen=True)
class Cohort:
    """A round to be run: parameters, policies, identities and inputs.

    Attributes:
        ids: everybody who exists, which in an attack may be more than those invited.
        seed: names this round to ``source``.
        source: gives the entropy of a client; the operating system's unless a test replays a round.
    """

    variant: Variant
    params: RoundParams
    ids: tuple[int, ...]
    policy: LocalPolicy
    inputs: Mapping[int, Vectors]
    seed: object = 0
    source: EntropySource = system_entropy
    policies: Mapping[int, LocalPolicy] = field(default_factory=dict)

    @property
    def roster(self) -> Roster | None:
        """The roster that clients know."""
        return self.policy.roster

    def entropy(self, client: int) -> Entropy:
        """Give the source that ``client`` draws from."""
        return self.source(self.seed, client)

    def client(self, client: int, entropy: Entropy | None = None, ledger: Ledger | None = None) -> Client:
        """The honest machine of ``client``, at the start of the round."""
        return Client(
            self.params,
            self.policies.get(client, self.policy),
            client,
            identity=identity(client) if self.variant.active else None,
            ledger=ledger,
            entropy=entropy or self.entropy(client),
        )

    def clients(self, ledgers: Mapping[int, Ledger] | None = None) -> dict[int, Client]:
        """Everybody's honest machine."""
        return {client: self.client(client, ledger=(ledgers or {}).get(client)) for client in self.ids}

    def server(self) -> Server:
        """The honest server, at the start of the round."""
        return Server(self.params, MODEL, roster=self.roster if self.variant.active else None)

    def sum_of(self, clients: Sequence[int]) -> Vectors:
        """The sums that these clients' inputs have, in plain arithmetic."""
        return {
            spec.name: np.array(
                [
                    sum(int(self.inputs[client][spec.name][place]) for client in clients) % spec.modulus
                    for place in range(spec.length)
                ],
                dtype=np.uint64,
            )
            for spec in self.params.vectors
        }

    def with_params(self, **changes: Any) -> Cohort:
        """The same cohort in a round with other parameters."""
        return replace(self, params=msgspec.structs.replace(self.params, **changes))


def unit_vectors(ids: Sequence[int], vectors: Sequence[VectorSpec]) -> dict[int, Vectors]:
    """Client number i has a one at place i of every vector: an entry of the sum counts how often it is included."""
    inputs: dict[int, Vectors] = {}
    for place, client in enumerate(ids):
        inputs[client] = {spec.name: np.zeros(spec.length, dtype=np.uint64) for spec in vectors}
        for spec in vectors:
            inputs[client][spec.name][place % spec.length] = 1
    return inputs


def random_vectors(ids: Sequence[int], vectors: Sequence[VectorSpec], rng: np.random.Generator) -> dict[int, Vectors]:
    """Uniform inputs below each vector's modulus."""
    return {
        client: {
            spec.name: rng.integers(0, spec.modulus - 1, spec.length, dtype=np.uint64, endpoint=True)
            for spec in vectors
        }
        for client in ids
    }


def make_cohort(
    variant: Variant,
    n: int | None = None,
    threshold: int | None = None,
    *,
    ids: Sequence[int] | None = None,
    vectors: Sequence[VectorSpec] | None = None,
    policy: Mapping[str, Any] | None = None,
    seed: object = 0,
    **params: Any,
) -> Cohort:
    """A cohort of ``n`` clients with unit vectors as inputs.

    Args:
        variant: of the protocol.
        n: number of clients, the variant's own by default; ids are 1 to n unless given.
        threshold: t, the variant's own by default.
        ids: other ids, ascending.
        vectors: default is one vector "x" of n elements modulo 2^16.
        policy: fields of ``LocalPolicy`` that differ from the default.
        seed: names the round to the source of entropy.
        params: fields of ``RoundParams`` that differ from the default.
    """
    members = tuple(ids) if ids is not None else tuple(range(1, (n or variant.n) + 1))
    specs = tuple(vectors) if vectors is not None else (VectorSpec("x", len(members), 1 << 16),)
    known = roster(members) if variant.active else None
    given = {
        "study": "tests",
        "round_index": 0,
        "clients": members,
        "threshold": threshold or variant.threshold,
        "vectors": specs,
        "roster": known.hash() if known is not None else NO_ROSTER,
        **variant.params,
        **params,
    }
    return Cohort(
        variant=variant,
        params=RoundParams(**given),
        ids=members,
        policy=LocalPolicy(
            **{"adversary": variant.params["adversary"], "roster": known, **variant.policy, **(policy or {})}
        ),
        inputs=unit_vectors(members, specs),
        seed=seed,
    )
