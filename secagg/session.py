"""The one engine: float updates in, bytes out, on both sides; no sockets, files, clocks or threads.

Everything that runs rounds (the in-process call, the demo, adapters for FL stacks) drives these two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import Entropy, LocalProtocolError, Secret, SystemEntropy
from protocols.pairwise import Accumulator, Client, LocalPolicy, Relay, Roster, Server
from protocols.pairwise.server import Range
from protocols.pairwise.steps import Outbound, Status
from protocols.primitives.prg import AesCtrStream
from secagg.config import UPDATE, WEIGHT, RoundConfig
from secagg.errors import UsageError
from secagg.public import JointRandomness


@dataclass(frozen=True)
class Contribution:
    """A quantized update that waits to be masked.

    Attributes:
        integers: the grid integers, int64 of shape (encoded_dim,).
        saturated: coordinates that lay beyond the grid's range.
        vectors: what the protocol masks: packed lanes, and the weight in a weighted round.
    """

    integers: NDArray[np.int64]
    saturated: int
    vectors: dict[str, NDArray[np.uint64]]


class ClientSession:
    """One site in one round: quantizes its update, masks it, and answers the server.

    Drive it so: send ``start()``; feed every frame from the server to ``receive`` and send what comes back; when
    ``wants_input`` is true, hand the update to ``submit`` and send its frames.

    Args:
        config: the round.
        client: this site's id.
        policy: what this site insists on, whatever the server proposes.
        identity: 32-byte Ed25519 secret of the roster identity, against an active server.
        entropy: the operating system's unless a test hands in its own.

    Raises:
        protocols.RemoteProtocolError: the policy refuses the round (rules C1 to C9).
    """

    def __init__(
        self,
        config: RoundConfig,
        client: int,
        *,
        policy: LocalPolicy | None = None,
        identity: Secret | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._entropy = entropy or SystemEntropy()
        self._machine = Client(config.params, policy or LocalPolicy(), client, identity=identity, entropy=self._entropy)

    def start(self) -> bytes:
        """Return the first frame for the server."""
        return self._machine.start()

    def receive(self, data: bytes) -> tuple[bytes, ...]:
        """Take one frame from the server and return the frames to send back.

        Raises:
            protocols.RemoteProtocolError: the server broke a numbered rule; nothing is sent and nothing changes.
            protocols.LocalProtocolError: the frame is out of order.
        """
        return self._machine.receive(data)

    @property
    def wants_input(self) -> bool:
        """Whether the round waits for this site's update."""
        return self._machine.wants_input

    def prepare(self, update: quant.Update, weight: int | None = None) -> Contribution:
        """Put an update on the grid; see ``submit``, which also masks it.

        Raises:
            protocols.LocalProtocolError: the quantization draws on the joint seed, which is known once input is wanted.
        """
        public = None
        if self._config.codec.public_labels:
            if not self.wants_input:
                raise LocalProtocolError("this quantization needs the joint seed: wait until the round wants input")
            public = JointRandomness(self._config.params.cipher_suite, self._machine.joint_seed)
        return encode(self._config, update, weight, self._entropy, public=public, client=self._client)

    def submit(
        self, update: quant.Update | Contribution, model_hash: bytes, weight: int | None = None
    ) -> Iterator[bytes]:
        """Quantize, pack and mask an update; yields the frames to send, one chunk each.

        Args:
            update: of the round's layout, or what ``prepare`` made of one.
            model_hash: 32-byte hash of the model that this site trained.
            weight: this site's weight, an integer from 0 to ``max_weight``; required exactly in a weighted round.

        Raises:
            quant.InputError: an update that is not finite or not of the round's layout.
            secagg.UsageError: a weight in an unweighted round, or none in a weighted one.
            protocols.LocalProtocolError: the round does not wait for input.
        """
        if not self.wants_input:
            raise LocalProtocolError("the round does not wait for an update of this client")
        contribution = update if isinstance(update, Contribution) else self.prepare(update, weight)
        return self._machine.submit(contribution.vectors, model_hash)


