"""From the frames of one round to its records.

The recorder reads what crossed the wire, not the server's memory, so it serves any coordinator, and a coordinator that
was restarted replays its journal into a new one. It keeps hashes of masked inputs, and the inputs where it is told to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols.pairwise import messages as m
from protocols.pairwise.advertise_keys import session_id
from protocols.pairwise.params import RoundParams
from protocols.pairwise.reveal_randomness import graph_of, joint_seed
from protocols.primitives import bitpack, shamir
from secagg.transcript import records as r
from secagg.transcript.chain import Transcript
from secagg.transcript.receipts import Receipt, read_any


def totals_of(params: RoundParams, sums: Mapping[str, NDArray[np.uint64]], *, keep: bool) -> tuple[r.Total, ...]:
    """Describe an opened sum, vector by vector.

    Args:
        params: the round.
        sums: ``uint64`` of shape (length,) by vector name, each below its modulus.
        keep: put the packed sums themselves into the records.
    """
    totals = []
    for spec in params.vectors:
        packed = bitpack.pack(sums[spec.name], spec.bits)
        totals.append(r.Total(spec.name, hashlib.sha256(packed).hexdigest(), packed if keep else None))
    return tuple(totals)


def result_hash(totals: Iterable[r.Total]) -> str:
    """Return the hash of a sum that receipts name: SHA-256 of the JSON of (name, digest) of every vector."""
    return hashlib.sha256(msgspec.json.encode([(total.name, total.digest) for total in totals])).hexdigest()


class RoundRecorder:
    """Watches the server's side of one round and writes its records at the end.

    Hand in every frame that the server accepted (``received``) and every frame that it sent (``sent``), in order, then
    call ``opened`` or ``aborted``.

    Args:
        transcript: where the records go.
        params: the round.
        model_hash: 32-byte hash of the model trained.
        task: canonical JSON whose SHA-256 is ``params.task``; empty where there is none.
        keep: keep masked inputs, sums and what was opened, so that the sum can be proven. Read ``records.Opening``
            first. It multiplies the transcript's size by that of the updates.
    """

    def __init__(
        self, transcript: Transcript, params: RoundParams, model_hash: bytes, task: str = "", *, keep: bool = False
    ) -> None:
        self._transcript, self._params, self._keep = transcript, params, keep
        self._begin = r.Parameters(
            params=params, params_hash=params.hash().hex(), task=task, model_hash=model_hash.hex()
        )
        self._directory: tuple[m.AdvertisedKeys, ...] = ()
        self._parts: tuple[m.RevealedPart, ...] = ()
        self._shared: dict[int, m.ShareKeys] = {}
        self._chunks: dict[int, dict[tuple[int, int], r.Chunk]] = {}
        self._signatures: dict[int, bytes] = {}
        self._survivors: tuple[int, ...] = ()
        self._dropped: tuple[int, ...] = ()
        self._answers: dict[int, m.Unmasking] = {}
        self._told = b""

    def sent(self, client: int, frame: bytes) -> None:
        """Take note of a frame from the server. What everybody is told alike is read once."""
        del client
        if frame == self._told:
            return
        self._told = frame
        _, message = read_any(self._params, frame)
        match message:
            case m.ShareKeysRequest() | m.RevealRandomnessRequest():
                self._directory = message.directory
            case m.NeighboursRequest():
                self._parts = message.parts
            case m.MaskedInputRequest() if message.parts:
                self._parts = message.parts
            case m.UnmaskingRequest():
                self._survivors, self._dropped = message.survivors, message.dropped
            case _:
                pass

    def received(self, client: int, frame: bytes) -> None:
        """Take note of a frame that the server accepted from ``client``."""
        _, message = read_any(self._params, frame)
        match message:
            case m.ShareKeys():
                self._shared[client] = message
            case m.MaskedInput():
                digest, kept = hashlib.sha256(message.payload).hexdigest(), message.payload if self._keep else None
                chunk = r.Chunk(message.vector, message.offset, digest, message.signature.hex(), kept)
                self._chunks.setdefault(client, {})[message.vector, message.offset] = chunk
            case m.ConsistencyCheck():
                self._signatures[client] = message.signature
            case m.Unmasking():
                self._answers[client] = message
            case _:
                pass

    def opened(
        self,
        sums: Mapping[str, NDArray[np.uint64]],
        *,
        receipts: Sequence[Receipt] = (),
        spend: r.Spend | None = None,
    ) -> None:
        """Write the records of a round that ended with a sum.

        Args:
            sums: the opened vectors, ``uint64`` by name (``secagg.session.Opened.vectors``).
            receipts: of the sites.
            spend: what the round cost of the privacy budget.
        """
        for record in self._reached():
            self._transcript.append(record)
        if self._keep:
            self._transcript.append(self._opening())
        totals = totals_of(self._params, sums, keep=self._keep)
        self._transcript.append(r.Opened(totals=totals, result=result_hash(totals)))
        if spend is not None:
            self._transcript.append(spend)
        if receipts:
            self._transcript.append(r.Receipts(receipts=tuple(sorted(receipts, key=lambda one: one.client))))

    def aborted(self, reason: str) -> None:
        """Write the records of a round that ended without a sum."""
        for record in self._reached():
            self._transcript.append(record)
        self._transcript.append(r.Aborted(reason=reason))

    def _reached(self) -> Iterable[r.Record]:
        """Give the records of the phases that the round went through."""
        yield self._begin
        if not self._directory:
            return
        session = session_id(self._params, self._directory)
        yield r.Directory(entries=tuple(map(_keys, self._directory)), session=session.hex())
        if self._parts:
            seed = joint_seed(self._params, session, self._parts)
            yield r.Randomness(parts=tuple((e.client, e.part.hex()) for e in self._parts), seed=seed.hex())
            if self._params.sparse:
                yield self._graph(seed)
        if self._shared:
            yield _published(self._shared)
        if not self._survivors:
            return
        chunks = {client: tuple(c for _, c in sorted(self._chunks[client].items())) for client in self._survivors}
        yield r.Inputs(inputs=tuple(r.Input(client, sent) for client, sent in chunks.items()))
        signatures = tuple((client, made.hex()) for client, made in sorted(self._signatures.items()))
        yield r.Survivors(survivors=self._survivors, dropped=self._dropped, signatures=signatures)
        yield r.Answers(answers=tuple(_answer(client, answer) for client, answer in sorted(self._answers.items())))

    def _graph(self, seed: bytes) -> r.Graph:
        clients = tuple(entry.client for entry in self._directory)
        graph = graph_of(self._params, clients, seed).build()
        return r.Graph(neighbours=tuple((client, tuple(graph.neighbours(client))) for client in clients))

    def _opening(self) -> r.Opening:
        """Put together what the answers open, as the server did."""
        seeds: dict[int, dict[int, int]] = {}
        keys: dict[int, dict[int, int]] = {}
        links: dict[int, dict[int, int]] = {}
        for holder, answer in self._answers.items():
            for entry in answer.self_mask_shares:
                seeds.setdefault(entry.dealer, {})[holder] = shamir.decode_element(entry.share)
            for entry in answer.mask_key_shares:
                keys.setdefault(entry.dealer, {})[holder] = shamir.decode_element(entry.share)
            for noise in answer.noise_shares:
                links.setdefault(noise.dealer, {})[holder] = shamir.decode_element(noise.share)
        return r.Opening(
            self_mask_seeds=self._open(seeds), mask_secrets=self._open(keys), noise_links=self._open(links)
        )

    def _open(self, shares: Mapping[int, Mapping[int, int]]) -> tuple[tuple[int, str], ...]:
        threshold = self._params.threshold
        enough = {dealer: held for dealer, held in sorted(shares.items()) if len(held) >= threshold}
        return tuple((dealer, shamir.reconstruct(held, threshold).hex()) for dealer, held in enough.items())


def _keys(entry: m.AdvertisedKeys) -> r.Keys:
    parts = (entry.enc_key, entry.mask_key, entry.commitment, entry.signature)
    return r.Keys(entry.client, *(part.hex() for part in parts))


def _published(shared: Mapping[int, m.ShareKeys]) -> r.Shared:
    dealers = sorted(shared.items())
    return r.Shared(
        self_mask_hashes=tuple((client, said.self_mask_hash.hex()) for client, said in dealers),
        noise_commitments=tuple(
            (client, said.noise_commitment.hex()) for client, said in dealers if said.noise_commitment
        ),
    )


def _answer(client: int, answer: m.Unmasking) -> r.Answer:
    self_masks = tuple(entry.dealer for entry in answer.self_mask_shares)
    mask_keys = tuple(entry.dealer for entry in answer.mask_key_shares)
    return r.Answer(client, self_masks, mask_keys, tuple(entry.dealer for entry in answer.noise_shares))
