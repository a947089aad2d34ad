"""The one engine: float updates in, bytes out, on both sides; no sockets, files, clocks or threads.

Everything that runs rounds (the in-process call, the demo, adapters for FL stacks) drives these two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import Entropy, LocalProtocolError, Secret, SystemEntropy
from protocols.pairwise import Accumulator, Client, Ledger, LocalPolicy, Relay, Roster, Server, states
from protocols.pairwise.server import Range
from protocols.pairwise.steps import Outbound, Status
from protocols.primitives.prg import AesCtrStream
from secagg.config import COUNTERS, INSIDE, MAX_COUNT, UPDATE, WEIGHT, RoundConfig
from secagg.errors import UsageError
from secagg.feedback import SiteResidual
from secagg.monitoring import MONITOR, Monitoring, observe
from secagg.public import JointRandomness


@dataclass(frozen=True)
class Contribution:
    """A quantized update that waits to be masked.

    Attributes:
        integers: the grid integers, int64 of shape (encoded_dim,).
        saturated: coordinates that lay beyond the grid's range.
        vectors: what the protocol masks: packed lanes; weight, clip bit and monitoring in rounds that have them.
        residual: with error feedback, what the site keeps for later.
    """

    integers: NDArray[np.int64]
    saturated: int
    vectors: dict[str, NDArray[np.uint64]]
    residual: SiteResidual | None = None


class ClientSession:
    """One site in one round: quantizes its update, masks it, and answers the server.

    Drive it so: send ``start()``; feed every frame from the server to ``receive`` and send what comes back; when
    ``wants_input`` is true, hand the update to ``submit`` and send its frames.

    Args:
        config: the round.
        client: this site's id.
        policy: what this site insists on, whatever the server proposes.
        identity: 32-byte Ed25519 secret of the roster identity, against an active server.
        ledger: what this site remembers from round to round; of this round only by default.
        data_version: the site's own name for the state of its data.
        entropy: the operating system's unless a test hands in its own.
        residual: with error feedback, what the site kept of earlier rounds; nothing by default.

    Raises:
        protocols.RemoteProtocolError: the policy refuses the round (rules C1 to C9).
        UsageError: a residual in a round without error feedback, or of another length.
    """

    def __init__(
        self,
        config: RoundConfig,
        client: int,
        *,
        policy: LocalPolicy | None = None,
        identity: Secret | None = None,
        ledger: Ledger | None = None,
        data_version: str = "",
        entropy: Entropy | None = None,
        residual: SiteResidual | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._entropy = entropy or SystemEntropy()
        self._keep(residual)
        self._machine = Client(
            config.params,
            policy or LocalPolicy(),
            client,
            identity=identity,
            ledger=ledger,
            data_version=data_version,
            entropy=self._entropy,
        )

    def _keep(self, residual: SiteResidual | None) -> None:
        """Begin with what the site kept of earlier rounds."""
        config = self._config
        self._residual = SiteResidual.checked(residual, config.codec) if config.error_feedback else None
        self._pending, self._sent = self._residual, False
        if residual is not None and self._residual is None:
            raise UsageError("this round has no error feedback: start its sites without a residual")

    def snapshot(self) -> bytes:
        """Encode the present state, secrets included, for this site's own disk."""
        return self._machine.snapshot()

    @classmethod
    def restore(
        cls,
        config: RoundConfig,
        client: int,
        data: bytes,
        *,
        ledger: Ledger | None = None,
        data_version: str = "",
        entropy: Entropy | None = None,
        residual: SiteResidual | None = None,
    ) -> ClientSession:
        """Continue from a snapshot, with the ledger as it is now, not as it was then.

        Raises:
            protocols.LocalProtocolError: not the snapshot of a client.
        """
        session = cls.__new__(cls)
        session._config = config
        session._client = client
        session._entropy = entropy or SystemEntropy()
        session._keep(residual)
        session._machine = Client.restore(data, ledger=ledger, data_version=data_version, entropy=session._entropy)
        return session

    @property
    def over(self) -> bool:
        """Whether this site has nothing more to say in the round: it answered, or the round was aborted."""
        return isinstance(self._machine.state, states.Completed | states.Aborted)

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

    @property
    def has_sent_input(self) -> bool:
        """Whether the whole masked input was handed out (or the round is over)."""
        later = states.ExpectConsistencyCheckRequest | states.ExpectUnmaskingRequest
        return self.over or isinstance(self._machine.state, later)

    def prepare(
        self, update: quant.Update, weight: int | None = None, counters: Mapping[str, int] | None = None
    ) -> Contribution:
        """Put an update on the grid; see ``submit``, which also masks it.

        Raises:
            protocols.LocalProtocolError: the quantization draws on the joint seed, which is known once input is wanted.
        """
        public = None
        if self._config.codec.public_labels:
            if not self.wants_input:
                raise LocalProtocolError("this quantization needs the joint seed: wait until the round wants input")
            public = JointRandomness(self._config.params.cipher_suite, self._machine.joint_seed)
        contribution = encode(
            self._config,
            update,
            weight,
            self._entropy,
            public=public,
            client=self._client,
            residual=self._residual,
        )
        if self._config.counters or counters:
            contribution.vectors[COUNTERS] = count(self._config, counters or {})
        self._pending = contribution.residual
        return contribution

    @property
    def residual(self) -> SiteResidual | None:
        """With error feedback, what to keep for the next round; ask once the round is over for this site.

        If the site sent its input and never learned who survived, it takes itself for included: then an update may be
        lost, but nothing is said twice.
        """
        if self._pending is None:
            return None
        state = self._machine.state
        survivors = state.survivors if isinstance(state, states.Completed) else None
        missed = not self._sent or (survivors is not None and self._client not in survivors)
        return self._pending.missed() if missed else self._pending.included()

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
        frames = self._machine.submit(contribution.vectors, model_hash)
        self._pending, self._sent = contribution.residual, True
        return frames


