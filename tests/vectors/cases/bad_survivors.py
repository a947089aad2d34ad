"""Rules C20 to C26 and C29 at a client, C31 to C34 by what it remembers, S7 at the server: who survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from protocols.pairwise import messages as m
from protocols.pairwise.consistency_check import survivor_statement
from protocols.pairwise.graph import HararyGraph
from protocols.pairwise.ledger import NOTHING, Participation
from protocols.pairwise.reveal_randomness import graph_of, joint_seed
from tests.vectors import document as doc
from tests.vectors.cases.scenes import (
    FIVE,
    ME,
    Bad,
    active,
    curious,
    cut,
    few_active,
    flip,
    item,
    refusal,
    sparse,
    sparse_active,
)
from tests.vectors.recording import MODEL, Operation, Recording, change, identity

QUESTION, SURVIVORS = "UnmaskingRequest", "ConsistencyCheckRequest"
OTHER_MODEL = sha256(b"another model").digest()


def signature(recording: Recording, client: int, survivors: Sequence[int], **about: bytes) -> m.SurvivorSignature:
    """What ``client`` would sign as a survivor, here or elsewhere."""
    session = about.get("session") or recording.read("3.ConsistencyCheck")[0]
    statement = survivor_statement(session, about.get("model", MODEL), tuple(survivors))
    cipher = recording.given.params.cipher_suite
    return m.SurvivorSignature(client, cipher.sign(identity(client), "survivors", *statement))


def survivor_lists() -> Iterator[Bad]:
    def bad(rule: str, what: str, about: str, at: str, survivors: Any, scene: Any = curious, **more: Any) -> Bad:
        def changed(_: Recording, request: Any) -> Any:
            found = survivors(request.survivors)
            both = {name: value(found) for name, value in more.items()}
            return change(request, survivors=found, **both)

        return Bad(rule, what, about, scene, at, changed)

    def rest(*shared: int) -> Any:
        return lambda survivors: tuple(client for client in shared if client not in survivors)

    yield bad("C21", "reordered", "Two survivors change places.", QUESTION, lambda s: (s[0], s[2], s[1]))
    yield bad("C21", "repeated", "A survivor counts twice.", QUESTION, lambda s: (*s, s[-1]))
    yield bad("C21", "without_shares", "A survivor that shared no keys.", QUESTION, lambda s: (*s, 12))
    yield bad("C21", "invented", "A survivor that was not invited.", QUESTION, lambda s: (*s, 14))
    yield bad("C21", "reordered_to_sign", "Two survivors change places, in an active round.", SURVIVORS,
              lambda s: s[::-1], active)  # fmt: skip
    yield bad("C21", "invented_to_sign", "A survivor that was not invited, in an active round.", SURVIVORS,
              lambda s: (2, 3, 5, 12, 700), active)  # fmt: skip
    yield bad("C22", "two", "Two survivors, three must stay: the difference of their inputs would show.", QUESTION,
              lambda s: s[:2], dropped=rest(2, 3, 5, 9, 13))  # fmt: skip
    yield bad("C22", "alone", "This client is the only survivor: the sum would be its input.", QUESTION,
              lambda s: (ME,), dropped=rest(2, 3, 5, 9, 13))  # fmt: skip
    yield bad("C22", "three_to_sign", "Three survivors, four must stay.", SURVIVORS, lambda s: s[:3], active)
    yield bad("C22", "sparse_five", "Five survivors, six must stay.", SURVIVORS, lambda s: s[:5], sparse_active)
    yield bad("C23", "left_out", "This client is called dropped, and has sent its input: its mask key would show it.",
              QUESTION, lambda s: (3, 5, 9), dropped=rest(2, 3, 5, 9, 13))  # fmt: skip
    yield bad("C23", "left_out_to_sign", "This client is called dropped, in an active round.", SURVIVORS,
              lambda s: (3, 5, 9, 700), active)  # fmt: skip
    yield bad("C26", "in_neither_list", "A client neither survived nor dropped.", QUESTION, lambda s: s,
              dropped=lambda s: (13,))  # fmt: skip
    yield bad("C26", "in_both_lists", "A client survived and dropped: both of its secrets would open.", QUESTION,
              lambda s: s, dropped=lambda s: (3, 9, 13))  # fmt: skip
    yield bad("C26", "own_in_both_lists", "This client survived and dropped.", QUESTION, lambda s: s,
              dropped=lambda s: (2, 9, 13))  # fmt: skip
    yield bad("C26", "repeated", "A client dropped twice.", QUESTION, lambda s: s, dropped=lambda s: (9, 9, 13))
    yield bad("C26", "reordered", "Two dropped clients change places.", QUESTION, lambda s: s,
              dropped=lambda s: (13, 9))  # fmt: skip
    yield bad("C26", "invented", "A client dropped that shared no keys.", QUESTION, lambda s: s,
              dropped=lambda s: (9, 12, 13))  # fmt: skip


def connected() -> Iterator[Bad]:
    def beside_the_dropped(recording: Recording, request: Any) -> Any:
        """One more client is missing, next to the one that is gone: two in a row of the ring, which is k/2."""
        params, (session, revealed) = recording.given.params, recording.read("NeighboursRequest")
        seed = graph_of(params, params.clients, joint_seed(params, session, revealed.parts)).seed
        beside = HararyGraph(params.clients, 2, seed).neighbours(13)  # the same ring, and only the nearest on it
        other = next(client for client in beside if client != ME)
        return change(request, survivors=tuple(client for client in request.survivors if client != other))

    yield Bad("C29", "cut_off", "All k/2 neighbours on one side of somebody are called dropped, in an active round.",
              sparse_active, SURVIVORS, beside_the_dropped)  # fmt: skip


def signatures() -> Iterator[Bad]:
    def bad(what: str, about: str, signed: Any, scene: Any = active) -> Bad:
        at = f"{QUESTION}.to.{ME}" if scene is sparse_active else QUESTION
        return Bad("C25", what, about, scene, at,
                   lambda r, q: change(q, signatures=signed(r, q.signatures, q.survivors)))  # fmt: skip

    def not_near(recording: Recording, signed: Any, survivors: Any) -> Any:
        far = next(client for client in survivors if client not in {entry.client for entry in signed})
        return tuple(sorted((*signed[:-1], signature(recording, far, survivors)), key=lambda entry: entry.client))

    yield bad("three", "Three signatures, four are asked for.", lambda r, e, s: e[:3])
    yield bad("none", "No signatures.", lambda *_: ())
    yield bad("flipped", "A wrong signature.", lambda r, e, s: item(e, 1, signature=flip(e[1].signature)))
    yield bad("empty", "A signature of no bytes.", lambda r, e, s: item(e, 1, signature=b""))
    yield bad("own_wrong", "This client's own signature is another one.",
              lambda r, e, s: item(e, 0, signature=flip(e[0].signature)))  # fmt: skip
    yield bad("repeated", "One signature counts twice.", lambda r, e, s: (e[0], *e[:3]))
    yield bad("reordered", "Two signatures change places.", lambda r, e, s: e[::-1])
    yield bad("of_the_dropped", "One signature is of a client that dropped, and valid.",
              lambda r, e, s: (e[0], e[1], e[2], signature(r, 9, s), *e[3:]))  # fmt: skip
    yield bad("of_another_member", "One member signed for two.",
              lambda r, e, s: item(e, 1, signature=e[2].signature))  # fmt: skip
    yield bad("on_other_survivors", "A signature on another survivor list.",
              lambda r, e, s: (e[0], signature(r, 3, (2, 3, 5, 9, 700)), *e[2:]))  # fmt: skip
    yield bad("on_another_model", "A signature of a client that trained another model.",
              lambda r, e, s: (e[0], signature(r, 3, s, model=OTHER_MODEL), *e[2:]))  # fmt: skip
    yield bad("of_another_session", "A signature on the same survivors in another session: a replay.",
              lambda r, e, s: (e[0], signature(r, 3, s, session=bytes(32)), *e[2:]))  # fmt: skip
    yield bad("sparse_no_neighbour", "A valid signature of a survivor that is no neighbour.", not_near, sparse_active)
    yield bad("sparse_two", "Two signatures of neighbours, three are asked for.", lambda r, e, s: e[:2], sparse_active)
    yield bad("unwanted", "A signature in a round without identities.",
              lambda r, e, s: (m.SurvivorSignature(3, bytes(64)),), curious)  # fmt: skip


def as_signed() -> Iterator[Bad]:
    def others(survivors: tuple[int, ...]) -> Any:
        def changed(recording: Recording, request: Any) -> Any:
            dropped = tuple(client for client in FIVE if client not in survivors)
            signed = tuple(signature(recording, client, survivors) for client in survivors)
            return change(request, survivors=survivors, dropped=dropped, signatures=signed)

        return changed

    yield Bad("C24", "other_survivors", "Four survivors, all of whom signed, but not those that this client signed.",
              active, QUESTION, others((2, 3, 5, 9)))  # fmt: skip
    yield Bad("C24", "more_survivors", "One survivor more than this client signed.", active, QUESTION,
              others(FIVE))  # fmt: skip


def signed_at_server() -> Iterator[Bad]:
    def bad(what: str, about: str, signed: Any) -> Bad:
        return Bad(
            "S7", what, about, few_active, "3.ConsistencyCheck", lambda r, q: change(q, signature=signed(r, q)), 3
        )

    everybody = (2, 3, 5)
    yield bad("flipped", "A wrong signature.", lambda _, q: flip(q.signature))
    yield bad("empty", "A signature of no bytes.", lambda *_: b"")
    yield bad("truncated", "A signature without its last byte.", lambda _, q: q.signature[:63])
    yield bad("other_survivors", "A signature on another survivor list.",
              lambda r, _: signature(r, 3, (3, 5, 9)).signature)  # fmt: skip
    yield bad("other_model", "A signature of a client that trained another model.",
              lambda r, _: signature(r, 3, everybody, model=OTHER_MODEL).signature)  # fmt: skip
    yield bad("other_session", "A signature in another session.",
              lambda r, _: signature(r, 3, everybody, session=bytes(32)).signature)  # fmt: skip
    yield bad("other_member", "Another member's signature.",
              lambda r, _: r.read("5.ConsistencyCheck")[1].signature)  # fmt: skip


@dataclass(frozen=True)
class Remembered:
    """A client that remembers something refuses what it would else have done.

    Attributes:
        at: what is refused: to ``"join"`` the session, to ``"submit"``, to ``"sign"`` the survivors, or to
            ``"receive"`` the unmasking question.
        entry: makes the fields of what is remembered that differ from this very round.
        model: of the update that is handed in.
        accepted: whether the same operation with the right model follows.
    """

    rule: str
    what: str
    about: str
    at: str
    entry: Callable[[Recording], dict[str, Any]] | None
    scene: Callable[[], Recording] = curious
    model: bytes = MODEL
    data_version: str = "2026-01"

    @property
    def name(self) -> str:
        return f"bad_{self.rule}_{self.what}"

    def write(self) -> doc.Document:
        recording = self.scene()
        mine = [operation for operation in recording.operations if operation.party == ME]
        asked = {"sign": SURVIVORS, "join": "ShareKeysRequest"}.get(self.at, QUESTION)
        question = next(name for name in recording.frames if name in (asked, f"{asked}.to.{ME}"))
        place = next(
            number for number, operation in enumerate(mine)
            if operation.name == "submit" == self.at or (self.at != "submit" and operation.inputs == (question,))
        )  # fmt: skip
        refused = Operation(ME, mine[place].name, mine[place].inputs, (), refusal(self.rule), dict(mine[place].more))
        if self.at == "submit":
            refused = Operation(ME, "submit", (), (), refusal(self.rule), {"model_hash": self.model.hex()})
        done = [*mine[:place], refused, *([mine[place]] if self.entry is None else [])]
        ledger = [] if self.entry is None else [doc.write_entry(self._remembered(recording, question))]
        return cut(self.name, self.about, self.scene, ME, done, ledger=ledger, data_version=self.data_version)

    def _remembered(self, recording: Recording, question: str) -> Participation:
        params = recording.given.params
        session, request = recording.read(question)
        said = {"receive": "answer", "sign": "signature", "submit": "input", "join": "session"}[self.at]
        fields = {
            "said": said,
            "study": params.study,
            "round_index": params.round_index,
            "attempt": params.attempt,
            "task": params.task,
            "model_hash": MODEL,
            "data_version": self.data_version,
            "session": session,
            "members": params.clients if said in ("session", "input") else request.survivors,
        }
        return Participation(**{**fields, **(self.entry(recording) if self.entry else {})})


def remembered() -> Iterator[Remembered]:
    def bad(rule: str, what: str, about: str, at: str, scene: Any = curious, **entry: Any) -> Remembered:
        return Remembered(rule, what, about, at, lambda _: entry, scene)

    yield Remembered("C20", "other_model", "The update is of another model than the server's, then of the right one.",
                     "submit", None, model=OTHER_MODEL)  # fmt: skip
    yield bad("C31", "same_session", "A backup was restored after the input had left.", "submit")
    yield bad("C31", "same_session_other_model", "A backup was restored after an input for another model had left.",
              "submit", model_hash=OTHER_MODEL)  # fmt: skip
    yield bad("C31", "other_attempt", "An input was sent in another attempt, over another cohort.", "submit",
              attempt=1, session=NOTHING, members=(2, 3, 5))  # fmt: skip
    yield bad("C31", "other_data", "An input was sent before the data changed: the round still asks for one.", "submit",
              data_version="2025-12")  # fmt: skip
    yield bad("C32", "other_survivors", "A backup was restored after the question was answered, for other survivors.",
              "receive", members=(2, 3, 5, 9, 13))  # fmt: skip
    yield bad("C32", "other_survivors_active", "The same in an active round.", "receive", active,
              members=(2, 3, 5, 9))  # fmt: skip
    yield bad("C32", "other_survivors_to_sign", "A backup was restored after other survivors were signed.", "sign",
              active, members=(2, 3, 5, 9))  # fmt: skip
    yield bad("C33", "one_less", "The same query was answered over a cohort with one member more.", "receive",
              round_index=6, session=NOTHING, members=(2, 3, 5, 9))  # fmt: skip
    yield bad("C33", "one_more", "The same query was answered over a cohort with one member less.", "receive", sparse,
              round_index=6, session=NOTHING, members=(2, 3, 5, 9, 700, 65535))  # fmt: skip
    yield bad("C33", "other_study", "The same query was answered in another study, over one member more.", "receive",
              study="another study", session=NOTHING, members=(2, 3, 5, 13))  # fmt: skip
    yield bad("C34", "other_session", "A backup was restored after another session was joined, with the same keys.",
              "join", active, session=NOTHING, model_hash=NOTHING)  # fmt: skip


def cases() -> list[Any]:
    lists = [*survivor_lists(), *connected(), *signatures(), *as_signed()]
    return [*lists, *signed_at_server(), *remembered()]