def encode(
    config: RoundConfig,
    update: quant.Update,
    weight: int | None,
    entropy: Entropy,
    *,
    public: quant.PublicRandomness | None = None,
    client: int | None = None,
) -> Contribution:
    """Flatten, clip, weigh, round and pack one update of the round's layout.

    The clip comes before the weight, so that it bounds what a site says of one example, whatever its weight.

    Raises:
        quant.InputError: an update that is not finite or not of the layout, or a weight outside its bounds.
        secagg.UsageError: a weight in an unweighted round, or none in a weighted one.
    """
    if (weight is None) != (config.weighting is None):
        expected = "no weight (max_weight is not set)" if config.weighting is None else "a weight for every update"
        raise UsageError(f"this round takes {expected}")
    flat = config.codec.clip(config.layout.flatten(update))
    vectors: dict[str, NDArray[np.uint64]] = {}
    if config.weighting is not None and weight is not None:
        flat = config.weighting.apply(flat, weight)
        vectors[WEIGHT] = np.array([config.weighting.check(weight)], dtype=np.uint64)
    stream = AesCtrStream(entropy.take(32, "rounding"))
    integers = config.codec.encode(flat, stream, public=public, client=client)
    vectors[UPDATE] = config.lanes.pack(integers)
    return Contribution(integers, config.codec.saturated(flat, public=public), vectors)


@dataclass(frozen=True)
class Opened:
    """The opened sum of a round. Large vectors are made when asked for, anew each time.

    Attributes:
        included: ids of the clients whose updates are in the sum (the survivors, U3).
        vectors: the opened vectors as they were unmasked, ``uint64`` by name, each below its modulus.
        lanes: how ``packed``, the vector of updates, holds the sum of the grid integers.
        total_weight: the sum of their weights; their number in an unweighted round.
        sum: the decoded sum of (weighted) updates, float64 of shape (dim,).
    """

    included: tuple[int, ...]
    vectors: dict[str, NDArray[np.uint64]]
    lanes: quant.LaneLayout
    total_weight: int
    sum: NDArray[np.float64]

    @property
    def packed(self) -> NDArray[np.uint64]:
        """The sum of the updates as it was unmasked, uint64 of shape (lanes,)."""
        return self.vectors[UPDATE]

    @property
    def integers(self) -> NDArray[np.int64]:
        """The sum of the grid integers, int64 of shape (encoded_dim,)."""
        return self.lanes.unpack(self.packed)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The decoded (weighted) mean, float64 of shape (dim,)."""
        return self.sum / self.total_weight


class ServerSession:
    """The server of one round: collects frames, advances when told, decodes the sum.

    Args:
        config: the round.
        model_hash: 32-byte hash of the model that the sites train.
        roster: identities, against an active server.
        accumulator: where masked inputs are added up; in memory by default.
        relay: where sealed shares wait to be passed on; in memory by default.
    """

    def __init__(
        self,
        config: RoundConfig,
        model_hash: bytes,
        *,
        roster: Roster | None = None,
        accumulator: Accumulator | None = None,
        relay: Relay | None = None,
    ) -> None:
        self._config = config
        self._machine = Server(config.params, model_hash, roster=roster, accumulator=accumulator, relay=relay)

    def receive(self, client: int, data: bytes) -> None:
        """Take one frame from ``client``.

        Raises:
            protocols.RemoteProtocolError: the client broke a numbered rule; the round goes on without the frame.
        """
        self._machine.receive(client, data)

    @property
    def status(self) -> Status:
        """Who is here, who is missing, how many are needed."""
        return self._machine.status

    def advance(self) -> Outbound:
        """End the present phase and return the frames to send, as (client id, bytes).

        Raises:
            protocols.LocalProtocolError: fewer clients are here than are needed.
            protocols.RemoteProtocolError: rule S10, a client dealt false shares; the sum is refused.
        """
        return self._machine.advance()

    def abort(self, reason: str) -> Outbound:
        """End the round without a sum and return the frames that tell the clients."""
        return self._machine.abort(reason)

    def result(
        self, apply: Callable[[Callable[[Range], None], list[Range]], Iterable[None]] = map, pieces: int = 1
    ) -> Opened:
        """Take the remaining masks off and decode the sum; once.

        Args:
            apply: runs a function over a list, such as the ``map`` of a thread pool.
            pieces: into how many stretches each vector is cut for ``apply``.

        Raises:
            protocols.LocalProtocolError: the round is not open.
            quant.InputError: every included weight is zero, so there is no mean.
        """
        sums = self._machine.result(apply, pieces)
        config, included = self._config, self._machine.survivors
        public = JointRandomness(config.params.cipher_suite, self._machine.joint_seed)
        decoded = config.codec.decode_packed(sums[UPDATE], config.lanes, len(included), public=public, clients=included)
        total_weight = len(included)
        if config.weighting is not None:
            total_weight = config.weighting.check_total(int(sums[WEIGHT][0]))
            decoded *= config.weighting.max_weight
        return Opened(included, sums, config.lanes, total_weight, decoded)