def encode(
    config: RoundConfig,
    update: quant.Update,
    weight: int | None,
    entropy: Entropy,
    *,
    public: quant.PublicRandomness | None = None,
    client: int | None = None,
    residual: SiteResidual | None = None,
) -> Contribution:
    """Flatten, correct, clip, weigh, round and pack one update of the round's layout.

    The residual comes before the clip and the clip before the weight, so that the clip bounds what a site says of one
    example, whatever its weight and whatever it kept.

    Raises:
        quant.InputError: an update that is not finite or not of the layout, or a weight outside its bounds.
        secagg.UsageError: a weight in an unweighted round, or none in a weighted one.
    """
    if (weight is None) != (config.weighting is None):
        expected = "no weight (max_weight is not set)" if config.weighting is None else "a weight for every update"
        raise UsageError(f"this round takes {expected}")
    codec, facts = config.codec, config.codec.facts
    whole = config.layout.flatten(update)
    if residual is not None:
        whole = residual.add_to(whole)
    clipped = flat = codec.clip(whole)
    vectors: dict[str, NDArray[np.uint64]] = {}
    share = 1.0
    if config.weighting is not None and weight is not None:
        flat = config.weighting.apply(clipped, weight)
        share = weight / config.weighting.max_weight
        vectors[WEIGHT] = np.array([config.weighting.check(weight)], dtype=np.uint64)
    stream = AesCtrStream(entropy.take(32, "rounding"))
    integers = config.precision.encode(flat, stream, public=public, client=client)
    vectors[UPDATE] = config.lanes.pack(integers)
    if config.adaptive_clip is not None:
        vectors[INSIDE] = config.adaptive_clip.bit(whole).astype(np.uint64)
    saturated = codec.saturated(flat, public=public)
    if config.monitor or residual is not None:
        sent = codec.decode(integers, 1, public=public, clients=() if client is None else (client,))
        if config.monitor:
            cut = not np.array_equal(clipped, whole)
            vectors[MONITOR] = observe(facts, clipped=cut, saturated=saturated, error=sent - flat)
        residual = residual and residual.after(whole, sent, share)
    return Contribution(integers, saturated, vectors, residual)


