"""The server machine: one round, single use (Bonawitz et al. 2017, figure 4).

The server collects one kind of message a phase. It never decides when a phase ends: ``status`` reports facts, and the
caller says ``advance``. A step that raises leaves the old state valid; the caller then drops the client or goes on.
The steps stand in the phase modules; here they are dispatched by state, and kept in an object for those who like one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols.errors import LocalProtocolError, ParameterError
from protocols.pairwise import (
    advertise_keys,
    consistency_check,
    masked_input,
    masking,
    reveal_randomness,
    share_keys,
    states,
    unmasking,
)
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.accumulate import Accumulator, MemoryAccumulator
from protocols.pairwise.params import Roster, RoundParams, VectorSpec
from protocols.pairwise.relay import MemoryRelay, Relay
from protocols.pairwise.steps import ChunkAccepted, InputComplete, Outbound, Relayed, ServerStep, Status, to_all
from protocols.primitives import residues
from protocols.secret import Secret
from protocols.wire import check_context

_COLLECT: dict[type[states.State], Callable[[Any, int, Any], ServerStep]] = {
    states.CollectAdvertiseKeys: advertise_keys.server_collect,
    states.CollectRevealRandomness: reveal_randomness.server_collect,
    states.CollectShareKeys: share_keys.server_collect,
    states.CollectMaskedInput: masked_input.server_collect,
    states.CollectConsistencyCheck: consistency_check.server_collect,
    states.CollectUnmasking: unmasking.server_collect,
}


def start(params: RoundParams, model_hash: bytes, roster: Roster | None = None) -> ServerStep:
    """Open a round.

    Args:
        params: the round.
        model_hash: 32-byte hash of the model that clients train in it.
        roster: identities, for an active round.

    Raises:
        ParameterError: an active round without the roster that ``params`` names, or a hash of another length.
    """
    if len(model_hash) != 32:
        raise ParameterError(f"a model hash has 32 bytes, not {len(model_hash)}")
    if params.adversary == "active" and (roster is None or roster.hash() != params.roster):
        raise ParameterError("an active round needs the roster whose hash stands in its parameters")
    return ServerStep(states.CollectAdvertiseKeys(states.Terms(params, roster, model_hash), {}))


def bind_model(state: states.ServerState, model_hash: bytes) -> ServerStep:
    """Name the model of a round that was opened before it was known.

    Keys and shares are bound to the parameters only; clients first hear of the model with the relayed shares, and bind
    it in mask expansion and survivor signatures. So the keys of a round can be agreed while the one before still runs.

    Raises:
        LocalProtocolError: the shares were relayed already.
        ParameterError: a hash of another length.
    """
    if len(model_hash) != 32:
        raise ParameterError(f"a model hash has 32 bytes, not {len(model_hash)}")
    if not isinstance(state, states.CollectAdvertiseKeys | states.CollectRevealRandomness | states.CollectShareKeys):
        raise LocalProtocolError(f"the clients were told of a model before {type(state).__name__}")
    terms = msgspec.structs.replace(state.terms, model_hash=model_hash)
    return ServerStep(msgspec.structs.replace(state, terms=terms))


def receive(state: states.ServerState, client: int, data: bytes) -> ServerStep:
    """Take one frame from ``client`` (the transport vouches for the sender; in an active round, signatures do).

    A frame that says again what was said before in the phase changes nothing.

    Raises:
        RemoteProtocolError: the frame breaks a numbered rule; the state stays valid.
        LocalProtocolError: the round is over.
    """
    if isinstance(state, states.Opened | states.Aborted):
        raise LocalProtocolError(f"the round is over ({type(state).__name__})")
    params = state.terms.params
    check.check_sender(params, client)
    context, message = m.CODEC.decode(data, m.limits_at_server(params))
    if (type(state), type(message)) not in states.SERVER_TRANSITIONS:
        check.check_in_phase((), client, type(message).__name__)
    check_context(context, params.hash() if isinstance(state, states.CollectAdvertiseKeys) else state.session)
    return _COLLECT[type(state)](state, client, message)


def status(state: states.ServerState) -> Status:
    """Report what is here and what is missing."""
    match state:
        case states.CollectAdvertiseKeys():
            facts = _facts(m.Phase.ADVERTISE_KEYS, state.advertised, state.terms.params.clients, state.terms)
        case states.CollectRevealRandomness():
            facts = _facts(m.Phase.REVEAL_RANDOMNESS, state.parts, state.advertised, state.terms)
            facts = replace(facts, need=len(state.advertised), ready=not facts.pending)
        case states.CollectShareKeys():
            facts = _facts(m.Phase.SHARE_KEYS, state.shared, state.advertised, state.terms)
            if state.terms.params.shares_from_all:
                facts = replace(facts, need=len(state.advertised), ready=not facts.pending)
            if state.terms.params.commits and not state.terms.params.sparse:
                facts = replace(facts, need=len(state.advertised), ready=not facts.pending)
        case states.CollectMaskedInput():
            facts = _facts(m.Phase.MASKED_INPUT, masked_input.complete(state), state.shared, state.terms)
        case states.CollectConsistencyCheck():
            facts = _facts(m.Phase.CONSISTENCY_CHECK, state.signatures, state.survivors, state.terms)
        case states.CollectUnmasking():
            facts = _facts(m.Phase.UNMASKING, state.answers, state.asked, state.terms)
            facts = replace(facts, need=state.terms.params.threshold, ready=unmasking.enough_answers(state))
        case states.Opened() | states.Aborted():
            facts = Status(None, (), (), 0, ready=False)
    return facts


def _facts(phase: m.Phase, have: Collection[int], expected: Collection[int], terms: states.Terms) -> Status:
    here, need = tuple(sorted(have)), terms.params.least_survivors
    return Status(phase, here, tuple(sorted(set(expected) - set(here))), need, ready=len(here) >= need)


def advance(state: states.ServerState, relayed: Relayed) -> ServerStep:
    """End the present phase with whoever is here, and give the requests of the next.

    Args:
        state: the present state.
        relayed: gives the entries of past ``SharesAccepted`` events; the requests of MaskedInputCollection carry them.

    Raises:
        LocalProtocolError: no phase is open, or fewer clients are here than the threshold: wait, or abort.
        RemoteProtocolError: rule S10 at the end of Unmasking, naming the client whose shares open to something else.
    """
    facts = status(state)
    if facts.phase is None:
        raise LocalProtocolError(f"the round is over ({type(state).__name__})")
    if not facts.ready:
        raise LocalProtocolError(
            f"{facts.phase.value} has {len(facts.have)} clients and needs {facts.need}: wait for more, or abort"
        )
    match state:
        case states.CollectAdvertiseKeys():
            return advertise_keys.server_end(state)
        case states.CollectRevealRandomness():
            return reveal_randomness.server_end(state)
        case states.CollectShareKeys():
            return share_keys.server_end(state, relayed)
        case states.CollectMaskedInput() if state.terms.params.adversary == "active":
            return consistency_check.server_begin(state)
        case states.CollectMaskedInput() | states.CollectConsistencyCheck():
            return unmasking.server_begin(state)
        case states.CollectUnmasking():
            return unmasking.server_end(state)
        case states.Opened() | states.Aborted():
            raise LocalProtocolError(f"the round is over ({type(state).__name__})")


def abort(state: states.ServerState, reason: str) -> ServerStep:
    """End the round without a result and tell the clients that are still in it."""
    if isinstance(state, states.Opened | states.Aborted):
        raise LocalProtocolError(f"the round is over ({type(state).__name__})")
    facts = status(state)
    frame = m.CODEC.encode(state.terms.params.hash(), m.Abort(reason[:256]))
    return ServerStep(states.Aborted(reason), to_all(sorted(facts.have + facts.pending), frame))


Range = tuple[VectorSpec, int, NDArray[np.uint64]]
"""A stretch of a vector: (vector, first element, the elements themselves as a writable view)."""


Apply = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]
"""Runs a function over a list and gives the results in order, as ``map`` does."""


def unmask_range(stretch: Range, terms: list[masking.MaskTerm], context: masking.MaskContext) -> None:
    """Take the masks of ``terms`` off one stretch, in place, and reduce it modulo the vector's modulus.

    Stretches are independent of each other: call this from as many threads or machines as there are.
    """
    spec, start, values = stretch
    masking.add_masks(values, spec, start, terms, context)
    residues.reduce(values, spec.modulus)


class Server:
    """Keeps the current state of the server in one round.

    Args:
        params: the round.
        model_hash: 32-byte hash of the model that clients train in it.
        roster: identities, for an active round.
        accumulator: where masked inputs are added up; in memory by default.
        relay: where sealed shares wait to be passed on; in memory by default.

    Attributes:
        state: the present state.
        survivors: U3, once the sum is open.

    Raises:
        ParameterError: an active round without its roster.
    """

    def __init__(
        self,
        params: RoundParams,
        model_hash: bytes,
        *,
        roster: Roster | None = None,
        accumulator: Accumulator | None = None,
        relay: Relay | None = None,
    ) -> None:
        self.state: states.ServerState = start(params, model_hash, roster).state
        self._accumulator = MemoryAccumulator(params.vectors) if accumulator is None else accumulator
        self._relay = MemoryRelay() if relay is None else relay
        self._taken = False

    def receive(self, client: int, data: bytes) -> None:
        """Take one frame from ``client``; see the function ``receive``."""
        step = receive(self.state, client, data)
        for event in step.events:
            if isinstance(event, ChunkAccepted):
                self._accumulator.store(event.client, event.vector, event.offset, event.payload)
            elif isinstance(event, InputComplete):
                self._accumulator.commit(event.client)
            else:
                self._relay.store(event.dealer, event.entries)
        self.state = step.state

    def bind_model(self, model_hash: bytes) -> None:
        """Name the model of a round that was opened before it was known; see the function ``bind_model``."""
        self.state = bind_model(self.state, model_hash).state

    @property
    def status(self) -> Status:
        """What is here and what is missing in the present phase."""
        return status(self.state)

    def advance(self) -> Outbound:
        """End the phase and return the frames to send, as (client id, bytes); see the function ``advance``.

        The frames of MaskedInputCollection are made from the relay as they are taken: until the next ``advance``.
        """
        step = advance(self.state, self._relayed)
        if isinstance(self.state, states.CollectMaskedInput):  # everybody who could ask for shares has them
            self._relay.close()
        self.state = step.state
        return step.outbound

    def _relayed(self, dealer: int, place: int) -> bytes:
        if not isinstance(self.state, states.CollectShareKeys | states.CollectMaskedInput):
            raise LocalProtocolError("the sealed shares were erased when the phase that passes them on ended")
        return self._relay.entry(dealer, place)

    def abort(self, reason: str) -> Outbound:
        """End the round without a result and return the frames that tell the clients."""
        step = abort(self.state, reason)
        self._relay.close()
        self.state = step.state
        return step.outbound

    @property
    def joint_seed(self) -> bytes:
        """The 32-byte seed that the clients made together, once the sum is open; empty in a round without one."""
        return self._opened().joint_seed

    @property
    def survivors(self) -> tuple[int, ...]:
        """The clients whose inputs are in the sum."""
        return self._opened().survivors

    @property
    def revealed_noise(self) -> dict[int, tuple[Secret, ...]]:
        """By survivor, the seeds of its components of noise D + 1 .. K, which are to come off the sum, once it is open.

        D counts the invited clients that are no survivors; the tuples are empty if D is K or more. What the seeds
        stand for, and how it is taken off, is known to the layer that added it.
        """
        return unmasking.removed_noise(self._opened())

    def result(self, apply: Apply = map, pieces: int = 1, *, elsewhere: bool = False) -> dict[str, NDArray[np.uint64]]:
        """Take the remaining masks off and return the sums, by vector name, each below its modulus.

        The totals are unmasked in place: call this once.

        Args:
            apply: runs a function over a list and gives the results in order, such as the ``map`` of a thread pool.
            pieces: into how many stretches each vector is cut.
            elsewhere: ``apply`` runs in other processes or on other machines, such as the ``map`` of a process pool:
                stretches and the keys of their masks are sent there (see ``masking.UnmaskTask``).

        Raises:
            LocalProtocolError: the round is not open, or the result was taken before.
        """
        opened = self._opened()
        if self._taken:
            raise LocalProtocolError("the result was taken before: the totals are unmasked in place, once")
        self._taken = True
        terms, params = unmasking.terms_left(opened), opened.terms.params
        context = masking.MaskContext(params.cipher_suite, opened.session, opened.terms.model_hash)
        totals = self._accumulator.totals()
        stretches = [
            piece for spec, total in zip(params.vectors, totals, strict=True) for piece in _cut(spec, total, pieces)
        ]
        if elsewhere:
            streams = {spec: masking.streams_of(terms, spec, context) for spec in params.vectors}
            tasks = [masking.UnmaskTask(spec, start, values, streams[spec]) for spec, start, values in stretches]
            for (_, _, values), unmasked in zip(stretches, apply(masking.run_unmask_task, tasks), strict=True):
                values[:] = unmasked
        else:
            for _ in apply(lambda stretch: unmask_range(stretch, terms, context), stretches):
                pass
        return {spec.name: total for spec, total in zip(params.vectors, totals, strict=True)}

    def _opened(self) -> states.Opened:
        if not isinstance(self.state, states.Opened):
            raise LocalProtocolError(f"there is no result in {type(self.state).__name__}")
        return self.state


def _cut(spec: VectorSpec, total: NDArray[np.uint64], pieces: int) -> list[Range]:
    """Cut a vector into stretches that begin where masks can be entered."""
    blocks = -(-spec.length // residues.BLOCK)
    size = -(-blocks // pieces) * residues.BLOCK
    return [(spec, start, total[start : start + size]) for start in range(0, spec.length, size)]
