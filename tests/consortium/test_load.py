"""Five hundred sites in one round, from one process; the coordinator's memory stays within a stated bound."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from secagg.study.receipt import SignedReceipt
from tests.support import consortium
from tests.support.consortium import Lab

SITES = 500
PARAMETERS = 100_000
BOUND_BYTES = 800 << 20
"""Interpreter and libraries take about 100 MB; 500 TLS connections, the sealed shares and the sum the rest."""


def peak_bytes(process_id: int) -> int:
    text = Path(f"/proc/{process_id}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", text)[1])


@pytest.mark.slow
def test_five_hundred_sites(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(consortium, "MODEL", {"w": np.zeros(PARAMETERS, np.float32)})
    changes = {
        "rounds = 10": "rounds = 1", "join = 60": "join = 600", "phase = 60": "phase = 600",
        "train = 3600": "train = 600", "min_sites = 3": f"min_sites = {SITES}",
        'protocol = "secagg"': 'protocol = "secagg+"', 'adversary = "active"': 'adversary = "curious"',
    }  # fmt: skip
    lab = Lab.create(tmp_path, sites=SITES, changes=changes)
    process = lab.spawn_coordinator()
    lab.wait_until_up(60)
    failed: list[BaseException] = []
    peaks: list[int] = []

    def take_part(site: int) -> None:
        try:
            rules = consortium.SitePolicy(adversary="curious")
            with lab.participant(site, policy=rules, give_up_after=300.0) as participant:
                participant.run("load")
                peaks.append(peak_bytes(process.pid))
        except BaseException as error:  # noqa: BLE001  # the test fails with it, in its own thread
            failed.append(error)

    threads = [threading.Thread(target=take_part, args=(site,)) for site in lab.sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(900)
    assert not failed, failed[:3]
    line = (lab.state / "receipts.jsonl").read_bytes().splitlines()[-1]
    said = msgspec.convert(msgspec.json.decode(line)["round"], SignedReceipt).receipt
    lab.end_processes()
    print(f"the coordinator's peak: {max(peaks) >> 20} MiB")
    assert len(said.included) == SITES
    assert max(peaks) < BOUND_BYTES
