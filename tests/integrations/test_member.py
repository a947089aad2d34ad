"""A site's rounds: what it answers, what it keeps, what it forgets."""

from __future__ import annotations

import json

import numpy as np
import pytest

import quant
from protocols import RemoteProtocolError
from protocols.pairwise import LocalPolicy
from secagg import RoundConfig, UsageError
from secagg.integrations.letters import read_answer, read_letters, write_letters
from secagg.integrations.member import KEPT_ROUNDS, MemberRounds, StoredLedger
from secagg.integrations.parcel import Parcel
from secagg.integrations.proposal import propose, read_proposal
from secagg.integrations.series import HostedRound


def config(index: int = 0, clients: int = 4, **more: object) -> RoundConfig:
    layout = quant.Layout.of({"w": np.zeros(7, np.float32)})
    settings = {"quantization": {"bits": 10, "clip": 2.0, "rotation": True}, "metrics": {"loss": 2.0}, "max_weight": 9}
    return RoundConfig(tuple(range(1, clients + 1)), layout, round_index=index, **{**settings, **more})  # type: ignore[arg-type]


def proposal(index: int = 0, clients: int = 4, **more: object) -> Parcel:
    return HostedRound(f"r{index}", config(index, clients, **more)).proposals()[1][0]


@pytest.mark.fast
def test_a_proposal_is_read_as_it_was_written() -> None:
    text = propose(config())
    again = read_proposal(text)
    assert propose(again) == text
    assert again.params == config().params
    for wrong in ("", "{}", "[1]", text[:-1], text.replace("clients", "sites")):
        with pytest.raises(UsageError, match="proposal"):
            read_proposal(wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"study": ["s"]}, {"round_index": 2.5}, {"attempt": True}, {"clients": [1, 2, 3, 4.5]}, {"threshold": 3.0}],
)
def test_a_proposal_of_other_types_is_refused_and_the_ledger_stays_readable(wrong: dict[str, object]) -> None:
    store: dict[str, bytes] = {}
    text = json.dumps({**json.loads(propose(config())), **wrong})
    with pytest.raises(UsageError, match="proposal"):
        MemberRounds(store, LocalPolicy()).answer(Parcel("r", 1, proposal=text))
    MemberRounds(store, LocalPolicy()).answer(proposal())
    assert len(StoredLedger(store).entries()) == 1


@pytest.mark.fast
def test_letters_are_parcels_or_refused() -> None:
    parcels = [Parcel("a", 3, (b"x", b"y"), "text"), Parcel("b", 4)]
    assert read_letters(write_letters(parcels)) == parcels
    for wrong in (None, [["a", "3", [b""], ""]], [["a", 3, ["x"], ""]], [["a", 3]]):
        with pytest.raises(UsageError, match="parcels"):
            read_letters(wrong)
        assert read_answer(3, wrong) == []
    assert read_answer(3, RuntimeError("what FLARE gives of a site that raised")) == []


def test_a_round_that_is_refused_keeps_nobody_out_of_the_others() -> None:
    rounds = MemberRounds({}, LocalPolicy(min_clients=4))
    answers = rounds.answer_all([proposal(0), proposal(1, clients=3)])
    assert [len(answer.frames) for answer in answers] == [1, 0]
    assert not rounds.waiting("r1")
    with pytest.raises(RemoteProtocolError, match="C2"):
        rounds.answer_all([proposal(2, clients=3)])


def test_a_message_that_fails_leaves_the_store_as_it_was_but_for_the_ledger() -> None:
    store: dict[str, bytes] = {}
    rounds = MemberRounds(store, LocalPolicy())
    rounds.answer(proposal())
    rounds.save()
    before = {key: value for key, value in store.items() if key != "ledger"}
    with pytest.raises(UsageError, match="does not know"):
        MemberRounds(store, LocalPolicy()).answer(Parcel("r7", 1, (b"frame",)))
    assert {key: value for key, value in store.items() if key != "ledger"} == before
    with pytest.raises(UsageError, match="proposed before"):
        MemberRounds(store, LocalPolicy()).answer(proposal())


def test_a_grid_that_refuses_updates_is_taken_where_the_site_chose_it() -> None:
    chosen = config(quantization={"exact_low": -40, "exact_high": 3}, max_weight=None)
    parcel = Parcel("r", 1, proposal=propose(chosen))
    with pytest.raises(UsageError, match="exact_low from a server"):
        MemberRounds({}, LocalPolicy()).answer(parcel)
    assert MemberRounds({}, LocalPolicy(task=chosen.task)).answer(parcel).frames


def test_rounds_that_a_server_gave_up_on_are_forgotten() -> None:
    store: dict[str, bytes] = {}
    for index in range(KEPT_ROUNDS + 3):
        rounds = MemberRounds(store, LocalPolicy())
        rounds.answer(proposal(index))
        rounds.save()
    kept = [key for key in store if key.endswith("/state")]
    assert kept == [f"r{index}/state" for index in range(3, KEPT_ROUNDS + 3)]


def test_attempts_are_counted_from_message_to_message() -> None:
    store: dict[str, bytes] = {}
    for attempt in range(4):
        MemberRounds(store, LocalPolicy()).answer(Parcel(f"a{attempt}", 1, proposal=propose(config(attempt=attempt))))
    with pytest.raises(RemoteProtocolError, match="C30"):
        MemberRounds(store, LocalPolicy()).answer(Parcel("a4", 1, proposal=propose(config(attempt=4))))
