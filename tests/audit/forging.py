"""Studies to be audited, and a forger who changes one field and chains the records again where it can."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import quant
from protocols.pairwise import LocalPolicy
from secagg.config import RoundConfig
from secagg.inprocess import InProcessRound, simulated_identities
from secagg.transcript.chain import Transcript, study_record
from secagg.witness import StudyWitness

Record = dict[str, Any]
Forgery = Callable[[list[Record]], None]


def write_study(path: Path, *, sites: int = 10, rounds: int = 3, **told: Any) -> Path:
    """A study whose sites vanish in turn: one before its input, one at Unmasking. All inputs are kept.

    Args:
        path: where the transcript goes.
        sites: how many.
        rounds: how many.
        told: ``adversary``, ``joint``, ``same_model``, ``dropouts`` (a function of the round).
    """
    active = told.get("adversary", "active") == "active"
    ids = tuple(range(1, sites + 1))
    identities, roster = simulated_identities(ids) if active else ({}, None)
    with Transcript(path) as transcript:
        transcript.append(study_record("study", "tests", LocalPolicy(roster=roster)))
        witness = StudyWitness(transcript, identities)
        for number in range(rounds):
            config = RoundConfig(
                clients=ids,
                layout=quant.Layout.of(np.zeros(20)),
                quantization={"bits": 12, "range": 1.0},
                max_weight=100,
                study="study",
                round_index=number,
                adversary="active" if active else "curious",
                roster=roster.hash() if roster is not None else bytes(32),
                joint_randomness=bool(told.get("joint")),
            )
            run_round(config, witness, told, number, identities, roster)
        transcript.end()
    return path


def run_round(config: RoundConfig, witness: StudyWitness, told: Any, number: int, identities: Any, roster: Any) -> None:
    model = hashlib.sha256(b"%d" % (0 if told.get("same_model") else number)).digest()
    dropouts = told.get("dropouts", lambda n: {n + 1: "masked-input", n + 2: "unmasking"})(number)
    done = InProcessRound(
        config,
        model,
        dropouts=dropouts,
        identities=identities,
        roster=roster,
        witness=witness.round(config, model, keep=True),
    )
    done.run(lambda client, session: session.prepare(np.full(20, client / 20), client))


def read(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, records: list[Record], *, chained: bool = True) -> Path:
    """Write records back, with numbers and hashes that fit again unless told otherwise."""
    previous, lines = "0" * 64, []
    for number, record in enumerate(records):
        if chained:
            record |= {"number": number, "previous": previous}
        line = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        previous = hashlib.sha256(line).hexdigest()
        lines.append(line + b"\n")
    path.write_bytes(b"".join(lines))
    return path


def of_kind(records: list[Record], kind: str, place: int = -1) -> Record:
    """The record of a kind; by default that of the last round."""
    return [record for record in records if record["kind"] == kind][place]


def flip(text: str) -> str:
    """Change the first hex digit."""
    return ("1" if text[0] == "0" else "0") + text[1:]


def flip64(text: str) -> str:
    """Change the first byte under base64."""
    data = base64.b64decode(text)
    return base64.b64encode(bytes([data[0] ^ 1]) + data[1:]).decode()
