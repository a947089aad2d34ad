"""Whole studies: real keys, TLS and HTTP on loopback."""

from __future__ import annotations

import hashlib
import threading

import msgspec
import numpy as np
import pytest

import quant
from protocols import SystemEntropy
from secagg.contribution import encode
from secagg.coordinator import bodies, chain
from secagg.coordinator.store import Entry, Store
from secagg.site.store import SiteStore
from secagg.study import receipt, rounds, weights
from secagg.transcript import records
from secagg.transport import messages
from secagg.transport.messages import Finished
from tests.support.consortium import MODEL, Lab, known_update


def join_all(lab: Lab, sites: tuple[int, ...], **options: object) -> dict[int, Finished]:
    """Run the sites to the end of the study, each in a thread."""
    finished: dict[int, Finished] = {}
    failed: list[BaseException] = []

    def take_part(site: int) -> None:
        try:
            with lab.participant(site, give_up_after=30.0, **options) as participant:
                finished[site] = participant.run("test")
        except BaseException as error:  # noqa: BLE001  # the test fails with it, in its own thread
            failed.append(error)

    threads = [threading.Thread(target=take_part, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    return finished


def after(lab: Lab, model: dict[str, np.ndarray], said: receipt.Receipt) -> dict[str, np.ndarray]:
    """Work out the weights after a round: the integer sum of the included sites' updates, decoded."""
    layout = quant.Layout.of(model)
    config = rounds.round_config(lab.study, layout, said.clients, said.round, said.attempt)
    session = [encode(config, known_update(site, said.round), None, SystemEntropy()) for site in said.included]
    total = np.sum([contribution.integers for contribution in session], axis=0)
    mean = config.codec.decode(total, len(said.included)) / len(said.included)
    return rounds.moved(model, layout.unflatten(mean))


def check_transcript(lab: Lab, receipts: list[receipt.Receipt]) -> None:
    """The audit transcript is one chain, and says of every attempt what the receipts say."""
    previous, found = "0" * 64, []
    for number, line in enumerate((lab.state / "transcript.jsonl").read_bytes().splitlines()):
        record = records.read(line)
        assert (record.number, record.previous) == (number, previous)
        previous = hashlib.sha256(line).hexdigest()
        found.append(record)
    assert isinstance(found[0], records.Study)
    begun = [record.params_hash for record in found if isinstance(record, records.Parameters)]
    assert begun == [said.params for said in receipts]
    survivors = [record.survivors for record in found if isinstance(record, records.Survivors)]
    assert {said.included for said in receipts if said.outcome == "opened"} <= set(survivors)


def check_study(lab: Lab, site: int) -> list[receipt.Receipt]:
    """Check every receipt of a site, the transcript, and that every opened sum is the integer sum."""
    store = SiteStore(lab.site_state(site))
    signed = [msgspec.json.decode(data, type=receipt.SignedReceipt) for data in store.receipts()]
    store.close()
    assert signed
    assert all(receipt.is_valid(lab.study, one) for one in signed)
    lines = (lab.state / "receipts.jsonl").read_text().splitlines()
    previous = chain.BEGINNING
    told = []
    for line in lines:
        entry = msgspec.json.decode(line)
        assert entry["previous"] == previous
        previous = chain.head([line])
        told.append(msgspec.convert(entry["round"], receipt.SignedReceipt).receipt)
    assert {one.receipt.statement() for one in signed} <= {one.statement() for one in told}
    model = weights.decode(weights.encode(MODEL))
    for said in told:
        assert said.model == weights.digest(weights.encode(model)).hex()
        if said.outcome == "opened":
            model = after(lab, model, said)
            assert said.result == weights.digest(weights.encode(model)).hex()
    check_transcript(lab, told)
    found = (lab.site_state(site) / "models" / "last.safetensors").read_bytes()
    assert found == weights.encode(model)
    return told


def test_three_sites_finish_a_study(make_lab) -> None:
    lab = make_lab(sites=3)
    with lab.coordinator(until_finished=True) as web:
        finished = join_all(lab, lab.sites)
    assert [done.reason for done in finished.values()] == ["finished: 3 rounds"] * 3
    told = check_study(lab, 2)
    assert [(said.round, said.outcome, said.included) for said in told] == [
        (number, "opened", (1, 2, 3)) for number in range(3)
    ]
    assert list(web.engine.store.files.iterdir()) == []


def test_large_frames_are_files_until_the_round_closes(make_lab, monkeypatch) -> None:
    lab = make_lab(sites=3, changes={"rounds = 10": "rounds = 2"})
    monkeypatch.setattr(bodies, "SMALL_LETTER", 256)
    monkeypatch.setattr(messages, "SMALL_LETTER", 256)
    named: set[str] = set()
    note = Store.note

    def noting(store: Store, entry: Entry) -> int:
        if entry.file is not None:
            assert (store.files / entry.file).stat().st_size > 256
            named.add(entry.file)
        return note(store, entry)

    monkeypatch.setattr(Store, "note", noting)
    with lab.coordinator(until_finished=True) as web:
        join_all(lab, lab.sites)
    assert len(named) >= 2 * 3
    assert list(web.engine.store.files.iterdir()) == []
    check_study(lab, 3)


@pytest.mark.parametrize("path", ["/hub", "/a/b"])
def test_a_path_in_front(make_lab, path: str) -> None:
    lab = make_lab(sites=3, path=path, changes={"rounds = 10": "rounds = 1"})
    with lab.coordinator(until_finished=True):
        assert len(join_all(lab, lab.sites)) == 3
