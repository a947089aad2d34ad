"""Parcels in Flower's records, and the fingerprint of what a site is asked, which both ends compute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict, UserConfig
from numpy.typing import NDArray

from secagg.errors import UsageError
from secagg.integrations.parcel import Parcel

PARCELS = "secagg.parcels"
"""Name of the record that carries parcels; its presence marks a message as one of ours."""

BULK = "secagg.bulk"
"""Name of the record that carries long frames: Flower sends arrays in pieces, and other records whole."""

STATE = "secagg.state"
"""Name of the record in a node's own ``context.state`` that keeps open rounds."""

WHO = "secagg.member"
"""Name of the record with which a server asks a node for its id on the roster, and the node answers."""

TOLD = ("payload", "weight-key", "run-config")
"""Texts beside parcels that tell the mod what to make of the app's answer."""

LONG_BYTES = 1 << 18

NOTHING = {"nothing": np.zeros(1, np.float32)}
"""The update of a round that is about metrics only."""

AnyArray = NDArray[Any]
AnyRecord = TypeVar("AnyRecord", ArrayRecord, MetricRecord)


def pack(content: RecordDict, parcels: Sequence[Parcel], **more: str) -> None:
    """Put parcels, and short texts beside them, into the content of a message."""
    record, bulk = ConfigRecord(), {}
    record["rounds"] = [parcel.round for parcel in parcels]
    record["clients"] = [parcel.client for parcel in parcels]
    record["proposals"] = [parcel.proposal for parcel in parcels]
    for number, parcel in enumerate(parcels):
        if sum(map(len, parcel.frames)) < LONG_BYTES:
            record[f"frames/{number}"] = list(parcel.frames)
            continue
        for place, frame in enumerate(parcel.frames):
            bulk[f"{number:04}/{place:06}"] = Array("uint8", (len(frame),), "secagg.frame", frame)
    for name, text in more.items():
        record[name] = text
    content[PARCELS] = record
    if bulk:
        content[BULK] = ArrayRecord(bulk)


def unpack(content: RecordDict) -> list[Parcel]:
    """Take the parcels out of the content of a message; other records stay.

    Raises:
        UsageError: the record is not one that ``pack`` wrote.
    """
    record = content.config_records.get(PARCELS)
    if record is None:
        return []
    bulk = content.array_records.get(BULK, ArrayRecord())
    given: dict[str, Any] = dict(record)
    try:
        columns = msgspec.convert(given, _Columns)
        parcels = []
        for number, head in enumerate(zip(columns.rounds, columns.clients, columns.proposals, strict=True)):
            frames = given.get(f"frames/{number}")
            if frames is None:
                frames = [bulk[key].data for key in sorted(bulk) if key.startswith(f"{number:04}/")]
            name, client, proposal = head
            parcels.append(Parcel(name, client, msgspec.convert(frames, tuple[bytes, ...]), proposal))
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"a message with a malformed record {PARCELS!r}: {error}") from error
    return parcels


class _Columns(msgspec.Struct):
    """What a record of parcels has for each of them, beside the frames."""

    rounds: list[str]
    clients: list[int]
    proposals: list[str]


def without_parcels(content: RecordDict) -> RecordDict:
    """Return the content that the app behind the mod is to see."""
    return RecordDict({name: record for name, record in content.items() if name not in (PARCELS, BULK)})


def asked_hash(content: RecordDict, message_type: str, told: Mapping[str, str]) -> bytes:
    """Return the 32-byte fingerprint of all that a site's answer is made from; it is the protocol's hash of the model.

    A learning rate of zero for all but one site opens that site's update as surely as another model would, and so does
    another metric as the weight. So not only the arrays are hashed, but every record that the app sees, by name; the
    type of the message, which names the app's function; and what the mod is told.
    """
    digest = hashlib.sha256(b"secagg flower task")

    def add(head: object, data: bytes = b"") -> None:
        plain = repr(head).encode()
        digest.update(len(plain).to_bytes(8, "little") + plain + data)

    add((message_type, sorted(told.items()), len(content)))
    for name, record in sorted(content.items()):
        add((name, type(record).__name__, len(record)))
        if isinstance(record, ArrayRecord):
            for key, array in record.items():
                add((key, array.dtype, tuple(array.shape), array.stype, len(array.data)), array.data)
        else:
            add(sorted((key, _plain(value)) for key, value in record.items()))
    return digest.digest()


def _plain(value: Any) -> Any:
    """Return a value of a record as it is after its journey, also if it was one of numpy's."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    kinds: tuple[Any, ...] = (float, str, bytes)
    return next((kind(value) for kind in kinds if isinstance(value, kind)), value)


def config_text(config: UserConfig) -> str:
    """Return the canonical JSON of a run's configuration."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"))


def numpy_arrays(arrays: ArrayRecord) -> dict[str, AnyArray]:
    """Return the arrays by name."""
    return {name: array.numpy() for name, array in arrays.items()}


class RecordStore(MutableMapping[str, bytes]):
    """A node's ``context.state`` as the store of its rounds. Flower keeps it at the node, from message to message."""

    def __init__(self, state: RecordDict) -> None:
        if STATE not in state.config_records:
            state[STATE] = ConfigRecord()
        self._record = state.config_records[STATE]

    def __getitem__(self, key: str) -> bytes:
        value = self._record[key]
        if not isinstance(value, bytes):
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: bytes) -> None:
        self._record[key] = value

    def __delitem__(self, key: str) -> None:
        del self._record[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._record))

    def __len__(self) -> int:
        return len(self._record)
