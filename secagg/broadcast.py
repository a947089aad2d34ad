"""The way down: the model that the server sends to the sites, quantized, as bytes that everybody hashes.

The model is public, so nothing here has to be linear: each leaf gets the range of its own values. What rounding left
out stays with the server and is added before the next model is quantized (error feedback: Karimireddy et al. 2019;
on the way down: Tang et al. 2019, "DoubleSqueeze", algorithm 1). The hash of these bytes is the model hash that the
protocol binds into masks and signatures: a site that was sent other bytes cannot add up with the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

import quant
from protocols.primitives import bitpack
from quant.checks import MAX_BOUND, MIN_BOUND
from secagg.errors import RoundRefused, UsageError

VERSION = 1
FLOAT32_BITS = 32
MOST_BITS = 24
"""float32 carries 24 significant bits: a finer grid has nothing to carry."""


class BroadcastModel(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What travels: MessagePack of these fields.

    Attributes:
        version: of this form.
        layout: SHA-256 of the canonical description of the layout.
        bits: of one coordinate; 32 for float32 as it is.
        ranges: bound of every leaf's grid, a float32 value; empty for float32.
        payload: coordinates in the layout's order, bit-packed, little-endian.
    """

    version: int
    layout: bytes
    bits: int
    ranges: tuple[float, ...]
    payload: bytes


def check_bits(bits: object) -> None:
    """Refuse bits that no broadcast has.

    Raises:
        UsageError: not ``None`` and not from 1 to 24.
    """
    if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= MOST_BITS):
        raise UsageError(f"downlink bits are a whole number from 1 to {MOST_BITS}, or none for float32, not {bits!r}")


def hash_of(data: bytes) -> bytes:
    """Give the model hash of a broadcast: SHA-256 of the bytes that the sites receive."""
    return hashlib.sha256(data).digest()


@dataclass(frozen=True, eq=False)
class Downlink:
    """The server's end: a value; every model sent gives the next one.

    Exact: what the sites decode plus ``residual`` is the model plus the residual before, up to float64 rounding, so
    what was left out of one broadcast is said by the next ones. Bounded: a coordinate of the residual is at most half
    a step of its leaf's grid, and 2^-24 of the grid's bound for the float32 that the sites decode.

    Attributes:
        layout: of the model.
        bits: of one coordinate, 1 to 24; ``None`` for float32, which leaves nothing out.
        residual: float64 of shape (dim,).
    """

    layout: quant.Layout
    bits: int | None
    residual: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse at construction."""
        check_bits(self.bits)
        if self.residual.shape != (self.layout.dim,):
            raise UsageError(f"a residual of shape {self.residual.shape} is not of a model of {self.layout.dim}")

    @classmethod
    def start(cls, layout: quant.Layout, bits: int | None) -> Downlink:
        """Begin with nothing left out.

        Raises:
            UsageError: bits that are not from 1 to 24.
        """
        return cls(layout, bits, np.zeros(layout.dim))

    def send(self, model: quant.Update) -> tuple[bytes, Downlink]:
        """Quantize a model of the layout; give the bytes for the sites, and the state that the next model needs.

        Raises:
            quant.InputError: a model of another layout, not finite, or beyond 1e30 (float32 for ``bits=None``).
        """
        flat = self.layout.flatten(model).astype(np.float64)
        if self.bits is None:
            if np.abs(flat).max(initial=0.0) > np.finfo(np.float32).max:
                raise quant.InputError("a coordinate is beyond float32, and so the model cannot be sent")
            payload = flat.astype("<f4").tobytes()
            data = msgspec.msgpack.encode(
                BroadcastModel(VERSION, _hash_of_layout(self.layout), FLOAT32_BITS, (), payload)
            )
            return data, self
        corrected = flat + self.residual
        integers = np.empty(self.layout.dim, dtype=np.uint64)
        ranges = []
        for run in _runs(self.layout):
            bound = _bound(corrected[run])
            integers[run] = _grid(self.bits, bound).encode(corrected[run]).astype(np.uint64)
            ranges.append(bound)
        message = BroadcastModel(
            VERSION, _hash_of_layout(self.layout), self.bits, tuple(ranges), bitpack.pack(integers, self.bits)
        )
        data = msgspec.msgpack.encode(message)
        return data, replace(self, residual=corrected - read(data, self.layout, self.bits).astype(np.float64))


def read(data: bytes, layout: quant.Layout, bits: int | None) -> NDArray[np.float32]:
    """Read a broadcast at a site: float32 of shape (dim,), the same on every machine.

    Args:
        data: what the server sent.
        layout: of the model, as agreed on.
        bits: as agreed on.

    Raises:
        RoundRefused: bytes that are no broadcast of this layout and these bits, in their one form.
    """
    try:
        message = msgspec.msgpack.decode(data, type=BroadcastModel)
        if msgspec.msgpack.encode(message) != data:
            raise ValueError("the bytes are not in their one form")
        return _decode(message, layout, bits)
    except (msgspec.MsgspecError, quant.QuantError, ValueError) as error:
        raise RoundRefused(f"the server's model cannot be used: {error}") from error


def _decode(message: BroadcastModel, layout: quant.Layout, bits: int | None) -> NDArray[np.float32]:
    """Check what ``read`` parsed against what was agreed on, and take it off the grid."""
    if message.version != VERSION or message.layout != _hash_of_layout(layout):
        raise ValueError("it has another version or layout")
    if message.bits != (FLOAT32_BITS if bits is None else bits):
        raise ValueError(f"it has {message.bits} bits, agreed on were {bits or FLOAT32_BITS}")
    if bits is None:
        values = np.frombuffer(message.payload, dtype="<f4").astype(np.float32)
        if message.ranges or values.size != layout.dim or not np.isfinite(values).all():
            raise ValueError("it has another length, or values that are not finite")
        return values
    if len(message.ranges) != len(layout.leaves):
        raise ValueError(f"it has {len(message.ranges)} ranges for {len(layout.leaves)} leaves")
    integers = bitpack.unpack(message.payload, layout.dim, bits).astype(np.int64)
    values = np.empty(layout.dim, dtype=np.float32)
    for run, bound in zip(_runs(layout), message.ranges, strict=True):
        values[run] = _grid(bits, bound).decode(integers[run], 1)
    return values


def _grid(bits: int, bound: float) -> quant.UniformGrid:
    """Give one leaf's grid: an odd number of levels, so that zero is one of its points (but for a single bit)."""
    return quant.UniformGrid(max((1 << bits) - 1, 2), bound, "nearest")


def _bound(leaf: NDArray[np.float64]) -> float:
    """Give the least float32 that bounds all magnitudes, and at least what a grid can be made of.

    Raises:
        quant.InputError: a magnitude beyond all grids.
    """
    most = max(float(np.abs(leaf).max(initial=0.0)), MIN_BOUND)
    rounded = np.float32(min(most, 2 * MAX_BOUND))
    if float(rounded) < most:  # as float64: numpy would round a Python float to float32 first
        rounded = np.nextafter(rounded, np.float32(np.inf))
    if float(rounded) > MAX_BOUND:
        raise quant.InputError(f"a coordinate of {most:g} is beyond what a model is sent with ({MAX_BOUND:g})")
    return float(rounded)


def _runs(layout: quant.Layout) -> Iterator[slice]:
    start = 0
    for leaf in layout.leaves:
        yield slice(start, start + leaf.size)
        start += leaf.size


def _hash_of_layout(layout: quant.Layout) -> bytes:
    text = json.dumps(layout.config(), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()
