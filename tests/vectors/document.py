"""A vector as a JSON document: what README.md describes, written and read."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protocols.pairwise import LocalPolicy, Roster, RoundParams, VectorSpec
from protocols.pairwise.ledger import Participation

SCHEMA = 1
HERE = Path(__file__).parent

Document = dict[str, Any]


def paths(kind: str) -> list[Path]:
    """The files of one kind, ``"positive"``, ``"scenes"`` or ``"negative"``."""
    return sorted((HERE / kind).glob("*.json"))


def load(path: Path) -> Document:
    """Read a vector; one that is cut from a scene is completed with what it shares with the scene."""
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    if document["schema"] != SCHEMA:
        raise ValueError(f"{path.name} has schema {document['schema']}; this runner reads {SCHEMA}")
    if "scene" not in document:
        return document
    return completed(document, load(path.parents[1] / "scenes" / f"{document['scene']}.json"))


def completed(document: Document, scene: Document) -> Document:
    """A negative vector with the fields, parties and frames that it takes from its scene."""
    parties = {client: {**scene["parties"].get(client, {}), **own} for client, own in document["parties"].items()}
    frames = {**frames_of(scene), **document["frames"]}
    return {**scene, **document, "parties": parties, "frames": frames}


def shortened(document: Document, scene: Document) -> Document:
    """The negative vector without what it shares with its scene: what ``completed`` undoes."""
    shared = {
        name for name in ("params", "params_hash", "model_hash", "roster", "policy") if document[name] == scene[name]
    }
    parties = {}
    for client, party in document["parties"].items():
        honest = scene["parties"].get(client, {})
        parties[client] = {name: value for name, value in party.items() if name not in honest or value != honest[name]}
    found = frames_of(scene)
    frames = {name: value for name, value in document["frames"].items() if found.get(name) != value}
    kept = {name: value for name, value in document.items() if name not in shared}
    return {**kept, "parties": parties, "frames": frames}


def frames_of(scene: Document) -> dict[str, str]:
    """Every frame of a round that is written in full."""
    outputs = (output for operation in scene["operations"] for output in operation["outputs"])
    return {output["frame"]: output["hex"] for output in outputs if "hex" in output}


def dump(document: Document) -> str:
    """One field a line; what is innermost (a draw, an output, an operation without outputs) stays on its line."""
    return _lines(document, "") + "\n"


def _lines(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 120 or not isinstance(value, dict | list):
        return flat
    deeper = indent + " "
    if isinstance(value, dict):
        inner = [f"{deeper}{json.dumps(key)}: {_lines(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _lines(item, deeper) for item in value) + f"\n{indent}]"


# -- residues ------------------------------------------------------------------------------------------------------

MAX_WRITTEN = 64
"""Vectors with more elements are written as a seed (inputs) or a hash (sums)."""


def read_residues(written: Any, length: int, modulus: int) -> list[int]:
    """Read one input vector: decimals, or 64-bit words of SHAKE-256(seed) modulo the modulus."""
    if isinstance(written, str):
        return [int(word) for word in written.split()]
    stream = hashlib.shake_256(bytes.fromhex(written["expand"])).digest(8 * length)
    return [word % modulus for word in struct.unpack(f"<{length}Q", stream)]


def write_residues(values: Sequence[int]) -> Any:
    """Write a sum: decimals, or the SHA-256 of its 64-bit little-endian words."""
    if len(values) <= MAX_WRITTEN:
        return " ".join(map(str, values))
    return {"sha256": hashlib.sha256(struct.pack(f"<{len(values)}Q", *values)).hexdigest()}


def write_frame(frame: bytes, most: int) -> dict[str, Any]:
    """Write an output of at most ``most`` bytes in full, and a longer one as length and hash."""
    if len(frame) <= most:
        return {"hex": frame.hex()}
    return {"bytes": len(frame), "sha256": hashlib.sha256(frame).hexdigest()}


def same_frame(written: Mapping[str, Any], frame: bytes) -> bool:
    """Tell whether ``frame`` is the output that stands in the document."""
    if "hex" in written:
        return bool(frame.hex() == written["hex"])
    return all(written[key] == value for key, value in write_frame(frame, -1).items())


# -- what the machines are set up with -----------------------------------------------------------------------------


def write_params(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write the fields of ``RoundParams`` (as keyword arguments, since refused ones cannot be built)."""
    vectors = [dict(zip(("name", "length", "modulus"), _vector(spec), strict=True)) for spec in given["vectors"]]
    return {
        **{name: value.hex() if isinstance(value, bytes) else value for name, value in given.items()},
        "clients": list(given["clients"]),
        "vectors": vectors,
    }


def _vector(spec: Any) -> tuple[str, int, str]:
    name, length, modulus = (spec.name, spec.length, spec.modulus) if isinstance(spec, VectorSpec) else spec
    return name, length, str(modulus)


def read_params(written: Mapping[str, Any]) -> RoundParams:
    """Build the round (``ParameterError`` if it is none)."""
    vectors = tuple(VectorSpec(v["name"], v["length"], int(v["modulus"])) for v in written["vectors"])
    binary = {name: bytes.fromhex(written[name]) for name in ("task", "roster")}
    return RoundParams(**{**written, **binary, "clients": tuple(written["clients"]), "vectors": vectors})


def write_roster(roster: Roster | None) -> dict[str, str] | None:
    return None if roster is None else {str(client): key.hex() for client, key in roster.members}


def read_roster(written: Mapping[str, str] | None) -> Roster | None:
    if written is None:
        return None
    return Roster(tuple((int(client), bytes.fromhex(key)) for client, key in written.items()))


def write_policy(policy: LocalPolicy) -> dict[str, Any]:
    fields = {name: getattr(policy, name) for name in policy.__struct_fields__}
    task = None if policy.task is None else policy.task.hex()
    studies = None if policy.studies is None else list(policy.studies)
    changed = {"suites": list(policy.suites), "roster": write_roster(policy.roster), "studies": studies, "task": task}
    return {**fields, **changed}


def read_policy(written: Mapping[str, Any]) -> LocalPolicy:
    return LocalPolicy(
        **{
            **written,
            "suites": tuple(written["suites"]),
            "roster": read_roster(written["roster"]),
            "studies": None if written["studies"] is None else tuple(written["studies"]),
            "task": None if written["task"] is None else bytes.fromhex(written["task"]),
        }
    )


def write_entry(entry: Participation) -> dict[str, Any]:
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    binary = {name: value.hex() for name, value in fields.items() if isinstance(value, bytes)}
    return {**fields, **binary, "members": list(entry.members)}


def read_entry(written: Mapping[str, Any]) -> Participation:
    binary = {name: bytes.fromhex(written[name]) for name in ("task", "model_hash", "session")}
    return Participation(**{**written, **binary, "members": tuple(written["members"])})
