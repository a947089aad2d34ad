"""The client machine: one round, single use (Bonawitz et al. 2017, figure 4).

The steps stand in the phase modules, in protocol order: ``advertise_keys``, ``reveal_randomness``, ``share_keys``,
``masked_input``, ``consistency_check``, ``unmasking``. Here they are dispatched by state, and kept in an object for
those who like one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.entropy import Entropy, SystemEntropy
from protocols.errors import LocalProtocolError
from protocols.pairwise import consistency_check, masked_input, noise, reveal_randomness, share_keys, states, unmasking
from protocols.pairwise import ledger as memory
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.advertise_keys import client_start
from protocols.pairwise.ledger import Ledger, MemoryLedger
from protocols.pairwise.params import LocalPolicy, RoundParams
from protocols.pairwise.steps import ClientStep
from protocols.secret import Secret
from protocols.wire import check_context

_STEPS: dict[type[states.State], Callable[[Any, bytes, Any, Entropy], ClientStep]] = {
    states.ExpectShareKeysRequest: share_keys.client_step,
    states.ExpectRevealRandomnessRequest: reveal_randomness.client_step,
    states.ExpectNeighboursRequest: share_keys.client_step_sparse,
    states.ExpectMaskedInputRequest: masked_input.client_step,
    states.ExpectConsistencyCheckRequest: consistency_check.client_step,
    states.ExpectUnmaskingRequest: unmasking.client_step,
}


Values = NDArray[np.uint64] | Callable[[int, int], NDArray[np.uint64]]
"""A whole vector, or a function that gives its elements [start, stop)."""


def _fits(values: Values, shape: tuple[int]) -> bool:
    """Tell whether ``values`` can be masked; what a function gives is only seen chunk by chunk."""
    if isinstance(values, np.ndarray):
        return values.shape == shape and values.dtype == np.uint64
    return callable(values)


def receive(state: states.ClientState, data: bytes, entropy: Entropy) -> ClientStep:
    """Take one frame from the server.

    Raises:
        RemoteProtocolError: the frame breaks a numbered rule (``CodecError`` for W rules); the state stays valid.
        LocalProtocolError: this state expects no such message.
    """
    if isinstance(state, states.Completed | states.Aborted):
        raise LocalProtocolError(f"the round is over for this client ({type(state).__name__})")
    context, message = m.CODEC.decode(data, m.limits_at_client(state.me.params))
    if (type(state), type(message)) not in states.CLIENT_TRANSITIONS:
        raise LocalProtocolError(f"a {type(message).__name__} is out of order in {type(state).__name__}")
    if isinstance(message, m.Abort):
        check_context(context, state.me.params.hash())
        return ClientStep(states.Aborted(f"the server aborted the round: {message.reason}"))
    return _STEPS[type(state)](state, context, message, entropy)


class Client:
    """Keeps the current state of one client in one round.

    Args:
        params: the proposed round.
        policy: what this client insists on.
        client: this client's id.
        identity: 32-byte Ed25519 secret of the roster identity, for an active round.
        ledger: what this client remembers from round to round; in memory, hence of this round only, by default.
        data_version: the client's own name for the state of its data; a new one makes a new query (rule C33).
        entropy: the operating system's unless a test hands in its own.

    Attributes:
        state: the present state; its type tells what the machine waits for.
        warnings: what the policy allows but the owner should know.

    Raises:
        RemoteProtocolError: rules C1 to C9, the round is not one that the policy accepts.
        ParameterError: an active round without the identity that the roster names.
    """

    def __init__(
        self,
        params: RoundParams,
        policy: LocalPolicy,
        client: int,
        *,
        identity: Secret | None = None,
        ledger: Ledger | None = None,
        data_version: str = "",
        entropy: Entropy | None = None,
    ) -> None:
        self._entropy = SystemEntropy() if entropy is None else entropy
        self._ledger = MemoryLedger() if ledger is None else ledger  # an empty ledger may well be falsy
        self._data_version = data_version
        self._contributing = False
        self.warnings: tuple[str, ...] = ()
        step = client_start(params, policy, client, self._entropy, identity)
        memory.begin(self._ledger, params, policy, data_version)
        self.state: states.ClientState = step.state

    def start(self) -> bytes:
        """Return the AdvertiseKeys frame, the same one at every call until the round goes on."""
        if not isinstance(self.state, states.ExpectShareKeysRequest | states.ExpectRevealRandomnessRequest):
            raise LocalProtocolError(f"keys were advertised before {type(self.state).__name__}")
        return m.CODEC.encode(self.state.me.params.hash(), self.state.advertised)

    def receive(self, data: bytes) -> tuple[bytes, ...]:
        """Take one frame from the server and return the frames to send back; see the function ``receive``."""
        step = receive(self.state, data, self._entropy)
        self._record(self.state, step.state)
        self.state = step.state
        return step.outbound

    def _record(self, state: states.ClientState, following: states.ClientState) -> None:
        """Put into the ledger what the step from ``state`` to ``following`` says, before it is said."""
        if isinstance(state, states.ExpectShareKeysRequest | states.ExpectRevealRandomnessRequest):
            if isinstance(following, states.ExpectMaskedInputRequest | states.ExpectNeighboursRequest):
                memory.join(self._ledger, state.me.params, following.session, self._data_version)
        elif isinstance(state, states.ExpectConsistencyCheckRequest):
            if isinstance(following, states.ExpectUnmaskingRequest) and following.signed is not None:
                about = (state.session, state.model_hash, self._data_version, following.signed)
                memory.sign(self._ledger, state.me.params, *about)
        elif isinstance(state, states.ExpectUnmaskingRequest) and isinstance(following, states.Completed):
            about = (state.session, state.model_hash, self._data_version, following.survivors)
            self.warnings += memory.answer(self._ledger, state.me.params, state.me.policy, *about)

    @property
    def wants_input(self) -> bool:
        """Whether the machine waits for the caller's vectors."""
        return isinstance(self.state, states.ExpectInput)

    @property
    def joint_seed(self) -> bytes:
        """The 32-byte seed that the clients made together, while the machine wants input; else empty."""
        return self.state.joint_seed if isinstance(self.state, states.ExpectInput) else b""

    @property
    def noise_seeds(self) -> tuple[Secret, ...]:
        """The 32-byte seeds of this client's removable components of noise, 1 .. K, while the machine wants input.

        A seed must seed noise that is in the input, and nothing else: the server learns those that come off.

        Raises:
            LocalProtocolError: the machine does not want input.
        """
        if not isinstance(self.state, states.ExpectInput):
            raise LocalProtocolError(f"there are no seeds of noise in {type(self.state).__name__}")
        state, params = self.state, self.state.me.params
        about = (params.cipher_suite, state.session, state.me.client)
        return noise.Chain(*about, 1, params.noise_components, state.noise_link).seeds()

    def submit(self, vectors: Mapping[str, Values], model_hash: bytes) -> Iterator[bytes]:
        """Mask whole vectors, yielding one frame per chunk, so that only a few chunks are in memory beside the input.

        Args:
            vectors: by name, ``uint64`` of shape (length,), reduced modulo the vector's modulus; or, for vectors that
                do not fit in memory, a function that gives the elements [start, stop) when they are sent.
            model_hash: 32-byte hash of the model that this client trained.

        Raises:
            LocalProtocolError: names, lengths or types differ from the round's vectors (nothing was masked then).
            RemoteProtocolError: rule C20, the server speaks of another model.
        """
        if not isinstance(self.state, states.ExpectInput):
            raise LocalProtocolError(f"no input can be taken in {type(self.state).__name__}")
        shapes = {spec.name: (spec.length,) for spec in self.state.me.params.vectors}
        if set(vectors) != set(shapes) or not all(_fits(value, shapes[name]) for name, value in vectors.items()):
            raise LocalProtocolError(f"the round takes exactly these vectors of uint64: {shapes}")
        check.check_model(self.state.model_hash, model_hash)
        if not self._contributing:
            # Also after a restore in the middle: which chunks have left since the snapshot, only the journal knows.
            memory.contribute(self._ledger, self.state.me.params, self.state.session, model_hash, self._data_version)
        self._contributing = True
        return self._frames(vectors, model_hash)

    def _frames(self, vectors: Mapping[str, Values], model_hash: bytes) -> Iterator[bytes]:
        while isinstance(self.state, states.ExpectInput):
            spec, low, high = masked_input.expected_stretch(self.state)
            source = vectors[spec.name]
            values = source[low:high] if isinstance(source, np.ndarray) else np.asarray(source(low, high))
            step = masked_input.client_mask_stretch(self.state, values, model_hash)
            self.state = step.state
            yield from step.outbound

    def snapshot(self) -> bytes:
        """Encode the present state, secrets included, for this client's own disk."""
        return states.snapshot(self.state)

    @classmethod
    def restore(cls, data: bytes, *, ledger: Ledger, data_version: str = "", entropy: Entropy | None = None) -> Client:
        """Continue from a snapshot, with the ledger as it is now, not as it was then: it knows what was said since.

        Raises:
            LocalProtocolError: not a client snapshot.
        """
        client = cls.__new__(cls)
        client._entropy = SystemEntropy() if entropy is None else entropy
        client._ledger = ledger
        client._data_version = data_version
        client._contributing = False
        client.warnings = ()
        client.state = states.restore_client(data)
        return client