def count(config: RoundConfig, counters: Mapping[str, int]) -> NDArray[np.uint64]:
    """Put the round's counters in order: uint64 of shape (counters,).

    Raises:
        secagg.UsageError: other names than the round's, or a value that is not a whole number from 0 to ``MAX_COUNT``.
    """
    if set(counters) != set(config.counters):
        raise UsageError(f"this round counts {list(config.counters)}, not {list(counters)}")
    for name, value in counters.items():
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            raise UsageError(f"counter {name!r} is a whole number from 0 to {MAX_COUNT}, not {value!r}")
    return np.array([counters[name] for name in config.counters], dtype=np.uint64)


@dataclass(frozen=True)
class Opened:
    """The opened sum of a round. Large vectors are made when asked for, anew each time.

    Attributes:
        config: the round.
        included: ids of the clients whose updates are in the sum (the survivors, U3).
        vectors: the opened vectors as the protocol gave them, uint64 by name, each below its modulus.
        sum: the decoded sum of (weighted) updates, float64 of shape (dim,).
    """

    config: RoundConfig
    included: tuple[int, ...]
    vectors: dict[str, NDArray[np.uint64]]
    sum: NDArray[np.float64]

    @property
    def integers(self) -> NDArray[np.int64]:
        """The sum of the grid integers, int64 of shape (encoded_dim,)."""
        return self.config.lanes.unpack(self.vectors[UPDATE])

    @property
    def total_weight(self) -> int:
        """The sum of the weights of the included; their number in an unweighted round."""
        return len(self.included) if self.config.weighting is None else int(self.vectors[WEIGHT][0])

    @property
    def mean(self) -> NDArray[np.float64]:
        """The decoded (weighted) mean, float64 of shape (dim,)."""
        return self.sum / self.total_weight

    @property
    def counters(self) -> dict[str, int]:
        """The exact sums of the round's counters, by name."""
        return dict(zip(self.config.counters, map(int, self.vectors.get(COUNTERS, ())), strict=True))

    @property
    def monitoring(self) -> Monitoring | None:
        """What the round tells about its quantization, if it monitors."""
        if not self.config.monitor:
            return None
        scale = 1 if self.config.weighting is None else self.config.weighting.max_weight
        square = float(np.dot(self.sum, self.sum)) / self.total_weight**2
        facts, count = self.config.codec.facts, len(self.included)
        return Monitoring.of(self.vectors[MONITOR], facts, count, square, scale / self.total_weight)

    @property
    def inside(self) -> int | None:
        """With an adaptive clip, how many of the included had a norm inside of it."""
        return None if self.config.adaptive_clip is None else int(self.vectors[INSIDE][0])


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
        return open_sums(self._config, sums, self._machine.survivors, self.public)

    @property
    def public(self) -> JointRandomness:
        """The public streams of the round, once the sum is open; of no use in a round without a joint seed."""
        return JointRandomness(self._config.params.cipher_suite, self._machine.joint_seed)


def open_sums(
    config: RoundConfig,
    sums: dict[str, NDArray[np.uint64]],
    included: tuple[int, ...],
    public: quant.PublicRandomness,
) -> Opened:
    """Decode the sums of a round, by vector name, each below its modulus.

    Raises:
        quant.InputError: every included weight is zero, so there is no mean; or sums that no such round has.
    """
    total = config.codec.decode_packed(sums[UPDATE], config.lanes, len(included), public=public, clients=included)
    if config.weighting is not None:
        config.weighting.check_total(int(sums[WEIGHT][0]))
        total *= config.weighting.max_weight
    return Opened(config, included, sums, total)
