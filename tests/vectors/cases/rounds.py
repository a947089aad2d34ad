"""The positive vectors: every variant, several cohorts, who vanishes when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from protocols.pairwise import VectorSpec
from tests.support.entropy import InsecureSeededEntropy
from tests.vectors.document import Document
from tests.vectors.recording import Recording, Setup, setup

FULL_FRAME = 150
"""Outputs up to this many bytes are written in full, longer ones as a hash (scenes have all of them in full)."""

MIXED = (
    VectorSpec("model", 9, 1 << 20),
    VectorSpec("weights", 3, 3),
    VectorSpec("metrics", 4, 997),
    VectorSpec("counts", 2, 2**61 - 1),
)
EDGES = (
    VectorSpec("bit", 11, 2),
    VectorSpec("word", 3, 1 << 64),
    VectorSpec("largest odd", 3, 2**62 - 57),
    VectorSpec("largest of all", 2, 1 << 62),
    VectorSpec("σ", 5, 6),
)
PLAIN = (VectorSpec("x", 6, 1 << 16),)
BYTES = (VectorSpec("x", 5, 1 << 24), VectorSpec("y", 5, 10**6))
BLOCKS = (VectorSpec("two blocks", 8192 + 5, 997), VectorSpec("two draws", 8192 + 3, 2**40 + 1))
CHUNKS = (VectorSpec("two chunks", (1 << 16) + 3, 2), VectorSpec("x", 2, 1 << 7))

Case = tuple[str, str, Setup, Mapping[int, float], bool]
"""Name, what it shows, the round, who vanishes after how many phases, whether frames arrive twice."""

SMALL, FIVE, EIGHT = (1, 2, 3), (1, 2, 5, 9, 65535), (3, 4, 7, 11, 300, 301, 4096, 40000)


def _names(given: Setup) -> str:
    params = given.params
    graph = f"_k{params.degree}" if params.sparse else ""
    protocol = params.protocol.replace("+", "plus")
    noise = f"_noise{params.noise_components}" if params.noise_components else ""
    return f"{protocol}_{params.adversary}_n{len(params.clients)}_t{params.threshold}{graph}{noise}"


def _case(
    given: Setup, what: str, about: str, completed: Mapping[int, float] | None = None, twice: bool = False
) -> Case:
    return f"{_names(given)}_{what}", about, given, completed or {}, twice


def _complete(protocol: str, adversary: str) -> Iterator[Case]:
    """The complete graph, whichever protocol name it goes by."""

    def given(what: str, clients: Sequence[int], threshold: int, vectors: Sequence[VectorSpec], **more: Any) -> Setup:
        seed = f"{protocol} {adversary} {len(clients)} {what}"
        return setup(seed, clients, threshold, vectors, protocol=protocol, adversary=adversary, **more)

    last = 4 if adversary == "active" else 3
    yield _case(given("all", SMALL, 3, PLAIN), "all", "Everybody stays.")
    joint = given("joint", SMALL, 3, MIXED, joint_randomness=True, degree=2)
    yield _case(
        joint, "joint", "A joint seed in the complete graph, revealed along with the shares; degree written out."
    )
    if protocol == "secagg+":
        return  # nothing but the name differs from secagg, and that is shown
    yield _case(given("edges", SMALL, 3, EDGES), "moduli", "The smallest and the largest moduli; a name beyond ASCII.")
    yield _case(
        given("twice", SMALL, 3, BYTES, attempt=2), "repeated", "Every frame reaches the server twice.", {}, True
    )

    yield _case(given("all", FIVE, 4, MIXED), "all", "Everybody stays; four vectors of four moduli.")
    yield _case(given("silent", FIVE, 4, PLAIN), "drop_at_advertise_keys", "One client never starts.", {2: 0})
    yield _case(given("no shares", FIVE, 4, EDGES), "drop_at_share_keys", "One advertises keys, no shares.", {1: 1})
    yield _case(given("no input", FIVE, 4, MIXED), "drop_at_masked_input", "One shares keys, sends no input.", {9: 2})
    half = given("half", FIVE, 4, BYTES, joint_randomness=True)
    yield _case(
        half, "drop_amid_masked_input", "One sends the first of its two vectors only; with a joint seed.", {5: 2.5}
    )
    unasked = given("no answer", FIVE, 4, MIXED)
    yield _case(unasked, "drop_at_unmasking", "One is in the sum and does not answer.", {65535: last})

    yield _case(given("all", EIGHT, 6, BYTES), "all", "Everybody stays.")
    two = given("two", EIGHT, 6, MIXED)
    yield _case(two, "drop_two_at_masked_input", "The first and the last client send no input.", {3: 2, 40000: 2})
    spread = given("spread", EIGHT, 6, EDGES)
    yield _case(spread, "drop_at_two_phases", "One sends no input, another no answer.", {300: 2, 7: last})
    early = given("early", EIGHT, 6, PLAIN, joint_randomness=True)
    yield _case(early, "joint_drop_at_two_phases", "One never starts, one sends no input; a joint seed.", {4: 0, 11: 2})
    if adversary == "active":
        unsigned = given("unsigned", EIGHT, 6, MIXED)
        about = "One does not sign the survivors, another signs and does not answer."
        yield _case(unsigned, "drop_at_consistency_check", about, {301: 3, 4096: 4})


def _sparse(adversary: str) -> Iterator[Case]:
    """SecAgg+ proper: degree below that of the complete graph, no colluders, so that small graphs are accepted."""

    def given(
        what: str, clients: Sequence[int], threshold: int, degree: int, vectors: Sequence[VectorSpec], **more: Any
    ) -> Setup:
        return setup(
            f"secagg+ {adversary} {len(clients)} {what}",
            clients,
            threshold,
            vectors,
            protocol="secagg+",
            adversary=adversary,
            degree=degree,
            min_survivors=4 if len(clients) == 5 else 6,
            policy={"colluders": 0},
            **more,
        )

    last = 5 if adversary == "active" else 4
    yield _case(given("ring", FIVE, 2, 2, MIXED), "all", "A bare ring: two neighbours each.")
    silent = given("ring silent", FIVE, 2, 2, PLAIN)
    yield _case(silent, "drop_at_advertise_keys", "One client never starts; the ring is of four.", {9: 0})
    answer = given("ring no answer", FIVE, 2, 2, BYTES)
    yield _case(answer, "drop_at_unmasking", "One is in the sum and does not answer.", {1: last})
    yield _case(given("all", EIGHT, 3, 4, EDGES), "all", "Four neighbours each, everybody stays.")
    if adversary == "curious":  # against an active server everybody must share keys (C16)
        shares = given("no shares", EIGHT, 3, 4, PLAIN)
        yield _case(shares, "drop_at_share_keys", "One reveals its part of the seed and no shares.", {7: 2})
    no_input = given("no input", EIGHT, 3, 4, MIXED)
    yield _case(no_input, "drop_at_masked_input", "One shares keys and sends no input.", {301: 3})
    wide = given("spread", EIGHT, 4, 6, BYTES, attempt=3)
    about = "Six neighbours each; one sends no input, another no answer; the last attempt allowed."
    yield _case(wide, "drop_at_two_phases", about, {40000: 3, 3: last})
    half = given("half", EIGHT, 4, 6, MIXED, joint_randomness=True)
    yield _case(half, "drop_amid_masked_input", "One sends half of its input only.", {4096: 3.5})


def _noisy() -> Iterator[Case]:
    """Removable components of noise: which of them come off depends on who is missing from the sum."""

    def given(what: str, clients: Sequence[int], threshold: int, components: int, **more: Any) -> Setup:
        seed = f"noise {what} {len(clients)}"
        return setup(seed, clients, threshold, PLAIN, noise_components=components, **more)

    yield _case(given("all", FIVE, 3, 2), "all", "Nobody is missing: all components come off.")
    one = given("one", FIVE, 3, 2)
    yield _case(one, "drop_at_two_phases", "One sends no input, one in the sum no answer.", {9: 2, 65535: 3})
    two = given("two", FIVE, 3, 2, joint_randomness=True)
    yield _case(two, "joint_drop_two", "As many are missing as there are components: none comes off.", {1: 0, 2: 2})
    odd = given("odd", (*FIVE[:4], 10, 300), 3, 3)
    yield _case(odd, "drop_at_advertise_keys", "One never starts; a hash tree of three leaves.", {300: 0})
    active = given("active", FIVE, 3, 1, adversary="active", policy={"colluders": 0})
    yield _case(active, "fewer_components", "One component, though two may be missing; none is.")
    silent = given("silent", FIVE, 3, 2, adversary="active", policy={"colluders": 0})
    yield _case(
        silent, "drop_at_consistency_check", "One sends no input, another signs and does not answer.", {1: 2, 5: 4}
    )
    sparse: dict[str, Any] = {"protocol": "secagg+", "degree": 2, "min_survivors": 4, "policy": {"colluders": 0}}
    ring = given("ring", FIVE, 2, 1, **sparse)
    about = "A bare ring, whose links only neighbours hold; one in the sum sends no answer."
    yield _case(ring, "drop_at_unmasking", about, {9: 4})
    signed = given("signed ring", FIVE, 2, 1, **sparse, adversary="active")
    yield _case(signed, "all", "Against an active server all get all signatures, though they are a ring.")


def _first_coefficient_rejected(seed: str, client: int) -> InsecureSeededEntropy:
    class Rejected(InsecureSeededEntropy):
        def take(self, n: int, label: str) -> bytes:
            value = super().take(n, label)
            if label != "shamir-coefficient" or len(self.drawn(label)) > 1:
                return value
            self.records[-1] = (label, b"\xff" * n)
            return b"\xff" * n

    return Rejected(seed, client)


def _single() -> Iterator[Case]:
    """What no variant changes: long vectors, a draw that is rejected."""
    blocks = setup("blocks", SMALL, 3, BLOCKS)
    yield _case(blocks, "two_blocks", "Residues from two blocks of key stream; moduli that reject little and much.")
    chunks = setup("chunks", (1, 2, 3, 4), 3, CHUNKS)
    yield _case(chunks, "two_chunks", "A vector in two frames; one client vanishes between them.", {4: 2.4})
    rejected = replace(setup("rejected", SMALL, 3, PLAIN), entropy=_first_coefficient_rejected)
    yield _case(rejected, "rejected_draw", "A coefficient is not below the prime, so another is drawn.")


def cases() -> list[Case]:
    found = [
        case for protocol in ("secagg", "secagg+") for a in ("curious", "active") for case in _complete(protocol, a)
    ]
    return [*found, *_sparse("curious"), *_sparse("active"), *_noisy(), *_single()]


def record(case: Case) -> Document:
    name, about, given, completed, twice = case
    return Recording(given).run(completed, twice=twice).write(name, about, FULL_FRAME)


def positive() -> dict[str, Callable[[], Document]]:
    """Every positive vector by name, and an aborted round."""
    found = {case[0]: lambda case=case: record(case) for case in cases()}
    return {**found, "secagg_curious_n3_t3_aborted": _aborted}


def _aborted() -> Document:
    recording = Recording(setup("aborted", SMALL, 3, PLAIN))
    for client in SMALL:
        for name in recording.start(client):
            recording.hear(client, name)
    requests = recording.advance()
    recording.tell(1, requests[1])
    for client, name in recording.abort("the study was called off").items():
        recording.tell(client, name)
    about = "The server ends the round while shares are dealt; a client that dealt and two that did not all stop."
    return recording.write("secagg_curious_n3_t3_aborted", about, FULL_FRAME)
