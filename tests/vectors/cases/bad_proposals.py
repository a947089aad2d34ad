"""Rounds that a client refuses to begin (C1 to C9, C30), or that are no rounds (``bad_params``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from protocols.pairwise import LocalPolicy
from protocols.pairwise.ledger import NOTHING, Participation
from tests.vectors import document as doc
from tests.vectors.cases.scenes import ME, OUTPUT, active, joint, refusal, short, sparse, sparse_active
from tests.vectors.recording import Operation, Recording, head, roster

OTHER = sha256(b"something else").digest()


@dataclass(frozen=True)
class Proposed:
    """A start that is refused: an honest round with other parameters, policy or memory.

    Attributes:
        client: who is to start.
        params: fields of ``RoundParams`` that differ; with ``rule`` "params" they make no round at all.
        policy: fields of ``LocalPolicy`` that differ.
        ledger: what the client remembers.
        earlier: starts that are accepted before.
    """

    rule: str
    what: str
    about: str
    scene: Callable[[], Recording]
    params: Mapping[str, Any]
    policy: Mapping[str, Any]
    client: int = ME
    ledger: tuple[Participation, ...] = ()
    earlier: int = 0

    @property
    def name(self) -> str:
        return f"bad_{self.rule}_{self.what}"

    def write(self) -> doc.Document:
        given = self.scene().given
        params = {name: getattr(given.params, name) for name in given.params.__struct_fields__} | dict(self.params)
        policy: LocalPolicy = msgspec.structs.replace(given.policy, **self.policy)
        document = head("negative", self.name, self.about, given)
        document |= {"params": doc.write_params(params), "params_hash": None, "policy": doc.write_policy(policy)}
        if self.rule != "params":
            document["params_hash"] = doc.read_params(document["params"]).hash().hex()
        honest = self.scene().party(self.client if self.client in given.params.clients else ME)
        draws = honest["draws"][: 2 + given.params.commits] if self.earlier or self.rule == "C30" else []
        ledger = [doc.write_entry(entry) for entry in self.ledger]
        party = {**honest, "draws": draws * (self.earlier + 1), "ledger": ledger}
        (start,) = [op for op in self.scene().operations if (op.party, op.name) == (ME, "start")]
        code = "parameters" if self.rule == "params" else self.rule
        refused = Operation(self.client, "start", outcome=refusal(code))
        operations = [operation.write(OUTPUT) for operation in (*[start] * self.earlier, refused)]
        document |= {"parties": {str(self.client): party}, "frames": {}, "operations": operations}
        return short(document, self.scene)


def policies() -> Iterator[Proposed]:
    def bad(rule: str, what: str, about: str, scene: Any = joint, **policy: Any) -> Proposed:
        return Proposed(rule, what, about, scene, {}, policy)

    yield bad("C1", "suite", "The policy accepts another suite only.", suites=(0xFF00,))
    yield bad("C2", "cohort", "Four are invited, the policy asks for five.", min_clients=5)
    yield bad("C3", "policy_minimum", "Threshold 3, the policy asks for four.", min_threshold=4)
    yield bad("C3", "all_colluders", "As many colluders as shares open a secret.", colluders=3)
    yield bad("C3", "active_both_secrets", "2t = n + c: an active server and three colluders get both secrets.", active,
              colluders=3)  # fmt: skip
    yield bad("C3", "sparse_active_both_secrets", "2t = k + 1 + c: both secrets of a client fall.", sparse_active,
              colluders=1)  # fmt: skip
    yield bad("C3", "sparse_disconnected", "Two colluders and two drop-outs may cut a ring of degree 4.", sparse,
              colluders=2)  # fmt: skip
    yield bad("C3", "sparse_nobody_honest", "As many colluders as survivors.", sparse, colluders=6)
    yield bad(
        "C4", "one_honest_input", "Two of three inputs are known to colluders: the sum is the third.", colluders=2
    )
    yield bad("C5", "curious_round", "The policy asks for an active round.", adversary="active", roster=roster((2, 3)))
    yield bad("C7", "no_roster", "An active round, and the policy names no roster.", active, roster=None)
    yield bad("C7", "other_roster", "An active round over another roster.", active,
              roster=roster((2, 3, 5, 9, 12, 13, 701)))  # fmt: skip
    yield bad("C8", "upload", "Eleven bytes of masked input, ten are allowed.", max_packed_bytes=10)
    yield bad("C9", "study", "A study that the policy does not name.", studies=("vector", "vectors "))
    yield bad("C9", "task", "Another task than the policy's.", task=OTHER)


def proposals() -> Iterator[Proposed]:
    def bad(rule: str, what: str, about: str, scene: Any = joint, client: int = ME, **params: Any) -> Proposed:
        return Proposed(rule, what, about, scene, params, {}, client)

    yield bad("C2", "two_clients", "Two are invited.", clients=(2, 3), threshold=2)
    yield bad("C3", "threshold_2", "Threshold 2 of three invited.", clients=(2, 3, 5), threshold=2)
    yield bad("C6", "not_invited", "A client that is not invited.", client=4)
    yield bad("C7", "stranger", "A client that is not on the roster is invited.", active,
              clients=(2, 3, 5, 9, 12, 13, 700, 701), threshold=6)  # fmt: skip
    yield Proposed("C3", "sparse_neighbours", "Three colluders may all be neighbours, and three shares open a secret.",
                   sparse, {"min_survivors": 8}, {"colluders": 3})  # fmt: skip
    yield bad("C30", "attempt", "The fifth attempt at a joint seed, which a server could choose among.", attempt=4)


def tries() -> Iterator[Proposed]:
    params = joint().given.params
    keys = Participation("keys", params.study, params.round_index, 0, params.task, NOTHING, "", NOTHING, params.clients)
    yield Proposed("C30", "remembered", "Four attempts are remembered; the server counts this one as the first.", joint,
                   {}, {}, ledger=(keys,) * 4)  # fmt: skip
    yield Proposed("C30", "started_again", "Four starts in a row, and a fifth.", joint, {}, {}, earlier=4)


def no_rounds() -> Iterator[Proposed]:
    def bad(what: str, about: str, scene: Any = joint, **params: Any) -> Proposed:
        return Proposed("params", what, about, scene, params, {})

    x = ("x", 5, 1024)
    yield bad("suite_unknown", "A code point that no suite has.", suite=0x7FFF)
    yield bad("adversary_misspelt", "An adversary class that does not exist.", adversary="malicious")
    yield bad("protocol_misspelt", "A protocol that does not exist.", protocol="SecAgg")
    yield bad("study_empty", "A study without a name.", study="")
    yield bad("round_negative", "Round -1.", round_index=-1)
    yield bad("clients_unsorted", "Clients out of order.", clients=(3, 2, 5, 9))
    yield bad("clients_repeated", "A client invited twice.", clients=(2, 2, 3, 5))
    yield bad("client_id_zero", "A client with id 0: its share would be the secret.", clients=(0, 2, 3, 5))
    yield bad("client_id_too_large", "A client with id 65536.", clients=(2, 3, 5, 65536))
    yield bad("threshold_1", "Threshold 1: every share is the secret.", threshold=1)
    yield bad("threshold_above_clients", "Threshold 5 of four clients.", threshold=5)
    yield bad("no_vectors", "Nothing to add up.", vectors=())
    yield bad("vectors_same_name", "Two vectors of one name would have the same masks.", vectors=(x, x))
    yield bad("vector_without_name", "A vector without a name.", vectors=(("", 5, 1024),))
    yield bad("vector_empty", "A vector of no elements.", vectors=(("x", 0, 1024),))
    yield bad("modulus_1", "Modulus 1.", vectors=(("x", 5, 1),))
    yield bad("modulus_odd_too_large", "An odd modulus above 2^62.", vectors=(("x", 5, 2**62 + 1),))
    yield bad("modulus_too_large", "Modulus 2^65.", vectors=(("x", 5, 2**65),))
    yield bad("active_without_roster", "An active round without a roster.", adversary="active")
    yield bad("degree_in_secagg", "A sparse degree under the name of secagg.", degree=2)
    yield bad("degree_odd", "A ring of odd degree.", sparse, degree=3)
    yield bad("threshold_above_neighbours", "Threshold 6 of four neighbours and oneself.", sparse, threshold=6)
    yield bad("no_min_survivors", "A sparse graph that may open the sum of a few.", sparse, min_survivors=0)
    yield bad("noise_negative", "Less than no removable noise.", noise_components=-1)
    yield bad("noise_useless", "Two components, though one client may be missing at most.", noise_components=2)
    yield bad(
        "min_survivors_without_graph", "More survivors than the threshold, in the complete graph.", min_survivors=4
    )


def cases() -> list[Proposed]:
    return [*policies(), *proposals(), *tries(), *no_rounds()]
